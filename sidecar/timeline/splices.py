"""Segments that end where the programme is left and comes back.

A cut moves the nearest boundary of the grid rather than making one more segment: numbers stay pure
functions of time, whatever splices there were before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sidecar.media.track import Track

# A boundary may have been listed when what has been announced less than this before it is known,
# seconds.
_MARGIN = 0.1
_HERE = 1e-3


@dataclass(frozen=True, slots=True)
class Splice:
    """``at``: presentation time; ``known``: up to when the media had come when it was announced.
    Both in seconds."""

    at: float
    known: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Pictures:
    """The sync samples that all renditions have: ``shown`` and ``decoded``, float64[n], seconds.
    ``begin``, ``end``: decode times of what is at hand, seconds. ``delay``: of showing, and
    ``frame``: seconds."""

    shown: NDArray[np.float64]
    decoded: NDArray[np.float64]
    begin: float
    end: float
    delay: float
    frame: float

    def at(self, when: float) -> float | None:
        """Decode time of the sync sample that is shown at ``when``, None without one."""
        if not len(self.shown):
            return None
        nearest = int(np.argmin(abs(self.shown - when)))
        near = abs(float(self.shown[nearest]) - when) <= self.frame / 2 + _HERE
        return float(self.decoded[nearest]) if near else None


def pictures_of(tracks: Sequence[Track]) -> Pictures:
    """The common sync samples of ``tracks``, at least one, each with samples; the first one's
    times."""
    first = tracks[0]
    times = first.samples.decode_time
    frame = int(times[-1] - times[0]) / len(first.samples) / first.timescale
    shown, decoded = _sync_times(first)
    for other in tracks[1:]:
        theirs, _ = _sync_times(other)
        at = np.clip(np.searchsorted(theirs, shown - frame / 2), 0, max(0, len(theirs) - 1))
        shared = abs(theirs[at] - shown) <= frame / 2 if len(theirs) else np.zeros(len(shown), bool)
        shown, decoded = shown[shared], decoded[shared]
    return Pictures(
        shown=shown,
        decoded=decoded,
        begin=max(_seconds(track, 0) for track in tracks),
        end=min(_seconds(track, -1) for track in tracks),
        delay=_delay(first),
        frame=frame,
    )


def moved(
    time: NDArray[np.float64],
    splices: Iterable[Splice],
    pictures: Pictures,
    *,
    fixed: NDArray[np.bool_],
    length: float,
    begins: bool,
    ended: bool,
) -> tuple[NDArray[np.float64], int]:
    """(``time`` with boundaries at ``splices``, how many of the first cells are left out, as what
    they begin with is not at hand).

    ``time``: float64[m+1], between which cells lie, seconds; ``fixed``: bool[m+1], those that stay
    where they are; ``length``: the usual one of a cell, seconds.
    ``begins``, ``ended``: whether nothing comes before, behind. A splice without a sync sample, or
    announced too late, moves nothing; where it is not known yet what is there, the cell before it
    is left out.
    """
    grid, time = time, time.copy()
    done: set[int] = set()
    lead, until = 0, len(time)
    for splice in sorted(splices, key=lambda one: (one.at, one.known)):
        if not len(time):
            break
        # As the boundaries, which are decode times.
        at = splice.at - pictures.delay
        distance = abs(grid - at)
        # Of two that are as near, the first, whatever is lost of floating point times.
        nearest = int(np.flatnonzero(distance <= distance.min() + _HERE)[0])
        boundary = float(grid[nearest])
        far = at - boundary
        if not -length / 2 + 2 * _HERE < far <= length / 2 + 2 * _HERE:
            continue
        if nearest in done or fixed[nearest]:
            continue
        if min(boundary, at) <= splice.known + _MARGIN:
            continue
        if nearest == len(time) - 1 and not ended and far > _HERE and pictures.end <= at + far:
            # A later boundary may be nearer to it.
            until = nearest
            continue
        if nearest == 0 and not begins and at < pictures.begin - _HERE:
            lead = 1
            continue
        cut = pictures.at(splice.at)
        if cut is None or (nearest == 0 and begins):
            continue
        time[nearest] = cut
        done.add(nearest)
    return time[lead:until], lead


def _sync_times(track: Track) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    samples = track.samples
    which = slice(None) if samples.sync is None else np.flatnonzero(samples.sync)
    shown = track.presentation_time()[which] / track.timescale
    decoded = (samples.decode_time[:-1][which] - track.edit_media_time) / track.timescale
    held = samples.size[which] > 0
    return shown[held], decoded[held]


def _delay(track: Track) -> float:
    """Seconds from decoding to showing a sync sample: exactly the same wherever it is asked for."""
    samples = track.samples
    if samples.composition_offset is None:
        return 0.0
    which = np.flatnonzero(samples.size > 0 if samples.sync is None else samples.sync)
    return float(samples.composition_offset[which[0]] / track.timescale) if len(which) else 0.0


def _seconds(track: Track, at: int) -> float:
    return float((int(track.samples.decode_time[at]) - track.edit_media_time) / track.timescale)
