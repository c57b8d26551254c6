"""Fragments with times that cannot be right: what others send is not lost by them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.errors import Conflict, InvalidMedia
from sidecar.live.connection import Connection, Outcome
from sidecar.live.index import PointIndex
from sidecar.live.ledger import ConnectionState
from sidecar.live.model import Fragment, Header
from sidecar.live.point import Point
from sidecar.media.moments import LATEST
from sidecar.media.track import Kind
from tests.support.pushed import (
    NOW,
    SECOND,
    VIDEO_SCALE,
    header,
    manifest,
    part,
    times,
    track,
    video,
    wrapped,
)

PICTURES = header(track(1, Kind.VIDEO))
UTC = NOW // SECOND
HOURS = 36_000


class Archive:
    """A point that keeps ten minutes, and a clock in seconds."""

    def __init__(self, folder: Path) -> None:
        path, given = manifest(folder, archiving=1, archive_length=600, archive_segment_length=20)
        self.point = Point.open(path, given, NOW)
        self.index = PointIndex.open(path.with_suffix(".db3"))
        self.clock = 0

    def connect(self, name: str, first: Header = PICTURES) -> Connection:
        connection = self.point.connect("main", name)
        connection.take(first, self.now)
        return connection

    @property
    def now(self) -> int:
        return NOW + self.clock * SECOND

    def push(self, connection: Connection, fragment: Fragment) -> Outcome:
        outcome = connection.take(fragment, self.now).outcome
        self.maintain()
        return outcome

    def feed(self, connection: Connection, begin: int, seconds: range) -> None:
        """In real time, from ``begin`` of the media and ``seconds`` of the clock on."""
        for second in seconds:
            self.clock = second
            if second % 2 == 0:
                assert self.push(connection, video(begin + second)) is Outcome.ADDED

    def maintain(self) -> None:
        for _ in range(50):
            self.point.maintain(self.now)
            self.point.settle()


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    made = Archive(tmp_path)
    yield made
    made.point.close(made.now)


@pytest.mark.parametrize("begin", [0, UTC])
@pytest.mark.parametrize("ahead", [20, 290, HOURS])
def test_one_of_two_encoders_is_ahead(archive: Archive, begin: int, ahead: int) -> None:
    good = archive.connect("good")
    archive.feed(good, begin, range(60))
    wrong = archive.connect("wrong")
    with pytest.raises(Conflict, match=r"^Times .*ahead .*stream.time=.*fragment.time="):
        archive.push(wrong, video(begin + archive.clock + ahead))
    archive.feed(good, begin, range(60, 70))
    with pytest.raises(Conflict):
        archive.push(wrong, video(begin + archive.clock + ahead + 2))
    assert times(archive.index) == [1000 * (begin + second) for second in range(0, 70, 2)]


def test_who_goes_on_hours_ahead_is_refused(archive: Archive) -> None:
    good, wrong = archive.connect("good"), archive.connect("wrong")
    archive.feed(good, 0, range(60))
    assert archive.push(wrong, video(60)) is Outcome.ADDED
    with pytest.raises(Conflict, match="another encoder"):
        archive.push(wrong, video(62 + HOURS))
    assert archive.push(good, video(62)) is Outcome.ADDED


def test_a_fragment_that_never_ends(archive: Archive) -> None:
    good, wrong = archive.connect("good"), archive.connect("wrong")
    archive.feed(good, 0, range(60))
    endless = wrapped(part(1, 60_000, 2, 1000 * HOURS, 16, video=True))
    with pytest.raises(Conflict, match="another encoder"):
        archive.push(wrong, endless)
    assert archive.push(good, video(60)) is Outcome.ADDED


def test_the_first_times_since_1970_are_not_ahead_of_the_clock(archive: Archive) -> None:
    wrong = archive.connect("wrong")
    with pytest.raises(Conflict, match=r"since 1970 are 36000 s ahead of the clock"):
        archive.push(wrong, video(UTC + HOURS))
    archive.feed(archive.connect("good"), UTC, range(20))
    with pytest.raises(Conflict, match="ahead of the clock"):
        archive.push(archive.connect("wrong again"), video(UTC + HOURS))


@pytest.mark.parametrize("begin", [0, UTC])
def test_encoders_come_back_after_hours(archive: Archive, begin: int) -> None:
    first, second = archive.connect("first"), archive.connect("second")
    archive.feed(first, begin, range(60))
    first.end(ConnectionState.BROKEN, archive.now)
    # Nobody has noticed yet that the other one is gone too.
    archive.clock = HOURS
    again = archive.connect("first again")
    assert archive.push(again, video(begin + HOURS)) is Outcome.ADDED
    assert archive.push(second, video(begin + HOURS + 2)) is Outcome.ADDED


@pytest.mark.parametrize("begin", [0, UTC])
def test_two_encoders_faster_than_time(archive: Archive, begin: int) -> None:
    both = archive.connect("one"), archive.connect("other")
    for second in range(0, 4000, 4):
        for at, connection in enumerate(both):
            fragment = video(begin + second + 2 * at)
            assert connection.take(fragment, archive.now).outcome is Outcome.ADDED


def test_nothing_is_removed_by_one_fragment(archive: Archive) -> None:
    archive.feed(archive.connect("one"), 0, range(60))
    before = times(archive.index)
    # Alone, it may have begun to count anew.
    alone = archive.connect("one again")
    archive.clock += 31
    assert archive.push(alone, video(HOURS)) is Outcome.ADDED
    archive.maintain()
    assert times(archive.index) == [*before, 1000 * HOURS]
    assert archive.push(alone, video(HOURS + 2)) is Outcome.ADDED
    archive.maintain()
    assert times(archive.index) == [1000 * HOURS, 1000 * (HOURS + 2)]


def test_nothing_is_removed_by_a_fragment_that_never_ends(archive: Archive) -> None:
    alone = archive.connect("one")
    archive.feed(alone, 0, range(60))
    before = times(archive.index)
    endless = wrapped(part(1, 60_000, 2, 1000 * HOURS, 16, video=True))
    archive.clock += 31
    assert archive.push(alone, endless) is Outcome.ADDED
    archive.maintain()
    assert times(archive.index) == [*before, 60_000]


@pytest.mark.parametrize(
    ("scale", "time"),
    [
        (12_800, (1 << 60) - 100_000),
        (1, 1 << 40),
        (1, 1 << 59),
        (VIDEO_SCALE, (LATEST + 1) * VIDEO_SCALE),
        (VIDEO_SCALE, -2 * 365 * 86_400 * VIDEO_SCALE),
    ],
)
def test_times_that_no_date_tells(archive: Archive, scale: int, time: int) -> None:
    described = replace(track(1, Kind.VIDEO), timescale=scale)
    connection = archive.connect("one", header(described))
    with pytest.raises(InvalidMedia, match="a fragment cannot last from"):
        archive.push(connection, wrapped(part(1, time, 2, 40, 16, video=True)))


@pytest.mark.parametrize(("time", "length"), [(1 << 37, 1), (UTC, 1 << 10)])
def test_times_that_cannot_be_those_of_the_track(archive: Archive, time: int, length: int) -> None:
    fine = header(replace(track(1, Kind.VIDEO), timescale=10_000_000))
    coarse = header(replace(track(1, Kind.VIDEO), timescale=1), digest=b"2")
    connection = archive.connect("one", fine)
    start = part(1, UTC * 10_000_000, 50, 400_000, 16, video=True)
    assert archive.push(connection, wrapped(start)) is Outcome.ADDED
    connection.take(coarse, archive.now)
    with pytest.raises(InvalidMedia, match="a fragment cannot last from"):
        archive.push(connection, wrapped(part(1, time, 2, length, 16, video=True)))
    assert (
        archive.push(connection, wrapped(part(1, UTC + 2, 2, 1, 16, video=True))) is Outcome.ADDED
    )
