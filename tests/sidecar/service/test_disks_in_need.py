"""Disks that are full or read-only, archives and indexes that are damaged: what is whole is served,
and operators can get rid of the rest."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from sidecar.errors import OriginError
from sidecar.formats.registry import find
from sidecar.mux.plan import Inline
from sidecar.service.live import PublishingPoints, Question, answer_live
from sidecar.service.reader import MediaReader
from tests.support.encoder import stream
from tests.support.ingest import serving

SMOOTH = stream("smooth")
SETTINGS = (
    b'<smil><head><meta name="archiving" content="true"/>'
    b'<meta name="archive_segment_length" content="1"/></head></smil>'
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def played(root: Path, virtual_path: str) -> bytes:
    """What a process that has just begun answers to a request for ``ch.isml``."""
    found = find(virtual_path)
    assert found is not None
    kind, match = found
    question = Question(
        kind=kind, match=match, virtual_path=virtual_path, args="", directives={}, read_ahead=0
    )
    points = PublishingPoints(MediaReader())
    point = points.get(str(root), "/ch.isml")
    try:
        parts = answer_live(point, question)[1].plan.parts
    finally:
        point.close()
    return b"".join(bytes(part.data) for part in parts if isinstance(part, Inline))


def listed(root: Path) -> list[str]:
    """The segments of pictures of the only playlist that has any."""
    playlist = re.search(rb"^[^#\n]*video[^\n]*m3u8", played(root, ".m3u8"), re.MULTILINE)
    assert playlist is not None
    text = played(root, playlist[0].decode()).decode()
    return re.findall(r"^[^#\n]+$", text, re.MULTILINE)


def fill(folder: Path) -> None:
    with (folder / "fill").open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def archived(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.mp4"))


async def recorded(sockets: Path, root: Path) -> list[str]:
    """A presentation is received, and all processes end; returns its archive files."""
    async with serving(sockets, root) as process:
        assert (await process.manage(method="PUT", body=SETTINGS)).status == 201
        assert (await process.ask("Streams(main)", SMOOTH)).status == 200
    return archived(root)


async def test_a_recording_on_a_read_only_disk(sockets: Path, disk: Path) -> None:
    files = await recorded(sockets, disk)
    before = listed(disk)
    assert not (disk / "ch.db3-wal").exists()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert listed(disk) == before
    async with serving(sockets, disk) as process:
        for name in ("", "state", "archive", "statistics"):
            assert (await process.manage(name, method="GET")).status == 200, name
        answer = await process.manage(method="DELETE")
    assert (answer.status, answer.text) == (500, "cannot delete: Read-only file system\n")
    assert archived(disk) == files


async def test_an_index_beside_which_nothing_can_be_made(sockets: Path, tmp_path: Path) -> None:
    await recorded(sockets, tmp_path)
    before = listed(tmp_path)
    shared = tmp_path / "ch.db3-shm"
    shared.symlink_to(tmp_path / "nowhere" / "at all")
    assert listed(tmp_path) == before
    # What a log holds would be left out.
    (tmp_path / "ch.db3-wal").write_bytes(bytes(4096))
    with pytest.raises(OriginError, match="unable to open"):
        listed(tmp_path)
    (tmp_path / "ch.db3-wal").unlink()
    # A writer that can comes while it is read as it is.
    point = PublishingPoints(MediaReader()).get(str(tmp_path), "/ch.isml")
    kind, match = find(".mpd") or pytest.fail()
    question = Question(
        kind=kind, match=match, virtual_path=".mpd", args="", directives={}, read_ahead=0
    )
    answer_live(point, question)
    shared.unlink()
    async with serving(sockets, tmp_path) as process:
        assert (await process.manage("purge")).status == 200
        with pytest.raises(OriginError, match="received"):
            answer_live(point, question)
    point.close()


async def test_a_full_disk_is_played_purged_and_cleared(sockets: Path, disk: Path) -> None:
    files = await recorded(sockets, disk)
    before = listed(disk)
    for name in files:
        # As large as seconds of media are.
        with (disk / name).open("ab") as file:
            file.write(bytes(1 << 20))
    fill(disk)
    assert listed(disk) == before
    async with serving(sockets, disk) as process:
        assert (await process.manage("start")).status == 507
        part = await process.manage("purge", args="t=1.7")
        assert part.text == "archive files that are removed: 1\n", part.text
        left = archived(disk)
        assert len(left) == len(files) - 1 and set(left) < set(files)
        assert listed(disk) == before[-len(listed(disk)) :] != before
    fill(disk)
    async with serving(sockets, disk) as process:
        assert (await process.manage("purge")).text == "all media are removed\n"
        assert (await process.ask("Streams(main)", SMOOTH)).status == 200
    fill(disk)
    async with serving(sockets, disk) as process:
        assert (await process.manage(method="DELETE")).status == 200
    assert {path.name for path in disk.iterdir()} - {"ch.deleted"} == {"fill"}


async def test_what_was_cut_off_an_archive_file_is_not_listed(
    sockets: Path, tmp_path: Path
) -> None:
    await recorded(sockets, tmp_path)
    before = listed(tmp_path)
    newest = max(tmp_path.glob("*.mp4"), key=lambda path: int(path.stem.rpartition("-")[2]))
    with structlog.testing.capture_logs() as logs:
        assert listed(tmp_path) == before
    assert not logs
    os.truncate(newest, 2000)
    with structlog.testing.capture_logs() as logs:
        left = listed(tmp_path)
    assert left and left == before[: len(left)] and len(left) < len(before)
    assert {(line["event"], line["log_level"]) for line in logs} == {
        ("not all is there", "warning")
    }
    assert newest.name in logs[0]["what"][0]


@pytest.mark.parametrize("damage", ["emptied", "cut", "written over"])
async def test_a_damaged_index_can_be_deleted_with_all_media(
    sockets: Path, tmp_path: Path, damage: str
) -> None:
    files = await recorded(sockets, tmp_path)
    others = ["ch-2.isml", "ch-2-main-1.mp4", "ch-trailer.mp4"]
    for name in others:
        (tmp_path / name).touch()
    index = tmp_path / "ch.db3"
    if damage == "emptied":
        os.truncate(index, 0)
    elif damage == "cut":
        os.truncate(index, index.stat().st_size // 2)
    else:
        index.write_bytes(b"\xff" * index.stat().st_size)
    async with serving(sockets, tmp_path) as process:
        if damage == "emptied":
            with structlog.testing.capture_logs() as logs:
                assert (await process.manage("start")).status == 200
            (line,) = [line["what"] for line in logs if line["event"] == "recovered"]
            assert f"none of {len(files)} archive files" in line
        else:
            answer = await process.manage(method="DELETE")
            assert answer.status == 500
            assert "ch.db3 is damaged" in answer.text and "?force" in answer.text
            assert set(files) <= set(archived(tmp_path))
        assert (await process.manage(method="DELETE", args="force")).status == 200
    left = [path.name for path in tmp_path.iterdir()]
    assert sorted(left) == sorted([*others, "ch.deleted"])
