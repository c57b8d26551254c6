"""The index of a publishing point: one SQLite database, the only state that processes share.

A fragment exists from the moment its row is committed. Its bytes were written before that, so an
archive file may have a tail that no row knows; nothing ever refers to it. Readers see whole
transactions (WAL) and never wait for writers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sidecar.live import groups, lengths
from sidecar.live.index_files import FileIndex
from sidecar.live.index_tracks import TrackIndex, TrackRow
from sidecar.live.model import SampleTable, TrackFragment
from sidecar.live.rows import pack_samples, unpack_samples


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


class PointIndex(TrackIndex, FileIndex):
    """The index of one publishing point: its streams, its archive files, and what has come.

    Every method raises ``StorageError`` when the database cannot be read or written.
    """

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
