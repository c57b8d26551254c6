"""Points after the death of a process or a machine: what is whole is there, all else is said."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.live.connection import Outcome
from sidecar.live.index import PointIndex
from sidecar.live.point import Point
from tests.support.media import ROOT
from tests.support.pushed import NOW, SECOND, both, content, header, manifest, times, video

# More of them: KILLS=200 pytest ...
KILLS = int(os.environ.get("KILLS", "20"))

_WRITER = """
import os, sys
from pathlib import Path
from sidecar.live.point import Point
from tests.support.pushed import NOW, SECOND, header, manifest, part, wrapped
folder, begin, name = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
path, given = manifest(folder, archiving=1, archive_segment_length=20)
point = Point.open(path, given, NOW)
connection = point.connect("main", name)
connection.take(header(), NOW)
for second in range(begin, begin + 2000, 2):
    fragment = wrapped(part(1, second * 1000, 50, 40, 16, video=True, size=1000))
    connection.take(fragment, NOW + second * SECOND)
    os.write(1, second.to_bytes(4))
    if second == begin and name in "bc":
        os.read(0, 1)  # so that they begin together
"""


def check(folder: Path) -> list[int]:
    """Every row's bytes are those that were sent; returns the times."""
    index = PointIndex.open(folder / "ch.db3")
    for row in index.newer(0):
        (file,) = index.files(row.file)
        with (folder / file.name).open("rb") as opened:
            opened.seek(row.offset)
            data = opened.read(row.length)
        assert repr([(1, row.time)]).encode() in data
        assert len(data) == row.length
    found = times(index)
    index.close()
    return found


def killed(folder: Path, begin: int, after: int, name: str = "a") -> int:
    """Kills a writer after so many fragments; returns the last that it had told of."""
    command = [sys.executable, "-c", _WRITER, str(folder), str(begin), name]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(after):
            last = int.from_bytes(process.stdout.read(4))
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
        if rest:
            last = int.from_bytes(rest[-4:])
    return last


def test_processes_that_are_killed_lose_nothing_that_was_committed(tmp_path: Path) -> None:
    chance = random.Random(5)
    begin = 0
    for _ in range(KILLS):
        last = killed(tmp_path, begin, chance.randrange(1, 30))
        found = check(tmp_path)
        assert found[-1] >= last * 1000
        assert found == list(range(0, found[-1] + 1, 2000))
        # The encoder sends its last two fragments again.
        begin = max(0, last - 2)
    path, given = manifest(tmp_path, archiving=1, archive_segment_length=20)
    point = Point.open(path, given, NOW)
    assert point.recovered.dropped == 0
    assert point.connected == 0
    assert not point.is_fed
    index = PointIndex.open(path.with_suffix(".db3"))
    assert all(file.closed for file in index.files())
    known = {file.name for file in index.files()}
    assert {one.name for one in tmp_path.glob("*.mp4")} == known
    assert check(tmp_path) == found
    for file in index.files():
        assert b"mfro" in (tmp_path / file.name).read_bytes()[-16:]
    point.close(NOW)


def test_another_process_goes_on_at_once(tmp_path: Path) -> None:
    path, given = manifest(tmp_path, archiving=1)
    point = Point.open(path, given, NOW)
    last = killed(tmp_path, 0, 5)
    assert point.is_fed is False
    connection = point.connect("main", "a")
    connection.take(header(), NOW)
    assert connection.take(video(last), NOW).outcome is Outcome.DUPLICATE
    assert times(PointIndex.open(path.with_suffix(".db3")))[-1] >= last * 1000
    reports = [point.maintain(NOW + at * SECOND) for at in range(4)]
    assert any("is finished" in line for report in reports for line in report.lines)
    assert all(report.dropped == 0 for report in reports)
    point.close(NOW)


def test_processes_that_write_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WRITER, str(tmp_path), "0"]
    pipe = subprocess.PIPE
    writers = [
        subprocess.Popen([*command, name], cwd=ROOT, stdin=pipe, stdout=pipe) for name in "bc"
    ]
    for one in writers:
        assert one.stdout is not None
        assert one.stdout.read(4) == bytes(4)
    for one in writers:
        assert one.stdin is not None
        one.stdin.write(b"!")
        one.stdin.flush()
    for one in writers:
        assert one.stdout is not None
        assert len(one.stdout.read(4 * 300)) == 4 * 300
    writers[0].kill()
    assert writers[1].stdout is not None
    last = int.from_bytes(writers[1].stdout.read(4 * 100)[-4:])
    writers[1].kill()
    for one in writers:
        one.communicate()
    found = check(tmp_path)
    assert found == list(range(0, found[-1] + 1, 2000))
    assert found[-1] >= last * 1000
    point = reopened(tmp_path)
    assert point.recovered.dropped == 0
    assert {file.name for file in point._writer.index.files()} == {
        one.name for one in tmp_path.glob("*.mp4")
    }
    point.close(NOW)


def recorded(folder: Path, *, close: bool) -> Point:
    path, given = manifest(folder, archiving=1, archive_segment_length=10)
    point = Point.open(path, given, NOW)
    connection = point.connect("main", "a")
    connection.take(header(), NOW)
    for second in range(0, 16, 2):
        connection.take(both(second), NOW + second * SECOND)
    if close:
        point.close(NOW)
    return point


def died(point: Point) -> None:
    """What the kernel does when a process dies."""
    point.settle()
    point._writer.archive.close()
    point._writer.owner.release()
    point._writer.index.close()


def reopened(folder: Path) -> Point:
    path, given = manifest(folder, archiving=1, archive_segment_length=10)
    return Point.open(path, given, NOW + 3600 * SECOND)


def test_files_of_a_process_that_lives_are_not_touched(tmp_path: Path) -> None:
    point = recorded(tmp_path, close=False)
    point.settle()
    before = {one.name: one.read_bytes() for one in tmp_path.glob("*.mp4")}
    other = reopened(tmp_path)
    other.maintain(NOW)
    assert other.recovered.lines == ()
    assert other.is_fed
    assert {one.name: one.read_bytes() for one in tmp_path.glob("*.mp4")} == before
    other.close(NOW)
    point.close(NOW)


@pytest.mark.parametrize("left", [0, 1, 30, -1, -200])
def test_bytes_that_a_power_cut_took(tmp_path: Path, left: int) -> None:
    died(recorded(tmp_path, close=False))
    last = tmp_path / "ch-main-2.mp4"
    size = last.stat().st_size
    kept = left if left >= 0 else size + left
    with last.open("r+b") as opened:
        opened.truncate(kept)
    point = reopened(tmp_path)
    index = PointIndex.open(tmp_path / "ch.db3")
    assert point.recovered.dropped == 16 - len(content(index))
    assert point.recovered.dropped in (2, 6)
    assert "ch-main-2.mp4" in point.recovered.lines[0]
    assert index.removals == 1
    check_bytes(tmp_path, index)
    # The encoder sends again what it has, and goes on.
    connection = point.connect("main", "a")
    connection.take(header(), NOW)
    for second in range(10, 20, 2):
        connection.take(both(second), NOW + second * SECOND)
    assert times(index) == list(range(0, 20_000, 2000))
    check_bytes(tmp_path, index)
    point.close(NOW)


def check_bytes(folder: Path, index: PointIndex) -> None:
    for row in index.newer(0):
        (file,) = index.files(row.file)
        data = (folder / file.name).read_bytes()[row.offset : row.offset + row.length]
        second = row.time // (1000 if row.track == 1 else 48_000)
        assert both(-(-second // 2) * 2).data == data


def test_pages_that_were_never_written(tmp_path: Path) -> None:
    died(recorded(tmp_path, close=False))
    index = PointIndex.open(tmp_path / "ch.db3")
    row = index.newer(0)[-1]
    with (tmp_path / "ch-main-2.mp4").open("r+b") as opened:
        opened.seek(row.offset + 40)
        opened.write(bytes(100))
    point = reopened(tmp_path)
    assert point.recovered.dropped == 2
    assert "damaged" in point.recovered.lines[0]
    assert times(index) == list(range(0, 14_000, 2000))
    point.close(NOW)


def test_garbage_behind_the_last_fragment(tmp_path: Path) -> None:
    died(recorded(tmp_path, close=False))
    whole = content(PointIndex.open(tmp_path / "ch.db3"))
    last = tmp_path / "ch-main-2.mp4"
    size = last.stat().st_size
    with last.open("ab") as opened:
        opened.write(both(16).data[:-7])
    point = reopened(tmp_path)
    assert point.recovered.dropped == 0
    assert "bytes behind the last fragment are cut off" in point.recovered.lines[0]
    assert last.read_bytes()[size + 4 : size + 8] == b"mfra"
    assert content(PointIndex.open(tmp_path / "ch.db3")) == whole
    point.close(NOW)


def test_a_finished_file_that_is_shorter(tmp_path: Path) -> None:
    recorded(tmp_path, close=True)
    first = tmp_path / "ch-main-1.mp4"
    with first.open("r+b") as opened:
        opened.truncate(400)
    (tmp_path / "ch-main-2.mp4").unlink()
    point = reopened(tmp_path)
    index = PointIndex.open(tmp_path / "ch.db3")
    assert point.recovered.dropped == 16 - len(content(index))
    assert len(point.recovered.lines) == 2
    assert [file.name for file in index.files()] == ["ch-main-1.mp4"]
    check_bytes(tmp_path, index)
    point.close(NOW)


def test_a_file_that_was_never_made(tmp_path: Path) -> None:
    point = recorded(tmp_path, close=False)
    index = PointIndex.open(tmp_path / "ch.db3")
    with index.transaction():
        index.add_file("main", 1, "ch-main-9.mp4", 0, number=9)
    died(point)
    point = reopened(tmp_path)
    assert point.recovered.dropped == 0
    # Its writer may still be about to make it, until there is another.
    connection = point.connect("main", "a")
    connection.take(header(), NOW)
    connection.take(both(16), NOW)
    point.maintain(NOW)
    assert [file.id for file in index.files()] == [1, 2, 10]
    point.close(NOW)


def test_a_point_that_was_closed_needs_no_recovery(tmp_path: Path) -> None:
    recorded(tmp_path, close=True)
    point = reopened(tmp_path)
    assert point.recovered.lines == ()
    assert point.state == "started"
    point.close(NOW)
