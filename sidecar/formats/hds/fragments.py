"""The fragments of a stream: which samples of its video and of its audio each of them holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sidecar.media.presentation import Rendition
from sidecar.media.track import Kind, Track
from sidecar.mux.flv import Span, decode_times, first_tick, is_supported, milliseconds, reordering
from sidecar.timeline.segmenter import SegmentPolicy, Timeline
from sidecar.timeline.segments import SegmentList

# Audio alone before the video begins or after it ends makes a fragment of its own from half of
# this length on (seconds) where policies ask for every GOP.
_SHORTEST = 0.25


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FragmentList:
    """Fragments 0 .. n-1 of a stream of one video, one audio rendition or both.

    - ``start``: int64[n+1], ms: when fragment k is presented from; start[n] is the end.
    - ``video_first``: int64[n+1], fragment k holds video samples video_first[k] ..
      video_first[k+1]-1, maybe none; None without video.
    - ``audio_begin``: int64[n+1], ticks: fragment k holds the audio samples that are decoded at
      audio_begin[k] or later, before audio_begin[k+1]; None without audio.
    - ``earlier``: by how much video is decoded earlier than its source says, ms.
    """

    video: Track | None
    audio: Track | None
    start: NDArray[np.int64]
    video_first: NDArray[np.int64] | None
    audio_begin: NDArray[np.int64] | None
    earlier: int

    def __len__(self) -> int:
        return len(self.start) - 1

    def spans(self, index: int) -> tuple[Span | None, Span | None]:
        """(video, audio) samples of fragment ``index``."""
        video = audio = None
        if self.video is not None and self.video_first is not None:
            first, last = self.video_first[index : index + 2].tolist()
            video = Span(track=self.video, first=first, last=last)
        if self.audio is not None and self.audio_begin is not None:
            decode_time = self.audio.samples.decode_time[:-1]
            first, last = np.searchsorted(decode_time, self.audio_begin[index : index + 2]).tolist()
            audio = Span(track=self.audio, first=first, last=last)
        return video, audio


def fragment_list(
    timeline: Timeline,
    policy: SegmentPolicy,
    video: Rendition | None,
    audio: Rendition | None,
) -> FragmentList:
    """The fragments of ``video``, of ``audio``, or of both muxed (one of them at least).

    A fragment begins with the key frame of a video segment. Audio goes by timestamps of decoding,
    so that those of all fragments together never go back; what lies before the video's start or
    after its end is part of the first or last fragment, or makes fragments of its own where the
    timeline has segments there.
    """
    all_video = timeline.presentation.of_kind(Kind.VIDEO)
    earlier = reordering([one.track for one in all_video if is_supported(one)])
    sound = timeline.segments(audio, policy) if audio else None
    if video is None:
        assert audio is not None
        assert sound is not None
        begin = audio.track.samples.decode_time[sound.first_sample]
        return FragmentList(
            video=None,
            audio=audio.track,
            start=_ascending(milliseconds(sound.start, sound.timescale)),
            video_first=None,
            audio_begin=_outer(begin, audio.track),
            earlier=earlier,
        )

    track, pictures = video.track, timeline.segments(video, policy)
    start = milliseconds(pictures.start, pictures.timescale)
    video_first = pictures.first_sample
    if audio is None or sound is None:
        return FragmentList(
            video=track,
            audio=None,
            start=_ascending(start),
            video_first=video_first,
            audio_begin=None,
            earlier=earlier,
        )

    # Where key frames are decoded, so that a fragment's audio does not come before its video.
    turn = _decoded(track, pictures, earlier)
    heard = milliseconds(sound.start, sound.timescale)
    least = int(1000 * max(float(policy.video), _SHORTEST)) // 2
    before = heard[:-1][heard[:-1] <= turn[0] - least]
    after = heard[:-1][heard[:-1] >= start[-1]]
    ends = np.array([max(int(start[-1]), int(heard[-1]))])
    begin = np.concatenate((before, turn, after, ends))
    start = np.concatenate((before, start[:-1], after, ends))
    start[0] = min(int(start[0]), int(heard[0]))
    return FragmentList(
        video=track,
        audio=audio.track,
        start=_ascending(start),
        video_first=np.concatenate(
            (
                np.zeros(len(before), dtype=np.int64),
                video_first,
                np.full(len(after), video_first[-1]),
            )
        ),
        audio_begin=_outer(
            first_tick(begin, audio.track.timescale) + audio.track.edit_media_time, audio.track
        ),
        earlier=earlier,
    )


def _decoded(track: Track, segments: SegmentList, earlier: int) -> NDArray[np.int64]:
    """Timestamps of decoding of the first samples of ``segments``, ms."""
    first = segments.first_sample[:-1]
    ticks = track.samples.decode_time[first] - track.edit_media_time
    turn = milliseconds(ticks, track.timescale) - earlier
    turn[0] = int(decode_times(Span(track=track, first=0, last=1), earlier)[0])
    return turn


def _outer(begin: NDArray[np.int64], track: Track) -> NDArray[np.int64]:
    """``begin``, the first without priming, the last with all that follows.

    What is heard by less than half of a frame is priming: its timestamp would be 0 too, and it
    would push back all sound that comes after it.
    """
    decode_time = track.samples.decode_time
    begin = begin.copy()
    begin[0] = track.edit_media_time - int(decode_time[1] - decode_time[0]) // 2
    begin[-1] = decode_time[-1]
    return begin


def _ascending(start: NDArray[np.int64]) -> NDArray[np.int64]:
    """``start`` with a millisecond at least between neighbours: duration 0 has another meaning."""
    turn = np.arange(len(start), dtype=np.int64)
    ascending: NDArray[np.int64] = np.maximum.accumulate(start - turn) + turn
    return ascending
