"""The objects of init_by_lua_block: one for each set of directives, shared by its locations."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sidecar.migrate.original import FLAGS, VALUES

# What a name says of its directives, in the order of FLAGS.
_WORDS = {
    "usp_iss_pass_through": "pass_through",
    "usp_prefer_static": "static",
    "usp_skip_rewrite": "rewritten",
    "usp_disable_mmap": "unmapped",
}


class Objects:
    """Names of the objects that locations need. ``taken``: words of other Lua code."""

    def __init__(self, taken: frozenset[str]) -> None:
        self._taken = taken
        self._names: dict[frozenset[str], str] = {}

    def __bool__(self) -> bool:
        return bool(self._names)

    def name(self, flags: Iterable[str]) -> str:
        """The object with exactly the directives ``flags``: those that are on, by their names, and
        others with their arguments."""
        wanted = frozenset(flags)
        if wanted not in self._names:
            base = _base(wanted)
            name = base if base not in self._taken else f"origin_{base}"
            while name in self._taken or name in self._names.values():
                name += "_"
            self._names[wanted] = name
        return self._names[wanted]

    def definitions(self) -> list[str]:
        """A line of Lua for each, parents before those that derive from them."""
        lines = []
        order = sorted(self._names, key=len)  # stable: otherwise as they were met
        for place, flags in enumerate(order):
            parents = [other for other in order[:place] if other < flags]
            parent = max(parents, key=len, default=None)
            own = flags - parent if parent else flags
            block = f"[[ {' '.join(_directive(one) for one in sorted(own, key=_place))} ]]"
            name = self._names[flags]
            if parent:
                lines.append(f"{name} = origin.location({self._names[parent]}, {block})")
            else:
                lines.append(f"{name} = origin.location {block}")
        return lines


def _directive(one: str) -> str:
    return f"{one};" if " " in one else f"{one} on;"


def _place(one: str) -> int:
    return (*FLAGS, *VALUES).index(one.partition(" ")[0])


def _base(flags: frozenset[str]) -> str:
    handles = [
        word
        for flag, word in (
            ("usp_handle_ism", "vod"),
            ("usp_handle_f4f", "hds"),
            ("usp_handle_api", "api"),
        )
        if flag in flags
    ]
    if "usp_dynamic_time_shift_buffer_depth" in flags:
        handles = ["live", *(word for word in handles if word != "vod")]
    if any(flag.startswith("ism_proxy_pass ") for flag in flags):
        handles.append("remote")
    return "_".join([*handles, *(word for flag, word in _WORDS.items() if flag in flags)])


def words(lua: Iterable[str]) -> frozenset[str]:
    """All words of Lua texts, which names of globals had better not be."""
    return frozenset(word for text in lua for word in re.findall(r"[A-Za-z_]\w*", text))
