"""What can be played of a publishing point: presentations made from its index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from sidecar.codecs.facts import AudioFacts
from sidecar.errors import FragmentNotFound, NotFound
from sidecar.live import eras
from sidecar.live.columns import FragmentColumns, TrackColumns
from sidecar.live.index import FragmentRow, PointIndex, TrackRow
from sidecar.live.model import Header, IncomingTrack
from sidecar.live.said import LOOK_AHEAD, events_between, streams_carried
from sidecar.media.breaks import splices
from sidecar.media.events import Event
from sidecar.media.naming import default_name, unique_names
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.server_manifest import KIND_ORDER, ServerManifest
from sidecar.media.track import Kind, Track
from sidecar.storage.archive import FILE_BITS, OFFSET_MASK
from sidecar.storage.source import SourceIdentity
from sidecar.timeline.growing import NEARLY, EraBegin, Grid, GrowingTimeline, frame_length
from sidecar.timeline.live import Era
from sidecar.timeline.splices import Splice

# A track that lies further behind than this has ended, or its encoder has: the others go on.
_LEFT_BEHIND = 10
# Fragments: one to begin with, one to go on with, and two that Smooth Streaming must know of.
_NEEDED = 4
# Fragments of usual length.
_BEHIND_A_HOLE = Fraction(3, 2)
# What is kept beside the window, so that it is not read again each time that it moves, seconds.
_MARGIN = 60
_EVER = 1 << 62
# Of a sparse track, however long ago the first one was.
_FEW = 256
# Of sound behind pictures, seconds: four or five pictures that are reordered.
_LAG = Fraction(1, 5)
# By which times of fragments differ that are meant to be equal, seconds.
_TOLERANCE = Fraction(1, 120)
_EXACTLY = Fraction(1, 1000)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Playable:
    """A stretch of a live presentation.

    ``begin``, ``end``: presentation times, seconds: of the first sample, and up to where all tracks
    have been received. ``received``: (end of each fragment of the grid, float64[n] seconds;
    when it came, int64[n] Unix milliseconds). ``nominal``: usual length of a fragment, seconds.
    ``events``: those of this time that manifests tell of, and what has been announced for later.
    ``carried``: schemes and values of those that stand in segments.
    ``eras``: those of it by their numbers, ascending; ``presentation`` is that of the last.
    ``tracks``: of each rendition, as the index numbers them.
    """

    presentation: Presentation
    timeline: GrowingTimeline
    begin: Fraction
    end: Fraction
    received: tuple[NDArray[np.float64], NDArray[np.int64]]
    nominal: Fraction
    events: tuple[Event, ...]
    carried: tuple[tuple[str, str], ...]
    eras: Mapping[int, Era]
    tracks: Sequence[int]

    def era_at(self, seconds: Fraction) -> int:
        """The number of the era in which what is presented just before ``seconds`` lies."""
        begun = [one for one, era in self.eras.items() if era.begin < seconds]
        return max(begun, default=min(self.eras))

    def inside(self, seconds: Fraction) -> Fraction:
        """The middle of the fragment that is presented at ``seconds``. Tracks are cut at different
        frames, so a moment near a boundary would lie in segments with different numbers."""
        ends = self.received[0]
        at = int(np.searchsorted(ends, float(seconds), side="right"))
        if at == 0 or at == len(ends):
            return seconds
        return Fraction(float(ends[at - 1] + ends[at]) / 2)

    def before_holes(self, begin: Fraction, edge: Fraction) -> Fraction:
        """``begin``, or so much earlier that as much as players need has been received from there
        to ``edge``: where most of a window is a hole, nothing could be listed of it."""
        ends, came = self.received
        known = ends <= float(edge) + float(_TOLERANCE)
        if came[known & (ends > float(begin))].all():
            return begin
        there = np.flatnonzero(known & (came > 0))[-_NEEDED:]
        if not len(there):
            return begin
        first = int(there[0])
        return min(begin, Fraction(float(ends[first - 1])) if first else self.begin)


class ArchiveFolder:
    """The archive files of a point: ``storage.archive.ArchiveFiles``, and its one identity."""

    def __init__(self, index: PointIndex) -> None:
        self._index = index
        self._paths: dict[int, str] = {}
        path = index.path
        name = str(path.with_name(f"{path.stem}-*"))
        # Not a size, but it tells archives apart where contents are told apart by it.
        self.source = SourceIdentity(name, crc32(name.encode()), 0, 0)

    def identity(self, file: int) -> SourceIdentity:
        """File number ``file`` as it is now. Raises ``FragmentNotFound`` when it was removed."""
        path = self._paths.get(file)
        if path is None:
            found = self._index.files(file)
            if not found:
                raise FragmentNotFound("the segment has left the archive")
            path = self._paths[file] = str(self._index.path.with_name(found[0].name))
        try:
            status = Path(path).stat()
        except FileNotFoundError:
            raise FragmentNotFound("the segment has left the archive") from None
        return SourceIdentity(path, status.st_size, 0, status.st_ino, growing=True)

    def split(
        self, offset: NDArray[np.int64]
    ) -> tuple[tuple[SourceIdentity, ...], NDArray[np.int64], NDArray[np.int64]]:
        """(files, index into them int64[n], offset in them int64[n]) of offsets in the archive."""
        numbers, which = np.unique(offset >> FILE_BITS, return_inverse=True)
        files = tuple(self.identity(int(number)) for number in numbers)
        return files, which.astype(np.int64), offset & OFFSET_MASK


class PointView:
    """A reader of one publishing point; to be used by one thread at a time.

    ``keep``: seconds of media that stay in memory. ``splicing``: segments are cut where the
    programme is left and comes back.
    """

    def __init__(
        self,
        index: PointIndex,
        *,
        name: str,
        keep: Fraction,
        read_header: Callable[[bytes], Header],
        splicing: bool = False,
    ) -> None:
        self._index = index
        self._splicing = splicing
        self._name = name
        self._window = keep
        self._keep = keep + 2 * _MARGIN
        self._read_header = read_header
        self._headers: dict[int, Header] = {}
        self._tracks: dict[int, TrackRow] = {}
        self._columns: dict[int, TrackColumns] = {}
        self._eras = eras.Eras()
        self._last_id = 0
        self._removals = -1
        self.archive = ArchiveFolder(index)

    def refresh(self) -> bool:
        """Takes in what was committed since the last time; whether that was anything."""
        removed = self._take_removals()
        rows = self._index.newer(self._last_id)
        if not rows:
            if removed:
                self._count_eras()
            return removed
        self._last_id = rows[-1].id
        known = self._tracks
        if any(row.track not in known for row in rows) or any(
            not one.nominal or not one.bitrate for one in known.values()
        ):
            self._tracks = {one.id: one for one in self._index.tracks()}
        anew = set()
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
        self._count_eras()
        return True

    def _count_eras(self) -> None:
        tracks = {track: self._described(track) for track in self._tracks}
        self._eras = eras.eras_of(eras.rows(self._index), tracks)

    def _take_removals(self) -> bool:
        """Reads anew what rows were removed of, at first all of it; whether there was anything."""
        removals = self._index.removals
        if removals == self._removals:
            return False
        if self._removals < 0:
            self._last_id = self._index.last_id
        self._removals = removals
        self._headers.clear()  # a point that was emptied counts them anew
        self._tracks = {one.id: one for one in self._index.tracks()}
        for track in self._columns.keys() - self._tracks.keys():
            del self._columns[track]
        for track in self._tracks:
            if not self._is_whole(track):
                self._load(track)
        return True

    def _is_whole(self, track: int) -> bool:
        """Whether the index still has all rows in memory but such as lie before any window: those
        go all the time, and reading two hours anew takes as much as all manifests of a minute."""
        columns, extent = self._columns.get(track), self._index.extent(track)
        if columns is None or extent is None:
            return columns is None and extent is None
        begin = max(extent.begin, columns.begin)
        # No more than a margin before the window is presented.
        near = columns.end - int((self._window + _MARGIN // 2) * self._described(track).timescale)
        if begin > columns.begin and (begin > near or self._is_sparse(track)):
            return False
        return columns.rows_from(begin) == self._index.rows_from(track, begin, self._last_id)

    def _load(self, track: int) -> None:
        """Reads the columns of ``track`` anew, as much of its end as is kept."""
        extent = self._index.extent(track)
        if extent is None:
            self._columns.pop(track, None)
            return
        begin = extent.end - int(self._keep * self._described(track).timescale)
        rows = self._index.fragments(track, begin, _EVER)
        if self._is_sparse(track):
            # Silence begins with what was said before.
            rows = (*self._index.before(track, rows[0].time), *rows)
        self._columns[track] = _filled(self._empty(track), rows)

    def _empty(self, track: int) -> TrackColumns:
        return TrackColumns(sparse=self._is_sparse(track))

    def _is_sparse(self, track: int) -> bool:
        """Whether it says something only now and then, and no other track follows it."""
        is_text = self._described(track).kind is Kind.TEXT
        return is_text and self._reference(self._tracks) != track

    def _trim(self) -> None:
        for track, columns in self._columns.items():
            if len(columns) < _FEW and self._is_sparse(track):
                continue
            timescale = self._described(track).timescale
            if len(columns) and columns.end - columns.begin > 2 * self._keep * timescale:
                self._load(track)

    def _described(self, track: int) -> IncomingTrack:
        """What the first header says of ``track``: what it is called and counted by."""
        row = self._tracks[track]
        return self._described_by(row, row.header)

    def _in_era(self, track: int, era: int) -> IncomingTrack:
        """``track`` as it is in ``era``."""
        row = self._tracks[track]
        one = self._described_by(row, self._eras.header(track, era) or row.header)
        counted = self._described(track)
        return eras.counted_as(one, counted.timescale, counted.edit_media_time)

    def _described_by(self, row: TrackRow, number: int) -> IncomingTrack:
        header = self._headers.get(number)
        if header is None:
            header = self._headers[number] = self._read_header(self._index.header(number))
        for one in header.tracks:
            if one.track_ID == row.track_ID:
                return one
        raise NotFound("the stream's header does not describe the track")

    def era(self, playable: Playable, number: int) -> Era:
        """Era ``number``, with what is in ``playable``. Raises ``NotFound`` when there is none."""
        found = playable.eras.get(number)
        if found is not None:
            return found
        reference = self._reference(playable.tracks)
        if number > len(self._eras.changes) or reference is None:
            raise NotFound(f"there is no era {number}")
        return Era(
            begin=self._begin_of_era(reference, number),
            presentation=self._as_in(playable.presentation, number, playable.tracks),
        )

    # What there is

    @property
    def extent(self) -> tuple[Fraction, Fraction] | None:
        """Begin and end of all that the index has of any track, presentation times in seconds."""
        begins, ends = [], []
        for track in self._tracks:
            extent = self._index.extent(track)
            if extent is not None:
                one = self._described(track)
                begins.append(Fraction(extent.begin - one.edit_media_time, one.timescale))
                ends.append(Fraction(extent.end - one.edit_media_time, one.timescale))
        return (max(Fraction(0), min(begins)), max(ends)) if begins else None

    def time_of(self, sequence: int) -> Fraction | None:
        """Presentation time, seconds, at which the first fragment of the grid from number
        ``sequence`` on begins, or None when there is none."""
        track = self._reference(self._tracks)
        if track is None:
            return None
        time = self._index.time_of(track, sequence)
        one = self._described(track)
        return None if time is None else Fraction(time - one.edit_media_time, one.timescale)

    def recent(self, manifest: ServerManifest, *, ended: bool) -> Playable:
        """What is kept in memory. Raises ``NotFound`` when no fragment has come yet.

        ``ended``: nothing more will come, so that the last segment is complete as it is.
        """
        return self._playable(self._columns, manifest, None, ended=ended)

    def stretch(
        self, manifest: ServerManifest, begin: Fraction, end: Fraction, *, ended: bool
    ) -> Playable:
        """What the index has from ``begin`` to ``end``, presentation times in seconds, with the
        fragments that lie there in part. Raises ``NotFound`` when that is nothing."""
        # Sound is cut at the frame nearest to a picture, which may be in the fragment beside.
        reference = self._reference(self._tracks)
        around = Fraction(0)
        if reference is not None:
            around = self._length_of(reference)
        found = {}
        for track in self._tracks:
            one = self._described(track)
            first = int((begin - around) * one.timescale) + one.edit_media_time
            last = int((end + around) * one.timescale) + one.edit_media_time
            rows = self._index.fragments(track, first, last)
            if not rows and one.kind is Kind.TEXT:
                # Text can be silent for longer than that; its track is there all the same.
                rows = self._index.before(track, first)
            if rows:
                found[track] = _filled(self._empty(track), rows)
        extent = self.extent
        return self._playable(found, manifest, extent[1] if extent else None, ended=ended)

    def _reference(self, tracks: Iterable[int]) -> int | None:
        """The track whose fragments all segments follow: the first video, else the first audio."""
        described = [(self._described(track).kind, track) for track in tracks]
        for kind in (Kind.VIDEO, Kind.AUDIO, Kind.TEXT):
            of_kind = [track for one, track in described if one is kind]
            if of_kind:
                return min(of_kind)
        return None

    def _leading(self, columns: Mapping[int, TrackColumns], behind: Fraction) -> int | None:
        """The track of ``columns`` that segments follow: of those like the reference the first that
        goes on. One that ends more than ``behind`` seconds (or fragments, if those are longer)
        before another one has lost its encoder, and its numbers are those of all.

        When all of them have, it goes on with none: what is left could not be numbered."""
        first = self._reference(columns)
        if first is None:
            return None
        kind = self._described(first).kind
        like = {
            track: self._presented(track, one.end)
            for track, one in columns.items()
            if self._described(track).kind is kind
        }
        newest = max(like.values())
        return min(
            track
            for track, end in like.items()
            if newest - end <= max(behind, self._length_of(track))
        )

    def _length_of(self, track: int) -> Fraction:
        """Usual length of a fragment, seconds."""
        return Fraction(self._tracks[track].nominal, self._described(track).timescale)

    def _playable(
        self,
        columns: Mapping[int, TrackColumns],
        manifest: ServerManifest,
        edge: Fraction | None,
        *,
        ended: bool,
    ) -> Playable:
        """``edge``: up to when there is anything; None when that is among ``columns``."""
        filled = {track: one for track, one in columns.items() if len(one)}
        reference = self._leading(filled, Fraction(_LEFT_BEHIND if edge is None else 0))
        if reference is None:
            raise NotFound("nothing has been received yet")
        timed = {
            track: one
            for track, one in filled.items()
            if self._described(track).kind is not Kind.TEXT
        } or {reference: filled[reference]}
        ends = {track: self._presented(track, one.end) for track, one in timed.items()}
        newest = max(ends.values())
        reached = {
            track: self._presented(track, self._reached(track, one))
            if edge is None
            else ends[track]
            for track, one in timed.items()
            if track == reference or newest - ends[track] <= _LEFT_BEHIND
        }
        for track in reached:
            if not self._tracks[track].nominal and isinstance(
                self._described(track).facts, AudioFacts
            ):
                # Where it is cut depends on how long its fragments are.
                reached[track] = self._presented(track, filled[track].begin)
        until = min(end + self._slack(track) for track, end in reached.items())
        first = dict.fromkeys(filled, 0)
        if edge is None:
            first = self._first(filled, reference, until)
        grid_columns = filled[reference].fragments(first[reference])
        grid = self._grid(
            reference,
            grid_columns,
            None if ended else until,
            edge=newest if edge is None else edge,
            end=newest,
            chunked=filled[reference].is_chunked,
        )
        presentation, tracks = self._presentation(filled, first, manifest)
        grid = replace(grid, eras=self._era_begins(reference, grid, presentation, tracks))
        slack = {
            rendition.selector: float(self._slack(track))
            for rendition, track in zip(presentation.renditions, tracks, strict=True)
        }
        begin = self._presented(reference, int(grid_columns.time[0]))
        events = events_between(self._index, begin, newest + LOOK_AHEAD)
        moments = splices(events).moments if self._splicing else ()
        cuts = [Splice(float(at), float(known)) for at, known in moments]
        held = self._held(reference, grid, presentation, tracks)
        return Playable(
            presentation=held[max(held)].presentation,
            timeline=GrowingTimeline(presentation, grid, slack, cuts),
            begin=max(Fraction(0), begin),
            end=newest if ended else min(reached.values()),
            received=(grid.time[1:], grid_columns.received_ms),
            nominal=grid.nominal,
            events=events,
            carried=streams_carried(self._index, begin),
            eras=held,
            tracks=tracks,
        )

    def _era_begins(
        self,
        reference: int,
        grid: Grid,
        presentation: Presentation,
        tracks: Sequence[int],
    ) -> tuple[EraBegin, ...]:
        """Where eras begin on ``grid``: with the first fragment of the pictures that lies behind
        the change, as what they belong to has been listed then."""
        selectors = dict(zip(tracks, presentation.renditions, strict=True))
        nominal, first = grid.nominal, Fraction(float(grid.time[0]))
        found: list[EraBegin] = []
        for change in self._eras.changes:
            if reference in change.tracks:
                when = self._presented(reference, change.tracks[reference][0]) - _EXACTLY
            else:
                when = change.last - min(eras.TOGETHER, nominal / 2)
            at = int(np.searchsorted(grid.time, float(when)))
            if at == len(grid.time):
                break
            if not at and nominal:
                at = -max(0, round((first - when - _EXACTLY) / nominal))
            sequence = int(grid.sequence[0]) + at
            found.append(
                EraBegin(
                    number=change.number,
                    sequence=max(sequence, found[-1].sequence) if found else sequence,
                    cuts={
                        selectors[track].selector: ticks
                        for track, (ticks, _) in change.tracks.items()
                        if track in selectors
                    },
                )
            )
        return tuple(found)

    def _held(
        self,
        reference: int,
        grid: Grid,
        presentation: Presentation,
        tracks: Sequence[int],
    ) -> dict[int, Era]:
        """The eras in which fragments of ``grid`` lie, by their numbers."""
        before = [one.number for one in grid.eras if one.sequence <= int(grid.sequence[0])]
        last = int(grid.sequence[-1])
        inside = [one.number for one in grid.eras if int(grid.sequence[0]) < one.sequence <= last]
        return {
            number: Era(
                begin=self._begin_of_era(reference, number),
                presentation=self._as_in(presentation, number, tracks),
            )
            for number in [max(before, default=0), *inside]
        }

    def _begin_of_era(self, reference: int, number: int) -> Fraction:
        """When the first picture of an era is presented, seconds: the same as long as the index
        knows of it."""
        if not number:
            return Fraction(0)
        change = self._eras.changes[number - 1]
        one = self._described(reference)
        shown = change.tracks.get(reference)
        if shown is None:
            nominal = Fraction(self._tracks[reference].nominal, one.timescale)
            near = change.last - min(eras.TOGETHER, nominal / 2)
            shown = self._index.following(reference, self._ticks(reference, near))
        if shown is None:
            return change.last
        return max(Fraction(0), Fraction(shown[1] - one.edit_media_time, one.timescale))

    def _as_in(
        self, presentation: Presentation, number: int, tracks: Sequence[int]
    ) -> Presentation:
        """``presentation``, whose renditions are ``tracks``, as it is in era ``number``."""
        if not self._eras.changes:
            return presentation
        renditions = []
        for track, rendition in zip(tracks, presentation.renditions, strict=True):
            one = self._in_era(track, number)
            described = replace(
                rendition.track, sample_entry_box=one.sample_entry_box, facts=one.facts
            )
            renditions.append(replace(rendition, track=described))
        return replace(presentation, renditions=tuple(renditions))

    def _first(
        self, columns: Mapping[int, TrackColumns], reference: int, until: Fraction
    ) -> dict[int, int]:
        """Of each track the fragment from which on it is presented: not all that happens to be in
        memory, so that what is measured of it is the same wherever it is asked for."""
        block = Fraction(_MARGIN, 2)
        since = (until - self._window - block) // block * block
        grid = columns[reference]
        begin = grid.at(self._ticks(reference, since))
        since = self._presented(reference, int(grid.fragments(begin).time[0]))
        # Sound is cut at the frame nearest to a picture, which may be in the fragment before.
        first = {
            track: max(0, one.at(self._ticks(track, since)) - 1) for track, one in columns.items()
        }
        return first | {reference: begin}

    def _slack(self, track: int) -> Fraction:
        """Seconds by which the fragments of a track end before those of the pictures that they come
        with: encoders cut sound where the pictures have got in the order of decoding, which is some
        of them earlier."""
        facts, row = self._described(track).facts, self._tracks[track]
        if not isinstance(facts, AudioFacts):
            return _TOLERANCE
        usual = Fraction(row.nominal, self._described(track).timescale)
        return max(NEARLY * frame_length(facts), min(_LAG, usual / 4))

    def _reached(self, track: int, columns: TrackColumns) -> int:
        """Decode time up to which a player may be told of the track, ticks. Of two encoders one may
        be ahead of the other by a fragment, and what players are told is missing they skip: a hole
        is one when another fragment has begun behind the first that came after it."""
        fragments = columns.fragments()
        nominal = self._tracks[track].nominal
        reached = columns.end
        edges = np.diff(fragments.gap, prepend=False, append=False)
        holes = np.flatnonzero(edges).reshape(-1, 2)
        for first, behind in holes[::-1].tolist():
            if columns.end - int(fragments.time[behind]) > nominal * _BEHIND_A_HOLE:
                break
            reached = int(fragments.time[first])
        return reached

    def _presented(self, track: int, ticks: int) -> Fraction:
        one = self._described(track)
        return Fraction(ticks - one.edit_media_time, one.timescale)

    def _ticks(self, track: int, seconds: Fraction) -> int:
        one = self._described(track)
        return int(seconds * one.timescale) + one.edit_media_time

    def _grid(
        self,
        track: int,
        fragments: FragmentColumns,
        until: Fraction | None,
        *,
        edge: Fraction,
        end: Fraction,
        chunked: bool,
    ) -> Grid:
        one, row = self._described(track), self._tracks[track]
        extent = self._index.extent(track)
        first = int(fragments.sequence[0])
        return Grid(
            time=(fragments.time - one.edit_media_time) / one.timescale,
            sequence=fragments.sequence,
            gap=fragments.gap,
            nominal=Fraction(row.nominal, one.timescale),
            tolerance=float(
                NEARLY * frame_length(one.facts)
                if isinstance(one.facts, AudioFacts)
                else _TOLERANCE
            ),
            begins=extent is None or extent.first_sequence >= first,
            until=float("inf") if until is None else float(until),
            edge=float("inf") if until is None else float(edge),
            end=float(end),
            chunked=chunked,
        )

    def _presentation(
        self,
        columns: Mapping[int, TrackColumns],
        first: Mapping[int, int],
        manifest: ServerManifest,
    ) -> tuple[Presentation, tuple[int, ...]]:
        """The presentation, and the track of each of its renditions."""
        named = []
        for track in sorted(columns):
            one, row = self._described(track), self._tracks[track]
            name = one.name or default_name(one.kind, one.language)
            bitrate = one.bitrate or row.bitrate
            if not bitrate:
                continue  # its first fragment is not complete
            named.append((KIND_ORDER[one.kind], bitrate, track, name))
        if not named:
            raise NotFound("nothing has been received yet")
        named.sort()
        names = unique_names((name, bitrate) for _, bitrate, _, name in named)
        renditions = []
        for (_, bitrate, track, _), name in zip(named, names, strict=True):
            one = self._described(track)
            renditions.append(
                Rendition(
                    name=name,
                    bitrate=bitrate,
                    language=one.language,
                    label=None,
                    role=None,
                    track=Track(
                        kind=one.kind,
                        track_id=one.track_ID,
                        timescale=one.timescale,
                        language=one.language,
                        handler_name=one.handler_name,
                        sample_entry_box=one.sample_entry_box,
                        facts=one.facts,
                        edit_media_time=one.edit_media_time,
                        samples=columns[track].samples(first[track]),
                        source=self.archive.source,
                    ),
                )
            )
        presentation = Presentation(
            name=self._name,
            renditions=tuple(renditions),
            options=manifest.options,
            sources=(),
            last_modified_ns=0,
        )
        return presentation, tuple(track for _, _, track, _ in named)


def _filled(columns: TrackColumns, rows: Iterable[FragmentRow]) -> TrackColumns:
    for row in rows:
        if columns.follows(row):
            columns.append(row)
    return columns
