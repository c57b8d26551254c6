"""Segments of pictures and sound that grow: which frames lie in each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sidecar.codecs.facts import AudioFacts
from sidecar.media.track import Track
from sidecar.timeline.growing_cells import Cells, Grid
from sidecar.timeline.segments import SegmentList

# Sound is cut at the frame that begins nearest to the pictures, but a track of few long samples
# (text) not before them (seconds).
_NEAR = 0.05
# Of a frame of sound: by so much a fragment may begin before the pictures that it came with. Not a
# whole one, or the frame before would do as well where both begin at once.
NEARLY = Fraction(49, 50)
USUAL_FRAME = Fraction(1024, 48000)
# A segment of which more than this was never received (seconds) is a gap: what is there of it
# could not be played through.
_MISSING = 0.1


def frame_cells(
    track: Track,
    cells: Cells,
    grid: Grid,
    *,
    slack: float,
    cuts: Sequence[tuple[int, int]],
    closed: bool,
) -> SegmentList | None:
    """The segments of ``track``, which has samples, in ``cells`` (at least one) of ``grid``; None
    when there are none. They follow each other: behind a cell without a sample comes none.

    ``slack``: seconds by which its fragments may begin before or behind those of the grid;
    ``cuts``: those of its selector, as ``Cells.cuts`` has them; ``closed``: as ``SegmentList`` has
    it. Cut by decode times, as encoders
    cut: what is presented with the pictures of a segment but was sent with the next ones would keep
    every segment back by one.
    """
    samples, timescale = track.samples, track.timescale
    frame, last_frame = _frames(track)
    ticks = _ticks(track, cells.time, last_frame)
    cut_there = np.zeros(len(ticks), np.bool_)
    if isinstance(track.facts, AudioFacts):
        at_fragments, cut_there = _at_fragments(track, cells.time, slack)
        nearest = np.searchsorted(samples.decode_time[:-1], ticks)
        first_sample = np.where(cut_there, at_fragments, nearest)
    else:
        first_sample = _nearest(track, cells.time)
    for at, time in cuts:
        first_sample[at] = np.searchsorted(samples.decode_time[:-1], time)
    if not samples.size.all():
        first_sample = np.where(
            cut_there, first_sample, _around_holes(track, cells.time, first_sample)
        )
    near = timescale * (last_frame + slack)
    ends_here = abs(int(samples.decode_time[-1]) - int(ticks[-1])) <= near
    if first_sample[-1] == len(samples) and not ends_here and not math.isinf(grid.until):
        # The last cells are not there yet, or will never be.
        reached = int(np.searchsorted(ticks, samples.decode_time[-1]))
        first_sample = first_sample[:reached]
    # What comes before the first sample at hand may belong to the first segment.
    begins = _ticks(track, cells.time, frame)
    late = (int(samples.decode_time[0]) - begins >= 0.99 * timescale * frame) & ~cut_there
    lead = int(np.count_nonzero(late))
    if grid.begins and lead == 1:
        lead = 0  # nothing does: the presentation begins with it
    first_sample = first_sample[lead:]
    held = np.flatnonzero(np.diff(first_sample) > 0)
    if not len(held):
        return None
    first, last = int(held[0]), int(held[-1]) + 1
    cut = first_sample[first : last + 1]
    if len(held) != last - first:
        # A cell without a sample of this track: numbers would not follow each other.
        cut = cut[: int(np.flatnonzero(np.diff(cut) == 0)[0]) + 1]
    return SegmentList(
        timescale=timescale,
        first_sample=cut,
        start=_starts(track, cut),
        closed=closed,
        first_number=cells.first_number + lead + first,
        gap=_gaps(track, cut),
        era=None if cells.era is None else cells.era[lead + first :][: len(cut) - 1],
    )


def frame_length(facts: AudioFacts) -> Fraction:
    """Seconds of a frame of sound; a usual one where it varies."""
    if facts.samples_per_frame is None:
        return USUAL_FRAME
    return Fraction(facts.samples_per_frame, facts.sampling_rate)


def _frames(track: Track) -> tuple[float, float]:
    """Seconds of the first and of the last frame: of sound what it always is, so that no other one
    is the nearest to a time when more is at hand; of pictures what they last, if that is short."""
    if isinstance(track.facts, AudioFacts):
        frame = float(frame_length(track.facts))
        return frame, frame
    first, second, last, end = track.samples.decode_time[[0, 1, -2, -1]].tolist()
    most = 2 * _NEAR * track.timescale
    return min(second - first, most) / track.timescale, min(end - last, most) / track.timescale


def _ticks(track: Track, time: NDArray[np.float64], frame: float) -> NDArray[np.int64]:
    """Decode times from which on frames of ``frame`` seconds are nearest to each ``time`` (seconds)
    or behind it."""
    wanted = np.ceil((time - min(frame / 2, _NEAR)) * track.timescale - 1e-3)
    return wanted.astype(np.int64) + track.edit_media_time


def _nearest(track: Track, time: NDArray[np.float64]) -> NDArray[np.int64]:
    """The pictures that begin nearest to each ``time`` (seconds), but not far before it; behind the
    last one when none does. How long others last does not count."""
    times = track.samples.decode_time
    wanted = time * track.timescale
    ticks = np.ceil(wanted - 1e-3).astype(np.int64) + track.edit_media_time
    behind = np.searchsorted(times[:-1], ticks)
    exactly = wanted + track.edit_media_time
    early = exactly - times[np.maximum(behind - 1, 0)]
    is_near = (early <= times[behind] - exactly + 1e-3) & (early <= _NEAR * track.timescale + 1e-3)
    chosen: NDArray[np.int64] = behind - ((behind > 0) & is_near)
    return chosen


def _at_fragments(
    track: Track, time: NDArray[np.float64], slack: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """First samples of the fragments of the source that begin less than ``slack`` (seconds) before
    or behind each ``time`` (seconds), and whether there is one: it is what the encoder cut there,
    and all of it has come when the pictures have. Nothing is decoded before 0."""
    samples = track.samples
    assert samples.fragment_start is not None
    begins = np.append(samples.fragment_start, len(samples))
    ticks = time * track.timescale + track.edit_media_time
    starts = samples.decode_time[begins]
    near = slack * track.timescale
    at = np.searchsorted(starts, ticks - near)
    found = np.minimum(at, len(begins) - 1)
    cut_there = (at < len(begins)) & (starts[found] <= ticks + near) & (starts[found] >= 0)
    return begins[found], cut_there


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
    ends = (times + durations)[cut[-2] : cut[-1]].max()
    # Before a hole the last sample lasts long, and pictures that were to be shown behind it do.
    behind = times[cut[-1] :].min(initial=ends)
    starts = np.maximum(np.append(start, behind), 0)
    # Segments of no length would have the same URL.
    ascending: NDArray[np.int64] = np.maximum.accumulate(
        starts - np.arange(len(starts))
    ) + np.arange(len(starts))
    return ascending


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
