"""Lines of playlists: tags, attribute lists and durations (RFC 8216 4)."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import numpy as np

from sidecar.mux.timestamps import timestamp
from sidecar.timeline.segments import SegmentList

CONTENT_TYPE = "application/vnd.apple.mpegurl"
COMMENT = "## Created with OpenOrigin"

_MICROSECONDS = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def head(version: int) -> list[str]:
    """The first lines of every playlist."""
    return ["#EXTM3U", f"#EXT-X-VERSION:{version}", COMMENT]


def quoted(text: str) -> str:
    """``text`` as a quoted-string, which can hold no quotes and no line ends (RFC 8216 4.2)."""
    plain = "".join(character for character in text if character.isprintable())
    return '"' + plain.replace('"', "'") + '"'


def tag(name: str, **attributes: str | int | None) -> str:
    """``#NAME:KEY=value,...``; underscores of the keys become dashes, None is left out."""
    listed = [
        f"{key.replace('_', '-')}={value}" for key, value in attributes.items() if value is not None
    ]
    return f"#{name}:{','.join(listed)}"


def timestamp_map(start: int, timescale: int) -> str:
    """Which MPEG-2 timestamp stands for which time: those of presentation time ``start``, ticks."""
    at = _EPOCH + timedelta(
        seconds=start // timescale, microseconds=start % timescale * _MICROSECONDS // timescale
    )
    # Microseconds are written where there are some.
    local = at.replace(tzinfo=None).isoformat()
    return f"#USP-X-TIMESTAMP-MAP:MPEGTS={timestamp(start, timescale)},LOCAL={local}Z"


def date_time(start: int, timescale: int, epoch_ms: int) -> str:
    """When presentation time ``start``, ticks, was (RFC 8216 4.3.2.6); ``epoch_ms``: when 0 was."""
    at = _EPOCH + timedelta(milliseconds=epoch_ms + start * 1000 // timescale)
    return f"#EXT-X-PROGRAM-DATE-TIME:{at.replace(tzinfo=None).isoformat('T', 'milliseconds')}Z"


def durations(segments: SegmentList, listed: range) -> tuple[list[str], int]:
    """(EXTINF durations, EXT-X-TARGETDURATION) of those ``segments`` that are ``listed``.

    A duration is the difference of the segment's two ends, each rounded to the microsecond: it is
    less than a microsecond off, and so is any sum of consecutive ones, however many. The target is
    the largest of them rounded to the nearest integer (RFC 8216 4.3.3.1).
    """
    # Whole seconds apart, or times since 1970 in a timescale of 10 MHz would leave 64 bits.
    whole, rest = np.divmod(segments.start, segments.timescale)
    timescale = segments.timescale
    micro = whole * _MICROSECONDS + (2 * rest * _MICROSECONDS + timescale) // (2 * timescale)
    lengths = np.diff(micro[listed.start : listed.stop + 1]).tolist()
    text = {length: _decimal(length) for length in set(lengths)}
    target = (max(lengths) + _MICROSECONDS // 2) // _MICROSECONDS
    return [text[length] for length in lengths], max(1, target)


def live_target(listed: int, longest: Fraction, *, spliced: bool) -> int:
    """EXT-X-TARGETDURATION of a playlist to which segments are added, which must not change then
    (RFC 8216 6.2.1). ``listed``: that of its segments; ``longest``: seconds that all are told to be
    no longer than. ``spliced``: one of them may become half as long again."""
    most = longest * Fraction(3, 2) if spliced else longest
    return max(listed, math.floor(most + Fraction(1, 2)))


def _decimal(microseconds: int) -> str:
    whole, rest = divmod(microseconds, _MICROSECONDS)
    return f"{whole}.{rest:06d}".rstrip("0") if rest else str(whole)
