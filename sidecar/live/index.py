"""The index of a publishing point: one SQLite database, the only state that processes share.

A fragment exists from the moment its row is committed. Its bytes were written before that, so an
archive file may have a tail that no row knows; nothing ever refers to it. Readers see whole
transactions (WAL) and never wait for writers.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sidecar.codecs.facts import AudioFacts
from sidecar.errors import Conflict, NotFound
from sidecar.live import groups, lengths
from sidecar.live.database import Database
from sidecar.live.model import Header, IncomingTrack, SampleTable, TrackFragment
from sidecar.live.rows import pack_samples, unpack_samples
from sidecar.timeline.growing_frames import frame_length


class Verdict(StrEnum):
    """What became of what a fragment holds of a track."""

    ADDED = "added"
    DUPLICATE = "duplicate"  # it is there already, or something else is in its place
    LATE = "late"  # older than what is still waited for


@dataclass(frozen=True, slots=True)
class FragmentRow:
    """One row. ``time``, ``duration``: ticks of the track. ``sequence``: position on the track's
    grid of fragments, the same for chunks of one fragment. ``offset``: of ``samples`` in ``file``.
    ``late``: a ``live.frontier.Lateness``.
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
    late: int
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
    "late, samples"
)
_TRACK = "id, stream, track_ID, header, nominal, bitrate"
_FILE = "id, stream, header, name, opened_ms, size, closed"


class PointIndex(Database):
    """The index of one publishing point.

    Every method raises ``StorageError`` when the database cannot be read or written.
    """

    # Headers and tracks

    def put_header(self, stream: str, header: Header, now_ms: int) -> int:
        """The number of ``header``; the same for one that is sent again. Its tracks become known.

        To be called in a transaction. Raises ``Conflict`` when a track of the stream changes its
        kind.
        """
        row = self.one(
            "SELECT id FROM header WHERE stream = ? AND digest = ?", stream, header.digest
        )
        number = (
            int(row[0])
            if row is not None
            else self.run(
                "INSERT INTO header (stream, digest, data, received_ms) VALUES (?, ?, ?, ?)",
                *(stream, header.digest, header.data, now_ms),
            )
        )
        for track in header.tracks:
            self._put_track(stream, track, number)
        return number

    def _put_track(self, stream: str, track: IncomingTrack, header: int) -> None:
        known = self.one(
            "SELECT id FROM track WHERE stream = ? AND track_ID = ?", stream, track.track_ID
        )
        described = f"{track.kind.value} {track.timescale}"
        if known is None:
            number = self.run(
                "INSERT INTO track (stream, track_ID, header, bitrate) VALUES (?, ?, ?, ?)",
                *(stream, track.track_ID, header, track.bitrate or 0),
            )
            self.set(f"track {number}", described)
            self._describe(number, track)
            return
        if self.setting(f"track {known[0]} frame") is None:
            self._describe(int(known[0]), track)
        before = str(self.setting(f"track {known[0]}"))
        if before.partition(" ")[0] != track.kind.value:
            raise Conflict(
                f"track {track.track_ID} of stream {stream} was {before}, "
                f"it cannot become {described}"
            )

    def _describe(self, number: int, track: IncomingTrack) -> None:
        """Notes what the times of ``track`` begin with, and seconds of its frames (0: of none)."""
        if self.setting(f"track {number} lead") is None:
            self.set(f"track {number} lead", str(track.edit_media_time))
        frame = frame_length(track.facts) if isinstance(track.facts, AudioFacts) else 0
        self.set(f"track {number} frame", str(frame))

    def counted(self, track: int) -> tuple[int, int]:
        """(timescale, edit_media_time) of all times of ``track``: those of its first header."""
        described = str(self.setting(f"track {track}"))
        return int(described.rpartition(" ")[2]), int(self.setting(f"track {track} lead") or 0)

    def set_bitrate(self, track: int, bitrate: int) -> None:
        """Names ``track`` in URLs from now on."""
        self.run("UPDATE track SET bitrate = ? WHERE id = ?", bitrate, track)

    def tracks(self) -> tuple[TrackRow, ...]:
        """All tracks, in the order in which they came."""
        rows = self.all(f"SELECT {_TRACK} FROM track ORDER BY id")
        return tuple(TrackRow(*row) for row in rows)

    def track(self, stream: str, track_id: int) -> TrackRow | None:
        """The track ``track_id`` of ``stream``, or None before its header has come."""
        row = self.one(
            f"SELECT {_TRACK} FROM track WHERE stream = ? AND track_ID = ?", stream, track_id
        )
        return None if row is None else TrackRow(*row)

    def measured(self, track: int, sequence: int, timescale: int) -> int:
        """Bit/s of the fragment of ``track`` at ``sequence``, all its chunks, in whole kbit/s."""
        rows = self.all(
            "SELECT time, duration, samples FROM fragment WHERE track = ? AND sequence = ?",
            *(track, sequence),
        )
        bits = 8 * sum(int(unpack_samples(row[2]).size.sum(dtype="i8")) for row in rows)
        span = max((row[0] + row[1] for row in rows), default=0) - min(
            (row[0] for row in rows), default=0
        )
        return max(1000, 1000 * round(bits * timescale / (1000 * span))) if span > 0 else 0

    def header(self, number: int) -> bytes:
        """``Header.data`` of header ``number``."""
        row = self.one("SELECT data FROM header WHERE id = ?", number)
        if row is None:
            raise NotFound("the stream's header is not there")
        return bytes(row[0])

    # Files

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

    # Fragments

    def judge(self, track: TrackRow, fragment: TrackFragment, grace: int) -> Verdict:
        """Whether ``fragment`` is news. ``grace``: ticks behind the end of the track within which
        a hole may still be filled."""
        middle = fragment.time + fragment.duration // 2
        row = self.one(
            "SELECT time + duration FROM fragment WHERE track = ? AND time <= ? "
            "ORDER BY time DESC LIMIT 1",
            *(track.id, middle),
        )
        if row is not None and row[0] > middle:
            return Verdict.DUPLICATE
        same = self.one(
            "SELECT 1 FROM fragment WHERE track = ? AND time >= ? AND time < ? LIMIT 1",
            *(track.id, fragment.time, middle + 1),
        )
        if same is not None:
            return Verdict.DUPLICATE
        extent = self.extent(track.id)
        if extent is not None and fragment.time + fragment.duration < extent.end - grace:
            return Verdict.LATE
        return Verdict.ADDED

    def around(self, track: TrackRow, fragment: TrackFragment) -> tuple[int | None, int | None]:
        """Where the fragment before the middle of ``fragment`` ends and the one behind it begins,
        ticks, None without any."""
        middle = fragment.time + fragment.duration // 2
        before = self.one(
            "SELECT time + duration FROM fragment WHERE track = ? AND time <= ? "
            "ORDER BY time DESC LIMIT 1",
            *(track.id, middle),
        )
        after = self.one(
            "SELECT time FROM fragment WHERE track = ? AND time > ? ORDER BY time LIMIT 1",
            *(track.id, middle),
        )
        return (
            None if before is None else int(before[0]),
            None if after is None else int(after[0]),
        )

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
        moof: int = 0,
        checksum: int = 0,
        late: int = 0,
    ) -> int | None:
        """Adds ``fragment``, which lies at ``offset`` of ``file``; in a transaction, after
        ``judge``. Returns its row's id, or None when the grid has no place left for it.

        ``moof``: where its moof begins in its ``length`` bytes, ``checksum``: their CRC-32;
        ``late``: a ``live.frontier.Lateness``.
        """
        sequence = self._sequence(track, fragment)
        if sequence is None:
            return None
        delays = fragment.samples.composition_offset
        row = self.run(
            "INSERT INTO fragment (track, time, duration, sequence, begins, header, file, offset, "
            "length, received_ms, moof, delay, checksum, late, samples) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(track.id, fragment.time, fragment.duration, sequence, int(fragment.begins), header),
            *(file, offset, length, now_ms, moof, 0 if delays is None else int(delays[0])),
            *(checksum, late, pack_samples(fragment.samples)),
        )
        lengths.note(self, track.id, track.nominal, sequence)
        groups.note(self, track.id, fragment)
        return row

    def _sequence(self, track: TrackRow, fragment: TrackFragment) -> int | None:
        """Position on the track's grid: one more than that of the fragment before, and as many more
        as would fit into a hole between them, so that what fills it later finds its own. Where
        there is none, fragments follow each other however long they are."""
        select = "SELECT time, sequence FROM fragment WHERE track = ? AND begins AND time"
        before = self.one(f"{select} < ? ORDER BY time DESC LIMIT 1", track.id, fragment.time)
        after = self.one(f"{select} > ? ORDER BY time LIMIT 1", track.id, fragment.time)
        if not fragment.begins:
            return None if before is None else self._continued(track, fragment, int(before[1]))
        nominal = track.nominal
        if before is None and after is None:
            return max(0, _nearest(fragment.time, max(1, fragment.duration)))
        if before is None:
            assert after is not None
            nominal = nominal or self._length(track.id, after[1])
            sequence = int(after[1]) - max(1, _nearest(after[0] - fragment.time, nominal))
            return sequence if sequence >= 0 else None
        span, length = fragment.time - before[0], self._length(track.id, before[1])
        if not nominal:
            nominal = length or span
            self.run("UPDATE track SET nominal = ? WHERE id = ?", nominal, track.id)
            before = before[0], self._counted_anew(track.id, before, nominal)
        follows = 2 * (span - length) < nominal
        sequence = int(before[1]) + (1 if follows else max(1, _nearest(span, nominal)))
        return sequence if after is None or sequence < after[1] else None

    def _counted_anew(self, track: int, first: tuple[int, int], nominal: int) -> int:
        """The sequence of ``first`` (time, sequence), which has come in chunks: of their length it
        was taken for, and only now the length of fragments is known. Nothing is listed before."""
        sequence = max(0, _nearest(first[0], nominal))
        if sequence != first[1]:
            self.run(
                "UPDATE fragment SET sequence = max(0, sequence + ?) WHERE track = ?",
                *(sequence - first[1], track),
            )
            self.count_removal()
        return sequence

    def _continued(self, track: TrackRow, chunk: TrackFragment, sequence: int) -> int | None:
        """``sequence`` when ``chunk`` goes on where what there is of its fragment ends, as nothing
        else of it can be decoded."""
        row = self.one(
            "SELECT time + duration FROM fragment WHERE track = ? AND time < ? "
            "ORDER BY time DESC LIMIT 1",
            *(track.id, chunk.time),
        )
        missing = chunk.time - int(row[0]) if row is not None else 0
        return sequence if 2 * missing <= int(chunk.samples.duration[0]) else None

    def _length(self, track: int, sequence: int) -> int:
        """Ticks of a fragment that is complete, with all its chunks."""
        row = self.one(
            "SELECT max(time + duration) - min(time) FROM fragment "
            "WHERE track = ? AND sequence = ?",
            *(track, sequence),
        )
        return int(row[0]) if row is not None else 0

    def extent(self, track: int) -> Extent | None:
        """What there is of ``track``, or None when that is nothing."""
        select = "SELECT time, time + duration, sequence FROM fragment WHERE track = ?"
        first = self.one(f"{select} ORDER BY time LIMIT 1", track)
        last = self.one(f"{select} ORDER BY time DESC LIMIT 1", track)
        if first is None or last is None:
            return None
        return Extent(begin=first[0], end=last[1], first_sequence=first[2], last_sequence=last[2])

    def time_of(self, track: int, sequence: int) -> int | None:
        """Decode time of the first fragment of ``track`` from ``sequence`` on, ticks, or None."""
        row = self.one(
            "SELECT min(time) FROM fragment WHERE track = ? AND sequence >= ?", track, sequence
        )
        return None if row is None or row[0] is None else int(row[0])

    def fragments(self, track: int, begin: int, end: int) -> tuple[FragmentRow, ...]:
        """Those of ``track`` that lie in ``begin`` .. ``end`` (ticks), even in part, by time."""
        rows = self.all(
            f"SELECT {_FRAGMENT} FROM fragment WHERE track = ?1 AND time < ?3 AND time >= "
            "coalesce((SELECT max(time) FROM fragment WHERE track = ?1 AND time <= ?2), ?2) "
            "AND time + duration > ?2 ORDER BY time",
            *(track, begin, end),
        )
        return tuple(map(_fragment_row, rows))

    def rows_from(self, track: int, time: int, last_id: int) -> int:
        """How many rows of ``track`` begin at ``time`` (ticks) or later and have no higher id."""
        row = self.one(
            "SELECT count(*) FROM fragment WHERE track = ? AND time >= ? AND id <= ?",
            *(track, time, last_id),
        )
        return 0 if row is None else int(row[0])

    def before(self, track: int, time: int) -> tuple[FragmentRow, ...]:
        """The last of ``track`` that begins before ``time`` (ticks), if there is one."""
        rows = self.all(
            f"SELECT {_FRAGMENT} FROM fragment WHERE track = ? AND time < ? "
            "ORDER BY time DESC LIMIT 1",
            *(track, time),
        )
        return tuple(map(_fragment_row, rows))

    def fragment_before(self, track: int, time: int) -> tuple[FragmentRow, ...]:
        """The parts, by time, of the fragment of ``track`` of which one is the last to begin before
        ``time`` (ticks)."""
        rows = self.all(
            f"SELECT {_FRAGMENT} FROM fragment WHERE track = ?1 AND sequence = (SELECT sequence "
            "FROM fragment WHERE track = ?1 AND time < ?2 ORDER BY time DESC LIMIT 1) "
            "ORDER BY time",
            *(track, time),
        )
        return tuple(map(_fragment_row, rows))

    def before_hole(self, track: int, time: int) -> int | None:
        """Decode time of the fragment of ``track`` behind which nothing was received at ``time``
        (both ticks), but later; None when there is no such hole."""
        before = self.one(
            "SELECT time + duration, sequence FROM fragment WHERE track = ? AND time <= ? "
            "ORDER BY time DESC LIMIT 1",
            *(track, time),
        )
        if before is None or before[0] > time:
            return None
        behind = self.one(
            "SELECT sequence FROM fragment WHERE track = ? AND time > ? ORDER BY time LIMIT 1",
            *(track, time),
        )
        if behind is None or behind[0] <= before[1] + 1:
            return None
        begin = self.one(
            "SELECT min(time) FROM fragment WHERE track = ? AND sequence = ?", track, before[1]
        )
        return None if begin is None else int(begin[0])

    def following(self, track: int, time: int) -> tuple[int, int] | None:
        """(time, time when shown), ticks, of the first fragment of ``track`` from ``time`` on that
        can be decoded by itself, or None."""
        row = self.one(
            "SELECT time, time + delay FROM fragment WHERE track = ? AND time >= ? AND begins "
            "ORDER BY time LIMIT 1",
            *(track, time),
        )
        return None if row is None else (int(row[0]), int(row[1]))

    def newer(self, than: int) -> tuple[FragmentRow, ...]:
        """Rows with an id above ``than``, in the order in which they were committed."""
        rows = self.all(f"SELECT {_FRAGMENT} FROM fragment WHERE id > ? ORDER BY id", than)
        return tuple(map(_fragment_row, rows))

    @property
    def last_id(self) -> int:
        """The highest id of a row, 0 without any."""
        row = self.one("SELECT max(id) FROM fragment")
        return int(row[0] or 0) if row is not None else 0


def _fragment_row(row: tuple[Any, ...]) -> FragmentRow:
    values = (*row[:5], bool(row[5]), *row[6:12], unpack_samples(row[12]))
    return FragmentRow(*values)


def _nearest(ticks: int, step: int) -> int:
    """``ticks`` in whole ``step``, rounded to nearest."""
    return (2 * ticks + step) // (2 * step)
