"""The eras of a playable: where each begins on its grid, and its presentation as it is then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from sidecar.live.eras import TOGETHER
from sidecar.live.index import PointIndex
from sidecar.live.tracks import Tracks
from sidecar.media.presentation import Presentation
from sidecar.timeline.growing_cells import EraBegin, Grid
from sidecar.timeline.live import Era

# By which times differ that are meant to be equal, seconds.
_EXACTLY = Fraction(1, 1000)


def era_begins(
    tracks: Tracks,
    reference: int,
    grid: Grid,
    presentation: Presentation,
    order: Sequence[int],
) -> tuple[EraBegin, ...]:
    """Where eras begin on ``grid``, whose fragments are those of ``reference``: with the first
    fragment of the pictures that lies behind the change, as what they belong to has been listed
    then. ``order``: the track of each rendition of ``presentation``."""
    selectors = dict(zip(order, presentation.renditions, strict=True))
    nominal, first = grid.nominal, Fraction(float(grid.time[0]))
    found: list[EraBegin] = []
    for change in tracks.eras.changes:
        if reference in change.tracks:
            when = tracks.presented(reference, change.tracks[reference][0]) - _EXACTLY
        else:
            when = change.last - min(TOGETHER, nominal / 2)
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


def eras_on(
    index: PointIndex,
    tracks: Tracks,
    reference: int,
    grid: Grid,
    presentation: Presentation,
    order: Sequence[int],
) -> dict[int, Era]:
    """The eras in which fragments of ``grid`` lie, by their numbers, ascending. ``grid`` has its
    ``era_begins``; the rest as there."""
    before = [one.number for one in grid.eras if one.sequence <= int(grid.sequence[0])]
    last = int(grid.sequence[-1])
    inside = [one.number for one in grid.eras if int(grid.sequence[0]) < one.sequence <= last]
    return {
        number: era_of(index, tracks, reference, number, presentation, order)
        for number in [max(before, default=0), *inside]
    }


def era_of(
    index: PointIndex,
    tracks: Tracks,
    reference: int,
    number: int,
    presentation: Presentation,
    order: Sequence[int],
) -> Era:
    """Era ``number``, one that ``tracks`` have, of a ``presentation`` whose renditions are the
    tracks ``order`` and whose segments follow ``reference``."""
    return Era(
        begin=_begin(index, tracks, reference, number),
        presentation=_as_in(tracks, presentation, number, order),
    )


def _begin(index: PointIndex, tracks: Tracks, reference: int, number: int) -> Fraction:
    """When the first picture of an era is presented, seconds: the same as long as the index knows
    of it."""
    if not number:
        return Fraction(0)
    change = tracks.eras.changes[number - 1]
    shown = change.tracks.get(reference)
    if shown is None:
        near = change.last - min(TOGETHER, tracks.length_of(reference) / 2)
        shown = index.following(reference, tracks.ticks(reference, near))
    if shown is None:
        return change.last
    return max(Fraction(0), tracks.presented(reference, shown[1]))


def _as_in(
    tracks: Tracks, presentation: Presentation, number: int, order: Sequence[int]
) -> Presentation:
    """``presentation`` as it is in era ``number``."""
    renditions = []
    for track, rendition in zip(order, presentation.renditions, strict=True):
        one = tracks.in_era(track, number)
        described = replace(
            rendition.track,
            sample_entry_box=one.sample_entry_box,
            facts=one.facts,
            samples=replace(rendition.track.samples, delay=tracks.composition_delay(track, number)),
        )
        renditions.append(replace(rendition, track=described))
    return replace(presentation, renditions=tuple(renditions))
