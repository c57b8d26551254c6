"""Subclips: the part of a presentation that a manifest lists."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from sidecar.errors import BadRequest
from sidecar.media.moments import DATED, Moment
from sidecar.media.options import Options
from sidecar.media.presentation import Presentation
from sidecar.timeline.segments import SegmentList
from sidecar.units import decimal

# Samples among which the first one to be presented is: no codec reorders more pictures.
_REORDERED = 64


@dataclass(frozen=True, slots=True)
class Clip:
    """From ``begin`` to ``end``, seconds of the presentation; None = its own begin or end."""

    begin: Fraction | None = None
    end: Fraction | None = None

    @property
    def is_whole(self) -> bool:
        return self.begin is None and self.end is None


WHOLE = Clip()


def clip_of(presentation: Presentation, options: Options) -> Clip:
    """The clip of ``presentation`` that ``options`` ask for; ``WHOLE`` when they ask for none.

    Dates are seconds since 1970 on the timeline of the media. Everything else counts from the
    begin of the presentation: from 0, or from the first time of media that was recorded with
    times since 1970. Raises ``BadRequest`` for a clip in which nothing is presented.
    """
    if not options.is_clipped:
        return WHOLE
    first, last = _first(presentation), presentation.duration
    origin = first if first > DATED else Fraction(0)

    def seconds(moment: Moment) -> Fraction:
        return moment.seconds if moment.dated else moment.seconds + origin

    begin = end = None
    if options.clip_begin is not None and options.clip_begin.seconds:
        begin = seconds(options.clip_begin)
        if begin >= last:
            raise BadRequest(
                f"the clip begins at {options.clip_begin}, but the presentation "
                f"ends at {decimal(last - origin, 3)} s"
            )
    if options.clip_end is not None:
        end = seconds(options.clip_end)
        if end <= first:
            raise BadRequest(f"the clip ends at {options.clip_end}, before anything is presented")
    return Clip(begin, end)


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


def _first(presentation: Presentation) -> Fraction:
    """Presentation time of the first sample of any track, seconds, at least 0."""
    times = [
        Fraction(max(0, int(one.track.presentation_time()[:_REORDERED].min())), one.track.timescale)
        for one in presentation.renditions
        if len(one.track.samples)
    ]
    return min(times, default=Fraction(0))
