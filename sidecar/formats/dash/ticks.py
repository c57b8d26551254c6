"""In which ticks an MPD counts: those of the media, unless players could not.

Players in browsers count in floating point, which has whole numbers up to 2^53. Ticks of 10 MHz
since 1970 are beyond that: times that such a player makes of an MPD name no segment.
"""

from __future__ import annotations

from dataclasses import replace

from sidecar.timeline.segments import SegmentList

_EXACT = 1 << 53
# Exact for seconds up to the year 2255.
_MICROSECONDS = 1_000_000


def countable(segments: SegmentList) -> SegmentList:
    """``segments`` with the times at which MPDs and URLs say that they start."""
    if int(segments.start[-1]) < _EXACT or segments.timescale <= _MICROSECONDS:
        return segments
    timescale = segments.timescale
    whole, rest = segments.start // timescale, segments.start % timescale
    start = whole * _MICROSECONDS + (2 * rest * _MICROSECONDS + timescale) // (2 * timescale)
    return replace(segments, timescale=_MICROSECONDS, start=start)
