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
# What lasts longer than twice that is no picture that others follow at once, seconds.
_LONGEST = 0.05


@dataclass(frozen=True, slots=True)
class Splice:
    """``at``: presentation time; ``known``: up to when the media had come when it was announced.
    Both in seconds."""

    at: float
    known: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Pictures:
    """The sync samples that all renditions have: ``shown`` and ``decoded``, float64[n], seconds.
    ``begin``, ``end``: decode times of what is at hand, seconds. ``delay``: of showing each, and
    ``half``: of what it lasts, as far as that counts; float64[n], seconds."""

    shown: NDArray[np.float64]
    decoded: NDArray[np.float64]
    begin: float
    end: float
    delay: NDArray[np.float64]
    half: NDArray[np.float64]

    def at(self, when: float) -> float | None:
        """Decode time of the sync sample that is shown at ``when``, None without one."""
        if not len(self.shown):
            return None
        nearest = self._nearest(when)
        near = abs(float(self.shown[nearest]) - when) <= self.half[nearest] + _HERE
        return float(self.decoded[nearest]) if near else None

    def decoded_for(self, when: float) -> float:
        """When what is shown at ``when`` is decoded, as far as the sync sample next to it tells."""
        return when - float(self.delay[self._nearest(when)]) if len(self.shown) else when

    def _nearest(self, when: float) -> int:
        return int(np.argmin(abs(self.shown - when)))


def pictures_of(tracks: Sequence[Track]) -> Pictures:
    """The common sync samples of ``tracks``, at least one, each with samples; the first one's
    times."""
    first = tracks[0]
    shown, decoded, delay, half = _sync_times(first)
    for other in tracks[1:]:
        theirs = _sync_times(other)[0]
        at = np.clip(np.searchsorted(theirs, shown - half), 0, max(0, len(theirs) - 1))
        shared = abs(theirs[at] - shown) <= half if len(theirs) else np.zeros(len(shown), bool)
        shown, decoded, delay, half = shown[shared], decoded[shared], delay[shared], half[shared]
    return Pictures(
        shown=shown,
        decoded=decoded,
        begin=max(_seconds(track, 0) for track in tracks),
        end=min(_seconds(track, -1) for track in tracks),
        delay=delay,
        half=half,
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
        at = pictures.decoded_for(splice.at)
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


def _sync_times(track: Track) -> tuple[NDArray[np.float64], ...]:
    """``shown``, ``decoded``, ``delay`` and ``half`` of ``Pictures``, of all sync samples."""
    samples = track.samples
    which = slice(None) if samples.sync is None else np.flatnonzero(samples.sync)
    shown = track.presentation_time()[which] / track.timescale
    decoded = (samples.decode_time[:-1][which] - track.edit_media_time) / track.timescale
    # From whole ticks: of times since 1970 there would be no more than nearly the same.
    delay = np.zeros(len(shown))
    if samples.composition_offset is not None:
        delay = samples.composition_offset[which] / track.timescale
    half = np.minimum(np.diff(samples.decode_time)[which] / (2 * track.timescale), _LONGEST)
    held = samples.size[which] > 0
    return shown[held], decoded[held], delay[held], half[held]


def _seconds(track: Track, at: int) -> float:
    return float((int(track.samples.decode_time[at]) - track.edit_media_time) / track.timescale)
