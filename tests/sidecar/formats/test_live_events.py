"""Events of a publishing point in what players get: playlists, MPDs, segments."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import pytest
from lxml import etree

from sidecar.live.model import Fragment, Header
from sidecar.live.parser import StreamParser
from sidecar.live.said import add_event
from sidecar.media.events import ID3, SCTE35, Event
from sidecar.mux.plan import Inline
from tests.support.dash_schema import dash_schema
from tests.support.events import emsg, segmentation, splice_insert, time_signal
from tests.support.live_feed import LADDER, Feed
from tests.support.live_media import CMAF, Encoding, pushed
from tests.support.live_origin import Origin, fetched, opened, push_all
from tests.support.mpegts import read_ts

NS = {"m": "urn:mpeg:dash:schema:mpd:2011", "s": "http://www.scte.org/schemas/35/2016"}
VIDEO, AUDIO = "ch-video=2500000.m3u8", "ch-audio_eng=128000.m3u8"
ON = {"timed_metadata": "true", "hls_fmp4": "true"}
SPLICED = ON | {"splice_media": "true"}
OUT = splice_insert(7, duration=90_000 * 8)
BACK = splice_insert(7, out=False)


def event(seconds: float, data: bytes, *, id: int = 1, known: float = 0, **fields: object) -> Event:
    said: dict[str, object] = {
        "scheme": SCTE35, "value": "", "duration": None, "inband": True, "timescale": 90_000,
        "time": round(90_000 * seconds),
    }  # fmt: skip
    when = Fraction(known).limit_denominator(1000)
    return Event(data=data, id=id, known=when, **(said | fields))  # type: ignore[arg-type]


def say(feed: Feed, *events: Event) -> None:
    with feed.index.transaction():
        for one in events:
            add_event(feed.index, one)
    feed._changed()


def playlist(feed: Feed, path: str = VIDEO, query: str = "") -> list[str]:
    """Without its head."""
    lines = feed.body(path, query).decode().splitlines()
    return lines[lines.index(next(line for line in lines if "EXT-X-MAP" in line)) + 1 :]


def listed(feed: Feed, path: str = VIDEO) -> dict[str, str]:
    """URL -> duration."""
    text = feed.body(path).decode()
    return {url: length for length, url in re.findall(r"#EXTINF:([0-9.]+), .*\n(.+)\n", text)}


def number_of(url: str) -> int:
    return int(url.rpartition("-")[2][:-4])


def mpd(feed: Feed) -> etree._Element:
    root = etree.fromstring(feed.body(".mpd"))
    dash_schema().assertValid(root)
    return root


def head_of(feed: Feed, path: str) -> bytes:
    first = feed.ask(path).plan.parts[0]
    assert isinstance(first, Inline)
    return bytes(first.data)


# HLS


def test_a_break_from_its_announcement_to_its_end(tmp_path: Path) -> None:
    feed = Feed(tmp_path, **ON)
    feed.push(*range(4))
    say(feed, event(8, OUT, known=6))
    out = (
        '#EXT-X-DATERANGE:ID="7-1700000008",START-DATE="2023-11-14T22:13:28.000000Z",'
        f"PLANNED-DURATION=8,SCTE35-OUT=0x{OUT.hex().upper()}"
    )
    assert playlist(feed)[-3:] == ["#EXTINF:2, no desc", "hls/ch-video=2500000-4.m4s", out]
    feed.push(*range(4, 7))
    say(feed, event(12, BACK, id=2, known=10))
    back = (
        '#EXT-X-DATERANGE:ID="7-1700000008",START-DATE="2023-11-14T22:13:28.000000Z",'
        f'END-DATE="2023-11-14T22:13:32.000000Z",SCTE35-IN=0x{BACK.hex().upper()}'
    )
    text = playlist(feed)
    assert text[text.index(out) :] == [
        out,
        "#EXT-X-CUE-OUT:8",
        "#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:28.080Z",
        "#EXTINF:2, no desc",
        "hls/ch-video=2500000-5.m4s",
        "#EXT-X-CUE-OUT-CONT:ElapsedTime=2.08,Duration=8",
        "#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:30.080Z",
        "#EXTINF:2, no desc",
        "hls/ch-video=2500000-6.m4s",
        "#EXT-X-CUE-IN",
        back,
        "#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:32.080Z",
        "#EXTINF:2, no desc",
        "hls/ch-video=2500000-7.m4s",
    ]
    sound = playlist(feed, AUDIO)
    assert [line for line in sound if "DATERANGE" in line or "CUE" in line] == [
        out,
        "#EXT-X-CUE-OUT:8",
        "#EXT-X-CUE-OUT-CONT:ElapsedTime=1.984,Duration=8",
        "#EXT-X-CUE-IN",
        back,
    ]


def test_those_who_come_into_a_break_are_told_of_it(tmp_path: Path) -> None:
    feed = Feed(tmp_path, dvr_window_length="6", **ON)
    feed.push(*range(8))
    say(feed, event(4, splice_insert(9), known=2))
    text = playlist(feed)
    assert text[0].startswith('#EXT-X-DATERANGE:ID="9-1700000004"')
    assert text[1] == "#EXT-X-CUE-OUT-CONT:ElapsedTime=4.08"
    assert "#EXT-X-CUE-OUT" not in text
    feed.push(*range(8, 14))
    say(feed, event(16, splice_insert(9, out=False), id=2, known=14))
    # It is over, and not in the window any more.
    assert not [line for line in playlist(feed) if "DATERANGE" in line or "CUE" in line]


def test_breaks_in_breaks(tmp_path: Path) -> None:
    feed = Feed(tmp_path, **ON)
    feed.push(*range(8))
    whole = time_signal(segmentation(1, 0x34, duration=90_000 * 8))
    first = time_signal(segmentation(2, 0x30, duration=90_000 * 4))
    second = time_signal(segmentation(2, 0x31), segmentation(3, 0x30, duration=90_000 * 4))
    last = time_signal(segmentation(3, 0x31), segmentation(1, 0x35))
    say(feed, event(4, whole, id=1), event(4, first, id=2), event(8, second, id=3))
    say(feed, event(12, last, id=4))
    text = [line for line in playlist(feed) if "DATERANGE" in line or "CUE" in line]
    assert [line for line in text if "CUE" in line] == [
        "#EXT-X-CUE-OUT:8",
        *(f"#EXT-X-CUE-OUT-CONT:ElapsedTime={at}.08,Duration=8" for at in (2, 4, 6)),
        "#EXT-X-CUE-IN",
    ]
    ranges = [
        re.findall('ID="([0-9]+)-|(SCTE35-[A-Z]+)=', line) for line in text if "RANGE" in line
    ]
    assert sorted((one[0][0], one[1][1]) for one in ranges) == [
        (break_id, way) for break_id in "123" for way in ("SCTE35-IN", "SCTE35-OUT")
    ]


def test_other_sections_are_passed_on_whatever_is_in_them(tmp_path: Path) -> None:
    feed = Feed(tmp_path, **ON)
    feed.push(*range(4))
    say(feed, event(4, OUT[:-1], id=5), event(6, OUT, id=6, scheme="urn:other"))
    text = [line for line in playlist(feed) if "DATERANGE" in line or "CUE" in line]
    assert text == [
        '#EXT-X-DATERANGE:ID="command-5-1700000004",START-DATE="2023-11-14T22:13:24.000000Z",'
        f"SCTE35-CMD=0x{OUT[:-1].hex().upper()}"
    ]


def test_nothing_is_told_unless_it_is_wanted(tmp_path: Path) -> None:
    feed = Feed(tmp_path, hls_fmp4="true")
    feed.push(*range(4))
    tag = event(2, b"ID3", scheme=ID3)
    say(feed, event(4, OUT), tag)
    assert not [line for line in playlist(feed) if "DATERANGE" in line or "CUE" in line]
    assert b"EventStream" not in feed.body(".mpd")
    assert b"emsg" not in head_of(feed, "hls/ch-video=2500000-2.m4s")


# Cuts


def test_segments_end_at_splices(tmp_path: Path) -> None:
    feed = Feed(tmp_path, hls_minimum_fragment_length="4", **SPLICED)
    feed.push(0, 1, 2)
    # Pictures are presented 80 ms late; there is a sync sample every 2 s.
    say(feed, event(10.08, splice_insert(7, duration=90_000 * 16), known=4))
    feed.push(*range(3, 16))
    numbers = listed(feed)
    # Up to 4, 10 (rather than 8), 12, 16, 20, 26 (rather than 24), 28.
    assert list(numbers.values()) == ["4", "6", "2", "4", "4", "6", "2", "4"]
    assert [number_of(url) for url in numbers] == list(range(1, len(numbers) + 1))
    assert "#EXT-X-TARGETDURATION:6" in feed.body(VIDEO).decode()
    text = playlist(feed)
    at = text.index("#EXT-X-CUE-OUT:16")
    assert text[at + 1] == "#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:30.080Z"
    assert "#EXT-X-CUE-IN" in text


def test_what_is_listed_stays_whatever_comes_and_goes(tmp_path: Path) -> None:
    feed = Feed(tmp_path, hls_minimum_fragment_length="6", dvr_window_length="40", **SPLICED)
    said = {
        3: event(14.08, splice_insert(1, duration=90_000 * 10), id=1, known=6),
        9: event(32.08, splice_insert(2, duration=90_000 * 26), id=2, known=18),
        # Neither where there is no sync sample, nor when what is there has been listed.
        20: event(45.0, splice_insert(3), id=3, known=40),
        36: event(70.08, splice_insert(3, out=False), id=4, known=72),
    }
    known: dict[str, str] = {}
    edges: set[int] = set()
    for number in range(40):
        feed.push(number)
        if number in said:
            say(feed, said[number])
        text = feed.body(VIDEO).decode() if number > 3 else ""
        now = {u: n for n, u in re.findall(r"#EXTINF:([0-9.]+), .*\n(.+)\n", text)}
        for url, length in now.items():
            assert known.setdefault(url, length) == length
        starts = accumulate(int(known[url]) for url in sorted(known, key=number_of))
        edges.update(starts)
    assert {14, 24, 32, 58} <= edges
    assert 46 not in edges
    assert 70 not in edges
    assert {48, 72} <= edges
    assert sum(map(int, known.values())) == max(edges)
    # From the archive they are the same.
    for url in list(known)[:3]:
        feed.ask(url)


def test_the_order_of_arrival_does_not_matter(tmp_path: Path) -> None:
    events = [
        event(10.08, OUT, known=4),
        event(10.08, OUT, known=3.98, timescale=48_000, time=483_840),
        event(12.08, BACK, id=2, known=8),
        event(5, b"ID3 a", scheme=ID3, id=3, known=4),
        event(5, b"ID3 b", scheme=ID3, id=4, known=4),
    ]
    bodies = []
    for number, order in enumerate((events, events[::-1])):
        folder = tmp_path / str(number)
        folder.mkdir()
        feed = Feed(folder, hls_minimum_fragment_length="4", **SPLICED)
        feed.push(*range(12))
        say(feed, *order)
        bodies.append(
            (
                feed.body(VIDEO),
                feed.body(AUDIO),
                feed.body(".mpd"),
                head_of(feed, "hls/ch-video=2500000-2.m4s"),
            )
        )
    assert bodies[0] == bodies[1]


# DASH and segments


def test_sections_in_the_mpd(tmp_path: Path) -> None:
    feed = Feed(tmp_path, **ON)
    feed.push(*range(4))
    say(feed, event(6, OUT), event(7, b"custom", id=9, scheme="urn:x", value="a", inband=False))
    streams = mpd(feed).findall("m:Period/m:EventStream", NS)
    assert [(one.get("schemeIdUri"), one.get("value")) for one in streams] == [
        ("urn:scte:scte35:2014:xml+bin", None) if one.get("value") is None else ("urn:x", "a")
        for one in streams
    ]
    section, other = (one.find("m:Event", NS) for one in streams)
    assert section is not None
    assert other is not None
    assert dict(section.attrib) == {"presentationTime": "540000", "duration": "720000", "id": "1"}
    assert section.findtext("s:Signal/s:Binary", "", NS) == base64.b64encode(OUT).decode()
    assert (other.get("contentEncoding"), other.text) == (
        "base64", base64.b64encode(b"custom").decode()
    )  # fmt: skip


def test_others_stand_in_the_segments_of_the_pictures(tmp_path: Path) -> None:
    feed = Feed(tmp_path, **ON)
    feed.push(*range(5))
    tag = event(5, b"ID3", scheme=ID3, value="v", id=3, duration=90_000)
    late = event(3, b"late", scheme=ID3, value="v", id=4, known=6.08)
    say(feed, tag, late, event(5, OUT))
    sets = mpd(feed).findall("m:Period/m:AdaptationSet", NS)
    found = {one.get("contentType"): one.findall("m:InbandEventStream", NS) for one in sets}
    assert [dict(one.attrib) for one in found["video"]] == [{"schemeIdUri": ID3, "value": "v"}]
    assert found["audio"] == []
    box = emsg(time=450_000, scheme=ID3, value="v", id=3, duration=90_000, data=b"ID3")
    other = emsg(time=270_000, scheme=ID3, value="v", id=4, data=b"late")
    for name in ("400000", "2500000"):
        for folder in ("hls", "dash"):
            heads = [head_of(feed, f"{folder}/ch-video={name}-{n}.m4s") for n in (2, 3, 4)]
            assert [head.count(b"emsg\1") for head in heads] == [0, 1, 1]
            styp = int.from_bytes(heads[0][:4])
            assert heads[1][styp:].startswith(box)
            assert heads[2][styp:].startswith(other)
            assert heads[1][styp + len(box) :][4:8] == b"moof"
    assert b"emsg" not in head_of(feed, "hls/ch-audio_eng=128000-3.m4s")


def test_sound_alone_carries_them(tmp_path: Path) -> None:
    feed = Feed(tmp_path, LADDER[2:], **ON)
    feed.push(*range(4))
    say(feed, event(5, b"ID3", scheme=ID3))
    assert b"emsg" in head_of(feed, "hls/ch-audio_eng=128000-3.m4s")
    assert b"InbandEventStream" in feed.body(".mpd")


def test_catch_up_has_what_lies_in_it(tmp_path: Path) -> None:
    feed = Feed(tmp_path, archiving="true", **ON)
    feed.push(*range(12))
    say(feed, event(5, OUT), event(9, BACK, id=2), event(15, splice_insert(8), id=3))
    text = feed.body(VIDEO, "vbegin=00:00:04&vend=00:00:12").decode()
    assert "#EXT-X-ENDLIST" in text
    assert text.count("#EXT-X-DATERANGE") == 2
    root = etree.fromstring(feed.body(".mpd", "vbegin=00:00:04&vend=00:00:12"))
    dash_schema().assertValid(root)
    (stream,) = root.findall("m:Period/m:EventStream", NS)
    offset = int(stream.get("presentationTimeOffset", "0"))
    assert [int(one.get("presentationTime", "")) - offset for one in stream] == [
        450_000 - offset, 810_000 - offset
    ]  # fmt: skip


# Real media


CLIP = Encoding(form=CMAF.form, flags=CMAF.flags, seconds=8)
TAG = b"ID3\4\0\0\0\0\0\x0cTIT2\0\0\0\2\0\0\3x"


def with_messages(data: bytes, messages: dict[int, bytes]) -> bytes:
    """``data`` with boxes in front of its moofs, by their number."""
    found, moofs, at = [], 0, 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] == b"moof":
            found.append(messages.get(moofs, b""))
            moofs += 1
        found.append(data[at : at + size])
        at += size
    return b"".join(found)


@pytest.fixture
def pushed_tags(tmp_path: Path) -> Iterator[Origin]:
    tags = {
        # Relative to its fragment, and on the timeline of the media.
        2: emsg(time=500, timescale=1000, scheme=ID3, id=1, data=TAG, version=0),
        4: emsg(time=495_000, scheme=ID3, id=2, data=TAG),
    }
    with opened(tmp_path / "ch", timed_metadata="true", dvr_window_length="60") as origin:
        push_all(origin, with_messages(pushed(CLIP), tags))
        yield origin


def test_tags_in_transport_streams(pushed_tags: Origin, tmp_path: Path) -> None:
    master = pushed_tags.get(".m3u8?hls_fmp4=false").text
    uri = next(
        line
        for line in master.splitlines()
        if "video" in line and ".m3u8" in line and line[0] != "#"
    )
    segments = [one for one in pushed_tags.get(uri).text.splitlines() if one.endswith(".ts")]
    assert len(segments) >= 6
    data = fetched(pushed_tags, segments)
    counters: dict[int, int] = {}
    held = []
    for url in segments:
        program = read_ts(pushed_tags.get(url).body, counters)
        tags = program.of_type(0x15)
        held.append([(one.pts, one.payload[: len(TAG)]) for one in tags.pes])
    every = [one for of_segment in held for one in of_segment]
    (first, _), (second, _) = every
    assert [payload for _, payload in every] == [TAG, TAG]
    assert second == 495_000 + 900_000
    # Half a second after the first of its fragment is presented.
    head, *fragments = StreamParser().feed(pushed(CLIP))
    assert isinstance(head, Header)
    assert isinstance(fragments[2], Fragment)
    tracks = {one.track_ID: one for one in head.tracks}
    begin = min(
        Fraction(
            part.time
            + int(
                0 if part.samples.composition_offset is None else part.samples.composition_offset[0]
            )
            - tracks[part.track_ID].edit_media_time,
            tracks[part.track_ID].timescale,
        )
        for part in fragments[2].tracks
    )
    assert first == pytest.approx(900_000 + float(90_000 * begin) + 45_000, abs=90)
    file = tmp_path / "x.ts"
    file.write_bytes(data)
    probed = json.loads(
        subprocess.run(
            ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_packets",
             "-select_streams", "d", str(file)],
            check=True, capture_output=True,
        ).stdout
    )  # fmt: skip
    assert [one["codec_name"] for one in probed["streams"]] == ["timed_id3"]
    assert [int(one["pts"]) for one in probed["packets"]] == [first, second]


def test_tags_in_fragmented_mp4(pushed_tags: Origin) -> None:
    master = pushed_tags.get(".m3u8?hls_fmp4").text
    uri = next(
        line
        for line in master.splitlines()
        if "video" in line and ".m3u8" in line and line[0] != "#"
    )
    segments = [one for one in pushed_tags.get(uri).text.splitlines() if one.endswith(".m4s")]
    assert [pushed_tags.get(url).body.count(b"emsg\1") for url in segments].count(1) == 2


def test_pictures_are_cut_where_the_encoder_put_a_sync_sample(tmp_path: Path) -> None:
    clip = Encoding(form=CMAF.form, flags=CMAF.flags, seconds=14, gop=50, keys="5.2")
    out = emsg(time=468_000, id=1, data=splice_insert(7, duration=90_000 * 4))
    settings = {"timed_metadata": "true", "splice_media": "true", "dvr_window_length": "60"}
    with opened(tmp_path / "ch", hls_minimum_fragment_length="4", **settings) as origin:
        push_all(origin, with_messages(pushed(clip), {0: out}))
        master = origin.get(".m3u8?hls_fmp4").text
        uri = next(line for line in master.splitlines() if "video" in line and line[0] != "#")
        text = origin.get(uri).text
        lengths = [Fraction(one) for one in re.findall(r"#EXTINF:([0-9.]+)", text)]
        # Sync samples stand at 0, 2, 4, 5.2, 7.2 ...; without the splice, segments begin at 0, 4,
        # 7.2, 11.2.
        assert lengths == [Fraction("5.2"), 4, 2, Fraction("2.8")]
        lines = text.splitlines()
        cue = lines.index("#EXT-X-CUE-OUT:4")
        assert lines[cue + 3].endswith("-2.m4s")
        assert lines[cue + 4] == "#EXT-X-CUE-IN"
        (init,) = re.findall(r'EXT-X-MAP:URI="([^"]+)"', text)
        segments = [line for line in lines if line.endswith(".m4s")]
        file = tmp_path / "x.mp4"
        file.write_bytes(fetched(origin, [init, *segments]))
        probed = subprocess.run(
            ["ffprobe", "-v", "error", "-count_frames", "-of", "csv=p=0",
             "-show_entries", "stream=nb_read_frames", str(file)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        assert (int(probed.stdout), probed.stderr) == (25 * sum(lengths), "")
