"""Encoders that are set up anew while they send: what players get of both sides."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from lxml import etree

from sidecar.live.said import add_event
from sidecar.media.events import SCTE35, Event
from tests.support.dash_schema import dash_schema
from tests.support.events import splice_insert
from tests.support.frames import Frame, decode
from tests.support.hls import attributes, read_master
from tests.support.live_media import CMAF, SMOOTH, Encoding, pushed
from tests.support.live_origin import NOW, SECOND, Origin, opened, pieces, push_all, without_end
from tests.support.live_players import MPD
from tests.support.media import ROOT

SECONDS = 6
BEFORE = replace(SMOOTH, seconds=SECONDS)
AFTER = replace(SMOOTH, seconds=SECONDS, sizes=("128x72",), offset=str(SECONDS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What is listed of one track in one era. ``number``: how a player counts it."""

    name: str
    number: int
    init: str
    urls: list[str]


def hls(point: Origin, query: str) -> list[Stretch]:
    url = f".m3u8?{query}"
    master = read_master(point.get(url).text, url)
    return [one for url in master.playlists for one in playlist(point.get(url).text, url)]


def playlist(text: str, url: str) -> list[Stretch]:
    number, init, found = 0, "", {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "#EXT-X-DISCONTINUITY-SEQUENCE":
            assert not found
            number = int(value)
        elif name == "#EXT-X-DISCONTINUITY":
            number += 1
        elif name == "#EXT-X-MAP":
            init = urllib.parse.urljoin(url, attributes(value)["URI"])
        elif line and not line.startswith("#"):
            one = Stretch(name=url, number=number, init=init, urls=[])
            found.setdefault(number, one).urls.append(urllib.parse.urljoin(url, line))
            assert found[number].init == init
    return list(found.values())


def dash(point: Origin, query: str) -> list[Stretch]:
    root = etree.fromstring(point.get(f".mpd?{query}").body)
    dash_schema().assertValid(root)
    found = []
    for period in root.findall(f"{MPD}Period"):
        for element in period.iterfind(f".//{MPD}Representation"):
            template = element.find(f"{MPD}SegmentTemplate")
            if template is None:
                template = element.getparent().find(f"{MPD}SegmentTemplate")  # type: ignore[union-attr]
            assert template is not None
            name, urls, time = element.get("id", ""), [], 0
            media = template.get("media", "").replace("$RepresentationID$", name)
            for entry in template.iterfind(f"{MPD}SegmentTimeline/{MPD}S"):
                time = int(entry.get("t", time))
                for _ in range(int(entry.get("r", "0")) + 1):
                    urls.append(f"dash/{media.replace('$Time$', str(time))}")
                    time += int(entry.get("d", ""))
            init = template.get("initialization", "").replace("$RepresentationID$", name)
            number = int(period.get("id", "")) - 1
            found.append(Stretch(name=name, number=number, init=f"dash/{init}", urls=urls))
    return found


LISTED: dict[str, Callable[[Origin], list[Stretch]]] = {
    "transport streams": lambda point: hls(point, ""),
    "fragmented MP4": lambda point: hls(point, "hls_fmp4"),
    "DASH": lambda point: dash(point, ""),
}
each_kind = pytest.mark.parametrize("kind", LISTED)


def set_up_anew(
    point: Origin, *, before: Encoding = BEFORE, after: Encoding = AFTER, ended: bool = True
) -> None:
    push_all(point, without_end(pushed(before)))
    point.drop()
    data = pushed(after) if ended else without_end(pushed(after))
    for seconds, piece in pieces(data):
        point.push(piece, now=SECONDS + seconds, encoder="2")


@cache
def sent(encoding: Encoding, folder: Path) -> list[list[Frame]]:
    """Pictures, then sound."""
    file = folder / "sent.mp4"
    file.write_bytes(pushed(encoding))
    return decode(str(file), "0:v:0", "0:a:0", ignore_edits=True)


def hashes(frames: list[Frame]) -> list[str]:
    return [frame.hash for frame in frames]


@pytest.fixture
def point(tmp_path: Path) -> Origin:
    with opened(tmp_path / "media", archiving="true", dvr_window_length=60) as point:
        set_up_anew(point)
        yield point  # type: ignore[misc]


@each_kind
def test_pictures_of_both_sides(kind: str, point: Origin, tmp_path: Path) -> None:
    listed = [one for one in LISTED[kind](point) if "video" in one.name]
    assert [one.number for one in listed] == [0, 1]
    assert len({one.init for one in listed}) == (1 if kind == "transport streams" else 2)
    for one, encoding in zip(listed, (BEFORE, AFTER), strict=True):
        file = tmp_path / "served"
        urls = [one.init, *one.urls] if one.init else one.urls
        file.write_bytes(b"".join(point.get(url).body for url in urls))
        (frames,) = decode(str(file), "0:v:0")
        pictures, _ = sent(encoding, tmp_path)
        assert hashes(frames) == hashes(pictures)


@pytest.mark.parametrize("kind", ["fragmented MP4", "DASH"])
def test_sound_goes_on(kind: str, point: Origin, tmp_path: Path) -> None:
    listed = [one for one in LISTED[kind](point) if "audio" in one.name]
    assert [one.number for one in listed] == [0, 1]
    original = {one for encoding in (BEFORE, AFTER) for one in hashes(sent(encoding, tmp_path)[1])}
    times: set[int] = set()
    for one in listed:
        file = tmp_path / "served"
        file.write_bytes(b"".join(point.get(url).body for url in (one.init, *one.urls)))
        (frames,) = decode(str(file), "0:a:0")
        # The first ones lack those before them.
        assert len([one for one in hashes(frames) if one not in original]) <= 3
        times |= {round(frame.time * 48_000) for frame in frames}
    # Segments that reach over the boundary are listed on both sides of it in MPDs. Clocks of
    # encoders differ by less than a frame.
    steps = [after - before for before, after in pairwise(sorted(times))]
    assert {step for step in steps if step != 1024} <= set(range(1, 2048))
    assert len([step for step in steps if step != 1024]) <= 2
    assert abs(max(times) - min(times) - 2 * SECONDS * 48_000) < 3 * 1024


@pytest.mark.parametrize("query", ["", "hls_minimum_fragment_length=2.5"])
@pytest.mark.parametrize("kind", ["hls", "dash"])
def test_the_discontinuity_leaves_the_window(kind: str, query: str, tmp_path: Path) -> None:
    """Numbers, URLs and eras of segments are the same in every window, on every origin and after a
    restart."""
    seen: dict[str, tuple[object, ...]] = {}
    eras: list[set[int]] = []
    starts: dict[str, set[str | None]] = {}
    query = f"{query}&hls_fmp4".strip("&")
    if kind == "dash":
        query = query.replace("hls_minimum", "mpd_minimum")

    def look(point: Origin) -> None:
        listed = dash(point, query) if kind == "dash" else hls(point, query)
        for one in listed:
            assert point.get(one.init).body[4:8] == b"ftyp"
            for url in one.urls:
                body = point.get(url).body
                # Of two Periods that list a segment of sound, either may have been seen first.
                era = one.number if "video" in one.name else None
                assert seen.setdefault(url, (era, body)) == (era, body)
        eras.append({one.number for one in listed if "video" in one.name})
        if kind == "dash":
            for period in etree.fromstring(point.get(f".mpd?{query}").body).iter(f"{MPD}Period"):
                if period.get("id") != "1":
                    starts.setdefault(period.get("id", ""), set()).add(period.get("start"))

    after = replace(AFTER, seconds=12)
    with (
        opened(tmp_path / "one", dvr_window_length=4) as one,
        opened(tmp_path / "two", dvr_window_length=4) as two,
    ):
        for point in (one, two):
            push_all(point, without_end(pushed(BEFORE)))
            point.drop()
        look(one)
        for seconds, piece in pieces(without_end(pushed(after))):
            for point in (one, two):
                point.push(piece, now=SECONDS + seconds, encoder="2")
            if seconds >= 2:
                look(one)
        two.reopen()
        for url in (".m3u8", ".mpd", "Manifest"):
            assert two.get(url).body == one.get(url).body
        look(two)
    assert eras[0] == {0}
    assert {0, 1} in eras
    assert eras[-1] == {1}
    assert all(len(one) == 1 for one in starts.values()), starts


def test_a_header_that_is_sent_again_is_no_change(tmp_path: Path) -> None:
    with opened(tmp_path / "media", dvr_window_length=60) as point:
        data = without_end(pushed(BEFORE))
        cut = pieces(data)
        header = cut[0][1]
        push_all(point, data)
        point.push(header, encoder="2")
        for seconds, piece in cut[1:]:
            point.push(piece, now=seconds, encoder="2")
        point.drop()
        again = replace(BEFORE, offset=str(SECONDS))
        push_all(point, pushed(again), encoder="3")
        assert "DISCONTINUITY" not in playlist_text(point)
        assert len(etree.fromstring(point.get(".mpd").body).findall(f"{MPD}Period")) == 1


def playlist_text(point: Origin, query: str = "hls_fmp4") -> str:
    master = read_master(point.get(f".m3u8?{query}").text, f".m3u8?{query}")
    return "".join(point.get(url).text for url in master.playlists)


def test_an_encoder_that_goes_on_after_the_end(tmp_path: Path) -> None:
    options = {"dvr_window_length": 60, "restart_on_encoder_reconnect": "true"}
    with opened(tmp_path / "media", **options) as point:
        push_all(point, pushed(BEFORE))
        point.drop()
        # Three seconds later, and otherwise the same.
        push_all(point, pushed(replace(BEFORE, offset="9")), encoder="2")
        listed = [one for one in hls(point, "hls_fmp4") if "video" in one.name]
        assert [one.number for one in listed] == [0, 1]
        assert "EXT-X-GAP" in playlist_text(point)
        first, second = (point.get(one.init).body for one in listed)
        assert first == second
        # A file can hold both, as they are decoded by the same.
        assert point.get("ch.mp4").body


def test_what_smooth_streaming_lists(point: Origin) -> None:
    root = etree.fromstring(point.get("Manifest").body)
    (video,) = root.findall("StreamIndex[@Type='video']")
    (level,) = video.findall("QualityLevel")
    assert (level.get("MaxWidth"), level.get("MaxHeight")) == ("128", "72")
    assert int(video.find("c").get("t")) == SECONDS * 10_000_000  # type: ignore[union-attr, arg-type]
    # What came before is listed of a clip of its own.
    root = etree.fromstring(point.get("Manifest?vbegin=0&vend=5").body)
    (level,) = root.findall("StreamIndex[@Type='video']/QualityLevel")
    assert level.get("MaxWidth") == "96"


def test_fragments_of_hds_say_what_they_are_decoded_by(point: Origin) -> None:
    bitrate = etree.fromstring(point.get(".f4m").body).find(".//{*}media").get("streamId")  # type: ignore[union-attr]
    heads = [point.get(f"{bitrate}-Seg1-Frag{at}").body for at in (1, SECONDS, SECONDS + 1)]
    configurations = [
        point.get(one.init).body for one in hls(point, "hls_fmp4") if "video" in one.name
    ]
    sets = [body[body.index(b"avcC") + 4 :][:20] for body in configurations]
    assert [[one in head for one in sets] for head in heads] == [
        [True, False], [True, False], [False, True]
    ]  # fmt: skip


def test_a_file_holds_one_side(point: Origin, tmp_path: Path) -> None:
    refused = point.ask("ch.mp4", "vbegin=2&vend=10")
    assert (refused.status, refused.result) == (400, "FMP4_BAD_REQUEST")
    assert "set up anew" in refused.text
    for clip, width in (("vbegin=2&vend=5", 96), ("vbegin=7&vend=10", 128)):
        for name in ("ch.mp4", "ch.ismv"):
            file = tmp_path / name
            file.write_bytes(point.get(f"{name}?{clip}").body)
            (frames,) = decode(str(file), "0:v:0")
            which = BEFORE if width == 96 else AFTER
            assert set(hashes(frames)) <= set(hashes(sent(which, tmp_path)[0]))


CHANGES = {
    "timescale": replace(BEFORE, offset=str(SECONDS), more=("-video_track_timescale", "90000")),
    "sampling rate": replace(BEFORE, offset=str(SECONDS), more=("-ar", "44100")),
    "form": replace(CMAF, seconds=SECONDS, offset=str(SECONDS)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_changes(change: str, tmp_path: Path) -> None:
    """Times stay those of the presentation, and what is decoded is what was sent."""
    before = replace(BEFORE, form="mp4", flags="cmaf+frag_keyframe") if change != "form" else BEFORE
    after = replace(CHANGES[change], form="mp4", flags="cmaf+frag_keyframe+frag_discont")
    with opened(tmp_path / "media", dvr_window_length=60) as point:
        set_up_anew(point, before=before, after=after)
        original = [sent(one, tmp_path) for one in (before, after)]
        for kind in ("fragmented MP4", "DASH"):
            for of, name in enumerate(("video", "audio")):
                listed = [one for one in LISTED[kind](point) if name in one.name]
                assert [one.number for one in listed] == [0, 1]
                times = []
                for one in listed:
                    file = tmp_path / "served"
                    urls = [one.init, *one.urls]
                    file.write_bytes(b"".join(point.get(url).body for url in urls))
                    (frames,) = decode(str(file), "0:v:0" if name == "video" else "0:a:0")
                    wanted = set(hashes(original[one.number][of]))
                    extra = [it for it in hashes(frames) if it not in wanted]
                    assert len(extra) <= (0 if name == "video" else 6), (kind, one.name)
                    times += [frame.time for frame in frames]
                steps = [b - a for a, b in pairwise(sorted(times))]
                assert max(steps) < 0.05
                assert abs(max(times) - min(times) - 2 * SECONDS) < 0.1


def test_two_encoders_that_are_set_up_anew(tmp_path: Path) -> None:
    """They do not do that at the same moment; either may be first."""
    with opened(tmp_path / "media", dvr_window_length=60) as point:
        cuts = pieces(without_end(pushed(BEFORE)))
        cuts += [(SECONDS + now, piece) for now, piece in pieces(without_end(pushed(AFTER)))]
        for at, (now, piece) in enumerate(cuts):
            point.push(piece, now=now, encoder="a")
            if at >= 3:
                # Some fragments behind the other one.
                point.push(cuts[at - 3][1], now=now, encoder="b")
        for kind in LISTED:
            listed = [one for one in LISTED[kind](point) if "video" in one.name]
            assert [one.number for one in listed] == [0, 1]
            assert [len(one.urls) for one in listed] == [SECONDS, SECONDS]


_KILLED = """
import os, signal, sys
from pathlib import Path
from tests.e2e.test_live_eras import AFTER, BEFORE, set_up_anew
from tests.support.live_origin import Origin
point = Origin(Path(sys.argv[1]), archiving="true", dvr_window_length=60)
set_up_anew(point, ended=False)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_process_that_was_killed_has_said(tmp_path: Path) -> None:
    with opened(tmp_path / "whole", archiving="true", dvr_window_length=60) as point:
        set_up_anew(point, ended=False)
        whole = {kind: LISTED[kind](point) for kind in LISTED}
    (tmp_path / "killed").mkdir()
    command = [sys.executable, "-c", _KILLED, str(tmp_path / "killed")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert run.returncode == -signal.SIGKILL, run.stderr
    with opened(tmp_path / "killed", archiving="true", dvr_window_length=60) as point:
        assert {kind: LISTED[kind](point) for kind in LISTED} == whole
        # The encoder comes again, with its header and its last fragments.
        header, *rest = pieces(without_end(pushed(AFTER)))
        for now, piece in (header, *rest[-3:]):
            point.push(piece, now=now, encoder="3")
        for kind in LISTED:
            assert {one.number for one in LISTED[kind](point)} == {0, 1}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [("1", "PT0S", "PT6S", 0), ("2", "PT6S", "PT6S", 6)]),
        ("vbegin=2", [("1", "PT0S", "PT4S", 2), ("2", "PT4S", "PT6S", 6)]),
        ("vbegin=2&vend=9", [("1", "PT0S", "PT4S", 2), ("2", "PT4S", "PT3S", 6)]),
        ("vbegin=7&vend=9", [("2", "PT0S", "PT2S", 7)]),
        ("vbegin=1&vend=4", [("1", "PT0S", "PT3S", 1)]),
    ],
)
@pytest.mark.parametrize("template", ["time", "number", "number_timeline"])
def test_periods_follow_each_other(
    point: Origin, template: str, query: str, expected: list[tuple[str, str, str, int]]
) -> None:
    """``expected``: id, start, duration, and at which second of the media each Period begins."""
    url = f".mpd?{query}&mpd_segment_template={template}".replace("?&", "?")
    found = []
    for period in etree.fromstring(point.get(url).body).findall(f"{MPD}Period"):
        begins = {
            int(one.get("presentationTimeOffset", "0")) // int(one.get("timescale", ""))
            for one in period.iter(f"{MPD}SegmentTemplate")
        }
        given = (period.get("id"), period.get("start"), period.get("duration"))
        found += [(*given, begin) for begin in begins]
    assert found == expected


def test_an_event_stands_in_the_period_that_it_lies_in(tmp_path: Path) -> None:
    options = {"archiving": "true", "dvr_window_length": 60, "timed_metadata": "true"}
    with opened(tmp_path / "media", **options) as point:
        set_up_anew(point, ended=False)
        writer = point.point._writer
        with writer.index.transaction():
            for at in (SECONDS - 4, SECONDS, SECONDS + 1, 3 * SECONDS):
                cue = splice_insert(at, duration=90_000)
                add_event(
                    writer.index,
                    Event(
                        scheme=SCTE35, value="", id=at, data=cue, time=at, duration=1,
                        timescale=1, inband=True, known=Fraction(0),
                    ),
                )  # fmt: skip
        writer.touch(NOW + 3 * SECONDS * SECOND)
        root = etree.fromstring(point.get(".mpd").body)
        assert root.get("type") == "dynamic"
        found = [
            [int(one.get("presentationTime", "")) for one in period.iter(f"{MPD}Event")]
            for period in root.findall(f"{MPD}Period")
        ]
        assert found == [[SECONDS - 4], [SECONDS, SECONDS + 1, 3 * SECONDS]]
