"""Directives of a location, as they travel with requests: name -> arguments."""

from __future__ import annotations

from collections.abc import Mapping


def is_on(directives: Mapping[str, tuple[str, ...]], name: str) -> bool:
    """Whether the flag ``name`` is given, and not as ``off``."""
    given = directives.get(name)
    return given is not None and given[:1] != ("off",)
