"""WebVTT documents of some cues (W3C WebVTT 4.1; in HLS: RFC 8216 3.5)."""

from __future__ import annotations

from collections.abc import Iterable

from sidecar.media.text.cues import Cue

CONTENT_TYPE = "text/vtt; charset=utf-8"


def webvtt_document(cues: Iterable[Cue], *, header: str = "", mpegts: int | None = None) -> bytes:
    """A WebVTT file with ``cues`` at their own times, UTF-8.

    ``header``: STYLE and REGION blocks, separated by blank lines. ``mpegts``: the 90 kHz timestamp
    of cue time 0 in the media that this belongs to, for X-TIMESTAMP-MAP; None = no such line.
    """
    first = "WEBVTT"
    if mpegts is not None:
        first += f"\nX-TIMESTAMP-MAP=MPEGTS:{mpegts % (1 << 33)},LOCAL:00:00:00.000"
    blocks = [first]
    if header:
        blocks.append(header)
    blocks += map(_block, cues)
    # The last line is blank: there are readers that put segments together before they read them.
    return "".join(f"{block}\n\n" for block in blocks).encode("utf-8", "replace")


def clock_time(milliseconds: int) -> str:
    """``00:01:02.345``: as WebVTT and TTML both write times; hours have two digits or more."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}"


def _block(cue: Cue) -> str:
    identifier = f"{cue.identifier}\n" if cue.identifier else ""
    settings = f" {cue.settings}" if cue.settings else ""
    times = f"{clock_time(cue.begin)} --> {clock_time(cue.end)}"
    return f"{identifier}{times}{settings}\n{cue.payload}"
