"""When samples are decoded, so that none is presented before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sidecar.media.track import Samples, Track

# Clocks of transport streams count so many ticks a second: times that differ do so there too.
_CLOCK = 90_000


def delayed_offsets(samples: Samples, first: int, last: int) -> NDArray[np.int32] | None:
    """int32[last - first]: composition offsets of samples ``first`` .. ``last``-1 when all decode
    times are ``composition_delay`` earlier; None when all of them are 0."""
    delay = samples.composition_delay
    if samples.composition_offset is None:
        return np.full(last - first, delay, np.int32) if delay else None
    offsets = samples.composition_offset[first:last]
    return offsets + np.int32(delay) if delay else offsets


def decoding(
    track: Track, first: int, last: int
) -> tuple[NDArray[np.int64], NDArray[np.int32] | None]:
    """Of samples ``first`` .. ``last``-1, a segment: int64[last - first + 1], decode times before
    ``composition_delay`` is taken off them, and the end of the last; int32[last - first],
    composition offsets from there, None when all of them are 0.

    The times are those of the track but where its delay is too little for a sample: that is decoded
    when it is presented then, and those before it just before, none of them before the first.
    """
    times = track.samples.decode_time[first : last + 1]
    offsets = delayed_offsets(track.samples, first, last)
    if offsets is None or int(offsets.min(initial=0)) >= 0:
        return times, offsets
    early = times.copy()
    early[:-1] += np.minimum(offsets, 0)
    step = max(1, -(-track.timescale // _CLOCK)) * np.arange(len(times), dtype=np.int64)
    ascending = np.minimum.accumulate((early - step)[::-1])[::-1] + step
    decoded = np.maximum(ascending, np.minimum(times, times[0] + step))
    return decoded, (offsets + (times - decoded)[:-1]).astype(np.int32)
