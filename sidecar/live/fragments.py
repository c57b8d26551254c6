"""From a moof and its mdat to a fragment: which samples of which track it holds, and when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sidecar.boxes.fragment import SAMPLE_DURATION, BoxBudget, Run, read_moof
from sidecar.boxes.movie import SampleDefaults
from sidecar.errors import InvalidMedia, UnsupportedMedia
from sidecar.live.events import Said, events_beside, events_of_samples
from sidecar.live.model import (
    EventTrack,
    Fragment,
    Header,
    IncomingTrack,
    SampleTable,
    TrackFragment,
)
from sidecar.live.rebase import rebased_moof
from sidecar.live.rows import MAX_SAMPLES
from sidecar.live.topbox import TopBox
from sidecar.media.columns import Columns
from sidecar.media.fragmented import fragment_columns
from sidecar.media.track import Kind

_LONGEST = 0xFFFFFFFF


class FragmentReader:
    """Reads the fragments of one connection: where one states no time, it follows the one before.

    ``header``: of the stream, to be replaced by each one that comes.
    """

    def __init__(self) -> None:
        self._tracks: dict[int, IncomingTrack] = {}
        self._event_tracks: tuple[EventTrack, ...] = ()
        self._defaults: dict[int, SampleDefaults] = {}
        self._end: dict[int, int] = {}
        self._moofs = 0

    def take(self, header: Header) -> None:
        """What follows is described by ``header``."""
        self._tracks = {track.track_ID: track for track in header.tracks}
        self._event_tracks = header.events
        self._defaults = {track.track_ID: track.defaults for track in header.tracks}
        self._defaults |= {track.track_ID: track.defaults for track in header.events}

    def runs(self, moof: TopBox) -> list[Run]:
        """All runs of ``moof``, their data at offsets in the stream.

        Raises ``InvalidMedia`` when it is damaged, ``UnsupportedMedia`` when it has too many boxes
        or samples.
        """
        data = memoryview(moof.data)
        # A stream has no end by which to measure its moofs, so each is measured by itself.
        budget = BoxBudget(len(data))
        runs = read_moof(data, moof.header.body, moof.offset, self._moofs, self._defaults, budget)
        self._moofs += 1
        if sum(run.sample_count for run in runs) > MAX_SAMPLES:
            raise UnsupportedMedia(
                f"a fragment has more than {MAX_SAMPLES} samples",
                box_path=f"moof[{self._moofs - 1}]",
                offset=moof.offset,
            )
        return runs

    def fragment(
        self,
        before: Sequence[TopBox],
        moof: TopBox,
        runs: Sequence[Run],
        between: Sequence[TopBox],
        mdat: TopBox,
    ) -> Fragment:
        """The fragment of ``moof`` with its ``runs``, whose samples are in ``mdat``.

        ``before``, ``between``: boxes that belong to it, in front of ``moof`` and of ``mdat``.
        Raises ``InvalidMedia`` when a sample does not lie in ``mdat`` or times contradict.
        """
        kept = list(before)
        head: bytes | bytearray = moof.data
        if any(run.in_file for run in runs):
            head = rebased_moof(moof, runs)
            # An index of sizes that are no longer those of the boxes.
            kept = [box for box in kept if box.type != b"sidx"]
        pieces = [*(box.data for box in kept), head, *(box.data for box in between)]
        at = sum(map(len, pieces))
        by_track: dict[int, list[Run]] = {}
        for run in runs:
            by_track.setdefault(run.track_ID, []).append(run)
        tracks = tuple(
            self._track(track, by_track[track_id], mdat, at)
            for track_id, track in self._tracks.items()
            if any(run.sample_count for run in by_track.get(track_id, ()))
        )
        described = [(self._tracks[part.track_ID], part) for part in tracks]
        said = [events_beside((*before, *between), described)]
        for track in self._event_tracks:
            of_track = by_track.get(track.track_ID, ())
            if any(run.sample_count for run in of_track):
                said.append(self._events(track, of_track, mdat))
        return Fragment(
            data=b"".join((*pieces, mdat.data)),
            moof=sum(len(box.data) for box in kept),
            tracks=tracks,
            events=tuple(event for one in said for event in one.events),
            notes=tuple(note for one in said for note in one.notes),
        )

    def _events(self, track: EventTrack, runs: Sequence[Run], mdat: TopBox) -> Said:
        columns = fragment_columns(runs, self._end.get(track.track_ID, 0))
        _check_inside(columns, runs, mdat)
        self._end[track.track_ID] = int(columns.decode_time[-1])
        return events_of_samples(track, columns, mdat, runs[0].tfxd_duration)

    def _track(
        self, track: IncomingTrack, runs: Sequence[Run], mdat: TopBox, mdat_at: int
    ) -> TrackFragment:
        """``mdat_at``: where ``mdat`` begins in the fragment's bytes."""
        where = runs[0].where
        columns = fragment_columns(runs, self._end.get(track.track_ID, 0))
        _check_inside(columns, runs, mdat)
        duration = _durations(columns, runs)
        if int(duration.max()) > _LONGEST:
            raise InvalidMedia(
                "a sample lasts longer than 32 bits hold", box_path=where[0], offset=where[1]
            )
        time = int(columns.decode_time[0])
        total = int(duration.sum())
        self._end[track.track_ID] = time + total
        offsets = columns.composition_offset
        # Sound and text can be decoded from anywhere, whatever their flags say.
        sync = columns.sync if track.kind is Kind.VIDEO else None
        return TrackFragment(
            track_ID=track.track_ID,
            time=time + track.delay,
            duration=total,
            begins=sync is None or bool(sync[0]),
            samples=SampleTable(
                duration=duration.astype(np.uint32),
                size=columns.size,
                composition_offset=None if offsets is None or not offsets.any() else offsets,
                sync=None if sync is None or sync.all() else sync,
                offset=columns.offset - mdat.offset + mdat_at,
            ),
        )


def _check_inside(columns: Columns, runs: Sequence[Run], mdat: TopBox) -> None:
    where = runs[0].where
    outside = columns.offset < mdat.body_offset
    outside |= columns.offset + columns.size > mdat.end
    if outside.any():
        raise InvalidMedia(
            f"sample {int(np.argmax(outside)) + 1} does not lie in the mdat",
            box_path=where[0],
            offset=where[1],
        )


def _durations(columns: Columns, runs: Sequence[Run]) -> NDArray[np.int64]:
    """How long each sample lasts: as the runs say, or as what tfxd says of all of them together
    when those do not say it of each. None of the last lasts nothing."""
    duration = np.diff(columns.decode_time)
    known = runs[0].tfxd_duration
    if known and not duration.any():
        duration += known // len(duration)
        duration[-1] += known % len(duration)
    elif known and not any(run.layout & SAMPLE_DURATION for run in runs):
        last = known - int(duration[:-1].sum())
        if last > 0:
            duration[-1] = last
    if not duration[-1]:
        lengths = duration[duration > 0]
        duration[-1] = lengths[-1] if lengths.size else 1
    return duration
