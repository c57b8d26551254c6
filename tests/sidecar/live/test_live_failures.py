"""Storage that fails: nothing half is in the index, and ingest goes on when it can."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.errors import StorageError
from sidecar.live import ledger
from sidecar.live.connection import Connection, Outcome
from sidecar.live.index import PointIndex
from sidecar.live.ledger import ConnectionState
from sidecar.live.owner import is_fed
from sidecar.live.point import Point
from tests.support.media import ROOT
from tests.support.pushed import NOW, SECOND, both, header, manifest, times, video


@pytest.fixture
def point(tmp_path: Path) -> Iterator[Point]:
    path, given = manifest(tmp_path)
    opened = Point.open(path, given, NOW)
    yield opened
    opened.close(NOW)


def connected(point: Point) -> Connection:
    connection = point.connect("main", "a")
    connection.take(header(), NOW)
    return connection


def index_of(folder: Path) -> PointIndex:
    return PointIndex.open(folder / "ch.db3")


def failing(number: int, after: int) -> Callable[[int, bytes, int], int]:
    """``os.pwrite`` of a disk that is full after so many bytes."""
    real, left = os.pwrite, [after]

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        if not left[0]:
            raise OSError(number, os.strerror(number))
        part = min(len(data), left[0])
        left[0] -= part
        return real(descriptor, data[:part], offset)

    return pwrite


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("after", [0, 100])
def test_a_disk_that_is_full_for_a_while(
    point: Point, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, after: int
) -> None:
    connection = connected(point)
    connection.take(both(0), NOW)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing(number, after))
        for second in (2, 4):
            with pytest.raises(StorageError, match=os.strerror(number)):
                connection.take(both(second), NOW)
    index = index_of(tmp_path)
    assert times(index) == [0]
    # The encoder is still there, and another brings what is missing.
    assert connection.take(both(6), NOW).outcome is Outcome.ADDED
    assert connection.take(both(4), NOW).outcome is Outcome.ADDED
    assert times(index) == [0, 4000, 6000]
    (file,) = index.files()
    data = (tmp_path / file.name).read_bytes()
    assert data == header().data + both(0).data + both(6).data + both(4).data


def test_no_room_for_a_new_file(
    point: Point, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connected(point)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing(errno.ENOSPC, 10))
        with pytest.raises(StorageError, match="No space"):
            connection.take(both(0), NOW)
    index = index_of(tmp_path)
    assert index.files() == ()
    assert not list(tmp_path.glob("*.mp4"))
    assert connection.take(both(0), NOW).outcome is Outcome.ADDED


def test_an_index_without_room(tmp_path: Path) -> None:
    path, given = manifest(tmp_path, archiving=1)
    point = Point.open(path, given, NOW)
    connection = connected(point)
    connection.take(both(0), NOW)
    database = point._writer.index
    pages = database.one("PRAGMA page_count")
    assert pages is not None
    database.one(f"PRAGMA max_page_count = {pages[0]}")
    failures = 0
    for second in range(2, 400, 2):
        try:
            connection.take(video(second), NOW)
        except StorageError as error:
            assert "full" in error.sentence
            failures += 1
    assert failures > 10
    kept = times(index_of(tmp_path))
    database.one("PRAGMA max_page_count = 1000000")
    assert connection.take(video(400), NOW).outcome is Outcome.ADDED
    index = index_of(tmp_path)
    assert times(index) == [*kept, 400_000]
    for row in index.newer(0):
        (file,) = index.files(row.file)
        data = (tmp_path / file.name).read_bytes()[row.offset : row.offset + row.length]
        assert data[4:8] == b"moof"
    point.close(NOW)


def test_a_commit_that_fails_leaves_no_bytes_for_others(
    point: Point, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connected(point)
    connection.take(both(0), NOW)
    index = point._writer.index

    class Failing:
        def __init__(self, real: sqlite3.Connection) -> None:
            self.real = real

        def execute(self, statement: str, *given: object) -> sqlite3.Cursor:
            if statement == "COMMIT":
                raise sqlite3.OperationalError("disk I/O error")
            return self.real.execute(statement, *given)

    with monkeypatch.context() as patch:
        patch.setattr(index, "_connection", Failing(index._connection))
        with pytest.raises(StorageError, match="I/O error"):
            connection.take(both(2), NOW)
    assert times(index_of(tmp_path)) == [0]
    # Had it been committed after all, its bytes would not be written over.
    assert connection.take(both(4), NOW).outcome is Outcome.ADDED
    assert {row.file for row in index_of(tmp_path).newer(0)} == {1, 2}
    report = point.maintain(NOW)
    assert "is finished" in " ".join(report.lines)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    # Root may write anywhere, but not into what is no folder.
    (tmp_path / "file").touch()
    path, given = manifest(tmp_path / "file")
    with pytest.raises(StorageError, match=r"ch\.db3"):
        Point.open(path, given, NOW)


def test_a_damaged_index_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "ch.db3").write_bytes(b"no database" * 1000)
    (tmp_path / "ch-main-1.mp4").write_bytes(b"media")
    path, given = manifest(tmp_path)
    with pytest.raises(StorageError, match=r"ch\.db3"):
        Point.open(path, given, NOW)
    assert (tmp_path / "ch.db3").read_bytes() == b"no database" * 1000
    assert (tmp_path / "ch-main-1.mp4").read_bytes() == b"media"


def test_an_index_that_is_busy_for_too_long(
    point: Point, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connected(point)
    connection.take(both(0), NOW)
    point._writer.index.one("PRAGMA busy_timeout = 20")
    other = index_of(tmp_path)
    with other.transaction(), pytest.raises(StorageError, match="locked"):
        connection.take(both(2), NOW)
    assert connection.take(both(2), NOW).outcome is Outcome.ADDED


def test_a_connection_ends_whatever_the_storage_does(point: Point, tmp_path: Path) -> None:
    path, given = manifest(tmp_path)
    other = Point.open(path, given, NOW)
    connection, second = connected(point), point.connect("main", "b")
    point._writer.index.one("PRAGMA busy_timeout = 20")
    index = index_of(tmp_path)
    with index.transaction():
        connection.end(ConnectionState.BROKEN, NOW)
        assert point.is_fed and other.is_fed and is_fed(index.stamp)
        second.end(ConnectionState.BROKEN, NOW)
        # Nobody holds one any more, whatever the index says.
        assert point.connected == 0
        assert not point.is_fed and not other.is_fed and not is_fed(index.stamp)
    (row,) = ledger.connections(index)
    assert row.state is ConnectionState.OPEN
    point.maintain(NOW)
    (row,) = ledger.connections(index)
    assert row.state is ConnectionState.BROKEN
    other.close(NOW)


def test_a_connection_that_comes_back_before_its_end_was_noted(
    point: Point, tmp_path: Path
) -> None:
    connection = connected(point)
    point._writer.index.one("PRAGMA busy_timeout = 20")
    index = index_of(tmp_path)
    with index.transaction():
        connection.end(ConnectionState.BROKEN, NOW)
    connected(point)
    point.maintain(NOW)
    (row,) = ledger.connections(index)
    assert row.state is ConnectionState.OPEN


_LIMITED = """
import resource, sys
from pathlib import Path
from sidecar.errors import StorageError
from sidecar.live.point import Point
from tests.support.pushed import NOW, header, manifest, video, wrapped, part
path, given = manifest(Path(sys.argv[1]))
point = Point.open(path, given, NOW)
connection = point.connect("main", "a")
connection.take(header(), NOW)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
added = failed = 0
for second in range(0, 10, 2):
    try:
        big = wrapped(part(1, second * 1000, 50, 40, 100_000, video=True))
        connection.take(big, NOW)
        added += 1
    except StorageError as error:
        assert "File too large" in error.sentence, error
        failed += 1
assert (added, failed) == (2, 3), (added, failed)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
connection.take(video(10), NOW)
"""


def test_a_limit_of_the_system(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _LIMITED, str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT)
    assert times(index_of(tmp_path)) == [0, 2000, 10_000]
    point = Point.open(*manifest(tmp_path), NOW + SECOND)
    assert point.recovered.dropped == 0
    point.close(NOW)
