"""The segmenter of a presentation that grows: segments are pure functions of time."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind, Samples
from sidecar.timeline.growing_cells import Cells, Grid, cells_of, longest_of, step_of
from sidecar.timeline.growing_frames import frame_cells
from sidecar.timeline.growing_text import text_cells
from sidecar.timeline.muxed import MuxedSegments
from sidecar.timeline.segmenter import SegmentPolicy, Timeline
from sidecar.timeline.segments import SegmentList
from sidecar.timeline.splices import Splice, moved, pictures_of

# By which segments of sound are longer than those of the pictures: they end with a frame, seconds.
_NEAR = Fraction(1, 20)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Late:
    """Of the source fragments of a track (bool[n] each): ``late``: that came when their time had
    been told of; ``filled``: those of them that had been told of as gaps."""

    late: NDArray[np.bool_]
    filled: NDArray[np.bool_]


class GrowingTimeline(Timeline):
    """The complete segments of what there is of ``presentation``; numbers are the same however much
    that is."""

    def __init__(
        self,
        presentation: Presentation,
        grid: Grid,
        slack: Mapping[str, float],
        splices: Sequence[Splice] = (),
        late: Mapping[str, Late] | None = None,
        open_groups: Collection[str] = (),
    ) -> None:
        """``slack``: of each selector, seconds by which fragments may begin before or behind those
        of the grid that they belong to. ``splices``: where segments are to end. ``late``: of the
        selectors of which any came late. ``open_groups``: the
        selectors of pictures of which open groups have come."""
        super().__init__(presentation)
        self._late = late or {}
        self._open = open_groups
        self._splices = splices
        self._grid = grid
        self._slack = slack
        self._cells: dict[SegmentPolicy, Cells] = {}
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
        """Segments of both renditions together: the cells in which there is video, with the audio
        if it was there in time; and in the end those of what is left of the audio."""
        pictures, sound = self.segments(video, policy), self.segments(audio, policy)
        if self.ended and len(pictures):
            pictures = _with_rest(pictures, sound)
        count = len(pictures)
        # Numbers tell which belong together; where there is no sound yet or any more, none is cut.
        at = np.arange(count + 1) + pictures.first_number - sound.first_number
        audio_first = sound.first_sample[np.clip(at, 0, len(sound))]
        return MuxedSegments(
            video=pictures,
            audio_first=audio_first,
            silent=self._silent(audio, audio_first, np.diff(pictures.first_sample) > 0),
        )

    def _silent(
        self, audio: Rendition, audio_first: NDArray[np.int64], shown: NDArray[np.bool_]
    ) -> NDArray[np.bool_] | None:
        """bool[n]: segments of ``shown`` pictures in which some of ``audio``, whose samples begin
        with ``audio_first``, has not come, or not before they had been told of: bytes never change.
        None when there are none."""
        samples = (self.presentation.find(audio.selector) or audio).track.samples
        absent = samples.size == 0
        late = self._late.get(audio.selector)
        if late is not None:
            absent = absent | _of_samples(late.late, samples)
        if not absent.any():
            return None
        before = np.append(0, np.cumsum(absent))
        silent: NDArray[np.bool_] = shown & (np.diff(before[audio_first]) > 0)
        return silent

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

    def longest(self, policy: SegmentPolicy) -> Fraction:
        """Seconds that segments of any rendition are told to be no longer than: the same as long as
        encoders cut as they did, whatever is at hand."""
        longest = longest_of(self._grid, self._cell(policy).step)
        return longest + _NEAR if longest else longest

    @property
    def step(self) -> int:
        """Source fragments that make a segment of the policy that was last asked for: segment
        ``number`` begins with the one whose ``sequence`` is ``(number - 1) * step``."""
        return self._step

    def shared(self) -> Self:
        """The same with a ``step`` of its own, for one request of many that use it at once."""
        return copy(self)

    def _cell(self, policy: SegmentPolicy) -> Cells:
        found = self._cells.get(policy)
        if found is None:
            has_video = bool(self.presentation.of_kind(Kind.VIDEO))
            step = step_of(self._grid, policy.video if has_video else policy.audio)
            found = self._cells[policy] = cells_of(self._grid, step, self._moved)
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

    def _segments(self, rendition: Rendition, cells: Cells) -> SegmentList:
        # As its first header describes it: what has been listed does not depend on what comes.
        track = (self.presentation.find(rendition.selector) or rendition).track
        if not len(track.samples) or len(cells.time) < 2:
            return _empty(track.timescale)
        if rendition.kind is Kind.TEXT:
            found = text_cells(
                track,
                cells.time,
                cells.first_number,
                era=cells.era,
                begins=self._grid.begins,
                edge=self._grid.edge,
            )
        else:
            found = frame_cells(
                track,
                cells,
                self._grid,
                slack=self._slack[rendition.selector],
                cuts=cells.cuts.get(rendition.selector, ()),
                closed=rendition.selector not in self._open,
            )
            late = self._late.get(rendition.selector)
            if found is not None and late is not None and late.filled.any():
                filled = _of_samples(late.filled, track.samples)
                found = replace(
                    found,
                    filled=np.logical_or.reduceat(
                        filled[: found.first_sample[-1]], found.first_sample[:-1]
                    ),
                )
        return found or _empty(track.timescale)


def _of_samples(fragments: NDArray[np.bool_], samples: Samples) -> NDArray[np.bool_]:
    """What is said of ``fragments`` of each of their ``samples``."""
    assert samples.fragment_start is not None
    said: NDArray[np.bool_] = np.repeat(
        fragments, np.diff(np.append(samples.fragment_start, len(samples)))
    )
    return said


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
        filled=None,
        era=None
        if pictures.era is None or sound.era is None
        else np.append(pictures.era, sound.era[-more:]),
    )


def _empty(timescale: int) -> SegmentList:
    return SegmentList(
        timescale=timescale,
        first_sample=np.zeros(1, dtype=np.int64),
        start=np.zeros(1, dtype=np.int64),
    )
