"""What must hold of segment lists whatever the tracks are."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.media.track import Kind, Track
from sidecar.timeline.segmenter import Timeline
from sidecar.timeline.segments import SegmentList
from tests.support.tracks import audio_track, policy, presentation, rendition, video_track

RATES = st.sampled_from([Fraction(25), Fraction(24000, 1001), Fraction(30), Fraction(60000, 1001)])
SCALES = st.sampled_from([600, 12800, 24000, 90000, 10_000_000])


@st.composite
def video_tracks(draw: st.DrawFn) -> Track:
    b_frames = draw(st.booleans())
    return video_track(
        seconds=draw(st.floats(0.1, 40)),
        fps=draw(RATES),
        gop=draw(st.lists(st.integers(1, 120), min_size=1, max_size=5)),
        timescale=draw(SCALES),
        b_frames=b_frames,
        open_gop=b_frames and draw(st.booleans()),
        start=draw(st.sampled_from([0, 1, 512, 100_000])),
        fragments=draw(st.sampled_from([None, [0], [0, 3, 20, 70]])),
        all_sync=draw(st.booleans()) and not b_frames,
    )


@st.composite
def audio_tracks(draw: st.DrawFn) -> Track:
    return audio_track(
        seconds=draw(st.floats(0.2, 50)),
        rate=draw(st.sampled_from([22050, 44100, 48000])),
        frame=draw(st.sampled_from([960, 1024, 1536, 2048])),
        edit_media_time=draw(st.sampled_from([0, 1024, 2112])),
        start=draw(st.sampled_from([0, 700])),
    )


def check(track: Track, segments: SegmentList) -> None:
    first, start = segments.first_sample, segments.start
    assert first[0] == 0
    assert first[-1] == len(track.samples)
    assert (np.diff(first) > 0).all(), "every segment has a sample"
    assert (np.diff(start) > 0).all(), "time advances"
    assert start[0] >= 0
    times = track.presentation_time()
    for index in range(len(segments)):
        held = times[first[index] : first[index + 1]]
        assert start[index] == max(0, held.min()), "exact: the earliest presentation time"
    ends = (times + np.diff(track.samples.decode_time))[first[-2] :]
    assert start[-1] == ends.max()
    if track.samples.sync is not None:
        assert track.samples.sync[first[1:-1]].all(), "video segments begin at sync samples"
    total = sum((segments.duration(index) for index in range(len(segments))), Fraction(0))
    assert total == Fraction(int(start[-1] - start[0]), track.timescale)


MINIMA = st.sampled_from([0, 1, 2, 4, Fraction(48, 25), Fraction(1001, 500), 10])


@settings(max_examples=80, deadline=None)
@given(st.lists(video_tracks(), min_size=0, max_size=3), audio_tracks(), MINIMA, MINIMA)
def test_lists_hold_every_sample_once_and_are_exact(
    videos: list[Track], sound: Track, minimum: Fraction, audio_minimum: Fraction
) -> None:
    ladder = [rendition(track, bitrate=number + 1) for number, track in enumerate(videos)]
    shown = presentation(rendition(sound), *ladder)
    timeline = Timeline(shown)
    for one in shown.renditions:
        check(one.track, timeline.segments(one, policy(minimum, audio_minimum)))
    assert timeline.duration(policy(minimum, audio_minimum)) == max(
        timeline.segments(one, policy(minimum, audio_minimum)).end for one in shown.renditions
    )


@settings(max_examples=50, deadline=None)
@given(video_tracks(), audio_tracks(), MINIMA)
def test_audio_keeps_within_a_frame_of_the_video(
    video: Track, sound: Track, minimum: Fraction
) -> None:
    shown = presentation(rendition(sound), rendition(video))
    timeline = Timeline(shown)
    audio_list, video_list = (timeline.segments(r, policy(minimum)) for r in shown.renditions)
    frame = float(np.diff(sound.samples.decode_time).max()) / sound.timescale
    picture = float(np.diff(video.samples.decode_time).max()) / video.timescale
    boundaries = video_list.start / video_list.timescale
    # Open GOPs begin with pictures that are presented up to two pictures before the boundary.
    slack = frame / 2 + 1 / sound.timescale + (0 if video_list.closed else 3 * picture)
    inside = audio_list.start[1:-1] / audio_list.timescale
    inside = inside[(inside > boundaries[0] + frame) & (inside < boundaries[-1] - frame)]
    for start in inside:
        assert np.abs(boundaries - start).min() <= slack


@settings(max_examples=50, deadline=None)
@given(video_tracks(), st.sampled_from([1, 2, Fraction(48, 25), 4]))
def test_segments_last_as_long_as_asked(video: Track, minimum: Fraction) -> None:
    shown = rendition(video)
    segments = Timeline(presentation(shown)).segments(shown, policy(minimum))
    picture = float(np.diff(video.samples.decode_time).max()) / video.timescale
    for index in range(len(segments) - 1):
        # A leading picture counts for its own segment: it may shorten the one before by two.
        short = picture / 2 + (0 if segments.closed else 2 * picture) + 1 / video.timescale
        assert float(segments.duration(index)) >= minimum - short


@settings(max_examples=50, deadline=None)
@given(video_tracks(), video_tracks(), MINIMA)
def test_aligned_renditions_have_the_same_boundaries(
    one: Track, other: Track, minimum: Fraction
) -> None:
    first, second = rendition(one, bitrate=1), rendition(other, bitrate=2)
    timeline = Timeline(presentation(first, second))
    assert first.kind is Kind.VIDEO
    if not timeline.aligned(policy(minimum)):
        return
    lists = [timeline.segments(r, policy(minimum)) for r in (first, second)]
    if not all(segments.closed for segments in lists):
        return
    left, right = (segments.start[1:-1] / segments.timescale for segments in lists)
    end = min(segments.start[-1] / segments.timescale for segments in lists)
    picture = 1 / 23
    for start in left[left < end - picture]:
        if start > max(segments.start[0] / segments.timescale for segments in lists) + picture:
            assert len(right)
            assert np.abs(right - start).min() <= picture
