"""What a publishing point says of itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from lxml import etree

from sidecar.live import state
from sidecar.live.connection import Outcome
from sidecar.live.index import PointIndex
from sidecar.live.ledger import ConnectionState
from sidecar.live.model import EndOfStream, Header
from sidecar.live.parser import StreamParser
from sidecar.live.point import Point
from sidecar.media.track import Kind
from tests.support.encoder import stream
from tests.support.pushed import NOW, SECOND, both, header, manifest, part, track, video, wrapped

SMIL = "{http://www.w3.org/2001/SMIL20/Language}"


def reading(*headers: Header) -> Callable[[bytes], Header]:
    by_data = {one.data: one for one in headers}
    return lambda data: by_data[data]


def test_the_state(tmp_path: Path) -> None:
    path, given = manifest(tmp_path)
    index = PointIndex.open(path.with_suffix(".db3"), create=True)
    index.touch(0)
    point = Point.open(path, given, NOW)
    assert state.state(index) == {"updated": "2023-11-14T22:13:20.000000Z", "state": "idle"}
    connection = point.connect("main", "a")
    connection.take(header(), NOW + 1_500_000)
    assert state.state(index) == {"updated": "2023-11-14T22:13:20.001500Z", "state": "starting"}
    point.stop(NOW + 5 * SECOND)
    root = etree.fromstring(state.as_xml(state.state(index)))
    assert root.tag == f"{SMIL}smil"
    metas = {one.get("name"): one.get("content") for one in root.iterfind(f"{SMIL}head/{SMIL}meta")}
    assert metas == {"updated": "2023-11-14T22:13:25.000000Z", "state": "stopped"}
    assert root.find(f"{SMIL}body") is None
    point.close(NOW)


def test_statistics_of_two_encoders(tmp_path: Path) -> None:
    path, given = manifest(tmp_path)
    point = Point.open(path, given, NOW)
    first, second = point.connect("main", "10.0.0.1:\x01"), point.connect("main", "10.0.0.2")
    for connection in (first, second):
        connection.take(header(), NOW)
    begin = NOW // SECOND
    for at in (0, 2, 4, 8, 18):
        first.take(both(begin + at), NOW + (at + 3) * SECOND)
    second.take(both(begin + 2), NOW + 21 * SECOND)
    second.take(both(begin + 6), NOW + 22 * SECOND)
    second.end(ConnectionState.BROKEN, NOW + 21 * SECOND)
    index = PointIndex.open(path.with_suffix(".db3"))
    said = state.statistics(index, reading(header()))
    json.dumps(said)
    pictures, sound = said["tracks"]
    assert (pictures["stream"], pictures["name"], pictures["kind"]) == ("main", "video", "video")
    assert (sound["name"], sound["language"]) == ("audio_eng", "eng")
    assert pictures["bitrate"] == 2000
    assert pictures["measured_bitrate"] == 2000
    assert (pictures["fragments"], pictures["gaps"]) == (5, 5)
    assert pictures["begin"] == "2023-11-14T22:13:20.000Z"
    assert pictures["end"] == "2023-11-14T22:13:40.000Z"
    one, other = pictures["connections"]
    assert (one["added"], one["duplicates"], one["late"], one["state"]) == (5, 0, 0, "open")
    assert one["drift"] == 1
    assert (other["added"], other["duplicates"], other["late"]) == (0, 1, 1)
    assert (other["state"], other["drift"]) == ("broken", 14)
    root = etree.fromstring(state.as_xml(said))
    (element,) = root.iter(f"{SMIL}video")
    assert element.get("src") == "Streams(main)"
    assert element.get("systemBitrate") == "2000"
    found = [one.get("identifier") for one in element.iterfind(f"{SMIL}connection")]
    assert found == ["10.0.0.1:\ufffd", "10.0.0.2"]
    point.close(NOW)


def test_ranges_of_the_archive(tmp_path: Path) -> None:
    path, given = manifest(tmp_path, archiving=1)
    point = Point.open(path, given, NOW)
    connection = point.connect("main", "a")
    pictures = header(track(1, Kind.VIDEO))
    connection.take(pictures, NOW)
    begin = NOW // SECOND
    for at in (0, 2, 4, 10, 14, 12):
        assert connection.take(video(begin + at, shift=at % 3), NOW).outcome is Outcome.ADDED
    index = PointIndex.open(path.with_suffix(".db3"))
    said = state.archive(index, reading(pictures))
    assert said["tracks"][0]["ranges"] == [
        {"start": "2023-11-14T22:13:20.000Z", "end": "2023-11-14T22:13:26.001Z"},
        {"start": "2023-11-14T22:13:30.001Z", "end": "2023-11-14T22:13:36.002Z"},
    ]
    root = etree.fromstring(state.as_xml(said))
    ranges = [dict(one.attrib) for one in root.iter(f"{SMIL}c")]
    assert ranges == said["tracks"][0]["ranges"]
    point.close(NOW)


def test_times_that_no_date_can_say(tmp_path: Path) -> None:
    path, given = manifest(tmp_path)
    point = Point.open(path, given, NOW)
    connection = point.connect("main", "a")
    pictures = header(track(1, Kind.VIDEO))
    connection.take(pictures, NOW)
    connection.take(wrapped(part(1, 1 << 59, 2, 40, 16, video=True)), NOW)
    index = PointIndex.open(path.with_suffix(".db3"))
    said = state.statistics(index, reading(pictures))
    assert said["tracks"][0]["end"] == "9999-01-01T00:00:00.000Z"
    point.close(NOW)


def test_what_ffmpeg_sent(tmp_path: Path) -> None:
    path, given = manifest(tmp_path, archiving=1)
    point = Point.open(path, given, NOW)
    connection = point.connect("main", "a")
    parser = StreamParser()
    for incoming in [*parser.feed(stream("smooth")), *parser.finish()]:
        connection.take(incoming, NOW)
    assert isinstance(incoming, EndOfStream)
    index = PointIndex.open(path.with_suffix(".db3"))
    said = state.archive(index)
    assert said["state"] == "stopped"
    assert {one["kind"]: len(one["ranges"]) for one in said["tracks"]} == {"video": 1, "audio": 1}
    assert {one["bitrate"] for one in state.statistics(index)["tracks"]} == {150_000, 64_000}
    point.close(NOW)
