"""The tracks of a publishing point as its index and the headers of its streams describe them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

from sidecar.errors import NotFound
from sidecar.live.eras import Eras, counted_as, eras_of, rows
from sidecar.live.index import PointIndex
from sidecar.live.index_tracks import TrackRow
from sidecar.live.model import Header, IncomingTrack
from sidecar.media.track import Kind


class Tracks:
    """What was known of the tracks when they were read last; iterates over their numbers."""

    def __init__(self, index: PointIndex, read_header: Callable[[bytes], Header]) -> None:
        """``read_header``: of ``Header.data``, as the index has it. Nothing is read yet."""
        self._index = index
        self._read_header = read_header
        self._headers: dict[int, Header] = {}
        self._rows: dict[int, TrackRow] = {}
        self._eras = Eras()

    def __iter__(self) -> Iterator[int]:
        return iter(self._rows)

    def __contains__(self, track: int) -> bool:
        return track in self._rows

    @property
    def are_measured(self) -> bool:
        """Whether the lengths of fragments and the bitrates of all are known."""
        return all(one.nominal and one.bitrate for one in self._rows.values())

    @property
    def eras(self) -> Eras:
        """Those that were counted last."""
        return self._eras

    def read(self) -> None:
        """Reads which there are."""
        self._rows = {one.id: one for one in self._index.tracks()}

    def read_anew(self) -> None:
        """The same, and forgets all headers: a point that was emptied counts them anew."""
        self._headers.clear()
        self.read()

    def count_eras(self) -> None:
        """Reads where tracks change what their samples are decoded by."""
        tracks = {track: self.described(track) for track in self._rows}
        self._eras = eras_of(rows(self._index), tracks)

    def row(self, track: int) -> TrackRow:
        """What the index says of ``track``, which is one of them."""
        return self._rows[track]

    def described(self, track: int) -> IncomingTrack:
        """What the first header says of ``track``: what it is called and counted by. Raises
        ``NotFound`` when it says nothing."""
        row = self._rows[track]
        return self._described_by(row, row.header)

    def in_era(self, track: int, era: int) -> IncomingTrack:
        """``track`` as it is in ``era``, counted as ever. Raises as ``described``."""
        row = self._rows[track]
        one = self._described_by(row, self._eras.header(track, era) or row.header)
        counted = self.described(track)
        return counted_as(one, counted.timescale, counted.edit_media_time)

    def composition_delay(self, track: int, era: int) -> int | None:
        """What ``Samples.delay`` of ``track`` is in ``era``."""
        return self._eras.delay(track, era)

    def _described_by(self, row: TrackRow, number: int) -> IncomingTrack:
        header = self._headers.get(number)
        if header is None:
            header = self._headers[number] = self._read_header(self._index.header(number))
        for one in header.tracks:
            if one.track_ID == row.track_ID:
                return one
        raise NotFound("the stream's header does not describe the track")

    def presented(self, track: int, ticks: int) -> Fraction:
        """Presentation time, seconds, of decode time ``ticks``."""
        one = self.described(track)
        return Fraction(ticks - one.edit_media_time, one.timescale)

    def ticks(self, track: int, seconds: Fraction) -> int:
        """Decode time, ticks, of presentation time ``seconds``, rounded towards 0 before the edit
        list."""
        one = self.described(track)
        return int(seconds * one.timescale) + one.edit_media_time

    def length_of(self, track: int) -> Fraction:
        """Usual length of a fragment, seconds; 0 when it is not known yet."""
        return Fraction(self._rows[track].nominal, self.described(track).timescale)

    def reference(self, tracks: Iterable[int]) -> int | None:
        """The track of ``tracks`` whose fragments all segments follow: the first video, else the
        first audio, else the first text."""
        described = [(self.described(track).kind, track) for track in tracks]
        for kind in (Kind.VIDEO, Kind.AUDIO, Kind.TEXT):
            of_kind = [track for one, track in described if one is kind]
            if of_kind:
                return min(of_kind)
        return None

    def is_sparse(self, track: int) -> bool:
        """Whether it says something only now and then, and no other track follows it."""
        is_text = self.described(track).kind is Kind.TEXT
        return is_text and self.reference(self._rows) != track
