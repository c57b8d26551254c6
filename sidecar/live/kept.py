"""What is kept in memory of a publishing point's index: the newest samples of each track."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from sidecar.live.columns import TrackColumns
from sidecar.live.index import FragmentRow, PointIndex
from sidecar.live.tracks import Tracks
from sidecar.media.track import Kind

# What is kept beside the window, so that it is not read again each time that it moves, seconds.
_MARGIN = 60
_EVER = 1 << 62
# Of a sparse track, however long ago the first one was.
_FEW = 256


class KeptColumns:
    """The columns of the tracks of a point, as far back as a window and some more.

    ``window``: seconds of media that are always there, once they have come. ``tracks`` is read
    along with them.
    """

    def __init__(self, index: PointIndex, tracks: Tracks, *, window: Fraction) -> None:
        self._index = index
        self._tracks = tracks
        self._window = window
        self._keep = window + 2 * _MARGIN
        self._columns: dict[int, TrackColumns] = {}
        self._until: Fraction | None = None
        self._last_id = 0
        self._removals = -1

    @property
    def columns(self) -> Mapping[int, TrackColumns]:
        """Those of each track that has any fragment."""
        return self._columns

    def refresh(self, until: Fraction | None) -> bool:
        """Takes in what was committed since the last time; whether that was anything. ``until``: up
        to where it is presented, seconds: windows end there, whatever has come of a track. None:
        that is not known."""
        self._until = until
        removed = self._take_removals()
        rows = self._index.newer(self._last_id)
        if removed is None and not rows:
            return False
        tracks = self._tracks
        if rows:
            self._last_id = rows[-1].id
            if any(row.track not in tracks for row in rows) or not tracks.are_measured:
                tracks.read()
        anew = removed or set()
        for row in sorted(rows, key=lambda one: one.time):
            columns = self._columns.get(row.track)
            if columns is None:
                columns = self._columns[row.track] = self._empty(row.track)
            if row.track in anew or not columns.follows(row):
                anew.add(row.track)
            else:
                columns.append(row)
        for track in anew:
            self._load(track)
        self._trim()
        tracks.count_eras()
        return True

    def presented_since(self, until: Fraction) -> Fraction:
        """From when on what is kept is presented when it is up to ``until``, seconds: in steps, not
        all that happens to be in memory, so that what is measured of it is the same wherever it is
        asked for."""
        block = Fraction(_MARGIN, 2)
        return (until - self._window - block) // block * block

    def read(self, begin: Fraction, end: Fraction) -> dict[int, TrackColumns]:
        """Columns of what the index has from ``begin`` to ``end``, presentation times in seconds,
        with the fragments that lie there in part. They are not kept."""
        tracks = self._tracks
        # Sound is cut at the frame nearest to a picture, which may be in the fragment beside.
        reference = tracks.reference(tracks)
        around = Fraction(0)
        if reference is not None:
            around = tracks.length_of(reference)
            before = self._index.before_hole(reference, tracks.ticks(reference, begin - around))
            if before is not None:
                begin = around + tracks.presented(reference, before)
        found = {}
        for track in tracks:
            first = tracks.ticks(track, begin - around)
            last = tracks.ticks(track, end + around)
            rows = self._rows(track, first, last)
            if not rows and tracks.described(track).kind is Kind.TEXT:
                # Text can be silent for longer than that; its track is there all the same.
                rows = self._index.before(track, first)
            if rows:
                found[track] = _filled(self._empty(track), rows)
        return found

    def _take_removals(self) -> set[int] | None:
        """The tracks of which rows were removed that must be read anew, at first all; None when
        nothing was removed."""
        removals = self._index.removals
        if removals == self._removals:
            return None
        if self._removals < 0:
            self._last_id = self._index.last_id
        self._removals = removals
        self._tracks.read_anew()
        for track in self._columns.keys() - set(self._tracks):
            del self._columns[track]
        return {track for track in self._tracks if not self._is_whole(track)}

    def _is_whole(self, track: int) -> bool:
        """Whether the index still has all rows in memory but such as lie before any window: those
        go all the time, and reading two hours anew takes as much as all manifests of a minute."""
        columns, extent = self._columns.get(track), self._index.extent(track)
        if columns is None or extent is None:
            return columns is None and extent is None
        begin = max(extent.begin, columns.begin)
        # No more than a margin before the window is presented.
        timescale = self._tracks.described(track).timescale
        near = self._edge(track, extent.end) - int((self._window + _MARGIN // 2) * timescale)
        if begin > columns.begin and (begin > near or self._tracks.is_sparse(track)):
            return False
        return columns.rows_from(begin) == self._index.rows_from(track, begin, self._last_id)

    def _load(self, track: int) -> None:
        """Reads the columns of ``track`` anew, as much of its end as is kept."""
        extent = self._index.extent(track)
        if extent is None:
            self._columns.pop(track, None)
            return
        timescale = self._tracks.described(track).timescale
        begin = self._edge(track, extent.end) - int(self._keep * timescale)
        rows = self._rows(track, begin, _EVER)
        if self._tracks.is_sparse(track):
            # Silence begins with what was said before.
            rows = (*self._index.before(track, rows[0].time), *rows)
        self._columns[track] = _filled(self._empty(track), rows)

    def _rows(self, track: int, begin: int, end: int) -> tuple[FragmentRow, ...]:
        """Those of ``track`` from ``begin`` to ``end``, ticks. Where that begins with a hole, also
        what lies before this: others have fragments there, which are numbered."""
        before = None if self._tracks.is_sparse(track) else self._index.before_hole(track, begin)
        return self._index.fragments(track, begin if before is None else before, end)

    def _empty(self, track: int) -> TrackColumns:
        return TrackColumns(sparse=self._tracks.is_sparse(track))

    def _trim(self) -> None:
        for track, columns in self._columns.items():
            if len(columns) < _FEW and self._tracks.is_sparse(track):
                continue
            timescale = self._tracks.described(track).timescale
            edge = self._edge(track, columns.end)
            if edge - columns.begin > (self._keep + _MARGIN) * timescale:
                columns.drop(edge - int(self._keep * timescale))

    def _edge(self, track: int, end: int) -> int:
        """Where windows of ``track``, which goes on to ``end``, end at the latest, ticks."""
        return end if self._until is None else min(end, self._tracks.ticks(track, self._until))


def _filled(columns: TrackColumns, rows: Iterable[FragmentRow]) -> TrackColumns:
    for row in rows:
        if columns.follows(row):
            columns.append(row)
    return columns
