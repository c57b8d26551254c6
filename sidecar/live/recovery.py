"""A publishing point after its process, or its machine, died: what is whole stays.

A process that dies leaves files without an index and maybe half a fragment behind the last one;
nothing that was committed is lost. After a power cut, bytes may be missing that rows tell of. Files
that another process writes (it holds their locks) are not touched.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from sidecar.live import frontier
from sidecar.live.archive import entries_of, seal
from sidecar.live.index import PointIndex
from sidecar.live.index_files import FileRow
from sidecar.live.settings import ArchiveSync

# Kernels write to disk what is older than 30 s: only younger bytes can be other than they were.
_UNSURE_MS = 40_000


@dataclass(frozen=True, slots=True)
class Report:
    """What recovery came upon. ``dropped``: fragments (of a track each) that are lost; ``lines``:
    for the log."""

    dropped: int = 0
    lines: tuple[str, ...] = ()

    def __add__(self, other: Report) -> Report:
        return Report(self.dropped + other.dropped, self.lines + other.lines)


def recover(index: PointIndex, sync: ArchiveSync, *, most: int | None = None) -> Report:
    """Finishes the files of writers that died, ``most`` at a time; rows whose bytes are not there
    are removed.

    Files that cannot be read or written now are left for the next time. Raises ``StorageError``
    when the index fails.
    """
    report = Report()
    left = most
    for file in index.files_open():
        found = _recover_file(index, file, sync)
        report += found
        if left is not None and found.lines:
            left -= 1
            if not left:
                break
    return report


def check_sizes(index: PointIndex) -> Report:
    """Removes rows of finished files that are shorter than they were."""
    report = Report()
    for file in index.files():
        if not file.closed:
            continue
        try:
            size = index.path.with_name(file.name).stat().st_size
        except FileNotFoundError:
            size = 0
        except OSError as error:
            report += Report(0, (f"{file.name} is left as it is: {error.strerror}",))
            continue
        if size >= file.size:
            continue
        with index.transaction():
            dropped = _drop(index, _beyond(index, file.id, size))
            if not size:
                index.remove_file(file.id)
        line = f"{file.name} has {size} of {file.size} bytes: {dropped} fragments are dropped"
        report += Report(dropped, (line,))
    return report


def overlook_lost(index: PointIndex) -> Report:
    """Hides rows whose bytes are not there from a reader that has just opened ``index``: a writer
    removes them when an encoder comes. ``dropped`` counts them."""
    lost: set[int] = set()
    lines = []
    # Bytes are written before their rows, and rows removed before their bytes.
    for file in index.files():
        try:
            size = index.path.with_name(file.name).stat().st_size
        except FileNotFoundError:
            size = 0
        except OSError:
            continue
        if size < file.size:
            beyond = _beyond(index, file.id, size)
            lost |= beyond
            lines.append(f"{file.name} has {size} of {file.size} bytes: {len(beyond)} fragments")
    if lost:
        index.hide(lost)
    return Report(len(lost), tuple(lines))


def _recover_file(index: PointIndex, file: FileRow, sync: ArchiveSync) -> Report:
    path = index.path.with_name(file.name)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return _missing(index, file)
    except OSError as error:
        return Report(0, (f"{file.name} is left as it is: {error.strerror}",))
    with closing(os.fdopen(descriptor, "r+b", buffering=0)) as opened:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return Report()
        try:
            with index.transaction():
                # Another process may have been here since.
                if all(one.closed for one in index.files(file.id)):
                    return Report()
                return _finish(index, file, path, opened.fileno(), sync)
        except OSError as error:
            return Report(0, (f"{file.name} is left as it is: {error.strerror}",))


def _missing(index: PointIndex, file: FileRow) -> Report:
    """A file that someone deleted, or that was about to be made: perhaps it still is, when it is
    the newest of its stream."""
    with index.transaction():
        dropped = index.fragments_of_file(file.id)
        newest = max((one.id for one in index.files() if one.stream == file.stream), default=0)
        if not index.files(file.id) or (not dropped and file.id == newest):
            return Report()
        index.remove_file(file.id)
    if not dropped:
        return Report()
    return Report(dropped, (f"{file.name} is gone: {dropped} fragments are dropped",))


def _finish(
    index: PointIndex, file: FileRow, path: Path, descriptor: int, sync: ArchiveSync
) -> Report:
    size = os.fstat(descriptor).st_size
    lost = _beyond(index, file.id, size)
    damaged = _damaged(index, file.id, descriptor, size)
    dropped = _drop(index, lost | damaged)
    lines = []
    if lost:
        lines.append(f"{file.name} has {size} bytes: {len(lost)} fragments behind are dropped")
    if damaged:
        lines.append(f"{file.name}: {len(damaged)} fragments that are damaged are dropped")
    end = index.end_of_file(file.id)
    if not end:
        index.remove_file(file.id)
        with suppress(FileNotFoundError):
            path.unlink()
        return Report(dropped, (*lines, f"{file.name} has no fragments: deleted"))
    if size > end:
        lines.append(f"{file.name}: {size - end} bytes behind the last fragment are cut off")
    seal(descriptor, end, entries_of(index, file.id))
    if sync is not ArchiveSync.NONE:
        os.fdatasync(descriptor)
    index.close_file(file.id, size=end)
    lines.append(f"{file.name} is finished, {end} bytes")
    return Report(dropped, tuple(lines))


def _beyond(index: PointIndex, file: int, size: int) -> set[int]:
    """Rows of ``file`` whose bytes do not lie within its ``size``."""
    rows = index.all("SELECT id FROM fragment WHERE file = ? AND offset + length > ?", file, size)
    return {row[0] for row in rows}


def _damaged(index: PointIndex, file: int, descriptor: int, size: int) -> set[int]:
    """Rows of ``file`` that came last and whose bytes are not those that were written."""
    rows = index.all(
        "SELECT id, offset, length, checksum FROM fragment WHERE file = ?1 AND received_ms >= "
        "(SELECT max(received_ms) FROM fragment WHERE file = ?1) - ?2 AND offset + length <= ?3",
        *(file, _UNSURE_MS, size),
    )
    found: dict[tuple[int, int], int] = {}
    damaged = set()
    for number, offset, length, checksum in rows:
        if (offset, length) not in found:
            found[offset, length] = zlib.crc32(os.pread(descriptor, length, offset))
        if found[offset, length] != checksum:
            damaged.add(number)
    return damaged


def _drop(index: PointIndex, rows: set[int]) -> int:
    for number in rows:
        index.run("DELETE FROM fragment WHERE id = ?", number)
    if rows:
        index.count_removal()
        frontier.forget(index)
    return len(rows)
