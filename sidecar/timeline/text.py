"""Segments of text: from one shared boundary to another, whether or not there is text in them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.text.cues import TIMESCALE
from sidecar.media.track import Kind, Track
from sidecar.timeline.boundaries import SHORTEST, Boundaries, greedy
from sidecar.timeline.segments import SegmentList
from sidecar.units import rescale


def text_segments(
    rendition: Rendition, presentation: Presentation, shared: Boundaries, minimum: float
) -> SegmentList:
    """The segments of the text ``rendition``: of ``minimum`` seconds or more, over all of the time
    that the audio and video of ``presentation`` last; without either, as long as its text lasts.

    Cues do not end where segments do, so segments are stretches of time rather than of samples:
    ``first_sample`` is the first that is not over when a segment starts, and one that lasts beyond
    its end is the next one's first.
    """
    track = rendition.track
    timescale = track.timescale
    media = [r.track for r in presentation.renditions if r.kind is not Kind.TEXT]
    end = max(map(_end, media or [track]))
    time = shared.time[shared.time < float(end)]
    # What is left behind the last boundary past the video's end must be worth a segment.
    time = time[(time < shared.tail) | (float(end) - time >= max(minimum, SHORTEST) / 2)]
    time = time[greedy(time, max(minimum, SHORTEST) - shared.tolerance)]
    begins = np.rint(time * timescale).astype(np.int64) if len(time) else np.zeros(1, np.int64)
    last = rescale(end.numerator, end.denominator, timescale)
    start = np.append(begins, max(last, int(begins[-1]) + 1))
    start = start[np.concatenate(([True], np.diff(start) > 0))]
    samples = track.samples
    over = samples.decode_time[1:] - track.edit_media_time
    first_sample = np.searchsorted(over, start, side="right")
    first_sample[-1] = len(samples)
    return SegmentList(timescale=timescale, first_sample=first_sample, start=start)


def _end(track: Track) -> Fraction:
    """Seconds at which the last sample, or cue, of ``track`` ends."""
    if track.text is not None:
        return Fraction(track.text.end, TIMESCALE)
    return Fraction(int(track.samples.decode_time[-1]) - track.edit_media_time, track.timescale)
