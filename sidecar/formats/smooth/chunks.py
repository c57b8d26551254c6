"""When the fragments of a rendition begin, as manifests and URLs say it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sidecar.media.track import Kind, StoredFragments, Track
from sidecar.mux.smooth import (
    Clock,
    Span,
    at_clock,
    column_at_clock,
    delayed_by_offset,
    first_time,
)
from sidecar.timeline.segments import SegmentList
from sidecar.units import rescale


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Chunks:
    """Fragments 0 .. n-1 of one rendition.

    ``segments``: when and of which samples, as the presentation counts time; ``first``: where the
    first really begins, ticks of ``segments``, maybe before 0 (priming). Times that are said are
    those of ``clock``, ``shift`` ticks of it later than the presentation's. ``late``: by how much
    what fragments hold is presented later than they begin, ticks of ``clock``. ``stored``: the
    source's own fragments, to be handed out as they are, or None.
    """

    segments: SegmentList
    first: int
    clock: Clock
    shift: int
    late: int
    stored: StoredFragments | None = None

    def __len__(self) -> int:
        return len(self.segments)

    def time(self, index: int) -> int:
        """When fragment ``index`` begins; index n: when the last one ends."""
        ticks = self.first if index == 0 else int(self.segments.start[index])
        return at_clock(ticks, self.segments.timescale, self.clock.timescale) + self.shift

    def times(self) -> NDArray[np.int64]:
        """int64[n+1]: ``time`` of all."""
        said = column_at_clock(self.segments.start, self.segments.timescale, self.clock.timescale)
        said = said + self.shift
        said[0] = self.time(0)
        return said

    def milliseconds(self, index: int) -> int:
        """When fragment ``index`` (n: the end) begins on the presentation's own time line."""
        return rescale(int(self.segments.start[index]), self.segments.timescale, 1000)

    def find(self, time: int) -> int | None:
        """Index of the fragment that begins exactly at ``time``, or None."""
        if not self.time(0) <= time < self.time(len(self)):
            return None
        nearest = at_clock(time - self.shift, self.clock.timescale, self.segments.timescale)
        guess = int(np.searchsorted(self.segments.start[:-1], nearest))
        for index in {0, guess - 1, guess, guess + 1}:
            if 0 <= index < len(self) and self.time(index) == time:
                return index
        return None

    def span(self, index: int) -> Span:
        """Fragment ``index``."""
        return Span(
            first=int(self.segments.first_sample[index]),
            last=int(self.segments.first_sample[index + 1]),
            start=self.time(index),
            end=self.time(index + 1),
        )


def segment_chunks(track: Track, segments: SegmentList, clock: Clock) -> Chunks:
    """The segments of ``track`` as fragments: video's begin when its presentation would in the
    other formats, all others ``clock.shift`` later."""
    by_offset = delayed_by_offset(track)
    first = int(segments.start[0])
    return Chunks(
        segments=segments,
        first=first if track.kind is Kind.TEXT else min(first, first_time(track)),
        clock=clock,
        shift=0 if by_offset else clock.shift,
        late=clock.shift if by_offset else 0,
    )


def stored_chunks(track: Track, lead: Fraction) -> Chunks | None:
    """The fragments of the source, if all can be handed out as they are stored: in their own
    timescale, at their own times, later by ``lead`` seconds. None if they cannot."""
    samples = track.samples
    stored = samples.stored
    if stored is None or samples.fragment_start is None or int(stored.time[1]) <= 0:
        return None
    start = stored.time + stored.moved
    segments = SegmentList(
        timescale=track.timescale,
        first_sample=np.append(samples.fragment_start, len(samples)),
        start=start,
    )
    shift = rescale(lead.numerator, lead.denominator, track.timescale) - stored.moved
    return Chunks(
        segments=segments,
        first=int(start[0]),
        clock=Clock(timescale=track.timescale, shift=shift),
        shift=shift,
        late=0,
        stored=stored,
    )
