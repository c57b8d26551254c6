"""What the one Period of an MPD lists, and which part of the timeline it presents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sidecar.media.presentation import Presentation
from sidecar.media.track import Kind
from sidecar.timeline.clips import DATED, Clip, clipped
from sidecar.timeline.segments import SegmentList


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Listing:
    """The segments ``chosen`` (at least one) of ``segments``."""

    segments: SegmentList
    chosen: range

    @property
    def timescale(self) -> int:
        return self.segments.timescale

    @property
    def start(self) -> NDArray[np.int64]:
        """int64[n+1]: presentation time of each chosen segment, and the end of the last."""
        return self.segments.start[self.chosen.start : self.chosen.stop + 1]

    @property
    def begin(self) -> Fraction:
        """Presentation time of the first, seconds."""
        return Fraction(int(self.start[0]), self.timescale)

    @property
    def end(self) -> Fraction:
        """Presentation time of the end of the last, seconds."""
        return Fraction(int(self.start[-1]), self.timescale)

    @property
    def longest(self) -> Fraction:
        """Seconds of the longest."""
        return Fraction(int(np.diff(self.start).max()), self.timescale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """``origin``: presentation time in the media at which the Period begins, seconds.
    ``duration``: seconds."""

    origin: Fraction
    duration: Fraction


def listing(segments: SegmentList, clip: Clip) -> Listing | None:
    """The part of ``segments`` that ``clip`` touches; None when it touches none."""
    chosen = clipped(segments, clip)
    return Listing(segments=segments, chosen=chosen) if chosen else None


def period_of(presentation: Presentation, listings: Mapping[str, Listing], clip: Clip) -> Period:
    """The Period for ``listings`` (selector -> what is listed; at least one).

    It is the whole timeline from 0, or from the first segment of media with times since 1970. That
    of a clip begins and ends with segments of the video, so that no player waits for a picture
    that is not there; longer segments of other kinds reach over its ends, where players cut them
    off.
    """
    everything = list(listings.values())
    video = [
        listings[r.selector] for r in presentation.of_kind(Kind.VIDEO) if r.selector in listings
    ]
    end = max(one.end for one in everything)
    if clip.end is not None and video:
        end = max(max(one.end for one in video), min(end, clip.end))
    origin = Fraction(0)
    if clip.begin is not None:
        origin = _begin(clip.begin, video, everything)
    elif (first := min(one.begin for one in everything)) > DATED:
        origin = first
    return Period(origin=origin, duration=end - origin)


def _begin(begin: Fraction, *groups: Sequence[Listing]) -> Fraction:
    """Where the segments begin that present ``begin``: of the first group that has such."""
    for group in groups:
        held = [one.begin for one in group if one.begin <= begin]
        if held:
            # The latest: where segments are not aligned, the others hold what comes before it too.
            return max(held)
    return min(one.begin for group in groups for one in group)
