"""A SQLite database that several processes share: statements, transactions, settings.

A fragment exists from the moment its row is committed. Readers see whole transactions (WAL) and
never wait for writers.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from sidecar.errors import NotFound, StorageError
from sidecar.live.schema import SCHEMA_VERSION, prepare

# How long a transaction waits for another process's: theirs take milliseconds.
BUSY_MS = 5000
# Pages of 4 kB.
_LONG_WAL = 4000
# What opening a database fails with where nothing can be written beside it: the folder is read-only
# or another's, or its disk is full.
_BESIDE = frozenset(
    ("SQLITE_CANTOPEN", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_SHMOPEN", "SQLITE_READONLY_CANTINIT")
)
_DAMAGE = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))


def stamp_of(database: Path) -> Path:
    """Whatever writes to ``database``: readers of all processes see it in the time of this file."""
    return database.with_name(database.name + "-stamp")


class Database:
    """The database at ``path``; one connection, to be used by one thread at a time.

    Every method raises ``StorageError`` when the database cannot be read or written.

    ``is_fixed``: nothing can be written beside it and nobody was writing to it when it was opened.
    When somebody does (its stamp changes), it must be opened again.
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, *, is_fixed: bool = False
    ) -> None:
        self.path = path
        self.is_fixed = is_fixed
        self._connection = connection
        self._stamp = stamp_of(path)

    @classmethod
    def open(cls, path: Path, *, create: bool = False, synchronous: str = "NORMAL") -> Self:
        """The index at ``path``. ``synchronous``: OFF, NORMAL (survives a crash of the process,
        and a power cut but for the last commits) or FULL (each commit survives it).

        Raises ``NotFound`` when there is none and it is not to be created.
        """
        with _storage(path):
            if not create and not path.exists():
                raise NotFound("the publishing point has no index")
            is_fixed = False
            try:
                connection = _connected(path, synchronous)
            except sqlite3.Error as error:
                if create or not _may_be_fixed(path, error):
                    raise
                connection, is_fixed = _connected(path, None), True
        index = cls(path, connection, is_fixed=is_fixed)
        if create and not index._stamp.exists():
            with _storage(path):
                index._stamp.touch()
        return index

    def close(self) -> None:
        self._connection.close()

    def leave_checkpoints(self) -> None:
        """Commits do little more than append to the WAL from now on: ``checkpoint`` does the rest.

        Only a writer can begin the WAL anew, when all of it has been moved: that happens when it
        has become long, and little of it is left to be moved then.
        """
        self.one(f"PRAGMA wal_autocheckpoint = {_LONG_WAL}")

    def checkpoint(self) -> bool:
        """Moves what was committed from the WAL to the database, over a connection of its own: may
        be called by any thread, and keeps no writer waiting for the disk. Whether it could."""
        try:
            with closing(sqlite3.connect(self.path, timeout=0)) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error:
            return False
        return True

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
            with _storage(self.path):
                self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def touch(self, now_ns: int) -> None:
        """Tells readers that something was committed; ``now_ns`` must differ each time."""
        with _storage(self.path):
            try:
                os.utime(self._stamp, ns=(now_ns, now_ns))
            except FileNotFoundError:
                self._stamp.touch()
                os.utime(self._stamp, ns=(now_ns, now_ns))

    # Settings

    def setting(self, name: str) -> str | None:
        """The value of ``name``, None when it was never set."""
        row = self.one("SELECT value FROM setting WHERE name = ?", name)
        return None if row is None else str(row[0])

    def set(self, name: str, value: str) -> None:
        self.run(
            "INSERT INTO setting VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = ?2",
            name,
            value,
        )

    # Statements

    def run(self, statement: str, *given: object) -> int:
        """Executes ``statement``; returns the id of the row that it inserted."""
        return self._execute(statement, given).lastrowid or 0

    def run_many(self, statement: str, *given: object) -> int:
        """Executes ``statement``; returns how many rows it changed."""
        return self._execute(statement, given).rowcount

    def one(self, statement: str, *given: object) -> tuple[Any, ...] | None:
        """The first row, or None."""
        cursor = self._execute(statement, given)
        try:
            row: tuple[Any, ...] | None = cursor.fetchone()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return row

    def all(self, statement: str, *given: object) -> list[tuple[Any, ...]]:
        """All rows."""
        cursor = self._execute(statement, given)
        try:
            return cursor.fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _execute(self, statement: str, given: tuple[object, ...]) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement, given)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> StorageError:
        return StorageError(_said(self.path, error), path=str(self.path))


def _connected(path: Path, synchronous: str | None) -> sqlite3.Connection:
    """A connection to the index at ``path``. ``synchronous`` None: it is read as one file that does
    not change, without what SQLite needs beside it."""
    name = str(path) if synchronous else f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    connection = sqlite3.connect(
        name,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_MS / 1000,
        uri=synchronous is None,
    )
    try:
        if synchronous is None:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        else:
            version = prepare(connection, synchronous)
        if version != SCHEMA_VERSION:
            raise StorageError(
                f"the index has version {version}, this is {SCHEMA_VERSION}"
                if version
                else "there is a database that is no index of this origin",
                path=str(path),
            )
    except BaseException:
        connection.close()
        raise
    return connection


def _may_be_fixed(path: Path, error: sqlite3.Error) -> bool:
    """Whether the index at ``path``, which was not opened for ``error``, is whole as one file: what
    was committed last may be in a WAL, which is not read then."""
    wal = path.with_name(path.name + "-wal")
    return error.sqlite_errorname in _BESIDE and not (wal.exists() and wal.stat().st_size)


def _said(path: Path, error: sqlite3.Error) -> str:
    # Extended codes have the plain one in their low byte; errors of the module itself have none.
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
        return (
            f"the index {path.name} is damaged ({error}): put a copy of it back, "
            "or delete the publishing point with ?force"
        )
    return f"the index failed: {error}"


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(_said(path, error), path=str(path)) from error
    except OSError as error:
        raise StorageError(f"the index failed: {error.strerror}", path=str(path)) from error
