"""Cutting the samples of one rendition at given times."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sidecar.errors import MissingTfra
from sidecar.media.presentation import Rendition
from sidecar.media.track import Kind, Track
from sidecar.timeline.boundaries import SHORTEST, Boundaries, greedy, sync_samples
from sidecar.timeline.segments import SegmentList

# Key frames nearer to each other than this (seconds) are thinned out: trick play shows a few
# pictures a second, and an all-intra source would make a playlist with a line for every picture.
_KEY_FRAME_INTERVAL = 0.125


def split(rendition: Rendition, shared: Boundaries, minimum: Fraction) -> SegmentList:
    """The segments of ``rendition``, cut at those of ``shared`` that suit it.

    Video is cut at the sync sample of each boundary, whatever ``minimum`` is: they all hold it
    already. Audio and text are cut at the sample nearest to a boundary (half a frame before it at
    the most), and only where a segment gets at least ``minimum`` seconds. Boundaries without a
    sample of this track make no segment. Raises ``MissingTfra`` without any sample.
    """
    track = rendition.track
    _require_samples(rendition)
    if track.kind is Kind.VIDEO:
        inner = _at_sync_samples(track, shared)
    else:
        inner = _at_samples(track, shared, float(minimum))
    count = len(track.samples)
    inner = inner[(inner > 0) & (inner < count)]
    first_sample = np.concatenate(([0], inner, [count])).astype(np.int64)
    # Two boundaries may fall on one sample; both functions above give ascending indices.
    return _timed(track, first_sample[np.concatenate(([True], np.diff(first_sample) > 0))])


def key_frames(rendition: Rendition) -> SegmentList | None:
    """The sync samples of ``rendition``: entry k begins with the k-th and lasts to the next.

    None when there is none (intra refresh, for example).
    Where they follow each other densely (all-intra), only those an eighth of a second apart.
    """
    track = rendition.track
    index, times = sync_samples(track)
    if not len(index):
        return None
    index = index[greedy(times, _KEY_FRAME_INTERVAL)]
    count = np.array([len(track.samples)], dtype=np.int64)
    first_sample = np.concatenate((index, count))
    start = _clipped(_presentation_time(track, index))
    return SegmentList(
        timescale=track.timescale,
        first_sample=first_sample,
        start=np.append(start, _end(track, int(index[-1]), int(start[-1]))),
    )


def _require_samples(rendition: Rendition) -> None:
    if not len(rendition.track.samples):
        raise MissingTfra(
            f"track {rendition.selector} has no samples", path=rendition.track.source.path
        )


def _at_sync_samples(track: Track, shared: Boundaries) -> NDArray[np.int64]:
    """Indices of the sync samples within the tolerance of each boundary that the video shares."""
    index, times = sync_samples(track)
    if not len(index):
        return index
    # Half a tick more: the tolerance itself was a rounded quotient.
    tolerance = shared.tolerance + 0.5 / track.timescale
    wanted = shared.time[shared.time >= shared.head]
    right = np.searchsorted(times, wanted)
    before, after = np.maximum(right - 1, 0), np.minimum(right, len(times) - 1)
    nearer = np.where(
        np.abs(times[before] - wanted) <= np.abs(times[after] - wanted), before, after
    )
    close = np.abs(times[nearer] - wanted) <= tolerance
    found: NDArray[np.int64] = index[nearer[close]]
    return found


def _at_samples(track: Track, shared: Boundaries, minimum: float) -> NDArray[np.int64]:
    """Indices of the first samples at or after each boundary, a little before it at the most."""
    samples = track.samples
    time = shared.time
    origin = track.edit_media_time
    start = max(0, int(samples.decode_time[0]) - origin) / track.timescale
    end = (int(samples.decode_time[-1]) - origin) / track.timescale
    average = (end - start) / len(samples)
    # What is left behind the last boundary past the video's end must be worth a segment.
    time = time[(time < shared.tail) | (end - time >= max(minimum, SHORTEST) / 2)]
    # Lengths count from the boundary before the track's start, or a track that begins a little
    # late would lose the first boundary of the others.
    begin = max(0, int(np.searchsorted(time, start + shared.tolerance, side="right")) - 1)
    time = time[begin:]
    if not len(time):
        return np.empty(0, dtype=np.int64)
    time = time[greedy(time, max(minimum, SHORTEST) - shared.tolerance - average / 2)]
    slack = average / 2 if track.kind is Kind.AUDIO else shared.tolerance
    wanted = np.ceil((time[1:] - slack) * track.timescale - 1e-3).astype(np.int64) + origin
    if samples.composition_offset is None and samples.sync is None:
        return np.searchsorted(samples.decode_time[:-1], wanted)
    index, times = sync_samples(track)
    return np.append(index, len(samples))[np.searchsorted(times, time[1:] - slack)]


def _timed(track: Track, first_sample: NDArray[np.int64]) -> SegmentList:
    """The list for ``first_sample``, without the boundaries at which time would not advance."""
    closed = True
    while True:
        begin = first_sample[:-1]
        if track.samples.composition_offset is None:
            start = _presentation_time(track, begin)
        else:
            start = np.minimum.reduceat(track.presentation_time(), begin)
            closed = bool((start == _presentation_time(track, begin)).all())
        start = _clipped(start)
        advances = np.ones(len(start), dtype=np.bool_)
        advances[1:] = start[1:] > np.maximum.accumulate(start)[:-1]
        if advances.all():
            break
        first_sample = np.append(begin[advances], first_sample[-1])
    return SegmentList(
        timescale=track.timescale,
        first_sample=first_sample,
        start=np.append(start, _end(track, int(begin[-1]), int(start[-1]))),
        closed=closed,
    )


def _presentation_time(track: Track, index: NDArray[np.int64]) -> NDArray[np.int64]:
    samples = track.samples
    time = samples.decode_time[index] - track.edit_media_time
    if samples.composition_offset is not None:
        time = time + samples.composition_offset[index]
    return time


def _clipped(start: NDArray[np.int64]) -> NDArray[np.int64]:
    """Times of segments: priming before 0 is decoded, but nothing is presented before 0."""
    return np.maximum(start, 0)


def _end(track: Track, begin: int, start: int) -> int:
    """End of the sample that is presented last, of those from ``begin`` on; after ``start``."""
    samples = track.samples
    times = samples.decode_time[begin + 1 :] - track.edit_media_time
    if samples.composition_offset is not None:
        times = times + samples.composition_offset[begin:]
    return max(int(times.max()), start + 1)
