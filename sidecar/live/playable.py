"""What players may be told of at one moment: a presentation made of a point's columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sidecar.codecs.facts import AudioFacts
from sidecar.errors import NotFound
from sidecar.live.columns import FragmentColumns, TrackColumns
from sidecar.live.index import PointIndex
from sidecar.live.playable_eras import era_begins, eras_on
from sidecar.live.said import LOOK_AHEAD, events_between, streams_carried
from sidecar.live.tracks import Tracks
from sidecar.media.breaks import splices
from sidecar.media.events import Event
from sidecar.media.naming import default_name, unique_names
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.server_manifest import KIND_ORDER, ServerManifest
from sidecar.media.track import Kind, Track
from sidecar.storage.source import SourceIdentity
from sidecar.timeline.growing import GrowingTimeline
from sidecar.timeline.growing_cells import Grid
from sidecar.timeline.growing_frames import NEARLY, frame_length
from sidecar.timeline.live import Era
from sidecar.timeline.splices import Splice

# A track that lies further behind than this has ended, or its encoder has: the others go on.
_LEFT_BEHIND = 10
# Fragments: one to begin with, one to go on with, and two that Smooth Streaming must know of.
_NEEDED = 4
# Fragments of usual length.
_BEHIND_A_HOLE = Fraction(3, 2)
# Of sound behind pictures, seconds: four or five pictures that are reordered.
_LAG = Fraction(1, 5)
# By which times of fragments differ that are meant to be equal, seconds.
_TOLERANCE = Fraction(1, 120)


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


class PlayableMaker:
    """Makes playables of columns of the tracks of one point.

    ``name``: of the presentation; ``source``: what offsets of its samples lie in. ``since``: from
    the time up to which the newest is presented to that from which on it is, seconds.
    ``splicing``: segments are cut where the programme is left and comes back.
    """

    def __init__(
        self,
        index: PointIndex,
        tracks: Tracks,
        *,
        name: str,
        source: SourceIdentity,
        since: Callable[[Fraction], Fraction],
        splicing: bool,
    ) -> None:
        self._index = index
        self._tracks = tracks
        self._name = name
        self._source = source
        self._since = since
        self._splicing = splicing

    def make(
        self,
        columns: Mapping[int, TrackColumns],
        manifest: ServerManifest,
        *,
        edge: Fraction | None,
        ended: bool,
    ) -> Playable:
        """What there is in ``columns``. ``edge``: up to when there is anything, seconds of the
        presentation; None when that is among them. ``ended``: nothing more will come. Raises
        ``NotFound`` when no fragment has come yet."""
        filled = {track: one for track, one in columns.items() if len(one)}
        reference = self._leading(filled, Fraction(_LEFT_BEHIND if edge is None else 0))
        if reference is None:
            raise NotFound("nothing has been received yet")
        timed = {
            track: one
            for track, one in filled.items()
            if self._tracks.described(track).kind is not Kind.TEXT
        } or {reference: filled[reference]}
        ends = {track: self._tracks.presented(track, one.end) for track, one in timed.items()}
        newest = max(ends.values())
        reached = {
            track: self._tracks.presented(track, self._reached(track, one))
            if edge is None
            else ends[track]
            for track, one in timed.items()
            if track == reference or newest - ends[track] <= _LEFT_BEHIND
        }
        for track in reached:
            if not self._tracks.row(track).nominal and isinstance(
                self._tracks.described(track).facts, AudioFacts
            ):
                # Where it is cut depends on how long its fragments are.
                reached[track] = self._tracks.presented(track, filled[track].begin)
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
        presentation, order = self._presentation(filled, first, manifest)
        grid = replace(grid, eras=era_begins(self._tracks, reference, grid, presentation, order))
        slack = {
            rendition.selector: float(self._slack(track))
            for rendition, track in zip(presentation.renditions, order, strict=True)
        }
        begin = self._tracks.presented(reference, int(grid_columns.time[0]))
        events = events_between(self._index, begin, newest + LOOK_AHEAD)
        moments = splices(events).moments if self._splicing else ()
        cuts = [Splice(float(at), float(known)) for at, known in moments]
        held = eras_on(self._index, self._tracks, reference, grid, presentation, order)
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
            tracks=order,
        )

    def _leading(self, columns: Mapping[int, TrackColumns], behind: Fraction) -> int | None:
        """The track of ``columns`` that segments follow: of those like the reference the first that
        goes on. One that ends more than ``behind`` seconds (or fragments, if those are longer)
        before another one has lost its encoder, and its numbers are those of all.

        When all of them have, it goes on with none: what is left could not be numbered."""
        first = self._tracks.reference(columns)
        if first is None:
            return None
        kind = self._tracks.described(first).kind
        like = {
            track: self._tracks.presented(track, one.end)
            for track, one in columns.items()
            if self._tracks.described(track).kind is kind
        }
        newest = max(like.values())
        return min(
            track
            for track, end in like.items()
            if newest - end <= max(behind, self._tracks.length_of(track))
        )

    def _reached(self, track: int, columns: TrackColumns) -> int:
        """Decode time up to which a player may be told of the track, ticks. Of two encoders one may
        be ahead of the other by a fragment, and what players are told is missing they skip: a hole
        is one when another fragment has begun behind the first that came after it."""
        fragments = columns.fragments()
        nominal = self._tracks.row(track).nominal
        reached = columns.end
        edges = np.diff(fragments.gap, prepend=False, append=False)
        holes = np.flatnonzero(edges).reshape(-1, 2)
        for first, behind in holes[::-1].tolist():
            if columns.end - int(fragments.time[behind]) > nominal * _BEHIND_A_HOLE:
                break
            reached = int(fragments.time[first])
        return reached

    def _slack(self, track: int) -> Fraction:
        """Seconds by which the fragments of a track end before those of the pictures that they come
        with: encoders cut sound where the pictures have got in the order of decoding, which is some
        of them earlier."""
        facts = self._tracks.described(track).facts
        if not isinstance(facts, AudioFacts):
            return _TOLERANCE
        usual = self._tracks.length_of(track)
        return max(NEARLY * frame_length(facts), min(_LAG, usual / 4))

    def _first(
        self, columns: Mapping[int, TrackColumns], reference: int, until: Fraction
    ) -> dict[int, int]:
        """Of each track the fragment from which on it is presented."""
        grid = columns[reference]
        begin = grid.at(self._tracks.ticks(reference, self._since(until)))
        since = self._tracks.presented(reference, int(grid.fragments(begin).time[0]))
        # Sound is cut at the frame nearest to a picture, which may be in the fragment before.
        first = {
            track: max(0, one.at(self._tracks.ticks(track, since)) - 1)
            for track, one in columns.items()
        }
        return first | {reference: begin}

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
        one = self._tracks.described(track)
        extent = self._index.extent(track)
        first = int(fragments.sequence[0])
        return Grid(
            time=(fragments.time - one.edit_media_time) / one.timescale,
            sequence=fragments.sequence,
            gap=fragments.gap,
            nominal=self._tracks.length_of(track),
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
            one, row = self._tracks.described(track), self._tracks.row(track)
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
            one = self._tracks.described(track)
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
                        source=self._source,
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
