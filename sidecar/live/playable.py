"""What players may be told of at one moment: a presentation made of a point's columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sidecar.codecs.facts import AudioFacts
from sidecar.errors import NotFound
from sidecar.live.columns import FragmentColumns, TrackColumns
from sidecar.live.frontier import (
    LEFT_BEHIND,
    TOLERANCE,
    Frontier,
    Lateness,
    going,
    leading,
    slack,
)
from sidecar.live.groups import are_closed
from sidecar.live.index import PointIndex
from sidecar.live.lengths import longest_of
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
from sidecar.timeline.growing import GrowingTimeline, Late
from sidecar.timeline.growing_cells import Grid
from sidecar.timeline.growing_frames import NEARLY, frame_length
from sidecar.timeline.live import Era
from sidecar.timeline.splices import Splice

# Fragments: one to begin with, one to go on with, and two that Smooth Streaming must know of.
_NEEDED = 4


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Playable:
    """A stretch of a live presentation.

    ``begin``, ``end``: presentation times, seconds: of the first sample, and up to where all tracks
    have been received. ``received``: (end of each fragment of the grid, float64[n] seconds;
    when it came, int64[n] Unix milliseconds). ``belated``: the same of fragments of all tracks
    that came when players had been told of their time. ``nominal``: usual length of a fragment,
    seconds. ``events``: those of this time that manifests tell of, and what has been announced for
    later.
    ``carried``: schemes and values of those that stand in segments.
    ``eras``: those of it by their numbers, ascending; ``presentation`` is that of the last.
    ``tracks``: of each rendition, as the index numbers them.
    """

    presentation: Presentation
    timeline: GrowingTimeline
    begin: Fraction
    end: Fraction
    received: tuple[NDArray[np.float64], NDArray[np.int64]]
    belated: tuple[NDArray[np.float64], NDArray[np.int64]]
    nominal: Fraction
    events: tuple[Event, ...]
    carried: tuple[tuple[str, str], ...]
    eras: Mapping[int, Era]
    tracks: Sequence[int]

    @property
    def delay(self) -> Fraction:
        """Seconds from when a fragment of the pictures is decoded to when it is presented; of the
        first one that is at hand, as they are all alike."""
        for one in self.presentation.of_kind(Kind.VIDEO):
            offsets = one.track.samples.composition_offset
            if offsets is not None:
                return Fraction(int(offsets[0]), one.track.timescale)
        return Fraction(0)

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
        known = ends <= float(edge) + float(TOLERANCE)
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
        told: Frontier | None,
        edge: Fraction | None,
        ended: bool,
    ) -> Playable:
        """What there is in ``columns``, and has been ``told``. ``edge``: up to when there is
        anything, seconds of the presentation; None when that is among them. ``ended``: nothing more
        will come. Raises ``NotFound`` when no fragment has come yet."""
        filled = {track: one for track, one in columns.items() if len(one)}
        if not filled or told is None:
            raise NotFound("nothing has been received yet")
        reference = self._leading(filled, Fraction(LEFT_BEHIND if edge is None else 0))
        timed = {
            track: one
            for track, one in filled.items()
            if self._tracks.described(track).kind is not Kind.TEXT
        } or {reference: filled[reference]}
        ends = {track: self._tracks.presented(track, one.end) for track, one in timed.items()}
        newest = max(ends.values())
        until, end = told.until, told.end
        if edge is not None:
            # What lies behind may be complete elsewhere, but not here.
            for track in going(reference, ends=ends, of=ends):
                until = min(until, ends[track] + self._slack(track))
                end = min(end, ends[track])
        rest = ended and self._is_left(timed, reference)
        if ended:
            # Where both are in one, what is left of the sound comes behind the last picture.
            end = newest + (TOLERANCE if rest else 0)
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
            rest=rest,
            chunked=filled[reference].is_chunked,
            alike=[
                track
                for track in timed
                if self._tracks.described(track).kind is self._tracks.described(reference).kind
            ],
        )
        presentation, order = self._presentation(filled, first, manifest)
        grid = replace(grid, eras=era_begins(self._tracks, reference, grid, presentation, order))
        slacks = {
            rendition.selector: float(self._slack(track))
            for rendition, track in zip(presentation.renditions, order, strict=True)
        }
        begin = self._tracks.presented(reference, int(grid_columns.time[0]))
        events = events_between(self._index, begin, newest + LOOK_AHEAD)
        moments = splices(events).moments if self._splicing else ()
        cuts = [Splice(float(at), float(known)) for at, known in moments]
        came = {
            rendition.selector: filled[track].fragments(first[track]).late
            for rendition, track in zip(presentation.renditions, order, strict=True)
        }
        late = {
            selector: Late(late=one > Lateness.IN_TIME, filled=one == Lateness.FILLED)
            for selector, one in came.items()
            if one.any()
        }
        open_groups = {
            rendition.selector
            for rendition, track in zip(presentation.renditions, order, strict=True)
            if not are_closed(self._index, track)
        }
        held = eras_on(self._index, self._tracks, reference, grid, presentation, order)
        return Playable(
            presentation=held[max(held)].presentation,
            timeline=GrowingTimeline(presentation, grid, slacks, cuts, late, open_groups),
            begin=max(Fraction(0), begin),
            end=end,
            received=(grid.time[1:], grid_columns.received_ms),
            belated=self._belated(
                {track: filled[track].fragments(first[track]) for track in order}
            ),
            nominal=grid.nominal,
            events=events,
            carried=streams_carried(self._index, begin),
            eras=held,
            tracks=order,
        )

    def _leading(self, columns: Mapping[int, TrackColumns], behind: Fraction) -> int:
        """The track of ``columns`` that segments follow; one that is ``behind`` (seconds, or a
        fragment, if that is longer) has lost its encoder."""
        return leading(
            {track: self._tracks.described(track).kind for track in columns},
            {track: self._tracks.presented(track, one.end) for track, one in columns.items()},
            {track: max(behind, self._tracks.length_of(track)) for track in columns},
        )

    def _belated(
        self, columns: Mapping[int, FragmentColumns]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Of fragments that were late, when they end, seconds, and when they came, ms."""
        ends, came = [np.empty(0)], [np.empty(0, dtype=np.int64)]
        for track, one in columns.items():
            of_track = one.late > Lateness.IN_TIME
            if of_track.any():
                described = self._tracks.described(track)
                ticks = one.time[1:][of_track] - described.edit_media_time
                ends.append(ticks / described.timescale)
                came.append(one.received_ms[of_track])
        return np.concatenate(ends), np.concatenate(came)

    def _slack(self, track: int) -> Fraction:
        """Seconds by which the fragments of a track may begin before or behind those of others."""
        facts = self._tracks.described(track).facts
        frame = frame_length(facts) if isinstance(facts, AudioFacts) else None
        return slack(self._tracks.length_of(track), frame)

    def _is_left(self, columns: Mapping[int, TrackColumns], reference: int) -> bool:
        """Whether the last fragment of a track begins where the ``reference`` ends or just before
        that, so that it belongs to what would have come next."""
        end = self._tracks.presented(reference, columns[reference].end)
        return any(
            end - self._tracks.presented(track, int(one.fragments(one.at(one.end)).time[0]))
            <= self._slack(track)
            for track, one in columns.items()
            if track != reference
        )

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

    def _longest(self, track: int) -> Fraction:
        """Seconds that no fragment of ``track`` is longer than."""
        timescale = self._tracks.described(track).timescale
        return Fraction(longest_of(self._index, track), timescale)

    def _grid(
        self,
        track: int,
        fragments: FragmentColumns,
        until: Fraction | None,
        *,
        edge: Fraction,
        end: Fraction,
        rest: bool,
        chunked: bool,
        alike: Iterable[int],
    ) -> Grid:
        """``alike``: the tracks that segments may come to follow."""
        one = self._tracks.described(track)
        extent = self._index.extent(track)
        first = int(fragments.sequence[0])
        return Grid(
            time=(fragments.time - one.edit_media_time) / one.timescale,
            sequence=fragments.sequence,
            gap=fragments.gap,
            nominal=self._tracks.length_of(track),
            longest=max(self._longest(one) for one in alike),
            tolerance=float(
                NEARLY * frame_length(one.facts) if isinstance(one.facts, AudioFacts) else TOLERANCE
            ),
            begins=extent is None or extent.first_sequence >= first,
            until=float("inf") if until is None else float(until),
            edge=float("inf") if until is None else float(edge),
            end=float(end),
            rest=rest,
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
