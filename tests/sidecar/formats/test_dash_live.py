"""Dynamic MPDs, and the segments that they name."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from urllib.parse import unquote

import pytest
from lxml import etree

from sidecar.errors import FragmentMissing, FragmentNotAvailable, FragmentNotFound, NotFound
from tests.support.dash_schema import dash_schema
from tests.support.golden import Golden, golden  # noqa: F401
from tests.support.live_feed import LADDER, LATENCY, SINCE_1970, Feed, audio, text, video
from tests.support.mpd import parse_duration

NS = {"m": "urn:mpeg:dash:schema:mpd:2011"}
TEMPLATES = ("time", "number", "number_timeline")


def mpd(feed: Feed, query: str = "", **directives: str) -> etree._Element:
    root = etree.fromstring(feed.body(".mpd", query, **directives))
    dash_schema().assertValid(root)
    return root


def seconds(root: etree._Element, attribute: str) -> Fraction:
    return parse_duration(root.get(attribute, ""))


def listed(root: etree._Element) -> dict[str, list[tuple[str, Fraction, Fraction]]]:
    """(URL, begin, duration) of all segments by Representation; seconds of the presentation."""
    found = {}
    (period,) = root.findall("m:Period", NS)
    start = parse_duration(period.get("start", ""))
    for element in root.iterfind(".//m:Representation", NS):
        template = element.find("m:SegmentTemplate", NS)
        if template is None:
            template = element.getparent().find("m:SegmentTemplate", NS)  # type: ignore[union-attr]
        assert template is not None
        timescale = int(template.get("timescale", ""))
        offset = int(template.get("presentationTimeOffset", "0"))
        number = int(template.get("startNumber", "1"))
        segments, time = [], 0
        for entry in template.iterfind("m:SegmentTimeline/m:S", NS):
            time = int(entry.get("t", time))
            length = int(entry.get("d", ""))
            for _ in range(int(entry.get("r", "0")) + 1):
                url = template.get("media", "").replace("$Time$", str(time))
                url = url.replace("$Number$", str(number))
                url = url.replace("$RepresentationID$", element.get("id", ""))
                begin = start + Fraction(time - offset, timescale)
                segments.append((f"dash/{unquote(url)}", begin, Fraction(length, timescale)))
                time, number = time + length, number + 1
        assert segments
        found[element.get("id", "")] = segments
    return found


def test_golden(feed: Feed, golden: Golden) -> None:  # noqa: F811
    feed.push(*range(20))
    golden.check("dash/live.mpd", feed.body(".mpd").decode())
    golden.check("dash/live-start-over.mpd", feed.body(".mpd", "vbegin=00:00:11").decode())
    feed.stop()
    golden.check("dash/live-ended.mpd", feed.body(".mpd").decode())


def test_golden_with_a_hole(dated: Feed, golden: Golden) -> None:  # noqa: F811
    golden.check("dash/live-hole.mpd", dated.body(".mpd").decode())


def test_the_window(feed: Feed) -> None:
    feed.push(*range(40))
    root = mpd(feed, "dvr_window_length=20")
    assert root.get("type") == "dynamic"
    assert root.get("availabilityStartTime") == "2023-11-14T22:13:20Z"
    assert seconds(root, "minimumUpdatePeriod") == 2
    assert seconds(root, "timeShiftBufferDepth") == 20
    assert seconds(root, "suggestedPresentationDelay") == 8
    assert seconds(root, "minBufferTime") == 2
    assert root.get("mediaPresentationDuration") is None
    for segments in listed(root).values():
        assert len(segments) in (10, 11)
        # Times are those of the media: what moves is what is listed.
        assert Fraction(56) < segments[0][1] < Fraction(60)
        for _, _, length in segments:
            assert length <= seconds(root, "maxSegmentDuration")
    assert feed.ask(".mpd").plan.last_modified == SINCE_1970 + 80 + LATENCY // 1000


def test_a_window_that_fills(feed: Feed) -> None:
    feed.push(0, 1, 2)
    assert seconds(mpd(feed), "timeShiftBufferDepth") == 30
    dynamic = {"usp_dynamic_time_shift_buffer_depth": "on"}
    assert 5 < seconds(mpd(feed, **dynamic), "timeShiftBufferDepth") <= 6
    feed.push(*range(3, 40))
    assert seconds(mpd(feed, **dynamic), "timeShiftBufferDepth") == 30


def test_what_stays_while_it_grows(feed: Feed) -> None:
    feed.push(*range(20))
    before = mpd(feed)
    feed.push(20)
    after = mpd(feed)
    changes = {name for name in before.attrib if before.get(name) != after.get(name)}
    assert changes == {"publishTime"}
    assert before.get("publishTime", "") < after.get("publishTime", "")
    old, new = listed(before), listed(after)
    for name, segments in old.items():
        # What leaves and what comes depends on where the fragments of each track end.
        shared = [one for one in new[name] if one in segments]
        assert len(shared) >= len(segments) - 2
        assert new[name][: len(shared)] == shared == segments[-len(shared) :]


def test_origins_that_were_sent_the_same_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    one = Feed(tmp_path / "one", begin=SINCE_1970, epoch_ms=0)
    other = Feed(tmp_path / "other", begin=SINCE_1970, epoch_ms=0)
    one.push(*range(20))
    # What is received in another order is received at another time.
    other.push(*range(20), only=(3,))
    other.push(*range(20), only=(2, 1))
    assert one.body(".mpd") == other.body(".mpd")


def test_times_since_1970(dated: Feed) -> None:
    root = mpd(dated)
    assert root.get("availabilityStartTime") == "1970-01-01T00:00:00Z"
    assert root.get("publishTime") == "2023-11-14T22:13:59.978Z"
    for segments in listed(root).values():
        assert SINCE_1970 < segments[0][1] < SINCE_1970 + 40


@pytest.mark.parametrize("query", ["", "vbegin=2023-11-14T22:13:27Z"])
def test_times_that_browsers_can_count(tmp_path: Path, query: str) -> None:
    tracks = [video(1, 400_000, 10_000_000), video(2, 2_500_000), audio(3, 128_000)]
    feed = Feed(tmp_path, tracks, begin=SINCE_1970, epoch_ms=0, dvr_window_length=600)
    feed.push(*range(300))
    root = mpd(feed, query)
    entries = [one.get("t", "0") for one in root.iterfind(".//m:S", NS)]
    offsets = [
        one.get("presentationTimeOffset", "0") for one in root.iterfind(".//m:SegmentTemplate", NS)
    ]
    assert all(int(ticks) < 1 << 53 for ticks in entries + offsets)
    found = listed(root)
    for (_, one, _), (_, other, _) in zip(
        found["video=400000"], found["video=2500000"], strict=True
    ):
        assert abs(one - other) < Fraction(1, 100_000)
    for url, *_ in found["video=400000"]:
        assert feed.ask(url).plan.length > 0


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("query", ["", "vbegin=00:00:07", "mpd_minimum_fragment_length=4"])
def test_what_is_listed_is_there(feed: Feed, template: str, query: str) -> None:
    feed.push(*range(23))
    query = f"{query}&mpd_segment_template={template}"
    segments = "mpd_minimum_fragment_length=4" if "length" in query else ""
    for name, found in listed(mpd(feed, query)).items():
        for url, begin, length in found:
            path, _, carried = url.partition("?")
            assert carried == segments
            assert feed.ask(path, carried).plan.length > 0
            # What is listed has been received.
            assert begin + length <= 46 + Fraction(1, 10), name


@pytest.mark.parametrize("template", ["number", "number_timeline"])
def test_numbers_do_not_depend_on_the_window(tmp_path: Path, template: str) -> None:
    feed = Feed(tmp_path, dvr_window_length=100)
    feed.push(*range(40))
    query = f"mpd_segment_template={template}"
    whole = listed(mpd(feed, f"dvr_window_length=100&{query}"))
    for window in (10, 17, 40):
        part = listed(mpd(feed, f"dvr_window_length={window}&{query}"))
        for name, segments in part.items():
            assert segments == whole[name][-len(segments) :]
    # Nobody may count from the clock: there is no single duration.
    root = mpd(feed, query)
    assert not root.findall(".//m:SegmentTemplate[@duration]", NS)


def test_both_names_of_a_segment(feed: Feed) -> None:
    feed.push(*range(20))
    timed, numbered = (listed(mpd(feed, f"mpd_segment_template={one}")) for one in TEMPLATES[:2])
    for name, segments in timed.items():
        for (one, *_), (other, *_) in zip(segments, numbered[name], strict=True):
            first, second = feed.ask(one).plan, feed.ask(other).plan
            assert [part.length for part in first.parts] == [part.length for part in second.parts]
            assert bytes(first.parts[0].data) == bytes(second.parts[0].data)  # type: ignore[union-attr]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_hole_is_left_out(dated: Feed, template: str) -> None:
    root = mpd(dated, f"mpd_segment_template={template}")
    for segments in listed(root).values():
        begins = [begin for _, begin, _ in segments]
        # What is listed is what was received, from when it really begins.
        at = [round(begin - SINCE_1970) for begin in begins]
        assert at == [8, 10, 12, 14, 16, 18, 24, 26, 28, 30, 32, 34, 36, 38]
        for url, *_ in segments:
            dated.ask(url)
    assert len(root.findall(".//m:S[@t]", NS)) == 2 * len(root.findall(".//m:SegmentTimeline", NS))
    rates = {one.get("frameRate") for one in root.iterfind(".//m:Representation[@width]", NS)}
    assert rates == {"25"}


def test_a_hole_that_is_filled_later(dated: Feed) -> None:
    before = listed(mpd(dated))
    dated.push(10, 11)
    after = listed(mpd(dated))
    for name, segments in before.items():
        assert set(segments) < set(after[name])
        assert len(after[name]) == len(segments) + 2


def test_segments_that_are_not_there(dated: Feed) -> None:
    number = SINCE_1970 // 2 + 1
    for at in (10, 11):
        with pytest.raises(FragmentMissing):
            dated.ask(f"dash/ch-video=400000-{number + at}.m4s")
    with pytest.raises(FragmentNotFound):
        dated.ask(f"dash/ch-video=400000-{number - 1}.m4s")
    with pytest.raises(FragmentNotAvailable):
        dated.ask(f"dash/ch-video=400000-{number + 20}.m4s")
    urls = [url for url, *_ in listed(mpd(dated, "vbegin=0"))["video=400000"]]
    times = [int(url.rpartition("-")[2].removesuffix(".dash")) for url in urls]
    gap = times[9] + 25_600
    for time, error in (
        (times[0] - 25_600, FragmentNotFound),
        (gap, FragmentMissing),
        (gap + 25_600, FragmentMissing),
        (times[3] + 1, FragmentMissing),
        (times[-1] + 51_200, FragmentNotAvailable),
    ):
        with pytest.raises(error):
            dated.ask(f"dash/ch-video=400000-{time}.dash")


def test_segments_older_than_what_is_in_memory(feed: Feed) -> None:
    feed.push(*range(600))
    recent = listed(mpd(feed))["video=400000"]
    assert recent[0][1] > 1000
    plan = feed.ask("dash/ch-video=400000-7.m4s").plan
    assert plan.last_modified == SINCE_1970 + 14
    assert feed.ask("dash/ch-video=400000-154624.dash").plan.length == plan.length
    timed = feed.ask(f"dash/ch-video=400000-{401 * 25_600 + 1024}.dash").plan
    assert timed.last_modified == SINCE_1970 + 804
    with pytest.raises(FragmentMissing):
        feed.ask(f"dash/ch-video=400000-{401 * 25_600 + 1025}.dash")
    with pytest.raises(FragmentNotFound):
        feed.ask("dash/ch-video=400000-0.m4s")


def test_the_edge_is_where_each_track_is(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.push(*range(20))
    feed.push(20, only=(1, 2))
    before = listed(mpd(feed))
    feed.push(20, only=(3,))
    after = listed(mpd(feed))
    for name, segments in before.items():
        assert after[name][-2] == segments[-1]
    ends = [float(segments[-1][1] + segments[-1][2]) for segments in after.values()]
    assert max(ends) - min(ends) < 0.2


def test_start_over(feed: Feed) -> None:
    feed.push(*range(40))
    before = mpd(feed, "vbegin=00:00:11")
    assert before.get("type") == "dynamic"
    # All that is listed stays, and is presented from 0 on.
    assert before.get("timeShiftBufferDepth") is None
    assert before.get("availabilityStartTime") == "2023-11-14T22:13:30.080Z"
    old = listed(before)
    assert old["video=400000"][0][1] == 0
    assert len(old["video=400000"]) == 35
    feed.push(40, 41)
    after = mpd(feed, "vbegin=00:00:11")
    new = listed(after)
    for name, segments in old.items():
        assert new[name][: len(segments)] == segments
        assert len(segments) < len(new[name]) <= len(segments) + 3
    # The end comes on the same timeline.
    feed.stop()
    ended = mpd(feed, "vbegin=00:00:11")
    assert ended.get("type") == "static"
    assert seconds(ended, "mediaPresentationDuration") == 74
    for name, segments in listed(ended).items():
        assert segments[: len(new[name])] == new[name]


@pytest.mark.parametrize("begin", [0, 80_000])
def test_the_end_comes_where_the_window_is(tmp_path: Path, begin: int) -> None:
    feed = Feed(tmp_path, begin=begin)
    feed.push(*range(40))
    before = mpd(feed, "dvr_window_length=20")
    feed.stop()
    after = mpd(feed, "dvr_window_length=20")
    assert [root.get("type") for root in (before, after)] == ["dynamic", "static"]
    assert seconds(after, "mediaPresentationDuration") == begin + Fraction("80.08")
    # What players know of a Period stays: they take from it only what comes last.
    (old,), (new,) = (root.findall("m:Period", NS) for root in (before, after))
    assert new.attrib == {**old.attrib, "duration": after.get("mediaPresentationDuration", "")}
    assert not after.findall(".//m:SegmentTemplate[@presentationTimeOffset]", NS)
    for name, segments in listed(after).items():
        assert set(listed(before)[name]) < set(segments)


def test_players_that_come_late_need_not_look_for_it_since_1970(dated: Feed) -> None:
    before = listed(mpd(dated, "dvr_window_length=20"))
    dated.stop()
    root = mpd(dated, "dvr_window_length=20")
    after = listed(root)
    assert all(set(before[name]) < set(after[name]) for name in after)
    (period,) = root.findall("m:Period", NS)
    begin = parse_duration(period.get("start", ""))
    assert 0 <= after["video=400000"][0][1] - begin < Fraction(1, 1000)


def test_catch_up(dated: Feed) -> None:
    query = "vbegin=2023-11-14T22:13:26Z&vend=2023-11-14T22:13:34Z"
    root = mpd(dated, query)
    assert root.get("type") == "static"
    assert root.find("m:UTCTiming", NS) is None
    found = listed(root)["video=400000"]
    assert found[0][1] == 0
    assert seconds(root, "mediaPresentationDuration") in (8, 10)
    # What comes changes nothing.
    dated.push(20, 21)
    assert etree.tostring(mpd(dated, query)) == etree.tostring(root)
    later = mpd(dated, "vbegin=2023-11-14T22:13:26Z&vend=2023-11-14T23:13:34Z")
    assert later.get("type") == "dynamic"


def test_the_end_of_a_window(feed: Feed) -> None:
    feed.push(*range(38))
    before = listed(mpd(feed))
    feed.push(38, 39)
    feed.stop()
    root = mpd(feed)
    assert root.get("type") == "static"
    for name in ("availabilityStartTime", "minimumUpdatePeriod", "timeShiftBufferDepth"):
        assert root.get(name) is None
    # What plays goes on: the same timeline, which begins with what is listed.
    (period,) = root.findall("m:Period", NS)
    assert seconds(root, "mediaPresentationDuration") == Fraction(8008, 100)
    start = parse_duration(period.get("start", ""))
    assert start <= Fraction(5008, 100)
    assert start + parse_duration(period.get("duration", "")) == Fraction(8008, 100)
    after = listed(root)
    for name, segments in before.items():
        # All of it, too, and more behind: dash.js takes a list that has not become longer, or has
        # moved on, for the one that it has loaded to the end.
        urls = [url for url, _, _ in after[name]]
        at = urls.index(segments[0][0])
        for (url, begin, _), (same, later, _) in zip(
            segments, after[name][at : at + len(segments)], strict=True
        ):
            assert url == same
            assert abs(begin - later) < Fraction(1, 10_000)
        assert len(after[name]) > len(segments)


def test_a_shifted_point(feed: Feed) -> None:
    feed.push(*range(40))
    root = mpd(feed, "time_shift=20")
    # Clients take the clock for what is live: so time 0 was later too.
    assert root.get("availabilityStartTime") == "2023-11-14T22:13:40Z"
    assert root.get("publishTime") == "2023-11-14T22:14:39.978Z"
    last = listed(root)["video=400000"][-1]
    assert 58 <= last[1] + last[2] <= 62


def test_options(feed: Feed) -> None:
    feed.push(*range(20))
    root = mpd(
        feed,
        "mpd_suggested_presentation_delay=12&mpd_minimum_update_period=5&mpd_min_buffer_time=7/2",
    )
    assert seconds(root, "suggestedPresentationDelay") == 12
    assert seconds(root, "minimumUpdatePeriod") == 5
    assert seconds(root, "minBufferTime") == Fraction(7, 2)
    merged = mpd(feed, "mpd_minimum_fragment_length=6")
    assert seconds(merged, "minimumUpdatePeriod") == 6
    assert seconds(merged, "suggestedPresentationDelay") == 24


def test_no_trick_play_of_key_frames(feed: Feed) -> None:
    feed.push(*range(20))
    assert etree.tostring(mpd(feed, "fixed_gop")) == etree.tostring(mpd(feed))
    with pytest.raises(NotFound):
        feed.ask("dash/keyframes/ch-video=400000-1.m4s")


@pytest.mark.parametrize("query", ["", "vbegin=00:00:10", "dvr_window_length=31622400"])
def test_the_root_ends_early(tmp_path: Path, query: str) -> None:
    feed = Feed(tmp_path, LADDER, epoch_ms=SINCE_1970 * 1000 + 123)
    feed.push(*range(20))
    document = feed.body(".mpd", query)
    assert document.index(b">", document.index(b"<MPD")) < 512


def test_sound_alone(tmp_path: Path) -> None:
    feed = Feed(tmp_path, [audio(1, 128_000, 44_100), audio(2, 64_000, 44_100)])
    feed.push(*range(20))
    root = mpd(feed)
    for segments in listed(root).values():
        assert len(segments) >= 14
        for url, *_ in segments:
            feed.ask(url)


@pytest.mark.parametrize("kind", ["stpp", "wvtt"])
def test_text(tmp_path: Path, kind: str) -> None:
    feed = Feed(tmp_path, [video(1, 400_000), text(2, kind)])
    feed.push(*range(20))
    found = listed(mpd(feed))
    (name,) = (name for name in found if name.startswith("text"))
    assert [round(begin) for _, begin, _ in found[name]] == list(range(10, 40, 2))[
        : len(found[name])
    ]
    for url, *_ in found[name]:
        # Bytes of the sample are in the file.
        assert feed.ask(url).plan.parts[-1].length == 10
    with pytest.raises(NotFound):
        feed.ask(f"dash/ch-{name}.{ {'stpp': 'ttml', 'wvtt': 'webvtt'}[kind] }")


@pytest.mark.parametrize("kind", ["stpp", "wvtt"])
def test_silence(tmp_path: Path, kind: str) -> None:
    feed = Feed(tmp_path, [video(1, 400_000), text(2, kind)], dvr_window_length=100)
    feed.push(0, 1)
    feed.push(*range(2, 20), only=(1,))
    found = listed(mpd(feed))
    (name,) = (name for name in found if name.startswith("text"))
    # What has not come for seconds does not come any more.
    last = found[name][-1]
    assert last[1] + last[2] == 34
    sizes = [feed.ask(url).plan.length for url, *_ in found[name]]
    assert len(set(sizes[2:])) == 1
    empty = feed.ask(found[name][5][0]).plan
    # The hole is the same when it is one: text goes on behind it.
    feed.push(20)
    assert len(listed(mpd(feed))[name]) == 21
    again = feed.ask(found[name][5][0]).plan
    assert [bytes(one.data) for one in again.parts] == [bytes(one.data) for one in empty.parts]  # type: ignore[union-attr]


def test_silence_that_is_older_than_what_is_in_memory(tmp_path: Path) -> None:
    feed = Feed(tmp_path, [video(1, 400_000), text(2)])
    feed.push(0, 1)
    feed.push(*range(2, 400), only=(1,))
    feed.push(400)
    (name,) = (name for name in listed(mpd(feed)) if name.startswith("text"))
    assert feed.ask(f"dash/ch-{name}-100.m4s").plan.length > 0


def test_nothing_yet(feed: Feed) -> None:
    with pytest.raises(NotFound):
        feed.ask(".mpd")
