"""Clips of a presentation, and the segments that they list."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import BadRequest
from sidecar.media.options import parse_options
from sidecar.media.presentation import Presentation
from sidecar.timeline.clips import WHOLE, Clip, clip_of, clipped
from sidecar.timeline.segmenter import Timeline
from tests.support.tracks import audio_track, policy, presentation, rendition, video_track

SHOWN = presentation(rendition(video_track(seconds=30)), rendition(audio_track(seconds=30)))
SINCE_1970 = 1_544_100_900  # 2018-12-06T12:55:00Z
RECORDED = presentation(
    rendition(video_track(seconds=30, start=SINCE_1970 * 12_800)),
    rendition(audio_track(seconds=SINCE_1970 + 30, start=SINCE_1970 * 48_000)),
)


def clip(query: str, shown: Presentation = SHOWN) -> Clip:
    return clip_of(shown, parse_options({}, query))


def test_none_is_the_whole() -> None:
    assert clip("") is WHOLE
    assert WHOLE.is_whole


def test_counted_from_the_begin() -> None:
    assert clip("vbegin=10&vend=00:00:20.5") == Clip(Fraction(10), Fraction(41, 2))
    assert clip("vbegin=10&vend=1000") == Clip(Fraction(10), Fraction(1000))


def test_media_with_times_since_1970() -> None:
    expected = Clip(Fraction(SINCE_1970 + 10), Fraction(SINCE_1970 + 20))
    assert clip("vbegin=10&vend=20", RECORDED) == expected
    assert clip("vbegin=2018-12-06T12:55:10Z&vend=2018-12-06T12:55:20Z", RECORDED) == expected


@pytest.mark.parametrize(
    ("query", "shown", "sentence"),
    [
        ("vbegin=31", SHOWN, "begins at 31, but the presentation ends at 30"),
        ("vbegin=2018-12-06T12:55:10Z", SHOWN, "begins at 2018-12-06T12:55:10Z, but"),
        ("vbegin=31", RECORDED, "begins at 31, but the presentation ends at 30"),
        ("vend=2018-12-06T12:55:00Z", RECORDED, "before anything is presented"),
    ],
)
def test_nothing_in_the_clip(query: str, shown: Presentation, sentence: str) -> None:
    with pytest.raises(BadRequest, match=sentence):
        clip(query, shown)


@given(st.fractions(0, 29), st.fractions(0, 40), st.booleans(), st.booleans())
def test_the_segments_of_a_clip(
    begin: Fraction, length: Fraction, ends: bool, is_video: bool
) -> None:
    """Exactly those that overlap it."""
    end = begin + length + Fraction(1, 1000) if ends else None
    shown = SHOWN.renditions[1 if is_video else 0]
    segments = Timeline(SHOWN).segments(shown, policy(4))
    chosen = clipped(segments, Clip(begin, end))
    assert 0 <= chosen.start <= chosen.stop <= len(segments)
    for index in range(len(segments)):
        first = Fraction(int(segments.start[index]), segments.timescale)
        last = Fraction(int(segments.start[index + 1]), segments.timescale)
        overlaps = last > begin and (end is None or first < end)
        assert (index in chosen) is overlaps
