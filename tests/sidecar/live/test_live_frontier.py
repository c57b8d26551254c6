"""Up to where players are told, whatever comes when."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from sidecar.live import frontier
from sidecar.live.connection import Connection
from sidecar.live.frontier import Lateness
from sidecar.live.index import PointIndex
from sidecar.live.ledger import ConnectionState
from sidecar.live.point import Point
from sidecar.media.track import Kind
from tests.support.pushed import NOW, SECOND, audio, header, manifest, track, video

STREAMS = {
    "v": (header(track(1, Kind.VIDEO)), video),
    "a": (header(track(2, Kind.AUDIO), digest=b"2"), audio),
}
# Sound is cut at its own frames, and is not waited for to the last one.
NEARLY = Fraction(1, 4)


class Fed:
    """A point with a stream of pictures and one of sound, in fragments of two seconds."""

    def __init__(self, folder: Path) -> None:
        path, options = manifest(folder)
        self.point = Point.open(path, options, NOW)
        self.index = PointIndex.open(path.with_suffix(".db3"))
        self._connections: dict[tuple[str, str], Connection] = {}

    def connect(self, stream: str, encoder: str = "1") -> Connection:
        found = self._connections.get((stream, encoder))
        if found is None:
            found = self._connections[stream, encoder] = self.point.connect(stream, encoder)
            found.take(STREAMS[stream][0], NOW)
        return found

    def push(self, stream: str, *times: int, encoder: str = "1") -> None:
        connection = self.connect(stream, encoder)
        for time in times:
            connection.take(STREAMS[stream][1](time), NOW + time * SECOND)

    @property
    def until(self) -> Fraction | None:
        found = frontier.told(self.index)
        return None if found is None else found.until

    def lateness(self, stream: str) -> dict[int, Lateness]:
        """Second at which a fragment begins -> how late it was."""
        rows = self.index.all(
            "SELECT fragment.time, fragment.late, setting.value FROM fragment "
            "JOIN track ON track.id = track JOIN setting ON name = 'track ' || track.id "
            "WHERE stream = ? ORDER BY fragment.time",
            stream,
        )
        return {
            round(time / int(described.split()[1])): Lateness(late)
            for time, late, described in rows
        }


@pytest.fixture
def fed(tmp_path: Path) -> Fed:
    made = Fed(tmp_path)
    for stream in STREAMS:
        made.connect(stream)
    return made


def test_all_tracks_are_waited_for(fed: Fed) -> None:
    fed.push("v", 0, 2, 4, 6)
    assert fed.until is None
    fed.push("a", 0, 2)
    assert fed.until is not None and 4 <= fed.until <= 4 + NEARLY
    assert set(fed.lateness("a").values()) == {Lateness.IN_TIME}


def test_one_that_never_comes_is_waited_for_ten_seconds(fed: Fed) -> None:
    fed.push("v", 0, 2, 4, 6, 8)
    assert fed.until is None
    fed.push("v", 10)
    assert fed.until is not None and 12 <= fed.until <= 12 + NEARLY


def test_what_was_told_is_not_taken_back(fed: Fed) -> None:
    for time in (0, 2, 4):
        fed.push("v", time)
        fed.push("a", time)
    fed.push("v", *range(6, 16, 2))
    assert fed.until is not None and fed.until <= 6 + NEARLY
    fed.push("v", 16)
    assert fed.until is not None and fed.until >= 18
    fed.push("a", 6, 8)
    assert fed.until >= 18
    fed.push("a", 10, 12, 14, 16, 18)
    fed.push("v", 18)
    assert fed.until >= 20
    assert fed.lateness("a") == {
        **dict.fromkeys((0, 2, 4, 18), Lateness.IN_TIME),
        **dict.fromkeys((6, 8, 10, 12, 14, 16), Lateness.LATE),
    }
    assert set(fed.lateness("v").values()) == {Lateness.IN_TIME}


def test_a_hole_that_is_filled_before_it_is_told_of(fed: Fed) -> None:
    for time in (0, 2, 4):
        fed.push("v", time)
        fed.push("a", time)
    fed.push("v", 6, 8)
    fed.push("a", 8)
    assert fed.until is not None and fed.until <= 6 + NEARLY
    fed.push("a", 6, encoder="2")
    assert fed.until >= 10
    assert fed.lateness("a")[6] is Lateness.IN_TIME


def test_a_hole_that_is_filled_when_it_was_told_of(fed: Fed) -> None:
    for time in (0, 2, 4):
        fed.push("v", time)
        fed.push("a", time)
    fed.push("v", 6, 8, 10)
    fed.push("a", 8, 10)
    assert fed.until is not None and fed.until >= 12
    fed.push("a", 6, encoder="2")
    assert fed.lateness("a")[6] is Lateness.FILLED
    assert fed.lateness("a")[8] is Lateness.IN_TIME


def test_it_begins_anew_with_the_point(fed: Fed) -> None:
    fed.push("v", 0, 2)
    fed.push("a", 0, 2)
    assert fed.until is not None
    fed.point.stop(NOW)
    for stream in STREAMS:
        fed.connect(stream).end(ConnectionState.CLOSED, NOW)
    fed.point.purge_all(NOW)
    assert fed.until is None
