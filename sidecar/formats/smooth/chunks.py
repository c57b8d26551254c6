"""When the fragments of a rendition begin, as manifests and URLs say it."""

from __future__ import annotations

from dataclasses import dataclass, replace
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

# How many fragments must follow one for it to be had while more of them come: it says when these
# begin, and clients go by that rather than by another manifest. So it is the same for ever.
LOOKAHEAD = 2
# Clients that count in floating point have but the even times behind it.
_ODD_TIMES = 1 << 53


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Chunks:
    """Fragments 0 .. n-1 of one rendition.

    ``segments``: when and of which samples, as the presentation counts time; ``first``: where the
    first really begins, ticks of ``segments``, maybe before 0 (priming). Times that are said are
    those of ``clock``, ``shift`` ticks of it later than the presentation's. ``late``: by how much
    what fragments hold is presented later than they begin, ticks of ``clock``. ``stored``: the
    source's own fragments, to be handed out as they are, or None. ``until``: behind the last one
    that can be had, index; None for stored content, of which that is all.
    """

    segments: SegmentList
    first: int
    clock: Clock
    shift: int
    late: int
    stored: StoredFragments | None = None
    until: int | None = None

    def __len__(self) -> int:
        return len(self.segments)

    @property
    def available(self) -> int:
        """How many from the first on can be had, those left out that were never received."""
        return len(self) if self.until is None else self.until

    def following(self, index: int, count: int) -> list[int]:
        """Indices of the next fragments, ``count`` or as many as there are, without those that were
        never received, or only when this had been told of as a gap: what was said is not changed.
        """
        held = self.segments.never_gaps
        first = int(np.searchsorted(held, index, side="right"))
        return [int(at) for at in held[first : first + count]]

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
        """Index of the fragment that begins at ``time``, or None."""
        near = 1 if time > _ODD_TIMES else 0
        if not self.time(0) - near <= time < self.time(len(self)):
            return None
        nearest = at_clock(time - self.shift, self.clock.timescale, self.segments.timescale)
        guess = int(np.searchsorted(self.segments.start[:-1], nearest))
        for index in {0, guess - 1, guess, guess + 1}:
            if 0 <= index < len(self) and abs(self.time(index) - time) <= near:
                return index
        return None

    def span(self, index: int) -> Span:
        """Fragment ``index``."""
        following = None
        if self.until is not None:
            following = [
                (self.time(at), self.time(at + 1) - self.time(at))
                for at in self.following(index, LOOKAHEAD)
            ]
        return Span(
            first=int(self.segments.first_sample[index]),
            last=int(self.segments.first_sample[index + 1]),
            start=self.time(index),
            end=self.time(index + 1),
            following=following,
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


def growing_chunks(track: Track, segments: SegmentList, *, ended: bool) -> Chunks:
    """The segments of ``track``, of a presentation that grows, as fragments.

    What is known of it is a window, so nothing that depends on all of its samples may count: times
    are those that the encoder sent, and composition offsets too. ``ended``: no more will come.
    """
    if track.kind is not Kind.TEXT:
        start = track.samples.decode_time[segments.first_sample] - track.edit_media_time
        segments = replace(segments, start=np.maximum(start, 0))
    if track.kind is Kind.AUDIO:
        # What precedes time 0 is there to prime the decoder only.
        heard = np.searchsorted(track.samples.decode_time[1:], track.edit_media_time, "right")
        segments = replace(segments, first_sample=np.maximum(segments.first_sample, heard))
    return with_lookahead(segments, ended=ended)


def with_lookahead(segments: SegmentList, *, ended: bool) -> Chunks:
    """``segments``, whose times are those of fragments, of a presentation that grows."""
    until = len(segments)
    if not ended:
        held = segments.never_gaps
        until = int(held[-LOOKAHEAD]) if len(held) >= LOOKAHEAD else 0
    return Chunks(
        segments=segments,
        first=int(segments.start[0]),
        clock=Clock(),
        shift=0,
        late=0,
        until=until,
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
