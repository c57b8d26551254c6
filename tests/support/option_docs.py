"""The table of docs/options.md as the options say it: ``python -m tests.support.option_docs``."""

from __future__ import annotations

import sys

from sidecar.media.option_table import OPTIONS, Option
from sidecar.media.options import Options

_SEGMENTS = {"hls": "segments, playlists"} | dict.fromkeys(("dash", "smooth", "hds"), "segments")
HEAD = ("option", "value", "default", "effect", "where", "goes on into")


def table() -> str:
    """The table in Markdown, one row for each option, sorted by name."""
    rows = [HEAD, ("---",) * len(HEAD)]
    rows += [_row(name, option) for name, option in sorted(OPTIONS.items())]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(name: str, option: Option) -> tuple[str, ...]:
    places = [("manifest", option.in_head), ("query", option.in_query)]
    names = "playlists" if option.names_playlists or not option.in_head else ""
    return (
        f"`{name}`",
        option.allowed,
        _default(name),
        option.meaning,
        ", ".join(place for place, allowed in places if allowed),
        _SEGMENTS.get(option.names_segments, names),
    )


def _default(name: str) -> str:
    value = getattr(Options(), name, None)
    if value is None or value == ():
        return ""
    return str(value).lower()


if __name__ == "__main__":
    sys.stdout.write(table())
