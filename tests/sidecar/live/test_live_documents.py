"""What a publishing point says of itself."""

from __future__ import annotations

import json
from pathlib import Path

from lxml import etree

from sidecar.live.connection import Outcome
from sidecar.live.documents import archive_json, archive_xml, statistics_json, statistics_xml
from sidecar.live.index import PointIndex
from sidecar.live.point import Point
from sidecar.live.statistics import connections_of, state_of, tracks_of
from sidecar.media.track import Kind
from tests.support.pushed import NOW, SECOND, both, header, manifest, part, track, video, wrapped

SMIL = "{http://www.w3.org/2001/SMIL20/Language}"
PICTURES = header(track(1, Kind.VIDEO))


def test_two_encoders_a_hole_and_a_late_one(tmp_path: Path) -> None:
    path, given = manifest(tmp_path)
    point = Point.open(path, given, NOW)
    first, second = point.connect("main", "one"), point.connect("main", "two")
    for connection in (first, second):
        connection.take(header(), NOW)
    begin = NOW // SECOND
    for at in (0, 2, 4, 8, 18):
        first.take(both(begin + at), NOW + (at + 3) * SECOND)
    second.take(both(begin + 2), NOW + 21 * SECOND)
    second.take(both(begin + 6), NOW + 22 * SECOND)
    index = PointIndex.open(path.with_suffix(".db3"))
    said = json.loads(statistics_json(state_of(index), tracks_of(index), connections_of(index)))
    pictures = said["tracks"][0]
    assert (pictures["fragments"], pictures["gaps"], pictures["missing_ticks"]) == (5, 2, 10_000)
    assert (pictures["duplicates"], pictures["late"], pictures["drift_ms"]) == (1, 1, 1000)
    assert (pictures["bitrate"], pictures["measured_bitrate"]) == (2000, 2000)
    counted = [one["tracks"][0] for one in said["connections"]]
    assert [(one["fragments"], one["duplicates"], one["late"]) for one in counted] == [
        (5, 0, 0),
        (0, 1, 1),
    ]
    point.close(NOW)


def test_ranges_are_what_is_there_without_a_hole(tmp_path: Path) -> None:
    path, given = manifest(tmp_path, archiving=1)
    point = Point.open(path, given, NOW)
    connection = point.connect("main", "a")
    connection.take(PICTURES, NOW)
    begin = NOW // SECOND
    for at in (0, 2, 4, 10, 14, 12):
        assert connection.take(video(begin + at, shift=at % 3), NOW).outcome is Outcome.ADDED
    index = PointIndex.open(path.with_suffix(".db3"))
    expected = [
        {"start": "2023-11-14T22:13:20.000000Z", "end": "2023-11-14T22:13:26.001000Z"},
        {"start": "2023-11-14T22:13:30.001000Z", "end": "2023-11-14T22:13:36.002000Z"},
    ]
    said = json.loads(archive_json(state_of(index), tracks_of(index)))
    assert said["tracks"][0]["ranges"] == expected
    root = etree.fromstring(archive_xml(state_of(index), tracks_of(index)))
    assert [dict(one.attrib) for one in root.iter(f"{SMIL}c")] == expected
    point.close(NOW)


def test_times_and_names_that_documents_cannot_hold(tmp_path: Path) -> None:
    path, given = manifest(tmp_path)
    point = Point.open(path, given, NOW)
    connection = point.connect("ma\x01in", '<"\ud7ff\x00&>')
    connection.take(PICTURES, NOW)
    connection.take(wrapped(part(1, NOW // 10**6, 2, 40, 16, video=True)), NOW)
    index = PointIndex.open(path.with_suffix(".db3"))
    with index.transaction():
        # As it was taken once.
        index.run("UPDATE fragment SET time = ?", 1 << 59)
    said = (state_of(index), tracks_of(index), connections_of(index))
    assert "9998-12-31T23:59:59" in json.loads(statistics_json(*said))["tracks"][0]["end_time"]
    root = etree.fromstring(statistics_xml(*said))
    (connected,) = root.iter(f"{SMIL}connection")
    assert connected.get("stream") == "ma\ufffdin"
    assert connected.get("encoder") == '<"\ud7ff\ufffd&>'
    point.close(NOW)
