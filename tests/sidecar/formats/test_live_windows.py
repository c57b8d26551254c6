"""What manifests say of their window: how long it is, how far behind players stay, and where a
start-over begins of which the begin is gone."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import pytest
from lxml import etree

from tests.support.dash_schema import dash_schema
from tests.support.live_feed import LADDER, LENGTH, SINCE_1970, Feed
from tests.support.mpd import parse_duration

NS = {"m": "urn:mpeg:dash:schema:mpd:2011"}
# When the first picture is presented, seconds.
SHOWN = Fraction(2, 25)
ON = {"usp_dynamic_time_shift_buffer_depth": "on"}


def mpd(feed: Feed, query: str = "", **directives: str) -> etree._Element:
    root = etree.fromstring(feed.body(".mpd", query, **directives))
    dash_schema().assertValid(root)
    return root


def seconds(root: etree._Element, attribute: str) -> Fraction:
    return parse_duration(root.get(attribute, ""))


def first_listed(root: etree._Element) -> Fraction:
    """When the first segment of the pictures begins, seconds of the media."""
    template = root.find(".//m:AdaptationSet[@contentType='video']//m:SegmentTemplate", NS)
    assert template is not None
    entry = template.find("m:SegmentTimeline/m:S", NS)
    assert entry is not None
    return Fraction(int(entry.get("t", "0")), int(template.get("timescale", "")))


def offsets(feed: Feed, query: str) -> list[bytes]:
    return re.findall(rb'presentationTimeOffset="\d+"', feed.body(".mpd", query))


def video_playlist(feed: Feed, query: str = "") -> str:
    master = feed.body(".m3u8", query).decode()
    (url,) = re.findall(r"^ch-audio.*video=400000.*$", master, re.MULTILINE)[:1]
    path, _, carried = url.partition("?")
    return feed.body(path, carried).decode()


@pytest.mark.parametrize("query", ["", "dvr_window_length=5", "mpd_minimum_fragment_length=6"])
@pytest.mark.parametrize("window", [1, 7, 20])
def test_players_stay_inside_the_window(tmp_path: Path, window: int, query: str) -> None:
    feed = Feed(tmp_path, dvr_window_length=window)
    feed.push(*range(60))
    root = mpd(feed, query)
    segment = 6 if "minimum" in query else LENGTH
    depth = seconds(root, "timeShiftBufferDepth")
    assert depth >= 3 * segment
    assert segment <= seconds(root, "suggestedPresentationDelay") <= depth - segment


@pytest.mark.parametrize("window", [1, 3, 7, 20])
def test_playlists_have_three_segments(tmp_path: Path, window: int) -> None:
    feed = Feed(tmp_path, dvr_window_length=window)
    feed.push(*range(60))
    for query, least in (("", 3), ("hls_minimum_fragment_length=12", 3)):
        assert video_playlist(feed, query).count("#EXTINF") >= least


@pytest.mark.parametrize("fragments", [3, 5, 9, 10, 30])
def test_the_depth_is_what_there_is(tmp_path: Path, fragments: int) -> None:
    feed = Feed(tmp_path, dvr_window_length=20)
    feed.push(*range(fragments))
    root = mpd(feed, **ON)
    # Sound and pictures do not end at the same moment.
    wanted = min(20, LENGTH * fragments)
    assert wanted - Fraction(1, 10) < seconds(root, "timeShiftBufferDepth") <= wanted
    assert seconds(mpd(feed), "timeShiftBufferDepth") == 20


@pytest.mark.parametrize("dated", [False, True])
@pytest.mark.parametrize("asked", ["vbegin=0", "vbegin=9", "vbegin=10"])
def test_a_start_over_of_which_the_begin_is_gone(tmp_path: Path, asked: str, dated: bool) -> None:
    begin = SINCE_1970 if dated else 0
    epoch = 0 if dated else SINCE_1970 * 1000
    feed = Feed(tmp_path, LADDER, begin=begin, epoch_ms=epoch, dvr_window_length=20, archiving=True)
    feed.push(*range(60))
    whole = mpd(feed, asked)
    # That of the whole presentation begins with the sound, which begins with a part of a frame.
    from_start = asked == "vbegin=0"
    assert whole.get("timeShiftBufferDepth") is None
    assert "TYPE:EVENT" in video_playlist(feed, asked)
    assert feed.body("Manifest", asked).count(b'DVRWindowLength="0"') == 1
    offset = offsets(feed, asked)
    for number in (8, 12, 30):
        feed.lose(number)
        root = mpd(feed, asked)
        if from_start:
            whole, offset, from_start = root, offsets(feed, asked), False
        # ISO/IEC 23009-1 5.4.1: what has been said of times stays.
        assert root.get("availabilityStartTime") == whole.get("availabilityStartTime")
        assert offsets(feed, asked) == offset
        assert first_listed(root) == begin + number * LENGTH + SHOWN
        left = 120 - number * LENGTH
        assert left - 1 < seconds(root, "timeShiftBufferDepth") <= left
        text = video_playlist(feed, asked)
        assert "PLAYLIST-TYPE" not in text
        assert f"MEDIA-SEQUENCE:{begin // LENGTH + number + 1}\n" in text
        assert b'DVRWindowLength="0"' not in feed.body("Manifest", asked)
    feed.stop()
    assert offsets(feed, asked) == offset


@pytest.mark.parametrize("query", ["vbegin=1700000010&vend=1700000020", "t=1700000010-1700000020"])
def test_moments_since_1970(tmp_path: Path, query: str) -> None:
    feed = Feed(tmp_path, begin=SINCE_1970, epoch_ms=0, dvr_window_length=20)
    feed.push(*range(20))
    said = "vbegin=2023-11-14T22:13:30Z&vend=2023-11-14T22:13:40Z"
    assert feed.body(".mpd", query) == feed.body(".mpd", said)
    assert mpd(feed, query).get("type") == "static"


def test_an_end_alone(tmp_path: Path) -> None:
    feed = Feed(tmp_path, dvr_window_length=20)
    feed.push(*range(60))
    root = mpd(feed, "vend=50")
    assert root.get("type") == "static"
    assert first_listed(root) == SHOWN
    assert 50 <= seconds(root, "mediaPresentationDuration") <= 52


def test_what_a_shift_hides_no_clip_shows(tmp_path: Path) -> None:
    feed = Feed(tmp_path, dvr_window_length=20)
    feed.push(*range(60))
    for more in ("vbegin=90", "vbegin=90&vend=115"):
        text = video_playlist(feed, f"time_shift=10&{more}")
        first = int(re.findall(r"MEDIA-SEQUENCE:(\d+)", text)[0])
        # The segment in which the last moment lies is there.
        assert (first - 1 + text.count("#EXTINF")) * LENGTH <= 112
        assert "ENDLIST" not in text
