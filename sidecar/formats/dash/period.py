"""What the one Period of an MPD lists, and which part of the timeline it presents."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sidecar.formats.dash.ticks import countable
from sidecar.media.moments import DATED
from sidecar.media.presentation import Presentation
from sidecar.media.track import Kind
from sidecar.timeline.clips import Clip, clipped
from sidecar.timeline.live import Live
from sidecar.timeline.segments import SegmentList

# dash.js looks for the first segment of stored content in steps from where its Period begins on:
# three seconds for a day, more than half a minute for a month, and for ever since 1970. Seconds.
_SEARCHED = Fraction(24 * 3600)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Listing:
    """The segments ``chosen`` of ``segments``, at least one of which is no gap."""

    segments: SegmentList
    chosen: range

    @property
    def timescale(self) -> int:
        return self.segments.timescale

    @property
    def first_number(self) -> int:
        """The number of the first."""
        return self.segments.number(self.chosen.start)

    @property
    def start(self) -> NDArray[np.int64]:
        """int64[n+1]: presentation time of each chosen segment, and the end of the last."""
        return self.segments.start[self.chosen.start : self.chosen.stop + 1]

    @property
    def gap(self) -> NDArray[np.bool_] | None:
        """bool[n]: which of them were never received; None when all were."""
        gap = self.segments.gap
        if gap is None:
            return None
        chosen = gap[self.chosen.start : self.chosen.stop]
        return chosen if chosen.any() else None

    @property
    def durations(self) -> NDArray[np.int64]:
        """Ticks of those that were received."""
        durations: NDArray[np.int64] = np.diff(self.start)
        return durations if self.gap is None else durations[~self.gap]

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
        return Fraction(int(self.durations.max()), self.timescale)

    @property
    def usual(self) -> Fraction:
        """Seconds of one that is neither long nor short among them."""
        durations = np.sort(self.durations)
        return Fraction(int(durations[len(durations) // 2]), self.timescale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """``origin``: presentation time in the media at which the Period begins, seconds. ``start``:
    when that is in the presentation, seconds. ``duration``: seconds, None while it goes on."""

    origin: Fraction
    duration: Fraction | None
    start: Fraction = Fraction(0)


def listing(segments: SegmentList, clip: Clip) -> Listing | None:
    """The part of ``segments`` that ``clip`` touches, as MPDs count; None when it touches none that
    is there."""
    chosen = clipped(segments, clip)
    if all(segments.is_gap(at) for at in chosen):
        return None
    return Listing(segments=countable(segments), chosen=chosen)


def period_of(presentation: Presentation, listings: Mapping[str, Listing], clip: Clip) -> Period:
    """The Period for ``listings`` (selector -> what is listed; at least one).

    It is the whole timeline from 0, or from the first segment of media with times since 1970. That
    of a clip begins and ends with segments of the video, so that no player waits for a picture
    that is not there; longer segments of other kinds reach over its ends, where players cut them
    off.
    """
    everything = list(listings.values())
    video = _video(presentation, listings)
    origin = Fraction(0)
    if clip.begin is not None:
        origin = _begin(clip.begin, video, everything)
    elif (first := min(one.begin for one in everything)) > DATED:
        origin = first
    return Period(origin=origin, duration=_end(clip, video, everything) - origin)


def live_period(
    presentation: Presentation, listings: Mapping[str, Listing], clip: Clip, live: Live
) -> Period:
    """The Period of a presentation that grows, or has grown, on one timeline all the time: what
    plays when it ends goes on.

    The times of a window are those of the media, since its begin moves. Where its Period begins
    stays when it has ended (ISO/IEC 23009-1 5.4.1), although players that come then have to look
    for the first segment: shaka-player misses the last one otherwise. What begins where the client
    said is presented from 0 on, as a clip of stored content is, also when that is gone.
    """
    everything = list(listings.values())
    video = _video(presentation, listings)
    origin = start = Fraction(0)
    if live.fixed_begin or live.ended:
        begin = live.begin if clip.begin is None else clip.begin
        origin = _begin(begin, video, everything) if live.gone is None else live.gone
        origin = milliseconds(origin)
        start = Fraction(0) if live.fixed_begin else origin
    if live.ended and not live.fixed_begin:
        era = min(one.segments.era_of(one.chosen.start) for one in everything)
        while_live = milliseconds(live.eras[era].begin)
        if origin - while_live <= _SEARCHED:
            origin = start = while_live
    duration = _end(clip, video, everything) - origin if live.ended else None
    return Period(origin=origin, duration=duration, start=start)


def milliseconds(value: Fraction) -> Fraction:
    """``value`` as it can be written, none of it ahead."""
    return Fraction(math.floor(1000 * value), 1000)


def _video(presentation: Presentation, listings: Mapping[str, Listing]) -> list[Listing]:
    video = presentation.of_kind(Kind.VIDEO)
    return [listings[one.selector] for one in video if one.selector in listings]


def _begin(begin: Fraction, *groups: Sequence[Listing]) -> Fraction:
    """Where the segments begin that present ``begin``: of the first group that has such."""
    for group in groups:
        held = [one.begin for one in group if one.begin <= begin]
        if held:
            # The latest: where segments are not aligned, the others hold what comes before it too.
            return max(held)
    return min(one.begin for group in groups for one in group)


def _end(clip: Clip, video: Sequence[Listing], everything: Sequence[Listing]) -> Fraction:
    """Where what is listed ends, presentation time in the media, seconds."""
    end = max(one.end for one in everything)
    if clip.end is not None and video:
        end = max(max(one.end for one in video), min(end, clip.end))
    return end
