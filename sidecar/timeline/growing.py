"""The segmenter of a presentation that grows: segments are pure functions of time.

Stored content is cut greedily from its first sample on. A live one has no first sample that all
requests agree on: what is at hand is a window. Its source fragments stand on a grid, though
(``sequence``), and every ``k`` of them, counted from 0, make a segment, whatever was at hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sidecar.codecs.facts import AudioFacts
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind, Track
from sidecar.timeline.growing_text import text_cells
from sidecar.timeline.muxed import MuxedSegments
from sidecar.timeline.segmenter import SegmentPolicy, Timeline
from sidecar.timeline.segments import SegmentList
from sidecar.timeline.splices import Splice, moved, pictures_of

# A minimum length of 4 s is met by two fragments of 1.96 s each.
_SLACK = Fraction(1, 20)
# Sound is cut at the frame that begins nearest to the pictures, but a track of few long samples
# (text) not before them (seconds).
_NEAR = 0.05
# Of a frame of sound: by so much a fragment may begin before the pictures that it came with. Not a
# whole one, or the frame before would do as well where both begin at once.
NEARLY = Fraction(49, 50)
_USUAL_FRAME = Fraction(1024, 48000)
# A segment of which more than this was never received (seconds) is a gap: what is there of it
# could not be played through.
_MISSING = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class EraBegin:
    """Era ``number`` begins with the source fragment ``sequence``, so that no segment lies on both
    sides of it. ``cuts``: of each selector whose samples are decoded otherwise from there on, the
    decode time of the first such, ticks."""

    number: int
    sequence: int
    cuts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Grid:
    """The source fragments that all segments follow: those of the first video, or else audio.

    ``time``: float64[n+1], decode times at which they begin, seconds, the last is the end;
    ``sequence``: int64[n], without a hole; ``gap``: bool[n], never received; ``nominal``: usual
    length of a fragment, seconds. ``tolerance``: seconds by which a fragment may be shorter than
    that. ``begins``: whether nothing lies before the first of them, so that a segment may begin
    there with fewer fragments than usual. ``until``: seconds up to which segments are complete in
    all tracks; infinite when no more will come. ``edge``: seconds up to which anything has been
    received, here or further on. ``end``: seconds at which the last sample of any track ends.
    ``eras``: that begin here, or before it, in their order.
    """

    time: NDArray[np.float64]
    sequence: NDArray[np.int64]
    gap: NDArray[np.bool_]
    nominal: Fraction
    tolerance: float
    begins: bool
    until: float
    edge: float
    end: float
    chunked: bool
    eras: tuple[EraBegin, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Cells:
    """Segments of a policy: the times (m+1, seconds) between which they lie, the number of the
    first, how many source fragments make one, and their eras (int64[m], None = all 0). ``cuts``: of
    a selector, (which of ``time`` it is, decode time at which it is cut there, ticks)."""

    time: NDArray[np.float64]
    first_number: int
    step: int
    era: NDArray[np.int64] | None
    cuts: Mapping[str, tuple[tuple[int, int], ...]]


# Times of cells, which of them stay, fragments in one -> times, how many of the first are left out.
_Move = Callable[[NDArray[np.float64], NDArray[np.bool_], int], tuple[NDArray[np.float64], int]]


class GrowingTimeline(Timeline):
    """The complete segments of what there is of ``presentation``; numbers are the same however much
    that is."""

    def __init__(
        self,
        presentation: Presentation,
        grid: Grid,
        slack: Mapping[str, float],
        splices: Sequence[Splice] = (),
    ) -> None:
        """``slack``: of each selector, seconds by which fragments may begin before or behind those
        of the grid that they belong to. ``splices``: where segments are to end."""
        super().__init__(presentation)
        self._splices = splices
        self._grid = grid
        self._slack = slack
        self._cells: dict[SegmentPolicy, _Cells] = {}
        self._step = 1
        self._lists: dict[tuple[SegmentPolicy, str], SegmentList] = {}

    def segments(self, rendition: Rendition, policy: SegmentPolicy) -> SegmentList:
        """Segments of ``rendition``; those of all have the same numbers. May be empty."""
        cells = self._cell(policy)
        key = (policy, rendition.selector)
        found = self._lists.get(key)
        if found is None:
            found = self._lists[key] = self._segments(rendition, cells)
        return found

    def muxed(self, video: Rendition, audio: Rendition, policy: SegmentPolicy) -> MuxedSegments:
        """Segments of both renditions together: the cells in which there is video, with whatever
        there is of the audio; and in the end those of what is left of the audio."""
        pictures, sound = self.segments(video, policy), self.segments(audio, policy)
        if self.ended and len(pictures):
            pictures = _with_rest(pictures, sound)
        count = len(pictures)
        # Numbers tell which belong together; where there is no sound yet or any more, none is cut.
        at = np.arange(count + 1) + pictures.first_number - sound.first_number
        audio_first = sound.first_sample[np.clip(at, 0, len(sound))]
        return MuxedSegments(video=pictures, audio_first=audio_first)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come, neither here nor further on."""
        return math.isinf(self._grid.until)

    def key_frames(self, rendition: Rendition) -> SegmentList | None:
        """None: what is at hand has no first key frame from which all requests would count."""
        return None

    def aligned(self, policy: SegmentPolicy) -> bool:
        """Whether the video renditions share their boundaries: they all follow one grid."""
        return True

    def duration(self, policy: SegmentPolicy) -> Fraction:
        ends = (self.segments(one, policy) for one in self.presentation.renditions)
        return max((one.end for one in ends if len(one)), default=Fraction(0))

    @property
    def step(self) -> int:
        """Source fragments that make a segment of the policy that was last asked for: segment
        ``number`` begins with the one whose ``sequence`` is ``(number - 1) * step``."""
        return self._step

    def shared(self) -> Self:
        """The same with a ``step`` of its own, for one request of many that use it at once."""
        return copy(self)

    def _cell(self, policy: SegmentPolicy) -> _Cells:
        found = self._cells.get(policy)
        if found is None:
            has_video = bool(self.presentation.of_kind(Kind.VIDEO))
            step = _step(self._grid, policy.video if has_video else policy.audio)
            found = self._cells[policy] = _cells(self._grid, step, self._moved)
        self._step = found.step
        return found

    def _moved(
        self, time: NDArray[np.float64], fixed: NDArray[np.bool_], step: int
    ) -> tuple[NDArray[np.float64], int]:
        """``timeline.splices.moved`` of the times of cells of ``step`` fragments."""
        kinds = (Kind.VIDEO, Kind.AUDIO)
        tracks = [
            [one.track for one in self.presentation.of_kind(kind) if len(one.track.samples)]
            for kind in kinds
        ]
        reference = tracks[0] or tracks[1][:1]
        if not self._splices or not reference:
            return time, 0
        return moved(
            time,
            self._splices,
            pictures_of(reference),
            fixed=fixed,
            length=step * float(self._grid.nominal),
            begins=self._grid.begins,
            ended=self.ended,
        )

    def _segments(self, rendition: Rendition, cells: _Cells) -> SegmentList:
        """Cut by decode times, as encoders cut: what is presented with the pictures of a segment
        but was sent with the next ones would keep every segment back by one."""
        # As its first header describes it: what has been listed does not depend on what comes.
        track = (self.presentation.find(rendition.selector) or rendition).track
        samples, timescale = track.samples, track.timescale
        if not len(samples) or len(cells.time) < 2:
            return _empty(timescale)
        if rendition.kind is Kind.TEXT:
            found = text_cells(
                track,
                cells.time,
                cells.first_number,
                era=cells.era,
                begins=self._grid.begins,
                edge=self._grid.edge,
            )
            return found or _empty(timescale)
        frame = _frame(track)
        wanted = np.ceil((cells.time - min(frame / 2, _NEAR)) * timescale - 1e-3)
        ticks = wanted.astype(np.int64) + track.edit_media_time
        first_sample = np.searchsorted(samples.decode_time[:-1], ticks)
        if isinstance(track.facts, AudioFacts):
            first_sample = _at_fragments(
                track, cells.time, first_sample, self._slack[rendition.selector]
            )
        for at, time in cells.cuts.get(rendition.selector, ()):
            first_sample[at] = np.searchsorted(samples.decode_time[:-1], time)
        if not samples.size.all():
            first_sample = _around_holes(track, cells.time, first_sample)
        near = timescale * (frame + self._slack[rendition.selector])
        ends_here = abs(int(samples.decode_time[-1]) - int(ticks[-1])) <= near
        if first_sample[-1] == len(samples) and not ends_here and not math.isinf(self._grid.until):
            # The last cells are not there yet, or will never be.
            reached = int(np.searchsorted(ticks, samples.decode_time[-1]))
            first_sample = first_sample[:reached]
        lead = 0
        if not self._grid.begins:
            # What comes before the first sample at hand may belong to the first segment.
            late = int(samples.decode_time[0]) - ticks >= 0.99 * timescale * frame
            lead = int(np.count_nonzero(late))
            first_sample = first_sample[lead:]
        held = np.flatnonzero(np.diff(first_sample) > 0)
        if not len(held):
            return _empty(timescale)
        first, last = int(held[0]), int(held[-1]) + 1
        cut = first_sample[first : last + 1]
        if len(held) != last - first:
            # A cell without a sample of this track: numbers would not follow each other.
            cut = cut[: int(np.flatnonzero(np.diff(cut) == 0)[0]) + 1]
        return SegmentList(
            timescale=timescale,
            first_sample=cut,
            start=_starts(track, cut),
            closed=_is_closed(track, cut),
            first_number=cells.first_number + lead + first,
            gap=_gaps(track, cut),
            era=None if cells.era is None else cells.era[lead + first :][: len(cut) - 1],
        )


def _with_rest(pictures: SegmentList, sound: SegmentList) -> SegmentList:
    """``pictures``, and behind them segments without any for those of ``sound``."""
    more = sound.number(len(sound)) - pictures.number(len(pictures))
    if more <= 0:
        return pictures
    ends = sound.start[-more:] * pictures.timescale // sound.timescale
    # Neither does the last picture end with the sound of its segment, nor is anything of no length.
    ends = np.maximum(ends, pictures.start[-1] + 1 + np.arange(more))
    gap = pictures.gap
    if gap is not None or sound.gap is not None:
        gap = np.array(
            [pictures.is_gap(at) for at in range(len(pictures))]
            + [sound.is_gap(at) for at in range(len(sound) - more, len(sound))]
        )
    return replace(
        pictures,
        first_sample=np.append(pictures.first_sample, [pictures.first_sample[-1]] * more),
        start=np.append(pictures.start, ends),
        gap=gap,
        era=None
        if pictures.era is None or sound.era is None
        else np.append(pictures.era, sound.era[-more:]),
    )


def _frame(track: Track) -> float:
    """Seconds of a frame: of sound what it always is, so that no other one is the nearest to a time
    when more is at hand; of pictures the average."""
    if isinstance(track.facts, AudioFacts):
        return float(frame_length(track.facts))
    times = track.samples.decode_time
    return int(times[-1] - times[0]) / len(track.samples) / track.timescale


def frame_length(facts: AudioFacts) -> Fraction:
    """Seconds of a frame of sound; a usual one where it varies."""
    if facts.samples_per_frame is None:
        return _USUAL_FRAME
    return Fraction(facts.samples_per_frame, facts.sampling_rate)


def _at_fragments(
    track: Track, time: NDArray[np.float64], first_sample: NDArray[np.int64], slack: float
) -> NDArray[np.int64]:
    """``first_sample`` (the frames that begin nearest to each ``time``, seconds), but where a
    fragment of the source begins less than ``slack`` (seconds) before or behind it, that: it is
    what the encoder cut there, and all of it has come when the pictures have. Nothing is decoded
    before 0."""
    samples = track.samples
    assert samples.fragment_start is not None
    begins = np.append(samples.fragment_start, len(samples))
    ticks = time * track.timescale + track.edit_media_time
    starts = samples.decode_time[begins]
    near = slack * track.timescale
    at = np.searchsorted(starts, ticks - near)
    found = np.minimum(at, len(begins) - 1)
    cut_there = (at < len(begins)) & (starts[found] <= ticks + near) & (starts[found] >= 0)
    chosen: NDArray[np.int64] = np.where(cut_there, begins[found], first_sample)
    return chosen


def _around_holes(
    track: Track, time: NDArray[np.float64], first_sample: NDArray[np.int64]
) -> NDArray[np.int64]:
    """``first_sample`` where no hole is. A few samples stand for all that is missing of a
    fragment: a ``time`` (seconds) in one is that of its begin or its end, whichever is nearer."""
    samples = track.samples
    before = np.maximum(first_sample - 1, 0)
    ticks = time * track.timescale + track.edit_media_time
    begin, end = samples.decode_time[before], samples.decode_time[before + 1]
    is_hole = (samples.size[before] == 0) & (ticks > begin)
    chosen: NDArray[np.int64] = np.where(
        is_hole & (ticks - begin < end - ticks), before, first_sample
    )
    return chosen


def _starts(track: Track, cut: NDArray[np.int64]) -> NDArray[np.int64]:
    """Presentation times at which segments begin, and at which the last one ends."""
    times = track.presentation_time()
    durations = np.diff(track.samples.decode_time)
    start = np.minimum.reduceat(times[: cut[-1]], cut[:-1])
    ends = (times + durations)[cut[-2] : cut[-1]]
    starts = np.maximum(np.append(start, ends.max()), 0)
    # Segments of no length would have the same URL.
    ascending: NDArray[np.int64] = np.maximum.accumulate(
        starts - np.arange(len(starts))
    ) + np.arange(len(starts))
    return ascending


def _is_closed(track: Track, cut: NDArray[np.int64]) -> bool:
    offsets = track.samples.composition_offset
    if offsets is None:
        return True
    times = track.presentation_time()
    return bool((np.minimum.reduceat(times[: cut[-1]], cut[:-1]) == times[cut[:-1]]).all())


def _gaps(track: Track, cut: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    samples = track.samples
    empty = samples.size[: cut[-1]] == 0
    if not empty.any():
        return None
    missing = np.where(empty, np.diff(samples.decode_time[: cut[-1] + 1]), 0)
    gap: NDArray[np.bool_] = np.add.reduceat(missing, cut[:-1]) > _MISSING * track.timescale
    # However short it is, what has no byte is no segment.
    gap |= np.logical_and.reduceat(empty, cut[:-1])
    return gap if gap.any() else None


def _empty(timescale: int) -> SegmentList:
    return SegmentList(
        timescale=timescale,
        first_sample=np.zeros(1, dtype=np.int64),
        start=np.zeros(1, dtype=np.int64),
    )


def _step(grid: Grid, minimum: Fraction) -> int:
    """How many fragments last at least ``minimum`` seconds."""
    if not minimum or not grid.nominal:
        return 1
    return max(1, math.ceil(minimum / grid.nominal - _SLACK))


def _cells(grid: Grid, step: int, move: _Move) -> _Cells:
    """The complete cells of ``grid`` of ``step`` fragments each, their boundaries moved."""
    count = len(grid.sequence)
    # With the fragment before the first, and the one behind the last.
    group = _groups(grid, step)
    begins = group[1:-1] != group[:-2]
    if count and grid.begins:
        begins[0] = True
    at = np.flatnonzero(begins)
    time = grid.time[at]
    number = group[1:-1][at]
    # The last cell is complete when all of its fragments are there.
    complete = count and (
        math.isinf(grid.until)
        or (
            # Not known: the first may be the first chunk of a longer one.
            grid.nominal
            and group[-1] != group[-2]
            and (
                not grid.chunked
                or grid.time[-1] - grid.time[-2] >= float(grid.nominal) - grid.tolerance
            )
        )
    )
    if complete:
        time = np.append(time, grid.time[-1])
    if math.isinf(grid.until) and len(time):
        # What is left of sound is no part of the last segment, which has been listed without.
        length = step * float(grid.nominal) or 1.0
        left = grid.end - float(time[-1])
        more = max(1, round(left / length)) if left > grid.tolerance else 0
        time = np.append(time, time[-1] + length * np.arange(1, more + 1))
        time[-1] = max(time[-1], grid.end)
    reached = int(np.searchsorted(time, grid.until, side="right"))
    time, lead = move(time[:reached], _at_eras(grid, time[:reached]), step)
    time = time[: int(np.searchsorted(time, grid.until, side="right"))]
    at, number = at[lead:], number[lead:]
    begun = np.array([one.sequence for one in grid.eras], np.int64)
    era = None
    if len(begun) and len(time) > 1:
        numbers = np.array([0, *(one.number for one in grid.eras)])
        held = grid.sequence[at][: len(time) - 1]
        # What is left of sound has no fragment of the grid.
        held = np.append(held, np.full(len(time) - 1 - len(held), grid.sequence[-1]))
        era = numbers[np.searchsorted(begun, held, side="right")]
    return _Cells(
        time=time,
        first_number=int(number[0]) + 1 if len(number) else 1,
        step=step,
        era=era,
        cuts=_cuts(grid, time),
    )


def _at_eras(grid: Grid, time: NDArray[np.float64]) -> NDArray[np.bool_]:
    """bool[len(time)]: where an era begins."""
    first = int(grid.sequence[0]) if len(grid.sequence) else 0
    begun = [one.sequence - first for one in grid.eras]
    return np.isin(time, grid.time[[at for at in begun if 0 <= at < len(grid.time)]])


def _groups(grid: Grid, step: int) -> NDArray[np.int64]:
    """Number of the segment, from 0, of each source fragment, of the one before the first and of
    the one behind the last. An era begins with a segment: the one before it has what there is, and
    its own first has as much more, so that numbers remain those of time."""
    sequence = np.arange(grid.sequence[0] - 1, grid.sequence[0] + len(grid.sequence) + 1)
    group: NDArray[np.int64] = sequence // step
    least, last = 0, None
    for one in grid.eras:
        if one.sequence == last:
            continue
        least, last = max(-(-one.sequence // step), least + 1), one.sequence
        group = np.where(sequence >= one.sequence, np.maximum(group, least), group)
    return group


def _cuts(grid: Grid, time: NDArray[np.float64]) -> dict[str, tuple[tuple[int, int], ...]]:
    """``_Cells.cuts`` of cells between ``time``."""
    found: dict[str, tuple[tuple[int, int], ...]] = {}
    for one in grid.eras:
        at = one.sequence - int(grid.sequence[0])
        if not 0 <= at < len(grid.time):
            continue
        which = int(np.searchsorted(time, grid.time[at]))
        if which < len(time) and time[which] == grid.time[at]:
            for selector, ticks in one.cuts.items():
                found[selector] = (*found.get(selector, ()), (which, ticks))
    return found
