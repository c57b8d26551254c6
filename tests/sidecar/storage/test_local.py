from __future__ import annotations

import os
from pathlib import Path

import pytest

from sidecar.errors import InvalidMedia, NotFound, StorageError
from sidecar.storage.local import open_local


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.mp4"
    path.write_bytes(bytes(range(100)))
    return path


def test_reads_exactly_what_is_asked(file: Path) -> None:
    with open_local(str(file)) as source:
        assert source.read(0, 100) == bytes(range(100))
        assert source.read(40, 3) == bytes((40, 41, 42))
        assert source.read(100, 0) == b""


def test_identity_is_that_of_the_file(file: Path) -> None:
    status = file.stat()
    with open_local(str(file)) as source:
        identity = source.identity
    assert (identity.size, identity.mtime_ns, identity.inode) == (
        100,
        status.st_mtime_ns,
        status.st_ino,
    )
    assert identity.path == str(file)


def test_identity_path_has_no_symlinks(file: Path) -> None:
    link = file.parent / "link.mp4"
    link.symlink_to(file)
    with open_local(str(link)) as source:
        assert source.identity.path == str(file)


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 101), (100, 1), (99, 2), (500, 1), (0, 1 << 62)]
)
def test_a_read_past_the_end_names_file_and_offset(file: Path, offset: int, length: int) -> None:
    with open_local(str(file)) as source, pytest.raises(InvalidMedia, match="ends before") as info:
        source.read(offset, length)
    assert info.value.path == str(file)
    assert info.value.offset == min(offset, 100)
    assert str(file.parent) not in info.value.sentence


def test_a_file_that_became_shorter_is_not_padded(file: Path) -> None:
    with open_local(str(file)) as source:
        os.truncate(file, 50)
        assert source.read(0, 50) == bytes(range(50))
        with pytest.raises(InvalidMedia, match="ends before") as info:
            source.read(40, 20)
    assert info.value.offset == 50


def test_reading_after_close_is_a_storage_error(file: Path) -> None:
    source = open_local(str(file))
    source.close()
    source.close()
    with pytest.raises(StorageError):
        source.read(0, 1)


def test_absent_files(tmp_path: Path, file: Path) -> None:
    for path in (tmp_path / "none.mp4", file / "below.mp4"):
        with pytest.raises(NotFound):
            open_local(str(path))


def test_only_regular_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(StorageError) as info:
            open_local(str(path))
        assert str(tmp_path) not in info.value.sentence


def test_a_folder_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as info:
        open_local(str(tmp_path))
    assert str(tmp_path) not in info.value.sentence


def test_a_path_that_no_system_has() -> None:
    with pytest.raises(StorageError):
        open_local("a\0b")


def test_descriptors_are_given_back(file: Path, tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        open_local(str(file)).close()
        with pytest.raises(NotFound):
            open_local(str(tmp_path))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
