"""The samples of a live track as columns that grow with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sidecar.live.index import FragmentRow
from sidecar.media.track import Samples
from sidecar.storage.archive import archive_offset

# Fragments that may be missing at once, 14 MB: a day of the shortest. What lies before a longer
# hole is gone with the first fragment behind it, though players are told of it with the second.
MAX_HOLE = 100_000
_CAPACITY = 1024
# A column that is full gets room for as much again as what is in it divided by this.
_SPARE = 4
# Samples that stand for a fragment that is missing.
_PARTS = 4


class _Column:
    """An array that is appended to, and loses its first values; what is returned of it never
    changes."""

    def __init__(self, kind: type[np.generic]) -> None:
        self._values = np.empty(_CAPACITY, kind)
        self._first = self._end = 0

    @property
    def count(self) -> int:
        return self._end - self._first

    def append(self, values: NDArray[np.generic]) -> None:
        if self._end + len(values) > len(self._values):
            held = self.values
            count = len(held) + len(values)
            # In whole steps: a window that moves on leaves room for an array of the same length.
            room = -(-(count + count // _SPARE) // _CAPACITY) * _CAPACITY
            self._values = np.empty(room, self._values.dtype)
            self._values[: len(held)] = held
            self._first, self._end = 0, len(held)
        end = self._end + len(values)
        self._values[self._end : end] = values
        self._end = end

    def drop(self, count: int) -> None:
        """Forgets the first ``count`` values."""
        self._first += count
        if len(self._values) > _CAPACITY + _SPARE * self.count:
            # As it was before a long hole.
            self._values = self.values.copy()
            self._first, self._end = 0, len(self._values)

    @property
    def values(self) -> NDArray:  # type: ignore[type-arg]
        return self._values[self._first : self._end]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FragmentColumns:
    """The fragments (chunks count as parts of theirs) of a live track, by time.

    ``time``: int64[n+1], decode times, ticks, the last is the end;
    ``sequence``: int64[n], without a hole; ``gap``: bool[n], never received; ``received_ms``:
    int64[n], when its last part came, 0 for gaps; ``late``: uint8[n], the greatest
    ``live.frontier.Lateness`` of its parts.
    """

    time: NDArray[np.int64]
    sequence: NDArray[np.int64]
    gap: NDArray[np.bool_]
    received_ms: NDArray[np.int64]
    late: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.sequence)


class TrackColumns:
    """The columns of one track. Rows are appended in the order of time; whatever comes between
    earlier ones makes it necessary to begin anew.

    Holes are filled with fragments of some samples without bytes, so that times and sequences are
    contiguous, and no segment is without: there may be more of them than fragments of this track.
    ``sparse``: of a track that is silent now and then, for however long: one of them is a whole
    silence, and only times are contiguous.
    """

    def __init__(self, *, sparse: bool = False) -> None:
        self._sparse = sparse
        self._reset()

    def _reset(self) -> None:
        self._time = _Column(np.int64)
        self._composition = _Column(np.int32)
        self._size = _Column(np.uint32)
        self._offset = _Column(np.int64)
        self._sync = _Column(np.bool_)
        self._first_sample = _Column(np.int64)
        self._fragment_time = _Column(np.int64)
        self._sequence = _Column(np.int64)
        self._gap = _Column(np.bool_)
        self._received = _Column(np.int64)
        self._late = _Column(np.uint8)
        self._row_time = _Column(np.int64)
        # Samples that were dropped: ``_first_sample`` counts them too.
        self._dropped = 0
        self._end = 0
        self._delay = 0
        self._reordered = False
        self._dependent = False
        self._chunked = False

    def __len__(self) -> int:
        """Fragments, gaps included."""
        return self._sequence.count

    @property
    def end(self) -> int:
        """Decode time of the end of the last sample, ticks."""
        return self._end

    @property
    def begin(self) -> int:
        """Decode time of the first sample, ticks."""
        return int(self._time.values[0]) if len(self) else self._end

    def rows_from(self, time: int) -> int:
        """How many of the rows that were appended begin at ``time`` (ticks) or later."""
        return self._row_time.count - int(np.searchsorted(self._row_time.values, time))

    @property
    def is_chunked(self) -> bool:
        """Whether fragments come in parts, so that more of the last one may follow."""
        return self._chunked

    @property
    def last_sequence(self) -> int:
        return int(self._sequence.values[-1]) if len(self) else -1

    def follows(self, row: FragmentRow) -> bool:
        """Whether ``row`` lies behind everything that is here."""
        if not len(self):
            return True
        later = row.time >= int(self._time.values[-1])
        return later and row.sequence >= self.last_sequence

    def append(self, row: FragmentRow) -> None:
        """Appends ``row``, for which ``follows`` is true."""
        if len(self):
            missing = row.sequence - self.last_sequence - 1
            if self._sparse:
                missing = 1 if row.time > self._end + 1 else 0
            if missing > MAX_HOLE:
                self._reset()
            elif missing > 0:
                self._fill(missing, row.time)
        if not len(self) and not row.begins:
            return  # decoding cannot begin here
        count = len(row.samples.size)
        table = row.samples
        if row.begins:
            reordered = table.composition_offset
            self._delay = 0 if reordered is None else int(reordered[0])
            self._begin(np.array([row.time]), row.sequence, gap=False)
        else:
            self._chunked = True
        self._received.values[-1] = row.received_ms
        self._late.values[-1] = max(row.late, self._late.values[-1])
        self._row_time.append(np.array([row.time]))
        elapsed = np.cumsum(table.duration, dtype=np.int64)
        self._time.append(row.time + elapsed - table.duration)
        self._size.append(table.size)
        self._offset.append(table.offset + archive_offset(row.file, row.offset))
        if table.composition_offset is None:
            self._composition.append(np.zeros(count, np.int32))
        else:
            self._reordered = True
            self._composition.append(table.composition_offset)
        if table.sync is None:
            self._sync.append(np.ones(count, np.bool_))
        else:
            self._dependent = True
            self._sync.append(table.sync)
        self._end = row.time + int(elapsed[-1])

    def _begin(
        self, times: NDArray[np.int64], sequence: int, *, gap: bool, samples: int = 0
    ) -> None:
        """Fragments begin at ``times``, the first is number ``sequence``; ``samples``: of each of
        them that another one follows."""
        numbers = np.arange(len(times), dtype=np.int64)
        self._first_sample.append(self._dropped + self._size.count + numbers * samples)
        self._fragment_time.append(times)
        self._sequence.append(sequence + numbers)
        self._gap.append(np.full(len(times), gap))
        self._received.append(np.zeros(len(times), np.int64))
        self._late.append(np.zeros(len(times), np.uint8))

    def _fill(self, missing: int, until: int) -> None:
        begin, sequence = self._end, self.last_sequence
        span = max(until - begin, 0)
        each = 1 if self._sparse else _PARTS
        count = missing * each
        # ``span`` in as many parts: the product of both may be more than 64 bits hold.
        step, rest = divmod(span, count)
        parts = np.arange(count, dtype=np.int64)
        times = begin + step * parts + rest * parts // count
        self._begin(times[::each], sequence + 1, gap=True, samples=each)
        self._time.append(times)
        self._composition.append(np.full(count, self._delay, np.int32))
        self._size.append(np.zeros(count, np.uint32))
        self._offset.append(np.zeros(count, np.int64))
        self._sync.append(np.ones(count, np.bool_))
        self._end = until

    def drop(self, until: int) -> None:
        """Forgets what lies before the fragment in which ``until`` (ticks) lies; where that is
        missing, before the next one that was received, or of a sparse track the last one."""
        received = np.flatnonzero(~self._gap.values)
        if self._sparse:
            at = int(np.searchsorted(received, self.at(until), side="right")) - 1
        else:
            at = int(np.searchsorted(received, self.at(until)))
        if not 0 <= at < len(received):
            return
        first = int(received[at])
        samples = int(self._first_sample.values[first]) - self._dropped
        rows = int(np.searchsorted(self._row_time.values, self._fragment_time.values[first]))
        self._row_time.drop(rows)
        for fragment_column in (
            self._first_sample,
            self._fragment_time,
            self._sequence,
            self._gap,
            self._received,
            self._late,
        ):
            fragment_column.drop(first)
        for sample_column in (self._time, self._composition, self._size, self._offset, self._sync):
            sample_column.drop(samples)
        self._dropped += samples
        # As if all that was ever there was what is left.
        self._reordered = bool(self._composition.values.any())
        self._dependent = not self._sync.values.all()
        self._chunked = self._row_time.count > int(np.count_nonzero(~self._gap.values))

    def at(self, time: int) -> int:
        """Index of the fragment that ``time`` (ticks) lies in, or of the next one to it."""
        index = int(np.searchsorted(self._fragment_time.values, time, side="right")) - 1
        return max(0, index)

    def fragments(self, first: int = 0) -> FragmentColumns:
        """Fragment ``first`` and all later ones; the arrays stay as they are when more is
        appended."""
        return FragmentColumns(
            time=np.append(self._fragment_time.values[first:], self._end),
            sequence=self._sequence.values[first:],
            gap=self._gap.values[first:],
            received_ms=self._received.values[first:].copy(),
            late=self._late.values[first:].copy(),
        )

    def samples(self, first: int) -> Samples:
        """Samples of fragment ``first`` and all later ones."""
        fragment_start = self._first_sample.values[first:]
        fragment_start = fragment_start - self._dropped
        begin = int(fragment_start[0]) if len(fragment_start) else self._size.count
        return Samples(
            decode_time=np.append(self._time.values[begin:], self._end),
            composition_offset=self._composition.values[begin:] if self._reordered else None,
            size=self._size.values[begin:],
            offset=self._offset.values[begin:],
            sync=self._sync.values[begin:] if self._dependent else None,
            fragment_start=fragment_start - begin,
        )
