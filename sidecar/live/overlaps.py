"""What a fragment adds to what is there already: encoders do not all cut at the same samples, and
their times are not always where the samples before end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sidecar.live.index import PointIndex
from sidecar.live.index_tracks import TrackRow
from sidecar.live.joins import joined
from sidecar.live.model import SampleTable, TrackFragment


def fitted(
    index: PointIndex, track: TrackRow, fragment: TrackFragment, *, sparse: bool
) -> TrackFragment | None:
    """``fragment`` without the samples whose time is taken by others in the index, or None when
    nothing is left that can be decoded without them; joined to its neighbours (``live.joins``).

    ``sparse``: of a track that is silent now and then.
    """
    begin, end = index.around(track, fragment)
    part = _without(fragment, begin, end)
    return None if part is None else joined(index, track, part, begin, end, sparse=sparse)


def _without(fragment: TrackFragment, begin: int | None, end: int | None) -> TrackFragment | None:
    """``fragment`` without the samples of which more than half lies before ``begin`` or behind
    ``end``, ticks."""
    table = fragment.samples
    ends = fragment.time + np.cumsum(table.duration, dtype=np.int64)
    middles = ends - table.duration // 2
    first, last = 0, len(ends)
    if begin is not None and begin > middles[0]:
        if fragment.begins and table.sync is not None and not table.sync.all():
            return None  # the pictures that would remain refer to the one that goes
        first = int(np.searchsorted(middles, begin))
    if end is not None and end < middles[-1]:
        last = int(np.searchsorted(middles, end, side="right"))
    if first >= last:
        return None
    if (first, last) == (0, len(ends)):
        return fragment
    time = int(ends[first]) - int(table.duration[first])
    return replace(
        fragment,
        time=time,
        duration=int(ends[last - 1]) - time,
        samples=_part(table, slice(first, last)),
    )


def _part(table: SampleTable, which: slice) -> SampleTable:
    offsets, sync = table.composition_offset, table.sync
    return SampleTable(
        duration=table.duration[which],
        size=table.size[which],
        composition_offset=None if offsets is None else offsets[which],
        sync=None if sync is None else sync[which],
        offset=table.offset[which],
    )
