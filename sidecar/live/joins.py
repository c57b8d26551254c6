"""Fragments whose times are a little off, joined to their neighbours.

Encoders round the times of fragments, and those of two are not the same to the tick: a fragment may
begin before or behind the end of the one before it. Its last sample has been served by then, and
lasts as long as it did; so a fragment begins where the one before ends, in the order of decoding
and in that of presentation. Only what lies at the boundary moves: all others stay where the encoder
put them, so that nothing adds up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sidecar.live.index import FragmentRow, PointIndex
from sidecar.live.index_tracks import TrackRow
from sidecar.live.model import SampleTable, TrackFragment

_LONGEST = 0xFFFFFFFF
_OFFSETS = np.iinfo(np.int32)


def joined(
    index: PointIndex,
    track: TrackRow,
    fragment: TrackFragment,
    begin: int | None,
    end: int | None,
    *,
    sparse: bool,
) -> TrackFragment:
    """``fragment`` from ``begin`` on, where the samples before it end, and up to ``end``, where
    those behind it begin (ticks, None without any), unless there is a hole between.

    ``sparse``: of a track that is silent now and then.
    """
    moved = _Moved(fragment)
    if begin is not None and (begin != fragment.time or moved.offsets is not None):
        before = index.fragment_before(track.id, begin)
        if fragment.time - begin <= _room(track, fragment, before, sparse=sparse):
            moved.begin_at(begin, _shown_until(before) if fragment.begins else None)
    if end is not None:
        room = 1 if sparse else int(fragment.samples.duration[-1]) // 2
        if end - (fragment.time + fragment.duration) <= room:
            moved.times[-1] = end
    return moved.fragment()


def _room(
    track: TrackRow, fragment: TrackFragment, before: Sequence[FragmentRow], *, sparse: bool
) -> int:
    """Ticks that ``fragment`` may begin behind the end of the one that is ``before`` it."""
    if sparse:
        return 1
    usual = track.nominal or before[-1].time + before[-1].duration - before[0].time
    if not fragment.begins or len(before) > 1:
        # Chunks: how long a fragment is when all of them have come tells that they have.
        return int(fragment.samples.duration[0]) // 2
    # It counts as the next one, with nothing between, when less than half of one is missing.
    return (usual - 1) // 2


def _shown_until(parts: Sequence[FragmentRow]) -> int:
    """When the last picture of a fragment has been shown, ticks."""
    ends = []
    for row in parts:
        shown = row.time + np.cumsum(row.samples.duration, dtype=np.int64)
        if row.samples.composition_offset is not None:
            shown += row.samples.composition_offset
        ends.append(int(shown.max()))
    return max(ends)


def _shown_first(
    times: NDArray[np.int64], shows: NDArray[np.int64], shown: int, later: int
) -> int | None:
    """Which sample of those that are decoded at ``times`` and shown at ``shows`` is shown first;
    None when it cannot be at ``shown``: others would be shown before, or it would move further than
    by ``later``, or the other way, by half a sample."""
    first = int(np.argmin(shows))
    distance = shown - int(shows[first])
    half = (int(times[first + 1] - times[first]) - 1) // 2
    near = min(later, 0) - half <= distance <= max(later, 0) + half
    return first if near and np.count_nonzero(shows <= shown) <= 1 else None


class _Moved:
    """A fragment whose samples are being moved. ``times``: int64[n+1], when they are decoded, and
    the end; ``offsets``: int64[n] to when they are shown, or None."""

    def __init__(self, fragment: TrackFragment) -> None:
        table = fragment.samples
        self._fragment = fragment
        self.times: NDArray[np.int64] = fragment.time + np.append(
            0, np.cumsum(table.duration, dtype=np.int64)
        )
        offsets = table.composition_offset
        self.offsets = None if offsets is None else offsets.astype(np.int64)

    def begin_at(self, begin: int, shown: int | None) -> None:
        """Decoding begins at ``begin``. What is shown first is at ``shown``, where that is about as
        far away; all others are shown when they were to be."""
        times, offsets = self.times, self.offsets
        later = begin - int(times[0])
        if offsets is None:
            times[0] = begin
            return
        least = int(offsets.min())
        first = None if shown is None else _shown_first(times, times[:-1] + offsets, shown, later)
        if shown is None or first is None:
            times[0], kept = begin, 1
        elif first == 0:
            times[0], kept = begin, 0
            offsets[0] = shown - begin
        else:
            # Decoded along with those that it refers to.
            times[:first] += later
            times[first], kept = shown - offsets[first], first
        # An offset below all others would change the delay of the whole track.
        offsets[:kept] = np.maximum(offsets[:kept] - later, least)

    def fragment(self) -> TrackFragment:
        """It as it is now; as it was when a sample would last no time, or too long."""
        fragment, table = self._fragment, self._fragment.samples
        duration = np.diff(self.times)
        if int(duration.min()) <= 0 or int(duration.max()) > _LONGEST:
            return fragment
        offsets = table.composition_offset
        if self.offsets is not None:
            if self.offsets.min() < _OFFSETS.min or self.offsets.max() > _OFFSETS.max:
                return fragment
            offsets = self.offsets.astype(np.int32)
        return replace(
            fragment,
            time=int(self.times[0]),
            duration=int(self.times[-1] - self.times[0]),
            samples=SampleTable(
                duration=duration.astype(np.uint32),
                size=table.size,
                composition_offset=offsets,
                sync=table.sync,
                offset=table.offset,
            ),
        )
