"""FLV tags over synthetic samples: times, order, and what does not fit."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import UnsupportedMedia
from sidecar.mux.flv import Span, first_tick, fragment, is_supported, milliseconds, reordering
from sidecar.mux.plan import CacheClass, Plan
from tests.support.flv import AUDIO, VIDEO, Tag, read_fragment, samples
from tests.support.flv_tracks import AVCC, SPECIFIC_CONFIG, aac_track, avc_track, zeros
from tests.support.plans import body
from tests.support.tracks import rendition, text_track

timescales = st.one_of(
    st.sampled_from([1000, 12_800, 30_000, 44_100, 48_000, 90_000, 10_000_000]),
    st.integers(1, 2**32 - 1),
)
ticks = st.integers(-(2**62), 2**62)


def whole(track: Fraction) -> int:
    """To the nearest, halves upwards."""
    return (2 * track.numerator + track.denominator) // (2 * track.denominator)


@given(st.lists(ticks, min_size=1, max_size=20), timescales)
def test_milliseconds_are_the_nearest(times: list[int], timescale: int) -> None:
    times = [time for time in times if abs(time) // timescale < 2**52]
    found = milliseconds(np.array(times, dtype=np.int64), timescale).tolist()
    assert found == [whole(Fraction(1000 * time, timescale)) for time in times]


@given(st.integers(-(2**40), 2**40), st.integers(1, 2**22))
def test_the_first_tick_of_a_millisecond(millisecond: int, timescale: int) -> None:
    (tick,) = first_tick(np.array([millisecond], dtype=np.int64), timescale).tolist()
    around = milliseconds(np.array([tick - 1, tick], dtype=np.int64), timescale).tolist()
    assert around[0] < millisecond <= around[1]


def made(video: Span | None, audio: Span | None, earlier: int = 0) -> list[Tag]:
    plan = Plan(
        parts=fragment(video, audio, earlier),
        content_type="video/f4f",
        cache_class=CacheClass.MEDIA,
    )
    return read_fragment(body(plan, zeros))


VIDEO_TRACK = avc_track(seconds=20, b_frames=True)
AUDIO_TRACK = aac_track(seconds=20)


def test_both_configurations_come_first() -> None:
    tags = made(
        Span(track=VIDEO_TRACK, first=100, last=150), Span(track=AUDIO_TRACK, first=190, last=280)
    )
    assert [(tag.type, tag.data) for tag in tags[:2]] == [(VIDEO, AVCC), (AUDIO, SPECIFIC_CONFIG)]
    assert all(tag.configuration == (at < 2) for at, tag in enumerate(tags))
    assert tags[0].timestamp == tags[1].timestamp == tags[2].timestamp
    assert len(samples(tags, VIDEO)) == 50
    assert len(samples(tags, AUDIO)) == 90


def test_sizes_and_key_frames_are_those_of_the_samples() -> None:
    tags = samples(made(Span(track=VIDEO_TRACK, first=50, last=150), None), VIDEO)
    assert [len(tag.data) for tag in tags] == VIDEO_TRACK.samples.size[50:150].tolist()
    assert [at for at, tag in enumerate(tags) if tag.is_key] == [0, 50]


def test_reordered_pictures_keep_their_presentation_times() -> None:
    earlier = reordering([VIDEO_TRACK])
    assert earlier == 40  # I P B B: B-pictures are decoded a picture after they are presented
    tags = samples(made(Span(track=VIDEO_TRACK, first=0, last=50), None, earlier), VIDEO)
    expected = VIDEO_TRACK.presentation_time()[:50] * 1000 // VIDEO_TRACK.timescale
    assert [tag.presented for tag in tags] == expected.tolist()
    # The first would be decoded before 0.
    assert [tag.timestamp for tag in tags[:4]] == [0, 1, 40, 80]


def test_times_beyond_24_bits() -> None:
    start = 5 * 3600
    track = avc_track(seconds=4, start=12_800 * start)
    tags = samples(made(Span(track=track, first=0, last=100), None))
    assert tags[0].timestamp == 1000 * start > 1 << 24
    assert tags[-1].timestamp == 1000 * start + 3960


def test_samples_without_bytes_have_no_tag() -> None:
    size = AUDIO_TRACK.samples.size.copy()
    size[[0, 3, 9]] = 0
    track = replace(AUDIO_TRACK, samples=replace(AUDIO_TRACK.samples, size=size))
    tags = samples(made(None, Span(track=track, first=0, last=10)))
    assert [tag.timestamp for tag in tags] == [21, 43, 85, 107, 128, 149, 171]


def test_no_sample_at_all() -> None:
    tags = made(Span(track=VIDEO_TRACK, first=9, last=9), Span(track=AUDIO_TRACK, first=9, last=9))
    assert [tag.type for tag in tags] == [VIDEO, AUDIO]
    assert samples(tags) == []


def test_a_sample_that_does_not_fit_a_tag() -> None:
    size = VIDEO_TRACK.samples.size.copy()
    size[5] = (1 << 24) - 6
    track = replace(VIDEO_TRACK, samples=replace(VIDEO_TRACK.samples, size=size))
    assert made(Span(track=track, first=0, last=10), None)
    size[5] += 1
    with pytest.raises(UnsupportedMedia, match="does not fit a tag"):
        made(Span(track=track, first=0, last=10), None)


def test_what_flv_can_hold() -> None:
    assert is_supported(rendition(VIDEO_TRACK))
    assert is_supported(rendition(AUDIO_TRACK))
    # Parameter sets in the samples only; no configuration; other codecs; text.
    for track in (VIDEO_TRACK, AUDIO_TRACK):
        bare = replace(track, facts=replace(track.facts, codec_private_data=b""))
        assert not is_supported(rendition(bare))
    assert not is_supported(rendition(text_track(cues=[(0, 1000)])))
    hevc = replace(VIDEO_TRACK, facts=replace(VIDEO_TRACK.facts, fourcc="HEV1"))
    opus = replace(AUDIO_TRACK, facts=replace(AUDIO_TRACK.facts, fourcc="OPUS"))
    assert not is_supported(rendition(hevc))
    assert not is_supported(rendition(opus))
