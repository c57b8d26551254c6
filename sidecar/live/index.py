"""The index of a publishing point: one SQLite database, the only state that processes share.

A fragment exists from the moment its row is committed. Its bytes were written before that, so an
archive file may have a tail that no row knows; nothing ever refers to it. Readers see whole
transactions (WAL) and never wait for writers.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sidecar.errors import Conflict, NotFound, StorageError
from sidecar.live.model import Header, IncomingTrack, SampleTable, TrackFragment
from sidecar.live.rows import pack_samples, unpack_samples

SCHEMA_VERSION = 1
# How long a transaction waits for another process's: theirs take milliseconds.
BUSY_MS = 5000

_SCHEMA = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE header (
    id INTEGER PRIMARY KEY, stream TEXT NOT NULL, digest BLOB NOT NULL, data BLOB NOT NULL,
    received_ms INTEGER NOT NULL, UNIQUE (stream, digest));
CREATE TABLE track (
    id INTEGER PRIMARY KEY, stream TEXT NOT NULL, track_ID INTEGER NOT NULL,
    header INTEGER NOT NULL REFERENCES header, nominal INTEGER NOT NULL DEFAULT 0,
    bitrate INTEGER NOT NULL DEFAULT 0, UNIQUE (stream, track_ID));
CREATE TABLE file (
    id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, header INTEGER NOT NULL,
    name TEXT NOT NULL UNIQUE, opened_ms INTEGER NOT NULL, size INTEGER NOT NULL,
    closed INTEGER NOT NULL DEFAULT 0);
CREATE TABLE fragment (
    id INTEGER PRIMARY KEY AUTOINCREMENT, track INTEGER NOT NULL REFERENCES track,
    time INTEGER NOT NULL, duration INTEGER NOT NULL, sequence INTEGER NOT NULL,
    begins INTEGER NOT NULL, header INTEGER NOT NULL, file INTEGER NOT NULL,
    offset INTEGER NOT NULL, length INTEGER NOT NULL, received_ms INTEGER NOT NULL,
    samples BLOB NOT NULL, UNIQUE (track, time));
CREATE INDEX fragment_of_file ON fragment (file);
CREATE INDEX fragment_by_sequence ON fragment (track, sequence);
"""


class Verdict(StrEnum):
    """What became of what a fragment holds of a track."""

    ADDED = "added"
    DUPLICATE = "duplicate"  # it is there already, or something else is in its place
    LATE = "late"  # older than what is still waited for


@dataclass(frozen=True, slots=True)
class FragmentRow:
    """One row. ``time``, ``duration``: ticks of the track. ``sequence``: position on the track's
    grid of fragments, the same for chunks of one fragment. ``offset``: of ``samples`` in ``file``.
    """

    id: int
    track: int
    time: int
    duration: int
    sequence: int
    begins: bool
    header: int
    file: int
    offset: int
    length: int
    received_ms: int
    samples: SampleTable


@dataclass(frozen=True, slots=True)
class TrackRow:
    """A track as the index knows it. ``bitrate``: bit/s that names it in URLs, measured when the
    encoder does not say. ``nominal``: usual duration of a fragment, ticks, 0 = not known yet."""

    id: int
    stream: str
    track_ID: int  # noqa: N815 - the specification's spelling
    header: int
    nominal: int
    bitrate: int


@dataclass(frozen=True, slots=True)
class FileRow:
    """An archive file. ``size``: bytes up to the end of the last committed fragment."""

    id: int
    stream: str
    header: int
    name: str
    opened_ms: int
    size: int
    closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What there is of a track, ticks: from ``begin`` to ``end``; sequences of the outermost."""

    begin: int
    end: int
    first_sequence: int
    last_sequence: int


_FRAGMENT = (
    "id, track, time, duration, sequence, begins, header, file, offset, length, received_ms, "
    "samples"
)
_TRACK = "id, stream, track_ID, header, nominal, bitrate"
_FILE = "id, stream, header, name, opened_ms, size, closed"


class PointIndex:
    """The index at ``path``; one connection, to be used by one thread at a time.

    Every method raises ``StorageError`` when the database cannot be read or written.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        # Whatever writes: readers of this process and of others see it in the file's time.
        self._stamp = path.with_name(path.name + "-stamp")

    @classmethod
    def open(cls, path: Path, *, create: bool = False, synchronous: str = "NORMAL") -> PointIndex:
        """The index at ``path``. ``synchronous``: OFF, NORMAL (survives a crash of the process,
        and a power cut but for the last commits) or FULL (each commit survives it).

        Raises ``NotFound`` when there is none and it is not to be created.
        """
        if not create and not path.exists():
            raise NotFound("the publishing point has no index")
        with _storage(path):
            connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000
            )
            try:
                _prepare(connection, path, synchronous)
            except BaseException:
                connection.close()
                raise
        index = cls(path, connection)
        if create and not index._stamp.exists():
            with _storage(path):
                index._stamp.touch()
        return index

    def close(self) -> None:
        self._connection.close()

    @property
    def stamp(self) -> Path:
        """An empty file whose mtime changes with every commit that readers must see."""
        return self._stamp

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; excludes other writers, of this process and others, until its end."""
        with _storage(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise
        with _storage(self.path):
            self._connection.execute("COMMIT")

    def touch(self, now_ns: int) -> None:
        """Tells readers that something was committed; ``now_ns`` must differ each time."""
        with _storage(self.path):
            os.utime(self._stamp, ns=(now_ns, now_ns))

    # Settings

    def setting(self, name: str) -> str | None:
        """The value of ``name``, None when it was never set."""
        row = self._one("SELECT value FROM setting WHERE name = ?", name)
        return None if row is None else str(row[0])

    def set(self, name: str, value: str) -> None:
        self._run(
            "INSERT INTO setting VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = ?2",
            name,
            value,
        )

    # Headers and tracks

    def put_header(self, stream: str, header: Header, now_ms: int) -> int:
        """The number of ``header``; the same for one that is sent again. Its tracks become known.

        To be called in a transaction. Raises ``Conflict`` when a track of the stream changes its
        kind or timescale: its times could not be compared any more.
        """
        row = self._one(
            "SELECT id FROM header WHERE stream = ? AND digest = ?", stream, header.digest
        )
        number = (
            int(row[0])
            if row is not None
            else self._run(
                "INSERT INTO header (stream, digest, data, received_ms) VALUES (?, ?, ?, ?)",
                *(stream, header.digest, header.data, now_ms),
            )
        )
        for track in header.tracks:
            self._put_track(stream, track, number)
        return number

    def _put_track(self, stream: str, track: IncomingTrack, header: int) -> None:
        known = self._one(
            "SELECT id FROM track WHERE stream = ? AND track_ID = ?", stream, track.track_ID
        )
        if known is None:
            self._run(
                "INSERT INTO track (stream, track_ID, header, bitrate) VALUES (?, ?, ?, ?)",
                *(stream, track.track_ID, header, track.bitrate or 0),
            )
            return
        described = f"{track.kind.value} {track.timescale}"
        before = self.setting(f"track {known[0]}")
        if before is not None and before != described:
            raise Conflict(
                f"track {track.track_ID} of stream {stream} was {before}, "
                f"it cannot become {described}"
            )

    def describe_track(self, track: int, kind: str, timescale: int) -> None:
        """Fixes what may not change of ``track`` as long as the index lives."""
        self.set(f"track {track}", f"{kind} {timescale}")

    def set_bitrate(self, track: int, bitrate: int) -> None:
        """Names ``track`` in URLs from now on."""
        self._run("UPDATE track SET bitrate = ? WHERE id = ?", bitrate, track)

    def tracks(self) -> tuple[TrackRow, ...]:
        """All tracks, in the order in which they came."""
        rows = self._all(f"SELECT {_TRACK} FROM track ORDER BY id")
        return tuple(TrackRow(*row) for row in rows)

    def header(self, number: int) -> bytes:
        """``Header.data`` of header ``number``."""
        row = self._one("SELECT data FROM header WHERE id = ?", number)
        if row is None:
            raise NotFound("the stream's header is not there")
        return bytes(row[0])

    # Files

    def add_file(self, stream: str, header: int, name: str, now_ms: int) -> int:
        """The number of a new archive file ``name`` of ``stream``."""
        return self._run(
            "INSERT INTO file (stream, header, name, opened_ms, size) VALUES (?, ?, ?, ?, 0)",
            *(stream, header, name, now_ms),
        )

    def set_file_size(self, file: int, size: int) -> None:
        self._run("UPDATE file SET size = ? WHERE id = ?", size, file)

    def close_file(self, file: int) -> None:
        """Nothing will be written to ``file`` any more."""
        self._run("UPDATE file SET closed = 1 WHERE id = ?", file)

    def files(self, number: int | None = None) -> tuple[FileRow, ...]:
        """All archive files, oldest first, or the one that is ``number``, if it is there."""
        where, given = ("WHERE id = ?", (number,)) if number is not None else ("", ())
        rows = self._all(f"SELECT {_FILE} FROM file {where} ORDER BY id", *given)
        return tuple(FileRow(*(*row[:-1], bool(row[-1]))) for row in rows)

    def remove_file(self, file: int) -> str:
        """Forgets ``file`` and its fragments, in a transaction; returns its name, to be deleted
        after the commit."""
        row = self._one("SELECT name FROM file WHERE id = ?", file)
        if row is None:
            raise NotFound("the archive file is not in the index")
        self._run("DELETE FROM fragment WHERE file = ?", file)
        self._run("DELETE FROM file WHERE id = ?", file)
        self._run(
            "INSERT INTO setting VALUES ('removed', '1') "
            "ON CONFLICT (name) DO UPDATE SET value = value + 1"
        )
        return str(row[0])

    @property
    def removals(self) -> int:
        """How often something was removed: what readers keep must be read again then."""
        return int(self.setting("removed") or 0)

    # Fragments

    def judge(self, track: TrackRow, fragment: TrackFragment, grace: int) -> Verdict:
        """Whether ``fragment`` is news. ``grace``: ticks behind the end of the track within which
        a hole may still be filled."""
        middle = fragment.time + fragment.duration // 2
        row = self._one(
            "SELECT time + duration FROM fragment WHERE track = ? AND time <= ? "
            "ORDER BY time DESC LIMIT 1",
            *(track.id, middle),
        )
        if row is not None and row[0] > middle:
            return Verdict.DUPLICATE
        same = self._one(
            "SELECT 1 FROM fragment WHERE track = ? AND time >= ? AND time < ? LIMIT 1",
            *(track.id, fragment.time, middle + 1),
        )
        if same is not None:
            return Verdict.DUPLICATE
        extent = self.extent(track.id)
        if extent is not None and fragment.time + fragment.duration < extent.end - grace:
            return Verdict.LATE
        return Verdict.ADDED

    def add(
        self,
        track: TrackRow,
        fragment: TrackFragment,
        *,
        header: int,
        file: int,
        offset: int,
        length: int,
        now_ms: int,
    ) -> int | None:
        """Adds ``fragment``, which lies at ``offset`` of ``file``; in a transaction, after
        ``judge``. Returns its row's id, or None when the grid has no place left for it.
        """
        sequence = self._sequence(track, fragment)
        if sequence is None:
            return None
        return self._run(
            "INSERT INTO fragment (track, time, duration, sequence, begins, header, file, offset, "
            "length, received_ms, samples) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(track.id, fragment.time, fragment.duration, sequence, int(fragment.begins), header),
            *(file, offset, length, now_ms, pack_samples(fragment.samples)),
        )

    def _sequence(self, track: TrackRow, fragment: TrackFragment) -> int | None:
        """Position on the track's grid: one more than that of the fragment before, and as many more
        as would fit into a hole between them, so that what fills it later finds its own."""
        select = "SELECT time, sequence FROM fragment WHERE track = ? AND begins AND time"
        before = self._one(f"{select} < ? ORDER BY time DESC LIMIT 1", track.id, fragment.time)
        after = self._one(f"{select} > ? ORDER BY time LIMIT 1", track.id, fragment.time)
        if not fragment.begins:
            return None if before is None else int(before[1])
        nominal = track.nominal
        if before is None and after is None:
            return max(0, _nearest(fragment.time, max(1, fragment.duration)))
        if before is None:
            assert after is not None
            steps = _nearest(after[0] - fragment.time, nominal) if nominal else 1
            return int(after[1]) - max(1, steps)
        span = fragment.time - before[0]
        if not nominal:
            nominal = self._length(track.id, before[1]) or span
            self._run("UPDATE track SET nominal = ? WHERE id = ?", nominal, track.id)
        sequence = int(before[1]) + max(1, _nearest(span, nominal))
        return sequence if after is None or sequence < after[1] else None

    def _length(self, track: int, sequence: int) -> int:
        """Ticks of a fragment that is complete, with all its chunks."""
        row = self._one(
            "SELECT max(time + duration) - min(time) FROM fragment "
            "WHERE track = ? AND sequence = ?",
            *(track, sequence),
        )
        return int(row[0]) if row is not None else 0

    def extent(self, track: int) -> Extent | None:
        """What there is of ``track``, or None when that is nothing."""
        select = "SELECT time, time + duration, sequence FROM fragment WHERE track = ?"
        first = self._one(f"{select} ORDER BY time LIMIT 1", track)
        last = self._one(f"{select} ORDER BY time DESC LIMIT 1", track)
        if first is None or last is None:
            return None
        return Extent(begin=first[0], end=last[1], first_sequence=first[2], last_sequence=last[2])

    def time_of(self, track: int, sequence: int) -> int | None:
        """Decode time of the first fragment of ``track`` from ``sequence`` on, ticks, or None."""
        row = self._one(
            "SELECT min(time) FROM fragment WHERE track = ? AND sequence >= ?", track, sequence
        )
        return None if row is None or row[0] is None else int(row[0])

    def fragments(self, track: int, begin: int, end: int) -> tuple[FragmentRow, ...]:
        """Those of ``track`` that lie in ``begin`` .. ``end`` (ticks), even in part, by time."""
        rows = self._all(
            f"SELECT {_FRAGMENT} FROM fragment WHERE track = ?1 AND time < ?3 AND time >= "
            "coalesce((SELECT max(time) FROM fragment WHERE track = ?1 AND time <= ?2), ?2) "
            "AND time + duration > ?2 ORDER BY time",
            *(track, begin, end),
        )
        return tuple(map(_fragment_row, rows))

    def newer(self, than: int) -> tuple[FragmentRow, ...]:
        """Rows with an id above ``than``, in the order in which they were committed."""
        rows = self._all(f"SELECT {_FRAGMENT} FROM fragment WHERE id > ? ORDER BY id", than)
        return tuple(map(_fragment_row, rows))

    @property
    def last_id(self) -> int:
        """The highest id of a row, 0 without any."""
        row = self._one("SELECT max(id) FROM fragment")
        return int(row[0] or 0) if row is not None else 0

    def ends_of_files(self) -> dict[tuple[int, int], int]:
        """(file, track) -> end of the last fragment of the track in the file, ticks."""
        rows = self._all("SELECT file, track, max(time + duration) FROM fragment GROUP BY 1, 2")
        return {(row[0], row[1]): row[2] for row in rows}

    def _run(self, statement: str, *given: object) -> int:
        with _storage(self.path):
            return self._connection.execute(statement, given).lastrowid or 0

    def _one(self, statement: str, *given: object) -> tuple[Any, ...] | None:
        with _storage(self.path):
            row: tuple[Any, ...] | None = self._connection.execute(statement, given).fetchone()
            return row

    def _all(self, statement: str, *given: object) -> list[tuple[Any, ...]]:
        with _storage(self.path):
            return self._connection.execute(statement, given).fetchall()


def _prepare(connection: sqlite3.Connection, path: Path, synchronous: str) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    # A WAL of 16 MB at the most, whatever readers hold open for a while.
    connection.execute("PRAGMA journal_size_limit = 16777216")
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        for statement in filter(None, map(str.strip, _SCHEMA.split(";"))):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")
    if version not in (0, SCHEMA_VERSION):
        raise StorageError(
            f"the index has version {version}, this is {SCHEMA_VERSION}", path=str(path)
        )


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(f"the index failed: {error}", path=str(path)) from error
    except OSError as error:
        raise StorageError(f"the index failed: {error.strerror}", path=str(path)) from error


def _fragment_row(row: tuple[Any, ...]) -> FragmentRow:
    values = (*row[:5], bool(row[5]), *row[6:11], unpack_samples(row[11]))
    return FragmentRow(*values)


def _nearest(ticks: int, step: int) -> int:
    """``ticks`` in whole ``step``, rounded to nearest."""
    return (2 * ticks + step) // (2 * step)
