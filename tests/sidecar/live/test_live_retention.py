"""What leaves a point, and that what stays costs the same however long it runs."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

from sidecar.live.connection import Outcome
from sidecar.live.index import PointIndex
from sidecar.live.ledger import ConnectionState
from sidecar.live.point import Point
from tests.support.pushed import NOW, SECOND, header, manifest, times, video


def test_a_day_with_a_window_of_two_hours(tmp_path: Path) -> None:
    path, given = manifest(tmp_path, dvr_window_length=7200)
    point = Point.open(path, given, NOW)
    connection = point.connect("main", "a")
    connection.take(header(), NOW)
    index = PointIndex.open(path.with_suffix(".db3"))
    files, rows, spent, sizes = [], [], [], []
    length = 20
    for second in range(0, 86_400, length):
        now = NOW + second * SECOND
        began = time.thread_time()
        assert connection.take(video(second, length), now).outcome is Outcome.ADDED
        spent.append(time.thread_time() - began)
        if second % 60 == 0:
            point.maintain(now)
        if second % 1200 == 0 and second > 10_000:
            point.settle()
            files.append(len(list(tmp_path.glob("*.mp4"))))
            rows.append(len(times(index)))
            sizes.append((tmp_path / "ch.db3").stat().st_size)
            extent = index.extent(1)
            assert extent is not None
            # Whatever manifests list is there, with what was listed a minute ago.
            assert extent.begin <= extent.end - 7_260_000
            assert extent.end == (second + length) * 1000
    point.close(NOW + 86_400 * SECOND)
    # Files of 907.5 s: eight and a part are needed, one is written, one waits to be deleted.
    assert max(files) <= 11
    assert max(rows) <= (7260 + 2 * 907.5) / length + 1
    assert sizes[-1] <= 1.1 * sizes[0]
    assert (tmp_path / "ch.db3-wal").stat().st_size <= 20 << 20
    fifth = len(spent) // 5
    early, late = statistics.median(spent[:fifth]), statistics.median(spent[-fifth:])
    assert late < 3 * early


def test_an_archive_that_is_kept_for_a_time(tmp_path: Path) -> None:
    options = {"archiving": 1, "archive_length": 600, "archive_segment_length": 60}
    path, given = manifest(tmp_path, **options)
    point = Point.open(path, given, NOW)
    connection = point.connect("main", "a")
    connection.take(header(), NOW)
    for second in range(0, 2000, 4):
        connection.take(video(second, 4), NOW + second * SECOND)
        # Files are finished in a thread, which such a clock would leave far behind.
        point.settle()
    index = PointIndex.open(path.with_suffix(".db3"))
    kept = times(index)
    assert kept[-1] == 1_996_000
    assert 2_000_000 - 660_000 - 2 * 60_000 <= kept[0] <= 2_000_000 - 660_000
    assert kept == list(range(kept[0], 2_000_000, 4000))
    point.close(NOW)


def test_an_archive_for_ever_is_one_file(tmp_path: Path) -> None:
    path, given = manifest(tmp_path, archiving=1)
    point = Point.open(path, given, NOW)
    connection = point.connect("main", "a")
    connection.take(header(), NOW)
    for second in range(0, 1000, 2):
        connection.take(video(second), NOW + second * SECOND)
        point.maintain(NOW + second * SECOND)
    assert [one.name for one in tmp_path.glob("*.mp4")] == ["ch-main-1.mp4"]
    assert len(times(PointIndex.open(path.with_suffix(".db3")))) == 500
    point.close(NOW)


def test_readers_in_flight_keep_their_file_for_a_while(tmp_path: Path) -> None:
    path, given = manifest(tmp_path)
    point = Point.open(path, given, NOW)
    connection = point.connect("main", "a")
    connection.take(header(), NOW)
    connection.take(video(0), NOW)
    first = tmp_path / "ch-main-1.mp4"
    held = os.open(first, os.O_RDONLY)
    for second in range(2, 200, 2):
        connection.take(video(second), NOW + second * SECOND)
        point.maintain(NOW + second * SECOND)
        point.settle()
        gone = 1 not in {file.id for file in PointIndex.open(path.with_suffix(".db3")).files()}
        if gone:
            break
    assert gone
    removed = second
    assert first.exists()
    point.maintain(NOW + (removed + 59) * SECOND)
    point.settle()
    assert first.exists()
    point.maintain(NOW + (removed + 61) * SECOND)
    point.settle()
    assert not first.exists()
    assert os.pread(held, 8, 4)[:4] == b"ftyp"
    os.close(held)
    point.maintain(NOW + (removed + 62) * SECOND)
    assert PointIndex.open(path.with_suffix(".db3")).all("SELECT * FROM doomed") == []
    point.close(NOW)


def test_a_stream_that_stopped_leaves_with_its_window(tmp_path: Path) -> None:
    path, given = manifest(tmp_path)
    point = Point.open(path, given, NOW)
    gone, going = point.connect("gone", "a"), point.connect("going", "a")
    for connection in (gone, going):
        connection.take(header(), NOW)
        connection.take(video(0), NOW)
    for second in range(2, 300, 2):
        going.take(video(second), NOW + second * SECOND)
        point.maintain(NOW + second * SECOND)
        point.settle()
    index = PointIndex.open(path.with_suffix(".db3"))
    assert {file.stream for file in index.files()} == {"going"}
    assert not list(tmp_path.glob("*gone*"))
    point.close(NOW)


def test_headers_of_encoders_that_always_have_another_do_not_pile_up(tmp_path: Path) -> None:
    path, given = manifest(tmp_path)
    point = Point.open(path, given, NOW)
    for second in range(0, 1000, 10):
        now = NOW + second * SECOND
        connection = point.connect("main", str(second))
        connection.take(header(digest=str(second).encode()), now)
        connection.take(video(second, 10), now)
        connection.end(ConnectionState.CLOSED, now)
        point.maintain(now)
        point.settle()
    index = PointIndex.open(path.with_suffix(".db3"))
    headers = index.one("SELECT count(*) FROM header")
    assert headers is not None
    assert headers[0] <= 20
    assert len(list(tmp_path.glob("*.mp4"))) <= 20
    point.close(NOW)
