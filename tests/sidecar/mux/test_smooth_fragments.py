"""Smooth fragments of synthetic tracks: exact sums, sound and picture as far apart as they are."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import UnsupportedMedia
from sidecar.media.track import Samples, Track
from sidecar.mux.plan import Inline, Part
from sidecar.mux.smooth import (
    TIMESCALE,
    Clock,
    Span,
    at_clock,
    clock_for,
    column_at_clock,
    fragment,
    key_frame,
    sample_data,
)
from tests.support.smooth import Fragment, read_fragment
from tests.support.tracks import audio_track, video_track


def read(parts: tuple[Part, ...]) -> Fragment:
    """The fragment, its samples all zeros."""
    head = parts[0]
    assert isinstance(head, Inline)
    return read_fragment(head.data + bytes(sum(part.length for part in parts[1:])))


@given(
    ticks=st.lists(st.integers(-(10**6), 1 << 55), min_size=1, max_size=20).map(sorted),
    timescale=st.integers(1 << 20, (1 << 32) - 1),
    target=st.sampled_from([TIMESCALE, 48_000, 1]),
)
def test_a_column_is_converted_as_each_time_is(
    ticks: list[int], timescale: int, target: int
) -> None:
    column = np.array(ticks, dtype=np.int64)
    expected = [at_clock(tick, timescale, target) for tick in ticks]
    assert column_at_clock(column, timescale, target).tolist() == expected
    for tick, found in zip(ticks, expected, strict=True):
        assert abs(Fraction(tick * target, timescale) - found) <= Fraction(1, 2)


def test_a_known_conversion() -> None:
    assert at_clock(221_184, 44_100, TIMESCALE) == 50_155_102


def test_times_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UnsupportedMedia):
        at_clock(1 << 60, 1, TIMESCALE)
    with pytest.raises(UnsupportedMedia):
        column_at_clock(np.array([0, 1 << 60], dtype=np.int64), 1000, TIMESCALE)


def spans(track: Track, first_samples: list[int], clock: Clock) -> list[Span]:
    """Consecutive fragments whose boundaries are decode times."""
    origin = track.edit_media_time
    shift = 0 if track.kind == "video" else clock.shift
    times = [
        at_clock(int(track.samples.decode_time[at]) - origin, track.timescale, TIMESCALE) + shift
        for at in first_samples
    ]
    return [
        Span(first=first, last=last, start=start, end=end)
        for first, last, start, end in zip(
            first_samples, first_samples[1:], times, times[1:], strict=False
        )
    ]


@settings(max_examples=40, deadline=None)
@given(
    fps=st.sampled_from([Fraction(25), Fraction(24000, 1001), Fraction(30000, 1001)]),
    timescale=st.sampled_from([12_800, 24_000, 90_000, 30_000, 1000]),
    gop=st.integers(3, 60),
    b_frames=st.booleans(),
    lead=st.sampled_from([0, 1024, 2112]),
)
def test_everything_is_presented_later_by_the_same(
    fps: Fraction, timescale: int, gop: int, b_frames: bool, lead: int
) -> None:
    video = video_track(seconds=5, fps=fps, timescale=timescale, gop=gop, b_frames=b_frames)
    audio = audio_track(seconds=5, edit_media_time=lead)
    clock = clock_for((video, audio))
    assert clock.shift <= TIMESCALE // 2
    for track, cuts in ((video, [0, gop, len(video.samples)]), (audio, [0, 90, 200])):
        presented: list[int] = []
        for number, span in enumerate(spans(track, cuts, clock), 1):
            found = read(fragment(track, span, clock, number)[0])
            assert found.time == span.start >= 0
            assert found.duration == span.end - span.start == sum(found.durations)
            assert found.sequence == number and found.track_id == 1
            assert found.trun_version == 0
            assert min(found.offsets) >= 0
            presented += found.presentation()
        wanted = column_at_clock(track.presentation_time(), track.timescale, TIMESCALE)
        expected = (wanted[: len(presented)] + clock.shift).tolist()
        assert presented == expected


def test_nothing_is_later_where_nothing_asks_for_it() -> None:
    video, audio = video_track(seconds=4), audio_track(seconds=4)
    clock = clock_for((video, audio))
    assert clock.shift == 0
    found = read(fragment(video, Span(first=0, last=50, start=0, end=20_000_000), clock, 1)[0])
    assert set(found.offsets) == {0} and set(found.durations) == {400_000}


def test_the_delay_of_reordered_pictures_goes_into_their_offsets() -> None:
    video = video_track(seconds=4, b_frames=True)
    clock = clock_for((video,))
    delay = video.samples.composition_delay
    assert clock.shift == delay * TIMESCALE // video.timescale > 0
    found = read(fragment(video, Span(first=0, last=50, start=0, end=20_000_000), clock, 1)[0])
    assert found.presentation()[0] == clock.shift
    assert found.flags[0] == 0x02000000 and set(found.flags[1:]) == {0x01010000}


def test_uneven_decode_times_meet_the_boundaries() -> None:
    track = video_track(seconds=4, b_frames=True)
    clock = clock_for((track,))
    # A boundary that no decode time falls on.
    span = Span(first=50, last=100, start=20_000_100, end=39_999_000)
    found = read(fragment(track, span, clock, 2)[0])
    assert found.time == 20_000_100 and sum(found.durations) == found.duration == 19_998_900
    wanted = column_at_clock(track.presentation_time()[50:100], track.timescale, TIMESCALE)
    assert found.presentation() == (wanted + clock.shift).tolist()


def test_a_subtitle_longer_than_32_bits_hold() -> None:
    track = audio_track(seconds=1)
    samples = Samples(
        decode_time=np.array([0, 48_000 * 1000], dtype=np.int64),
        composition_offset=None,
        size=np.array([10], dtype=np.uint32),
        offset=np.array([0], dtype=np.int64),
        sync=None,
        fragment_start=None,
    )
    long = Track(
        **{name: getattr(track, name) for name in track.__slots__ if name != "samples"},
        samples=samples,
    )
    span = Span(first=0, last=1, start=0, end=1000 * TIMESCALE)
    found = read(fragment(long, span, Clock(), 1)[0])
    assert found.duration == 1000 * TIMESCALE
    assert found.durations == [0xFFFFFFFF]


def test_a_key_frame_lasts_as_long_as_its_fragment() -> None:
    track = video_track(seconds=4, b_frames=True)
    clock = clock_for((track,))
    span = Span(first=50, last=100, start=20_000_000, end=40_000_000)
    found = read(key_frame(track, span, clock, 2)[0])
    whole = read(fragment(track, span, clock, 2)[0])
    assert found.sizes == [int(track.samples.size[50])]
    assert found.durations == [20_000_000] == [found.duration]
    assert found.presentation() == whole.presentation()[:1]
    assert found.flags == [0x02000000]


def test_sample_data_are_the_samples_of_the_fragment() -> None:
    track = video_track(seconds=4)
    span = Span(first=50, last=100, start=20_000_000, end=40_000_000)
    parts, moof = fragment(track, span, Clock(), 2)
    alone = sample_data(track, span)
    assert sum(part.length for part in alone) == sum(part.length for part in parts[1:])
    head = parts[0]
    assert isinstance(head, Inline)
    assert read_fragment(head.data[:moof], metadata_only=True).time == span.start


def test_what_follows_is_said_by_fragments_and_key_frames() -> None:
    track = video_track(seconds=2)
    span = Span(first=0, last=50, start=0, end=20_000_000, following=[(20_000_000, 19_200_000)])
    for make in (fragment, key_frame):
        found = read(make(track, span, Clock(), 1)[0])
        assert found.following == [(20_000_000, 19_200_000)]
        assert (found.time, found.duration) == (0, 20_000_000)
    alone = Span(first=0, last=50, start=0, end=20_000_000)
    assert read(fragment(track, alone, Clock(), 1)[0]).following is None
