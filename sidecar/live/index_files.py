"""The part of a publishing point's index that knows its archive files."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sidecar.errors import NotFound
from sidecar.live.database import Database


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


_FILE = "id, stream, header, name, opened_ms, size, closed"


class FileIndex(Database):
    """Archive files, and what is removed with them. Methods raise ``StorageError`` as those of
    ``Database``."""

    @property
    def next_file(self) -> int:
        """A number that no archive file has had."""
        row = self.one("SELECT seq FROM sqlite_sequence WHERE name = 'file'")
        return 1 if row is None else int(row[0]) + 1

    def add_file(
        self, stream: str, header: int, name: str, now_ms: int, *, number: int | None = None
    ) -> int:
        """The number of a new archive file ``name`` of ``stream``: ``number`` if given."""
        return self.run(
            "INSERT INTO file (id, stream, header, name, opened_ms, size) "
            "VALUES (?, ?, ?, ?, ?, 0)",
            *(number, stream, header, name, now_ms),
        )

    def grow_file(self, file: int, size: int, begin_ms: int, end_ms: int) -> None:
        """``file`` has ``size`` bytes now, some of them media of these times."""
        self.run(
            "UPDATE file SET size = ?2, begin_ms = min(coalesce(begin_ms, ?3), ?3), "
            "end_ms = max(coalesce(end_ms, ?4), ?4) WHERE id = ?1",
            *(file, size, begin_ms, end_ms),
        )

    def close_file(self, file: int, *, size: int | None = None) -> None:
        """Nothing will be written to ``file`` any more; its media ends at byte ``size``."""
        self.run("UPDATE file SET closed = 1, size = coalesce(?, size) WHERE id = ?", size, file)

    def end_of_file(self, file: int) -> int:
        """Bytes up to the end of the last fragment of ``file``, 0 without any."""
        row = self.one("SELECT max(offset + length) FROM fragment WHERE file = ?", file)
        return int(row[0] or 0) if row is not None else 0

    def fragments_of_file(self, file: int) -> int:
        """How many rows lie in ``file``."""
        row = self.one("SELECT count(*) FROM fragment WHERE file = ?", file)
        return int(row[0]) if row is not None else 0

    def files_open(self) -> tuple[FileRow, ...]:
        """Archive files that are not closed, oldest first."""
        rows = self.all(f"SELECT {_FILE} FROM file WHERE NOT closed ORDER BY id")
        return tuple(FileRow(*(*row[:-1], bool(row[-1]))) for row in rows)

    def files(self, number: int | None = None) -> tuple[FileRow, ...]:
        """All archive files, oldest first, or the one that is ``number``, if it is there."""
        where, given = ("WHERE id = ?", (number,)) if number is not None else ("", ())
        rows = self.all(f"SELECT {_FILE} FROM file {where} ORDER BY id", *given)
        return tuple(FileRow(*(*row[:-1], bool(row[-1]))) for row in rows)

    def remove_file(self, file: int) -> str:
        """Forgets ``file`` and its fragments, in a transaction; returns its name, to be deleted
        after the commit."""
        row = self.one("SELECT name FROM file WHERE id = ?", file)
        if row is None:
            raise NotFound("the archive file is not in the index")
        if self.run_many("DELETE FROM fragment WHERE file = ?", file):
            self.count_removal()
        self.run("DELETE FROM file WHERE id = ?", file)
        return str(row[0])

    def hide(self, rows: Collection[int]) -> None:
        """Nothing that is asked here knows these ``rows`` any more; the database stays as it is.
        Once, by a reader."""
        self.run("PRAGMA temp_store = MEMORY")
        self.run("CREATE TEMP TABLE hidden (id INTEGER PRIMARY KEY)")
        for row in rows:
            self.run("INSERT INTO hidden VALUES (?)", row)
        # Names without a schema are looked up among the temporary ones first.
        self.run(
            "CREATE TEMP VIEW fragment AS SELECT * FROM main.fragment "
            "WHERE id NOT IN (SELECT id FROM hidden)"
        )

    def count_removal(self) -> None:
        """Makes readers read anew what they keep."""
        self.run(
            "INSERT INTO setting VALUES ('removed', '1') "
            "ON CONFLICT (name) DO UPDATE SET value = value + 1"
        )

    @property
    def removals(self) -> int:
        """How often rows were removed: what readers keep must be read again then."""
        return int(self.setting("removed") or 0)
