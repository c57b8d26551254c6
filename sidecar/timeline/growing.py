"""The segmenter of a presentation that grows: segments are pure functions of time.

Stored content is cut greedily from its first sample on. A live one has no first sample that all
requests agree on: what is at hand is a window. Its source fragments stand on a grid, though
(``sequence``), and every ``k`` of them, counted from 0, make a segment, whatever was at hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind
from sidecar.timeline.boundaries import Boundaries
from sidecar.timeline.muxed import MuxedSegments
from sidecar.timeline.segmenter import SegmentPolicy, Timeline
from sidecar.timeline.segments import SegmentList
from sidecar.timeline.split import split
from sidecar.timeline.text import text_segments

# A minimum length of 4 s is met by two fragments of 1.96 s each.
_SLACK = Fraction(1, 20)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Grid:
    """The source fragments that all segments follow: those of the first video, or else audio.

    ``time``: float64[n+1], presentation times at which they begin, seconds, the last is the end;
    ``sequence``: int64[n], without a hole; ``gap``: bool[n], never received; ``nominal``: usual
    length of a fragment, seconds. ``begins``: whether nothing lies before the first of them, so
    that a segment may begin there with fewer fragments than usual. ``until``: seconds up to which
    all tracks have been received; infinite when no more will come.
    """

    time: NDArray[np.float64]
    sequence: NDArray[np.int64]
    gap: NDArray[np.bool_]
    nominal: Fraction
    tolerance: float
    begins: bool
    until: float


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Segments of a policy: ``boundaries`` (m+1 times), numbers and gaps of the m between them."""

    boundaries: Boundaries
    first_number: int
    gap: NDArray[np.bool_]


class GrowingTimeline(Timeline):
    """The complete segments of what there is of ``presentation``; numbers are the same however much
    that is."""

    def __init__(self, presentation: Presentation, grid: Grid) -> None:
        super().__init__(presentation)
        self._grid = grid
        self._cells: dict[SegmentPolicy, _Cells] = {}
        self._lists: dict[tuple[SegmentPolicy, str], SegmentList] = {}

    def segments(self, rendition: Rendition, policy: SegmentPolicy) -> SegmentList:
        """Segments of ``rendition``; those of all renditions have the same numbers. May be empty."""
        key = (policy, rendition.selector)
        found = self._lists.get(key)
        if found is None:
            found = self._lists[key] = self._segments(rendition, self._cell(policy))
        return found

    def muxed(self, video: Rendition, audio: Rendition, policy: SegmentPolicy) -> MuxedSegments:
        """Segments of both renditions together: the cells in which there is video, with whatever
        there is of the audio."""
        pictures, sound = self.segments(video, policy), self.segments(audio, policy)
        count = len(pictures)
        # Numbers tell which belong together; where there is no sound yet or any more, none is cut.
        at = np.arange(count + 1) + pictures.first_number - sound.first_number
        audio_first = sound.first_sample[np.clip(at, 0, len(sound))]
        return MuxedSegments(video=pictures, audio_first=audio_first)

    def aligned(self, policy: SegmentPolicy) -> bool:
        """Whether the video renditions share their boundaries: they all follow one grid."""
        return True

    def duration(self, policy: SegmentPolicy) -> Fraction:
        ends = (self.segments(one, policy) for one in self.presentation.renditions)
        return max((one.end for one in ends if len(one)), default=Fraction(0))

    def _cell(self, policy: SegmentPolicy) -> _Cells:
        found = self._cells.get(policy)
        if found is None:
            has_video = bool(self.presentation.of_kind(Kind.VIDEO))
            found = _cells(self._grid, policy.video if has_video else policy.audio)
            self._cells[policy] = found
        return found

    def _segments(self, rendition: Rendition, cells: _Cells) -> SegmentList:
        track = rendition.track
        timescale = track.timescale
        time = cells.boundaries.time
        if len(time) < 2:
            return _empty(timescale)
        if rendition.kind is Kind.TEXT:
            whole = text_segments(rendition, self.presentation, cells.boundaries, 0.0)
        elif not len(track.samples):
            return _empty(timescale)
        else:
            whole = split(rendition, cells.boundaries, Fraction(0))
        # Each segment lies in the cell in which its middle is; what lies in none is not complete.
        middle = (whole.start[:-1] + whole.start[1:]) / 2 / timescale
        cell = np.searchsorted(time, middle, side="right") - 1
        inside = np.flatnonzero((cell >= 0) & (cell < len(time) - 1))
        if not len(inside):
            return _empty(timescale)
        first, last = int(inside[0]), int(inside[-1]) + 1
        size = (
            np.add.reduceat(
                np.append(track.samples.size, 0).astype(np.int64), whole.first_sample[first:last]
            )
            if len(track.samples) and rendition.kind is not Kind.TEXT
            else None
        )
        gap = cells.gap[cell[first:last]] if size is None else size == 0
        return SegmentList(
            timescale=timescale,
            first_sample=whole.first_sample[first : last + 1],
            start=whole.start[first : last + 1],
            closed=whole.closed,
            first_number=cells.first_number + int(cell[first]),
            gap=gap if gap.any() else None,
        )


def _empty(timescale: int) -> SegmentList:
    return SegmentList(
        timescale=timescale,
        first_sample=np.zeros(1, dtype=np.int64),
        start=np.zeros(1, dtype=np.int64),
    )


def _cells(grid: Grid, minimum: Fraction) -> _Cells:
    """The complete cells of ``grid`` with segments of at least ``minimum`` seconds."""
    step = 1
    if minimum and grid.nominal:
        step = max(1, math.ceil(minimum / grid.nominal - _SLACK))
    group = grid.sequence // step
    begins = np.concatenate(([True], group[1:] != group[:-1])) if len(group) else np.zeros(0, bool)
    if len(group) and not grid.begins and grid.sequence[0] % step:
        begins[0] = False  # the cell's beginning is not at hand
    at = np.flatnonzero(begins)
    time = grid.time[at]
    number = group[at]
    # The last cell is complete when all of its fragments are there.
    complete = len(group) and (
        math.isinf(grid.until)
        or (
            (grid.sequence[-1] + 1) % step == 0
            and grid.time[-1] - grid.time[-2] >= float(grid.nominal) - grid.tolerance
        )
    )
    if complete:
        time = np.append(time, grid.time[-1])
    else:
        number = number[:-1]
    reached = np.searchsorted(time, grid.until + grid.tolerance, side="right")
    time = time[:reached]
    number = number[: max(0, len(time) - 1)]
    gap = np.array(
        [bool(grid.gap[group == one].all()) for one in (number if grid.gap.any() else ())],
        dtype=np.bool_,
    )
    return _Cells(
        Boundaries(time=time, tolerance=grid.tolerance, head=-math.inf, tail=math.inf),
        first_number=int(number[0]) + 1 if len(number) else 1,
        gap=gap if len(gap) else np.zeros(len(number), dtype=np.bool_),
    )
