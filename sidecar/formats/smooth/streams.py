"""StreamIndex elements: which renditions share one list of fragments ([MS-SSTR] 2.2.2.3)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from weakref import WeakKeyDictionary

import numpy as np

from sidecar.errors import FragmentMissing, FragmentNotAvailable, FragmentNotFound, NotFound
from sidecar.formats.choices import audio_choices
from sidecar.formats.directives import is_on
from sidecar.formats.policies import source_policy
from sidecar.formats.smooth.chunks import (
    Chunks,
    growing_chunks,
    segment_chunks,
    stored_chunks,
)
from sidecar.formats.smooth.growing import Member, common
from sidecar.formats.smooth.quality import four_cc
from sidecar.formats.spec import Request
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind
from sidecar.mux.smooth import TIMESCALE, Clock, at_clock, clock_for, first_time
from sidecar.timeline.growing import GrowingTimeline
from sidecar.timeline.segmenter import SegmentPolicy, Timeline

# Stored fragments are handed out as they are.
PASS_THROUGH = "usp_iss_pass_through"
# Policies come from the query too: a client that varies them must not fill the memory.
_MOST_KEPT = 8
_KEPT: WeakKeyDictionary[Timeline, dict[tuple[SegmentPolicy, bool], Streams]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Stream:
    """``renditions`` (ascending bitrates, all different) have fragments at the times of ``chunks``.

    These are those of one of them, whose name ``name`` is; the others' lie half a sample off at the
    most."""

    name: str
    renditions: tuple[Rendition, ...]
    chunks: Chunks

    @property
    def kind(self) -> Kind:
        return self.renditions[0].kind


class Streams:
    """All streams of a presentation, whatever a manifest lists of them: a fragment has one URL, and
    its bytes depend on nothing else.

    ``all``: audio (the default first), then text, then video. dash.js plays clips whose tracks
    begin at unlike times in step only when the one that begins last comes first, which audio is.
    ``apart``: renditions that can be asked for, but not be listed with those that they belong to.
    """

    def __init__(
        self,
        streams: Iterable[Stream],
        chunks: Mapping[str, Chunks],
        apart: Iterable[Stream] = (),
    ) -> None:
        """``chunks``: of each rendition by its selector, as it has them itself."""
        self.all: tuple[Stream, ...] = tuple(streams)
        self.apart: tuple[Stream, ...] = tuple(apart)
        self._chunks = chunks

    def chunks(self, rendition: Rendition) -> Chunks:
        """The fragments of ``rendition``, one of those that are carried, as it has them itself."""
        return self._chunks[rendition.selector]

    def rendition(self, name: str, bitrate: int) -> tuple[Rendition, Stream]:
        """The rendition that ``QualityLevels(bitrate)/Fragments(name=...)`` means, and its stream.

        Manifests call all renditions of a stream by the name of one. Raises ``NotFound``.
        """
        named = None
        for stream in (*self.all, *self.apart):
            if name not in (stream.name, *(one.name for one in stream.renditions)):
                continue
            for rendition in stream.renditions:
                if rendition.bitrate == bitrate:
                    if rendition.name == name:
                        return rendition, stream
                    named = named or (rendition, stream)
        if named is None:
            raise NotFound("the presentation has no such track")
        return named

    def listed(self, rendition: Rendition, stream: Stream, time: int) -> tuple[Chunks, int]:
        """The list of fragments that ``time`` is from, that of ``stream``, as manifests have it, or
        the one of ``rendition`` itself; and which fragment of ``rendition`` it is, index.

        Raises ``FragmentNotFound`` (before the first), ``FragmentNotAvailable`` (after the last) or
        ``FragmentMissing`` when no fragment begins then.
        """
        own = self.chunks(rendition)
        for chunks in (stream.chunks, own):
            index = chunks.find(time)
            if index is not None:
                index += chunks.segments.first_number - own.segments.first_number
                if 0 <= index < own.available and not own.segments.is_gap(index):
                    return chunks, index
                break
        raise _no_fragment(own if own.until is not None else stream.chunks, time)


def _stored(
    presentation: Presentation, timeline: Timeline, policy: SegmentPolicy, passing: bool
) -> Streams:
    carried = [r for r in _ordered(presentation) if four_cc(r) is not None]
    lead = _lead(carried) if passing else Fraction(0)
    stored = {r.selector: stored_chunks(r.track, lead) for r in carried} if passing else {}
    clock = _clock(carried, stored, lead)
    chunks = {
        rendition.selector: stored.get(rendition.selector)
        or segment_chunks(rendition.track, timeline.segments(rendition, policy), clock)
        for rendition in carried
    }
    streams: list[Stream] = []
    for rendition in carried:
        own = chunks[rendition.selector]
        for position, stream in enumerate(streams):
            if _belongs(rendition, own, stream):
                joined = sorted((*stream.renditions, rendition), key=lambda r: r.bitrate)
                streams[position] = replace(stream, renditions=tuple(joined))
                break
        else:
            streams.append(Stream(name=rendition.name, renditions=(rendition,), chunks=own))
    return Streams(streams, chunks)


def _growing(
    presentation: Presentation, timeline: GrowingTimeline, policy: SegmentPolicy
) -> Streams:
    carried = [r for r in _ordered(presentation) if four_cc(r) is not None]
    ended = timeline.ended
    chunks = {
        r.selector: growing_chunks(r.track, timeline.segments(r, policy), ended=ended)
        for r in carried
    }
    groups: dict[Hashable, list[Member]] = {}
    for rendition in carried:
        member = Member(rendition=rendition, chunks=chunks[rendition.selector])
        content, turn = _content(rendition), 0
        while any(
            rendition.bitrate == m.rendition.bitrate for m in groups.get((content, turn), ())
        ):
            turn += 1
        groups.setdefault((content, turn), []).append(member)
    streams, apart = [], []
    for members in groups.values():
        found = common(members, ended=ended)
        joined = sorted((one.rendition for one in found.members), key=lambda r: r.bitrate)
        name = members[0].rendition.name
        streams.append(Stream(name=name, renditions=tuple(joined), chunks=found.chunks))
        apart += [
            Stream(name=name, renditions=(one.rendition,), chunks=one.chunks) for one in found.apart
        ]
    return Streams(streams, chunks, apart)


def streams_of(request: Request) -> Streams:
    """The streams of the presentation of ``request`` by its options and directives; those that
    were made lately are kept."""
    policy = source_policy(request.presentation, request.options.iss_minimum_fragment_length)
    kept = _KEPT.setdefault(request.timeline, {})
    key = policy, is_on(request.directives, PASS_THROUGH)
    found = kept.get(key)
    if found is None:
        timeline = request.timeline
        if isinstance(timeline, GrowingTimeline):
            found = _growing(request.presentation, timeline, policy)
        else:
            found = _stored(request.presentation, timeline, *key)
        if len(kept) >= _MOST_KEPT:
            kept.clear()
        kept[key] = found
    return found


def _lead(carried: list[Rendition]) -> Fraction:
    """By how much all is later than stored, seconds, so that no fragment begins before 0.

    Audio does that with its priming. Clients go by the times of the manifest alone: with a 0 there
    for the first fragment they would play it late.
    """
    stored = {r.selector: stored_chunks(r.track, Fraction(0)) for r in carried}
    if not any(stored.values()):
        return Fraction(0)
    clock = _clock(carried, stored, Fraction(0))
    before = [Fraction(0)]
    for rendition in carried:
        chunks = stored[rendition.selector]
        if chunks is not None:
            before.append(Fraction(-chunks.time(0), chunks.clock.timescale))
        elif rendition.kind is Kind.AUDIO:
            track = rendition.track
            first = at_clock(first_time(track), track.timescale, TIMESCALE) + clock.shift
            before.append(Fraction(-first, TIMESCALE))
    return max(before)


def _clock(carried: list[Rendition], stored: Mapping[str, Chunks | None], lead: Fraction) -> Clock:
    """What is made goes by the times of the first of the stored fragments, of video where there is
    one. ``lead``: by how much these are later than stored, seconds."""
    for rendition in sorted(carried, key=lambda one: one.kind is not Kind.VIDEO):
        chunks = stored.get(rendition.selector)
        if chunks is not None:
            assert chunks.stored is not None
            # Exactly, not in whole ticks of that track, which may be coarse.
            shift = lead - Fraction(chunks.stored.moved, chunks.clock.timescale)
            return Clock(shift=at_clock(shift.numerator, shift.denominator, TIMESCALE))
    return clock_for(rendition.track for rendition in carried)


def _ordered(presentation: Presentation) -> list[Rendition]:
    text, video = presentation.of_kind(Kind.TEXT), presentation.of_kind(Kind.VIDEO)
    return [*audio_choices(presentation), *text, *video]


def _belongs(rendition: Rendition, chunks: Chunks, stream: Stream) -> bool:
    """Whether ``rendition`` may stand in ``stream``: same content, other quality, same times."""
    first = stream.renditions[0]
    if _content(rendition) != _content(first):
        return False
    if any(rendition.bitrate == other.bitrate for other in stream.renditions):
        return False
    shared = stream.chunks
    if chunks.clock.timescale != shared.clock.timescale or len(chunks) != len(shared):
        return False
    count = max(1, len(rendition.track.samples))
    span = chunks.time(len(chunks)) - chunks.time(0)
    apart = np.abs(chunks.times()[:-1] - shared.times()[:-1])
    return int(apart.max()) * 2 * count <= span


def _content(rendition: Rendition) -> Hashable:
    common = (rendition.kind, four_cc(rendition), rendition.role)
    if rendition.kind is Kind.VIDEO:
        return (*common, rendition.video.video_range)
    named = (*common, rendition.choice, rendition.language)
    if rendition.kind is Kind.AUDIO:
        return (*named, rendition.audio.sampling_rate, rendition.audio.channels)
    return named


def _no_fragment(chunks: Chunks, time: int) -> Exception:
    begin, end = chunks.time(0), chunks.time(chunks.available)
    if not len(chunks):
        return FragmentNotFound("the track has no fragments now")
    if time < begin:
        return FragmentNotFound(f"time {time} lies before the first fragment, at {begin}")
    if time >= end:
        return FragmentNotAvailable(
            f"time {time} lies after the last fragment, which ends at {end}",
            behind=chunks.segments.end if time == end else None,
        )
    return FragmentMissing(f"no fragment starts at {time}")
