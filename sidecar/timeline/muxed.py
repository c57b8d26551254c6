"""Segments that hold a video and an audio rendition together."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm

import numpy as np
from numpy.typing import NDArray

from sidecar.media.track import Track
from sidecar.timeline.segments import SegmentList

# Ticks of two timescales together; where their common multiple is larger, times are rounded.
_LARGEST_TIMESCALE = 10_000_000_000
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MuxedSegments:
    """``video``: the segments, with the samples of the video; ``audio_first``: int64[n+1], those of
    the audio in the same way. A segment has samples of one of them at least. ``silent``: bool[n],
    those that have none of the audio, whatever there is of it; None: there are no such."""

    video: SegmentList
    audio_first: NDArray[np.int64]
    silent: NDArray[np.bool_] | None = None

    def alike(self, index: int, until: int) -> int:
        """The end, ``until`` at the most, of the segments from ``index`` on that are all silent, or
        of which none is."""
        if self.silent is None:
            return until
        others = np.flatnonzero(self.silent[index:until] != self.silent[index])
        return index + int(others[0]) if len(others) else until

    def heard(self, index: int, until: int) -> list[int]:
        """The first samples of the audio in segments ``index`` .. ``until`` - 1, which are
        ``alike``, and the one behind them."""
        first: list[int] = self.audio_first[index : until + 1].tolist()
        if self.silent is not None and self.silent[index]:
            return [first[0]] * len(first)
        return first


def muxed(
    video_track: Track, video: SegmentList, audio_track: Track, audio: SegmentList
) -> MuxedSegments:
    """The segments of ``video`` with the audio that is heard with them, cut at the frame nearest to
    each boundary; before the video begins and after it ends, those of ``audio``."""
    timescale = lcm(video.timescale, audio.timescale)
    if timescale > _LARGEST_TIMESCALE:
        timescale = _MICROSECONDS
    begins = _scaled(video.start, video.timescale, timescale)
    heard = _scaled(audio.start, audio.timescale, timescale)
    samples = audio_track.samples
    span = int(samples.decode_time[-1] - samples.decode_time[0])
    frame = span / len(samples)
    picture = int(begins[-1] - begins[0]) / len(video_track.samples)
    slack = max(frame * timescale / audio.timescale, picture)
    lead = np.flatnonzero((heard[1:] <= begins[0] + slack) & (heard[:-1] < begins[0]))
    tail = np.flatnonzero((heard[:-1] >= begins[-1] - slack) & (heard[:-1] > begins[-2]))

    wanted = video.start[:-1] / video.timescale * audio.timescale - frame / 2
    ticks = np.ceil(wanted - 1e-3).astype(np.int64) + audio_track.edit_media_time
    inside = np.searchsorted(samples.decode_time[:-1], ticks)
    count = len(samples)
    audio_first = np.concatenate(
        (audio.first_sample[lead], inside, audio.first_sample[tail], [count])
    )
    audio_first[0] = 0
    video_first = np.concatenate(
        (
            np.zeros(len(lead), dtype=np.int64),
            video.first_sample[:-1],
            np.full(len(tail) + 1, video.first_sample[-1]),
        )
    )
    start = np.concatenate(
        (heard[lead], begins[:-1], heard[tail], [max(int(begins[-1]), int(heard[-1]))])
    )
    return MuxedSegments(
        video=SegmentList(
            timescale=timescale, first_sample=video_first, start=start, closed=video.closed
        ),
        audio_first=np.maximum.accumulate(audio_first),
    )


def _scaled(ticks: NDArray[np.int64], old: int, new: int) -> NDArray[np.int64]:
    whole, rest = np.divmod(ticks, old)
    scaled: NDArray[np.int64] = whole * new + (2 * rest * new + old) // (2 * old)
    return scaled
