"""Where segments begin, and that all formats and renditions agree on it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from sidecar.errors import MissingTfra
from sidecar.media.presentation import Presentation
from sidecar.timeline.segmenter import Timeline
from sidecar.timeline.segments import SegmentList
from tests.support.tracks import (
    audio_track,
    policy,
    presentation,
    rendition,
    text_track,
    video_track,
)


def lists(shown: Presentation, minimum: float, audio: float | None = None) -> list[SegmentList]:
    timeline = Timeline(shown)
    return [timeline.segments(r, policy(minimum, audio)) for r in shown.renditions]


def seconds(segments: SegmentList) -> list[float]:
    return [round(value / segments.timescale, 3) for value in segments.start.tolist()]


def test_gops_are_merged_until_they_reach_the_minimum() -> None:
    shown = presentation(rendition(video_track(seconds=10, gop=50)))
    assert seconds(lists(shown, 4)[0]) == [0, 4, 8, 10]
    assert seconds(lists(shown, 0)[0]) == [0, 2, 4, 6, 8, 10]
    assert seconds(lists(shown, 5)[0]) == [0, 6, 10]


def test_half_a_frame_short_of_the_minimum_is_long_enough() -> None:
    # 24000/1001 pictures a second, 96 to a GOP: 4.004 s; asked for as 4.005.
    track = video_track(seconds=20.02, fps=Fraction(24000, 1001), gop=96, timescale=24000)
    assert len(lists(presentation(rendition(track)), 4.005)[0]) == 5


def test_audio_is_cut_at_the_frame_nearest_to_the_boundary() -> None:
    shown = presentation(rendition(audio_track(seconds=12)), rendition(video_track(seconds=12)))
    audio, video = lists(shown, 4)
    assert seconds(video) == [0, 4, 8, 12]
    # 187.5 frames in 4 s: the boundary at 4 s lies between frames 187 and 188.
    assert audio.first_sample.tolist()[1] in (187, 188)
    assert audio.first_sample.tolist()[2] == 375
    assert audio.start.tolist()[2] == 375 * 1024


def test_audio_with_priming_is_cut_by_presentation_time() -> None:
    track = audio_track(seconds=12, edit_media_time=2048)
    shown = presentation(rendition(track), rendition(video_track(seconds=12)))
    audio, _ = lists(shown, 4)
    assert audio.start[0] == 0, "priming is decoded, not presented"
    assert audio.first_sample.tolist()[2] == 377, "8 s are 375 frames after the two of priming"
    assert audio.start.tolist()[2] == 8 * 48000
    assert audio.start[-1] == track.samples.decode_time[-1] - 2048


def test_audio_keeps_to_its_own_minimum() -> None:
    shown = presentation(
        rendition(audio_track(seconds=12)), rendition(video_track(seconds=12, gop=25))
    )
    audio, video = lists(shown, 0, audio=2)
    assert len(video) == 12
    assert len(audio) == 6
    assert np.abs(audio.start[:-1] / 48000 - np.arange(0, 12, 2)).max() <= 1024 / 48000 / 2 + 1e-9


def test_renditions_share_the_boundaries_that_all_of_them_have() -> None:
    often = rendition(video_track(seconds=24, gop=25), bitrate=1)
    seldom = rendition(video_track(seconds=24, gop=50, timescale=90000), bitrate=2)
    first, second = lists(presentation(often, seldom), 0)
    assert seconds(first) == seconds(second) == list(range(0, 25, 2))
    timeline = Timeline(presentation(often, seldom))
    assert timeline.aligned(policy(0))


def test_renditions_that_do_not_agree_keep_their_own() -> None:
    one = rendition(video_track(seconds=24, gop=50), bitrate=1)
    other = rendition(video_track(seconds=24, gop=47), bitrate=2)
    sound = rendition(audio_track(seconds=24))
    shown = presentation(one, other, sound)
    timeline = Timeline(shown)
    assert not timeline.aligned(policy(0))
    assert len(timeline.segments(one, policy(0))) == 12
    assert len(timeline.segments(other, policy(0))) == 13
    assert len(timeline.segments(sound, policy(0))) == 12


def test_a_rendition_that_ends_early_takes_no_boundary_from_the_others() -> None:
    one = rendition(video_track(seconds=24, gop=50), bitrate=1)
    short = rendition(video_track(seconds=9, gop=50), bitrate=2)
    timeline = Timeline(presentation(one, short))
    assert seconds(timeline.segments(one, policy(4))) == [0, 4, 8, 12, 16, 20, 24]
    assert seconds(timeline.segments(short, policy(4))) == [0, 4, 8, 9]


def test_fragments_of_the_source_are_the_segments_without_a_minimum() -> None:
    track = video_track(seconds=20, gop=25, fragments=[0, 75, 100, 110, 300])
    shown = presentation(rendition(track), rendition(audio_track(seconds=20, fragments=[0, 100])))
    audio, video = lists(shown, 0)
    # 110 is no sync sample, so no segment can begin there.
    assert video.first_sample.tolist() == [0, 75, 100, 300, 500]
    assert len(audio) == len(video)


def test_fragments_are_merged_and_cut_by_a_minimum() -> None:
    track = video_track(seconds=20, gop=25, fragments=[0, 250])
    assert seconds(lists(presentation(rendition(track)), 4)[0]) == [0, 4, 8, 12, 16, 20]


def test_audio_alone_is_cut_every_minimum() -> None:
    for rate in (44100, 48000):
        (audio,) = lists(presentation(rendition(audio_track(seconds=60, rate=rate))), 4)
        assert len(audio) == 15
        drift = audio.start[:-1] / rate - 4 * np.arange(15)
        assert np.abs(drift).max() <= 1024 / rate / 2 + 1 / rate


def test_audio_alone_of_a_fragmented_source_keeps_its_fragments() -> None:
    track = audio_track(seconds=30, fragments=[0, 100, 250, 400, 700])
    (audio,) = lists(presentation(rendition(track)), 0)
    assert audio.first_sample.tolist() == [0, 100, 250, 400, 700, len(track.samples)]


def test_audio_that_outlasts_the_video_goes_on() -> None:
    shown = presentation(rendition(audio_track(seconds=30)), rendition(video_track(seconds=10)))
    audio, video = lists(shown, 4)
    assert seconds(video) == [0, 4, 8, 10]
    boundaries = [0, 4, 8, 12, 16, 20, 24, 28]
    assert np.abs(audio.start[:-1] / 48000 - boundaries).max() <= 1024 / 48000 / 2 + 1e-9


def test_the_last_audio_frame_makes_no_segment_of_its_own() -> None:
    # Ends 10 ms after the video, as encoders leave it, and a boundary falls on the video's end.
    shown = presentation(rendition(audio_track(seconds=12.01)), rendition(video_track(seconds=12)))
    audio, video = lists(shown, 4)
    assert len(audio) == len(video) == 3


def test_audio_before_the_video_is_cut_too() -> None:
    late = video_track(seconds=10, start=10 * 12800)
    shown = presentation(rendition(audio_track(seconds=20)), rendition(late))
    audio, video = lists(shown, 4)
    assert seconds(video) == [10, 14, 18, 20]
    boundaries = [0, 6, 10, 14, 18]
    assert np.abs(audio.start[:-1] / 48000 - boundaries).max() <= 1024 / 48000 / 2 + 1e-9


def test_audio_that_begins_late_is_cut_where_the_video_is() -> None:
    late = audio_track(seconds=12, start=1024 * 3)
    audio, video = lists(presentation(rendition(late), rendition(video_track(seconds=12))), 4)
    assert len(audio) == len(video) == 3
    assert audio.start[0] == 1024 * 3


def test_audio_of_the_second_half_has_no_segments_in_the_first() -> None:
    late = audio_track(seconds=20, start=1024 * 500)
    audio, video = lists(presentation(rendition(late), rendition(video_track(seconds=20))), 4)
    assert len(video) == 5
    assert len(audio) == 3
    assert round(audio.start[1] / 48000) == 12


def test_open_gops_begin_with_their_leading_pictures() -> None:
    (video,) = lists(
        presentation(rendition(video_track(seconds=10, b_frames=True, open_gop=True))), 0
    )
    assert seconds(video) == [0, 2, 4, 6, 8, 10]
    assert not video.closed
    (video,) = lists(presentation(rendition(video_track(seconds=10, b_frames=True))), 0)
    assert seconds(video) == [0, 2, 4, 6, 8, 10]
    assert video.closed


def test_all_intra_video_is_not_cut_at_every_picture() -> None:
    track = video_track(seconds=10, all_sync=True)
    (video,) = lists(presentation(rendition(track)), 0)
    assert 0.24 <= float(video.duration(0)) <= 0.28
    (video,) = lists(presentation(rendition(track)), 2)
    assert seconds(video) == [0, 2, 4, 6, 8, 10]


def test_text_is_cut_at_the_boundaries_of_all() -> None:
    cues = text_track(cues=[(1000, 2000), (3000, 1000), (4000, 5000), (9000, 1000)])
    text, _ = lists(presentation(rendition(cues), rendition(video_track(seconds=13))), 4)
    assert text.start.tolist() == [0, 4000, 8000, 12000, 13000]
    # The sample of 4 s to 9 s is in two segments; after 10 s there is none.
    assert text.first_sample.tolist() == [0, 2, 2, 4, 4]


def test_text_neither_begins_nor_lengthens_a_presentation() -> None:
    cues = text_track(cues=[(0, 50_000), (50_000, 50_000)])
    video = video_track(seconds=8, start=2 * 12800)
    text, shown = lists(presentation(rendition(cues), rendition(video)), 4)
    assert seconds(shown) == [2, 6, 10]
    assert text.start.tolist() == [2000, 6000, 10_000]
    assert text.first_sample.tolist() == [0, 0, 2]


def test_text_alone_lasts_as_long_as_it_does() -> None:
    (text,) = lists(presentation(rendition(text_track(cues=[(0, 3000), (3000, 6000)]))), 4)
    assert (text.start[0], text.start[-1]) == (0, 9000)


def test_text_of_coarse_ticks() -> None:
    cues = text_track(cues=[(0, 20)], timescale=1)
    shown = rendition(video_track(seconds=20, fps=Fraction(24000, 1001), timescale=24000, gop=48))
    text, _ = lists(presentation(rendition(cues), shown), 0)
    assert text.start.tolist() == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]


def test_key_frames_are_the_sync_samples() -> None:
    shown = rendition(video_track(seconds=9, b_frames=True, open_gop=True))
    key_frames = Timeline(presentation(shown)).key_frames(shown)
    assert key_frames is not None
    assert key_frames.first_sample.tolist() == [0, 50, 100, 150, 200, 225]
    # The I-picture of an open GOP is presented after its two leading pictures.
    assert key_frames.start.tolist() == [0, *(25600 * k + 1024 for k in range(1, 5)), 9 * 12800]


def test_key_frames_of_all_intra_video_are_thinned_out() -> None:
    shown = rendition(video_track(seconds=60, all_sync=True))
    key_frames = Timeline(presentation(shown)).key_frames(shown)
    assert key_frames is not None
    assert len(key_frames) == 60 * 25 / 4


def test_video_without_sync_samples_has_no_key_frames() -> None:
    track = video_track(seconds=4)
    track.samples.sync[:] = False  # type: ignore[index]
    shown = rendition(track)
    timeline = Timeline(presentation(shown))
    assert timeline.key_frames(shown) is None
    assert len(timeline.segments(shown, policy(2))) == 1


def test_a_track_without_samples_is_refused() -> None:
    empty = audio_track(seconds=1)
    samples = type(empty.samples)(
        decode_time=np.zeros(1, dtype=np.int64),
        composition_offset=None,
        size=np.zeros(0, dtype=np.uint32),
        offset=np.zeros(0, dtype=np.int64),
        sync=None,
        fragment_start=None,
    )
    shown = rendition(type(empty)(**{**_fields(empty), "samples": samples}))
    for others in ([], [rendition(video_track(seconds=4))]):
        with pytest.raises(MissingTfra):
            Timeline(presentation(shown, *others)).segments(shown, policy(2))


def _fields(track: object) -> dict[str, object]:
    return {name: getattr(track, name) for name in track.__slots__}  # type: ignore[attr-defined]


def test_a_lying_duration_asks_for_no_more_segments_than_there_are_samples() -> None:
    track = audio_track(seconds=1)
    track.samples.decode_time[-1] = 1 << 55
    shown = presentation(rendition(track), rendition(video_track(seconds=4)))
    audio, _ = lists(shown, 2)
    assert len(audio) <= len(track.samples)


def test_lists_are_made_once_for_each_policy() -> None:
    shown = rendition(video_track(seconds=10))
    timeline = Timeline(presentation(shown))
    assert timeline.segments(shown, policy(4)) is timeline.segments(shown, policy(4))
    for number in range(100):
        timeline.segments(shown, policy(number + 1))
    assert len(timeline._cuts) <= 8


def test_segments_are_found_by_their_exact_time() -> None:
    (video,) = lists(presentation(rendition(video_track(seconds=10))), 4)
    assert video.at_time(0) == 0
    assert video.at_time(8 * 12800) == 2
    assert video.at_time(8 * 12800 + 1) is None
    assert video.at_time(10 * 12800) is None
    assert video.duration(2) == 2
    assert video.end == 10
    assert video.longest == 4
