"""Archive files: what encoders sent, cut into files by time, each readable on its own.

A file is the header of its stream and fragments as they came. It is written at its end only, and
only by the process that holds its lock (flock); when nothing more will come it is finished with an
index of its fragments (mfra).
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from sidecar.boxes.write import box, full_box
from sidecar.errors import StorageError
from sidecar.live.chores import Chores
from sidecar.live.index import PointIndex
from sidecar.live.settings import ArchiveSync
from sidecar.storage.archive import OFFSET_MASK

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
_MAX_NAME = 80
# Two encoders whose headers differ take turns in one stream.
_OPEN_PER_STREAM = 2
_ENTRY = struct.Struct(">QQBBB")


class ArchiveFile:
    """A file that is being written. ``end``: bytes up to the end of what the index knows of it;
    ``period``: which stretch of time it is for."""

    __slots__ = ("descriptor", "end", "header", "number", "path", "period", "stream")

    def __init__(
        self, path: Path, descriptor: int, *, number: int, stream: str, header: int, period: int
    ) -> None:
        self.path = path
        self.descriptor = descriptor
        self.number = number
        self.stream = stream
        self.header = header
        self.period = period
        self.end = 0


class Archive:
    """The files of a publishing point that this process writes."""

    def __init__(self, index: PointIndex, chores: Chores, sync: ArchiveSync) -> None:
        self._index = index
        self._chores = chores
        self.sync = sync
        self._files: dict[tuple[str, int], ArchiveFile] = {}  # oldest first

    def current(self, stream: str, header: int, period: int | None) -> ArchiveFile | None:
        """The file that a fragment of ``stream`` goes to, or None when one must be opened first.

        ``period``: that the fragment begins, None when it just goes on. A fragment that comes late
        goes to the file of the time when it came.
        """
        file = self._files.get((stream, header))
        if file is None or (period is not None and period > file.period):
            return None
        return file if file.end <= OFFSET_MASK >> 1 else None

    def open(self, stream: str, header: int, period: int, now_ms: int) -> ArchiveFile:
        """A new file of ``stream`` that begins with header number ``header``; those that it
        succeeds are finished. Not to be called in a transaction.

        Raises ``StorageError``; nothing is left of the file then.
        """
        index = self._index
        data = index.header(header)
        with index.transaction():
            number = index.next_file
            while (path := self._path(stream, number)).exists():
                number += 1
            index.add_file(stream, header, path.name, now_ms, number=number)
        try:
            file = _create(path, number=number, stream=stream, header=header, period=period)
        except OSError as error:
            with suppress(StorageError), index.transaction():
                index.remove_file(number)
            raise _failed("create", path, error) from error
        try:
            self.append(file, data)
            if self.sync is ArchiveSync.FRAGMENT:
                _sync_folder(path.parent)
        except StorageError:
            self._discard(file)
            raise
        except OSError as error:
            self._discard(file)
            raise _failed("write", path, error) from error
        file.end = len(data)
        older = [
            one
            for one in self._files.values()
            if one.stream == stream and (one.header == header or one.period < period)
        ]
        for one in older:
            self._finish(one)
        self._files[(stream, header)] = file
        of_stream = [one for one in self._files.values() if one.stream == stream]
        for one in of_stream[:-_OPEN_PER_STREAM]:
            self._finish(one)
        return file

    def append(self, file: ArchiveFile, data: bytes) -> None:
        """Writes ``data`` behind what ``file`` has; it counts when ``file.end`` is moved, after its
        row was committed. Raises ``StorageError``."""
        try:
            write_at(file.descriptor, data, file.end)
            if self.sync is ArchiveSync.FRAGMENT:
                os.fdatasync(file.descriptor)
        except OSError as error:
            raise _failed("write", file.path, error) from error

    def finish(self, stream: str | None = None) -> None:
        """Finishes the files of ``stream``, or all."""
        for file in list(self._files.values()):
            if stream is None or file.stream == stream:
                self._finish(file)

    def finish_before(self, horizon_ms: int) -> None:
        """Finishes files whose media ends at ``horizon_ms`` of media time or before."""
        rows = self._index.all("SELECT id FROM file WHERE NOT closed AND end_ms <= ?", horizon_ms)
        old = {row[0] for row in rows}
        for file in list(self._files.values()):
            if file.number in old:
                self._finish(file)

    def abandon(self, file: ArchiveFile) -> None:
        """Lets go of ``file`` as it is; recovery finishes it if it is in the index."""
        self._files.pop((file.stream, file.header), None)
        os.close(file.descriptor)

    def close(self) -> None:
        """Lets go of all files as they are."""
        for file in list(self._files.values()):
            self.abandon(file)

    def _path(self, stream: str, number: int) -> Path:
        path = self._index.path
        safe = _UNSAFE.sub("_", stream)[:_MAX_NAME] or "_"
        return path.with_name(f"{path.stem}-{safe}-{number}.mp4")

    def _finish(self, file: ArchiveFile) -> None:
        del self._files[(file.stream, file.header)]
        entries = entries_of(self._index, file.number)
        if not entries:
            self._discard(file)
            return
        descriptor, path, end = file.descriptor, file.path, file.end
        must_sync = self.sync is not ArchiveSync.NONE

        def work() -> bool:
            # What fails here is made up for when the point is recovered.
            try:
                seal(descriptor, end, entries)
                if must_sync:
                    os.fdatasync(descriptor)
                    _sync_folder(path.parent)
            except OSError:
                return False
            finally:
                os.close(descriptor)
            return True

        self._chores.add(work, lambda: self._closed(file.number))

    def _closed(self, number: int) -> None:
        with self._index.transaction():
            self._index.close_file(number)

    def _discard(self, file: ArchiveFile) -> None:
        with suppress(OSError):
            file.path.unlink()
        os.close(file.descriptor)
        with suppress(StorageError), self._index.transaction():
            self._index.remove_file(file.number)


def archive_files(manifest: Path) -> list[Path]:
    """All files beside the server manifest ``manifest`` whose names are those of its archive, known
    to its index or not. Raises ``StorageError``."""
    mine = re.compile(re.escape(manifest.stem) + r"-[A-Za-z0-9_.-]+-\d+\.mp4")
    try:
        names = [path.name for path in manifest.parent.iterdir()]
    except OSError as error:
        raise _failed("list", manifest.parent, error) from error
    # Of points whose names begin with that of this one, and a hyphen.
    longer = tuple(
        name.removesuffix(manifest.suffix) + "-"
        for name in names
        if name.startswith(manifest.stem + "-") and name.endswith(manifest.suffix)
    )
    return [
        manifest.with_name(name)
        for name in sorted(names)
        if mine.fullmatch(name) and not name.startswith(longer)
    ]


def entries_of(index: PointIndex, file: int) -> list[tuple[int, int, int, int]]:
    """track_ID, presentation time of the first sample (ticks, not negative), offset of the moof and
    number of the traf (from 1) of each fragment of ``file`` that playback can begin with, by
    track and time."""
    rows = index.all(
        "SELECT track.track_ID, max(0, time + delay), offset + moof, "
        "row_number() OVER (PARTITION BY offset ORDER BY fragment.id), begins "
        "FROM fragment JOIN track ON track.id = fragment.track WHERE file = ? "
        "ORDER BY fragment.track, time",
        file,
    )
    return [row[:4] for row in rows if row[4]]


def seal(descriptor: int, end: int, entries: Sequence[tuple[int, int, int, int]]) -> None:
    """Makes the first ``end`` bytes of a file and an index of them all that it has.

    ``entries``: as of ``entries_of``. Raises ``OSError``.
    """
    data = random_access(entries)
    write_at(descriptor, data, end)
    os.ftruncate(descriptor, end + len(data))


def random_access(entries: Iterable[tuple[int, int, int, int]]) -> bytes:
    """The mfra box (ISO/IEC 14496-12 8.8.9) of ``entries``: as of ``entries_of``."""
    tables = []
    for track_id, rows in groupby(entries, key=lambda row: row[0]):
        packed = [
            _ENTRY.pack(time, moof, min(traf, 255), 1, 1)  # the first trun, its first sample
            for _, time, moof, traf in rows
        ]
        head = struct.pack(">III", track_id, 0, len(packed))
        tables.append(full_box(b"tfra", 1, 0, head, b"".join(packed)))
    size = 8 + sum(map(len, tables)) + 16
    return box(b"mfra", *tables, full_box(b"mfro", 0, 0, struct.pack(">I", size)))


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Writes all of ``data`` at ``offset``. Raises ``OSError``; part of it may be there then."""
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, offset)
        left = left[written:]
        offset += written


def _create(path: Path, *, number: int, stream: str, header: int, period: int) -> ArchiveFile:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        path.unlink()
        raise
    return ArchiveFile(path, descriptor, number=number, stream=stream, header=header, period=period)


def _sync_folder(folder: Path) -> None:
    """Makes names of files in ``folder`` last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(doing: str, path: Path, error: OSError) -> StorageError:
    return StorageError(f"cannot {doing}: {error.strerror}", path=str(path))
