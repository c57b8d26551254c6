"""Includes of a configuration: followed where something in their files has to change."""

from __future__ import annotations

import glob
from dataclasses import replace
from pathlib import Path

from sidecar.migrate import locations, original, phases
from sidecar.migrate.notes import Notes
from sidecar.migrate.paths import Places, absolute
from sidecar.migrate.tree import ConfigurationError, Statement, each, read

_MAX_INCLUDES = 16  # in each other
_OURS = ("init", "init_worker", "log")  # phases in which Lua of ours runs too


class Includes:
    """Puts what has to change into one tree. Paths in it become absolute."""

    def __init__(self, places: Places, notes: Notes) -> None:
        self._places = places
        self._notes = notes

    def followed(self, statements: tuple[Statement, ...], depth: int = 0) -> tuple[Statement, ...]:
        """``statements`` with what is in the files that they include, unless these can stay."""

        def rewritten(one: Statement) -> list[Statement]:
            if one.directive == "include" and len(one.args) == 1:
                return self._include(one, depth)
            if one.block is not None:
                return [one.with_block(self.followed(one.block, depth))]
            return [absolute(one, self._places, self._notes)]

        return each(statements, rewritten)

    def _include(self, statement: Statement, depth: int) -> list[Statement]:
        kept = absolute(statement, self._places, self._notes)
        if depth == _MAX_INCLUDES:
            raise ConfigurationError(f"{statement.place}: includes are too deep")
        pattern = str(self._places.folder / statement.args[0])
        names = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207
        found: list[Statement] = []
        must_change = False
        for name in names:
            try:
                inner = read(Path(name))
            except ConfigurationError as error:
                self._notes.say(statement, f"this include stays as it is: {error}")
                return [kept]
            followed = self.followed(inner, depth + 1)
            if followed == inner and not _concerns(followed):
                found.append(kept.with_args(name))
            else:
                must_change = True
                heading = replace(kept, directive="", args=(), comment=f" {name}", text=None)
                found += [replace(heading, apart=True), *followed]
        return found if must_change else [kept]


def _concerns(statements: tuple[Statement, ...]) -> bool:
    """Whether one of ``statements`` is rewritten by a migration."""
    return any(
        original.is_its_own(one.directive)
        or (one.directive in original.ANCESTORS and not one.args)
        or one.directive in ("lua_package_path", "lua_shared_dict")
        or phases.phase_of(one) in _OURS
        or (one.directive == "load_module" and original.is_replaced("".join(one.args)))
        or (one.directive == "location" and locations.names_manifests(one))
        or _concerns(one.block or ())
        for one in statements
    )
