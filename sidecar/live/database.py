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


def stamp_of(database: Path) -> Path:
    """Whatever writes to ``database``: readers of all processes see it in the time of this file."""
    return database.with_name(database.name + "-stamp")


class Database:
    """The database at ``path``; one connection, to be used by one thread at a time.

    Every method raises ``StorageError`` when the database cannot be read or written.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
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
            connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000
            )
            try:
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
        index = cls(path, connection)
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
        return StorageError(f"the index failed: {error}", path=str(self.path))


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(f"the index failed: {error}", path=str(path)) from error
    except OSError as error:
        raise StorageError(f"the index failed: {error.strerror}", path=str(path)) from error
