"""Directives of a location, as they travel with requests: name -> arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping

_TIME = re.compile(r"(?P<count>[0-9]{1,9})(?P<unit>ms|s|)")


def is_on(directives: Mapping[str, tuple[str, ...]], name: str) -> bool:
    """Whether the flag ``name`` is given, and not as ``off``."""
    given = directives.get(name)
    return given is not None and given[:1] != ("off",)


def seconds(directives: Mapping[str, tuple[str, ...]], name: str) -> float:
    """What the time ``name`` is given as (``500ms``, ``2s``), 0 where it is ``off`` or not given.
    nginx has looked at it."""
    found = _TIME.fullmatch(directives.get(name, ("off",))[0])
    if found is None:
        return 0.0
    return int(found["count"]) / (1000 if found["unit"] == "ms" else 1)
