"""The boundary times that the renditions of a presentation share.

Times here are seconds as float64: they only choose between samples, which lie at least a hundred
microseconds apart; what is written anywhere comes from the integer columns of the samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind, Track

# Where GOPs or source fragments are asked for, shorter ones are merged: a source in which every
# picture is a sync sample would otherwise become one segment a picture.
SHORTEST = 0.25
# Step where there is neither a sync sample nor a minimum length to go by (seconds).
_STEP = 2.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Boundaries:
    """Times at which segments begin.

    ``time``: float64[m], seconds, ascending; the first is the earliest start of any track.
    ``tolerance``: seconds by which a length may fall short of a minimum, or a sync sample lie off
    its boundary. ``head``: boundaries before it (seconds) lie before the first that the video
    renditions share, where only tracks that begin earlier are cut. ``tail``: boundaries from here
    on (seconds) lie past the end of the video, where only longer tracks go on.
    """

    time: NDArray[np.float64]
    tolerance: float
    head: float
    tail: float


def sync_samples(track: Track) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(index int64[k], presentation time float64[k] seconds) of the sync samples, both ascending.

    Sync samples that are presented before an earlier one are left out: no segment can begin there.
    """
    sync = track.samples.sync
    if sync is None:
        return _ascending(track, np.arange(len(track.samples), dtype=np.int64))
    return _ascending(track, np.flatnonzero(sync))


def greedy(times: NDArray[np.float64], minimum: float) -> NDArray[np.int64]:
    """Indices into ``times``: 0, then each time the first that lies ``minimum`` or more further."""
    following = np.searchsorted(times, times + minimum)
    # Always onwards, even where rounding makes a time plus the minimum that time again.
    onwards = np.maximum(following, np.arange(1, len(times) + 1)).tolist()
    chosen = []
    index = 0
    while index < len(onwards):
        chosen.append(index)
        index = onwards[index]
    return np.array(chosen, dtype=np.int64)


def video_boundaries(
    video: Sequence[Rendition], presentation: Presentation, minimum: Fraction
) -> tuple[Boundaries, bool]:
    """Boundaries at the sync samples that all of ``video`` share, at least ``minimum`` s apart.

    With ``minimum`` 0: at every shared sync sample, or at those that begin a fragment of the
    source when the first rendition is fragmented. Also tells whether they do share them: when
    fewer than half of the first one's candidates are common, the boundaries are its alone.
    """
    reference = video[0].track
    times = _candidates(reference, minimum)
    tolerance = _frame(reference) / 2
    common = np.ones(len(times), dtype=np.bool_)
    for other in video[1:]:
        theirs = sync_samples(other.track)[1]
        if len(theirs):
            common &= _near(times, theirs, tolerance) | (times >= _end(other.track) - tolerance)
    aligned = 2 * int(common.sum()) >= len(times)
    if aligned:
        times = times[common]
    length = max(float(minimum), SHORTEST) - tolerance
    chosen = times[greedy(times, length)]
    end = max(_end(rendition.track) for rendition in video)
    step = float(minimum) or _STEP
    return _extended(chosen, presentation, step=step, tolerance=tolerance, end=end), aligned


def without_video(presentation: Presentation, minimum: Fraction) -> Boundaries:
    """Boundaries of a presentation without video: every ``minimum`` seconds.

    With ``minimum`` 0: at the fragments of the source, or every 2 s when it has none.
    """
    first = (presentation.of_kind(Kind.AUDIO) or presentation.renditions)[0].track
    tolerance = _frame(first) / 2
    if minimum == 0 and first.samples.fragment_start is not None:
        times = _candidates(first, minimum)
        chosen = times[greedy(times, SHORTEST - tolerance)]
        end = _end(first)
    else:
        chosen = np.array([_start(first)])
        end = _start(first)
    step = float(minimum) or _STEP
    return _extended(chosen, presentation, step=step, tolerance=tolerance, end=end)


def _extended(
    chosen: NDArray[np.float64],
    presentation: Presentation,
    *,
    step: float,
    tolerance: float,
    end: float,
) -> Boundaries:
    """``chosen`` with boundaries every ``step`` before its first and after ``end``, as far as any
    track of the presentation reaches."""
    tracks = [r.track for r in presentation.renditions if len(r.track.samples)]
    # Text neither begins a presentation nor makes it longer: it goes with what is seen and heard.
    tracks = [track for track in tracks if track.kind is not Kind.TEXT] or tracks
    earliest = min((_start(track) for track in tracks), default=0.0)
    latest = max((_end(track) for track in tracks), default=0.0)
    # A segment holds a sample at least: a lying duration cannot ask for more segments than that.
    most = max((len(track.samples) for track in tracks), default=0)
    first, last = (float(chosen[0]), float(chosen[-1])) if len(chosen) else (earliest, earliest)

    lead = np.empty(0)
    if first - earliest >= step - tolerance:
        count = min(int((first - earliest + tolerance) / step), most)
        lead = np.concatenate(([earliest], first - step * np.arange(count - 1, -1, -1)))
    else:
        lead = np.array([min(first, earliest)])
    # No further boundary for the fraction of a frame by which audio usually outlasts the video.
    count = min(max(0, int((latest - step / 2 - last) / step)), most)
    tail = last + step * np.arange(1, count + 1)
    tail = tail[tail >= end - tolerance]
    time = np.concatenate((lead, chosen[1:], tail))
    return Boundaries(time=time, tolerance=tolerance, head=first - tolerance, tail=end - tolerance)


def _candidates(track: Track, minimum: Fraction) -> NDArray[np.float64]:
    samples = track.samples
    if minimum == 0 and samples.fragment_start is not None:
        index = samples.fragment_start
        index = index[index < len(samples)]
        if samples.sync is not None:
            index = index[samples.sync[index]]
    elif samples.sync is None:
        return sync_samples(track)[1]
    else:
        index = np.flatnonzero(samples.sync)
    # The first segment begins with the first sample, whether that is a sync sample or not.
    if len(samples) and (not len(index) or index[0] != 0):
        index = np.concatenate((np.zeros(1, dtype=np.int64), index))
    return _ascending(track, index)[1]


def _ascending(
    track: Track, index: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    samples = track.samples
    ticks = samples.decode_time[index]
    if samples.composition_offset is not None:
        ticks = ticks + samples.composition_offset[index]
        if len(ticks) > 1:
            later = np.ones(len(ticks), dtype=np.bool_)
            later[1:] = ticks[1:] > np.maximum.accumulate(ticks)[:-1]
            if not later.all():
                index, ticks = index[later], ticks[later]
    return index, (ticks - track.edit_media_time) / track.timescale


def _near(
    times: NDArray[np.float64], others: NDArray[np.float64], tolerance: float
) -> NDArray[np.bool_]:
    """bool[n]: whether one of ``others`` (not empty) lies within ``tolerance`` of each time."""
    right = np.searchsorted(others, times)
    after = np.abs(others[np.minimum(right, len(others) - 1)] - times)
    before = np.abs(times - others[np.maximum(right - 1, 0)])
    near: NDArray[np.bool_] = np.minimum(before, after) <= tolerance
    return near


def _frame(track: Track) -> float:
    """Average duration of a sample, seconds."""
    decode_time = track.samples.decode_time
    if not len(track.samples):
        return 0.0
    return float(decode_time[-1] - decode_time[0]) / len(track.samples) / track.timescale


def _start(track: Track) -> float:
    """Presentation time of the first sample, at least 0, seconds (leading pictures apart)."""
    samples = track.samples
    offset = samples.composition_offset
    ticks = int(samples.decode_time[0]) + (int(offset[0]) if offset is not None else 0)
    return max(0, ticks - track.edit_media_time) / track.timescale


def _end(track: Track) -> float:
    """End of the last sample in decode order, seconds: close enough to choose boundaries."""
    return (int(track.samples.decode_time[-1]) - track.edit_media_time) / track.timescale
