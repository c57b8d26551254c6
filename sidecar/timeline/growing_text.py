"""Segments of text that grows: those of the pictures, whether or not there is text in them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sidecar.media.track import Track
from sidecar.timeline.segments import SegmentList

# Encoders send text only when there is some. After this long without any (seconds), none comes any
# more that would be older: what is late to the player is of no use.
_SILENCE = 5
# By which text may end before the pictures that it was sent with, seconds.
_NEAR = 0.05


def text_cells(
    track: Track,
    time: NDArray[np.float64],
    first_number: int,
    *,
    era: NDArray[np.int64] | None,
    begins: bool,
    edge: float,
) -> SegmentList | None:
    """The segments of ``track`` between ``time`` (float64[m+1], seconds), from ``first_number`` on,
    in their ``era`` (int64[m]); ``first_sample`` as in ``timeline.text``. None when there are none.

    They reach as far as text has come, or as silence is certain: ``edge`` is up to when anything
    has been received, seconds. ``begins``: whether nothing comes before the first.
    """
    samples, timescale = track.samples, track.timescale
    if not len(samples):
        return None
    shown = samples.decode_time - track.edit_media_time
    reached = max(int(shown[-1]) / timescale + _NEAR, edge - _SILENCE)
    time = time[: int(np.searchsorted(time, reached, side="right"))]
    # What is shown before the first sample at hand is not known, unless nothing is.
    lead = 0 if begins else int(np.searchsorted(time, int(shown[0]) / timescale - _NEAR))
    time = time[lead:]
    if len(time) < 2:
        return None
    start = np.maximum(np.rint(time * timescale).astype(np.int64), 0)
    # Segments of no length would have the same URL.
    steps = np.arange(len(start))
    start = np.maximum.accumulate(start - steps) + steps
    return SegmentList(
        timescale=timescale,
        first_sample=np.searchsorted(shown[1:], start, side="right"),
        start=start,
        first_number=first_number + lead,
        era=None if era is None else era[lead : lead + len(start) - 1],
    )
