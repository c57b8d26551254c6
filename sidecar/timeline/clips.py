"""Subclips: the part of a presentation that a manifest lists."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from sidecar.timeline.segments import SegmentList


@dataclass(frozen=True, slots=True)
class Clip:
    """From ``begin`` to ``end``, seconds of the presentation; None = its own begin or end."""

    begin: Fraction | None = None
    end: Fraction | None = None

    @property
    def is_whole(self) -> bool:
        return self.begin is None and self.end is None


WHOLE = Clip()


def clipped(segments: SegmentList, clip: Clip) -> range:
    """Indices of the segments that present anything of ``clip``; empty when none does.

    Clips are segment-accurate: the first segment is the one that ``begin`` lies in, the last the
    one that holds what comes just before ``end``. Segments keep their numbers, times and URLs.
    """
    first, last = 0, len(segments)
    start = segments.start
    if clip.begin is not None:
        ticks = clip.begin * segments.timescale
        first = int(np.searchsorted(start[1:], int(ticks), side="right"))
    if clip.end is not None:
        ticks = clip.end * segments.timescale
        whole = -(-ticks.numerator // ticks.denominator)
        last = min(last, int(np.searchsorted(start[:-1], whole, side="left")))
    return range(first, max(first, last))
