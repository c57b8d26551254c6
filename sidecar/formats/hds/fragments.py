"""The fragments of a stream: which samples of its video and of its audio each of them holds."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sidecar.media.presentation import Rendition
from sidecar.media.track import Kind, Track
from sidecar.mux.flv import Span, first_tick, is_supported, milliseconds, reordering
from sidecar.timeline.growing import GrowingTimeline
from sidecar.timeline.muxed import muxed
from sidecar.timeline.segmenter import SegmentPolicy, Timeline


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FragmentList:
    """Fragments 0 .. n-1 of a stream of one video, one audio rendition or both.

    - ``start``: int64[n+1], ms: when fragment k is presented from; start[n] is the end.
    - ``video_first``, ``audio_first``: int64[n+1]; fragment k holds samples first[k] ..
      first[k+1]-1 of the track, maybe none; None without that track.
    - ``silent``: bool[n], those that hold no audio all the same; None without any.
    - ``earlier``: by how much video is decoded earlier than its source says, ms.
    - ``first_number``: the number of fragment 0; ``gap``: bool[n], those that were never received,
      None without any.
    """

    video: Track | None
    audio: Track | None
    start: NDArray[np.int64]
    video_first: NDArray[np.int64] | None
    audio_first: NDArray[np.int64] | None
    earlier: int
    first_number: int = 1
    gap: NDArray[np.bool_] | None = None
    era: NDArray[np.int64] | None = None
    silent: NDArray[np.bool_] | None = None

    def era_of(self, index: int) -> int:
        """The era of fragment ``index`` (``SegmentList.era``)."""
        return 0 if self.era is None else int(self.era[index])

    def is_gap(self, index: int) -> bool:
        """Whether fragment ``index`` was never received."""
        return self.gap is not None and bool(self.gap[index])

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def end(self) -> Fraction:
        """Presentation time of the end of the last fragment, seconds."""
        return Fraction(int(self.start[-1]), 1000)

    def spans(self, index: int) -> tuple[Span | None, Span | None]:
        """(video, audio) samples of fragment ``index``."""
        video = _span(self.video, self.video_first, index)
        if self.silent is not None and self.silent[index]:
            return video, None
        return video, _span(self.audio, self.audio_first, index)


def _span(track: Track | None, first: NDArray[np.int64] | None, index: int) -> Span | None:
    if track is None or first is None:
        return None
    begin, end = first[index : index + 2].tolist()
    return Span(track=track, first=begin, last=end)


def fragment_list(
    timeline: Timeline,
    policy: SegmentPolicy,
    video: Rendition | None,
    audio: Rendition | None,
) -> FragmentList:
    """The fragments of ``video``, of ``audio``, or of both muxed (one of them at least).

    A fragment begins with the key frame of a video segment. Sound goes to fragments by the time at
    which that is decoded, not presented: so timestamps of tags never go back from one fragment to
    the next. So do the segments of what grows; of that, a window is known, so that nothing may
    depend on all of its samples.
    """
    one = video or audio
    assert one is not None
    segments = timeline.segments(one, policy)
    video_first = segments.first_sample if video else None
    audio_first = None if video else segments.first_sample
    growing = isinstance(timeline, GrowingTimeline)
    all_video = () if growing else timeline.presentation.of_kind(Kind.VIDEO)
    silent = None
    earlier = reordering([other.track for other in all_video if is_supported(other)])
    if video and audio and growing:
        together = timeline.muxed(video, audio, policy)
        segments, video_first = together.video, together.video.first_sample
        audio_first, silent = together.audio_first, together.silent
    elif video and audio:
        both = muxed(video.track, segments, audio.track, timeline.segments(audio, policy))
        segments, video_first = both.video, both.video.first_sample
        audio_first = _cut(video.track, video_first, earlier, audio.track, both.audio_first)
    if audio and audio_first is not None:
        audio_first = np.maximum(audio_first, _priming(audio.track))
    return FragmentList(
        video=video.track if video else None,
        audio=audio.track if audio else None,
        start=_ascending(milliseconds(segments.start, segments.timescale)),
        video_first=video_first,
        audio_first=audio_first,
        earlier=earlier,
        first_number=segments.first_number,
        gap=segments.gap,
        era=segments.era,
        silent=silent,
    )


def _cut(
    video: Track,
    video_first: NDArray[np.int64],
    earlier: int,
    audio: Track,
    audio_first: NDArray[np.int64],
) -> NDArray[np.int64]:
    """``audio_first``, for fragments with video: the first sound that is not before its key frame
    is decoded; but the first fragment of all holds what comes before it too."""
    at = 1 + np.flatnonzero(video_first[2:] > video_first[1:-1])
    ticks = video.samples.decode_time[video_first[at]] - video.edit_media_time
    turn = milliseconds(ticks, video.timescale) - earlier
    cut = audio_first.copy()
    cut[at] = np.searchsorted(
        audio.samples.decode_time[:-1],
        first_tick(turn, audio.timescale) + audio.edit_media_time,
    )
    ascending: NDArray[np.int64] = np.maximum.accumulate(cut)
    return ascending


def _priming(track: Track) -> int:
    """How many first samples are left out: those that are heard by less than half of a frame.

    Their timestamp could but be 0 like that of the next, and they would push back all that follows.
    """
    decode_time = track.samples.decode_time
    half = int(decode_time[1] - decode_time[0]) // 2
    return int(np.searchsorted(decode_time[:-1], track.edit_media_time - half))


def _ascending(start: NDArray[np.int64]) -> NDArray[np.int64]:
    """``start`` with a millisecond at least between neighbours: duration 0 has another meaning."""
    turn = np.arange(len(start), dtype=np.int64)
    ascending: NDArray[np.int64] = np.maximum.accumulate(start - turn) + turn
    return ascending
