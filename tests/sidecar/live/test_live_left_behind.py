"""Encoders of single tracks that go away while others go on: who watches goes on as well."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.live_feed import Feed

# track_IDs of the feed: two pictures and sound.
LOW, HIGH, SOUND = 1, 2, 3
NAMES = {LOW: "video=400000", HIGH: "video=2500000", SOUND: "audio_eng=128000"}
WINDOW = 30


def numbers(feed: Feed, track: int) -> list[int]:
    """Those of the segments that are listed of ``track``; each can be had, but for gaps."""
    text = feed.body(f"ch-{NAMES[track]}.m3u8", "hls_fmp4").decode()
    found = re.findall(r"(?m)^((?:#.*\n)+)(hls/\S*?-(\d+)\.m4s)", text)
    for tags, url, _ in found:
        assert "#EXT-X-GAP" in tags or feed.ask(url).plan.parts
    return [int(number) for _, _, number in found]


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    made = Feed(tmp_path, dvr_window_length=WINDOW)
    made.push(*range(50))
    return made


@pytest.mark.parametrize("gone", [LOW, HIGH])
def test_pictures_that_stay_lead(gone: int, feed: Feed) -> None:
    stay = HIGH if gone == LOW else LOW
    for last in (60, 80, 150):
        feed.push(*range(max(50, last - 20), last), only=[stay, SOUND])
        for track in (stay, SOUND):
            assert numbers(feed, track)[-1] == last
        manifest = feed.body(".m3u8", "hls_fmp4").decode()
        assert NAMES[stay] in manifest
        assert (NAMES[gone] in manifest) == (last == 60)
        assert feed.body(".mpd")
        assert feed.body("Manifest")
    feed.push(*range(150, 155))
    assert {numbers(feed, track)[-1] for track in NAMES} == {155}


def test_without_any_pictures_all_stands_still_until_they_are_back(feed: Feed) -> None:
    for last in (60, 80):
        feed.push(*range(last - 10 if last == 60 else 60, last), only=[SOUND])
        for track in NAMES:
            listed = numbers(feed, track)
            assert listed[-1] == 50
            assert len(listed) >= WINDOW // 2
        assert feed.body(".mpd")
        assert feed.body("Manifest")
    feed.push(*range(80, 85))
    assert {numbers(feed, track)[-1] for track in NAMES} == {85}


def test_sound_that_is_gone_keeps_no_picture_back(feed: Feed) -> None:
    for last in (60, 80):
        feed.push(*range(last - 10 if last == 60 else 60, last), only=[LOW, HIGH])
        assert {numbers(feed, track)[-1] for track in (LOW, HIGH)} == {last}


def test_a_hole_is_told_of_when_it_will_not_be_filled_any_more(feed: Feed) -> None:
    feed.push(62)
    assert {numbers(feed, track)[-1] for track in NAMES} == {50}
    feed.push(63)
    assert {numbers(feed, track)[-1] for track in NAMES} == {64}


@pytest.mark.parametrize("hole", [13, 14, 15, 16, 25])
def test_a_window_that_is_a_hole_begins_before_it(hole: int, feed: Feed) -> None:
    for number in range(50 + hole, 50 + hole + 6):
        for track in NAMES:
            feed.push(number, only=[track])
            assert feed.body(".mpd")
            assert feed.body("Manifest")
            assert numbers(feed, track)


@pytest.mark.parametrize("hole", [9_999, 10_001, 43_200, 99_000])
def test_a_hole_of_hours(hole: int, feed: Feed) -> None:
    feed.body(".mpd")
    for number in range(50 + hole, 50 + hole + 3):
        for track in NAMES:
            feed.push(number, only=[track])
            for one in NAMES:
                assert len(numbers(feed, one)) >= WINDOW // 2
    assert {numbers(feed, track)[-1] for track in NAMES} == {50 + hole + 3}


def test_all_that_comes_behind_a_long_hole_is_listed(tmp_path: Path) -> None:
    """Sound is cut into as many fragments as pictures, but the first one is longer than usual."""
    feed = Feed(tmp_path, dvr_window_length=3600)
    feed.push(*range(50), *range(450, 460))
    assert {numbers(feed, track)[-1] for track in NAMES} == {460}
    assert len({len(numbers(feed, track)) for track in NAMES}) == 1
