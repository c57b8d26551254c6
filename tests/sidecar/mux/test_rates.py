"""Bit rates and frame rates, measured."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from sidecar.media.track import Samples
from sidecar.mux.cmaf import media_segment
from sidecar.mux.rates import bit_rates, frame_rate, key_frame_rates
from sidecar.timeline.segmenter import Timeline
from tests.support.tracks import audio_track, policy, presentation, rendition, video_track


def test_rates_are_those_of_the_segments_that_are_served() -> None:
    for track in (
        video_track(seconds=60, b_frames=True),
        video_track(seconds=60, gop=10),
        video_track(seconds=60, fps=30, timescale=1000, b_frames=True, gop=[20, 70, 33]),
        audio_track(seconds=60),
    ):
        shown = rendition(track)
        segments = Timeline(presentation(shown)).segments(shown, policy(4))
        rates = bit_rates(track, segments)
        bits = [
            8 * sum(part.length for part in media_segment(track, int(first), int(last), 1))
            for first, last in zip(segments.first_sample, segments.first_sample[1:], strict=False)
        ]
        seconds = [segments.duration(index) for index in range(len(segments))]
        target = round(max(seconds))
        peak = max(
            bit / second
            for bit, second in zip(bits, seconds, strict=True)
            if second >= Fraction(target, 2)
        )
        assert peak <= rates.peak <= 1.01 * float(peak) + 2000
        average = sum(bits) / sum(seconds)
        assert average <= rates.average <= 1.01 * float(average) + 1


def test_a_short_last_segment_makes_no_peak() -> None:
    track = video_track(seconds=8.04, gop=100)
    track.samples.size[:] = 1000
    track.samples.size[-1] = 50_000
    shown = rendition(track)
    segments = Timeline(presentation(shown)).segments(shown, policy(4))
    assert len(segments) == 3
    rates = bit_rates(track, segments)
    alone = 8 * 50_000 / 0.04
    assert rates.peak < alone / 20
    assert rates.peak > 25 * 8 * 1000


def test_short_segments_count_together() -> None:
    track = video_track(seconds=24, gop=[100, 25, 25, 25, 25])
    track.samples.size[:] = 1000
    # Two of the short ones, in a row, together 2 s = half of the target, carry most.
    track.samples.size[100:150] = 9000
    shown = rendition(track)
    segments = Timeline(presentation(shown)).segments(shown, policy(0))
    assert len(segments) == 15
    rates = bit_rates(track, segments)
    assert rates.peak >= 25 * 8 * 9000


def test_a_single_segment_has_its_own_rate() -> None:
    track = video_track(seconds=1)
    shown = rendition(track)
    segments = Timeline(presentation(shown)).segments(shown, policy(4))
    rates = bit_rates(track, segments)
    assert rates.peak == rates.average
    assert rates.average >= 8 * int(track.samples.size.sum())


def test_key_frames_count_alone() -> None:
    track = video_track(seconds=20)
    track.samples.size[:] = 1000
    track.samples.size[::50] = 20_000
    shown = rendition(track)
    key_frames = Timeline(presentation(shown)).key_frames(shown)
    assert key_frames is not None
    rates = key_frame_rates(track, key_frames)
    assert 8 * 20_000 / 2 <= rates.average <= 1.02 * 8 * 20_000 / 2


@pytest.mark.parametrize(
    ("rate", "timescale"),
    [
        (Fraction(25), 12800),
        (Fraction(24000, 1001), 24000),
        (Fraction(24000, 1001), 1000),
        (Fraction(30000, 1001), 90000),
        (Fraction(60), 600),
        (Fraction(25, 2), 12800),
    ],
)
def test_frame_rates(rate: Fraction, timescale: int) -> None:
    assert frame_rate(video_track(seconds=60, fps=rate, timescale=timescale)) == rate


def test_a_variable_frame_rate_is_an_average() -> None:
    track = video_track(seconds=60, fps=25)
    track.samples.decode_time[:] = np.sort(track.samples.decode_time * 107 // 100)
    assert abs(frame_rate(track) - Fraction(2500, 107)) < Fraction(1, 100)


def test_pictures_that_an_encoder_leaves_out_do_not_change_the_rate_of_a_live_track() -> None:
    track = video_track(seconds=60, fps=25)
    samples = track.samples
    left = np.ones(len(samples) + 1, np.bool_)
    left[[70, 71, 500, 900]] = False
    kept = left[:-1]
    fewer = Samples(
        decode_time=samples.decode_time[left],
        composition_offset=None,
        size=samples.size[kept],
        offset=samples.offset[kept],
        sync=None,
        fragment_start=None,
    )
    assert frame_rate(replace(track, samples=fewer)) != 25
    live = replace(fewer, delay=0)
    assert frame_rate(replace(track, samples=live)) == 25
    live.size[40:200] = 0
    assert frame_rate(replace(track, samples=live)) == 25
    live.size[:] = 0
    assert frame_rate(replace(track, samples=live)) == 0


def test_rates_count_the_offsets_that_a_delay_makes() -> None:
    track = video_track(seconds=8, gop=50)
    delayed = replace(track.samples, composition_offset=None, delay=1024)
    shown = rendition(replace(track, samples=delayed))
    segments = Timeline(presentation(shown)).segments(shown, policy(2))
    served = [
        8 * sum(part.length for part in media_segment(shown.track, int(first), int(last), 1))
        for first, last in zip(segments.first_sample, segments.first_sample[1:], strict=False)
    ]
    assert bit_rates(shown.track, segments).peak >= max(served) / 2
