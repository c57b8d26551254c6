"""StreamIndex elements: which renditions share one list of fragments ([MS-SSTR] 2.2.2.3)."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np

from sidecar.errors import FragmentMissing, FragmentNotAvailable, FragmentNotFound, NotFound
from sidecar.formats.choices import audio_choices
from sidecar.formats.policies import source_policy
from sidecar.formats.smooth.chunks import Chunks, segment_chunks, stored_chunks
from sidecar.formats.smooth.quality import four_cc
from sidecar.formats.spec import Request
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind
from sidecar.mux.smooth import TIMESCALE, Clock, at_clock, clock_for


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
    """The streams of the presentation of a request, by its options and directives.

    They are those of the whole presentation, whatever a manifest lists of them: a fragment has one
    URL, and its bytes depend on nothing else.
    """

    def __init__(self, request: Request) -> None:
        self._presentation = request.presentation
        self._timeline = request.timeline
        self._policy = source_policy(
            request.presentation, request.options.iss_minimum_fragment_length
        )
        self._carried = [r for r in self._presentation.renditions if four_cc(r) is not None]
        self._stored: dict[str, Chunks] = {}
        if passes_through(request):
            for rendition in self._carried:
                chunks = stored_chunks(rendition.track)
                if chunks is not None:
                    self._stored[rendition.selector] = chunks
        self._clock = self._make_clock()

    def chunks(self, rendition: Rendition) -> Chunks:
        """The fragments of ``rendition`` as it has them itself."""
        stored = self._stored.get(rendition.selector)
        if stored is not None:
            return stored
        segments = self._timeline.segments(rendition, self._policy)
        return segment_chunks(rendition.track, segments, self._clock)

    def all(self) -> list[Stream]:
        """The streams: video, then audio (the default first), then text."""
        streams: list[Stream] = []
        for rendition in _ordered(self._presentation):
            if four_cc(rendition) is None:
                continue
            chunks = self.chunks(rendition)
            for position, stream in enumerate(streams):
                if _belongs(rendition, chunks, stream):
                    joined = sorted((*stream.renditions, rendition), key=lambda r: r.bitrate)
                    streams[position] = replace(stream, renditions=tuple(joined))
                    break
            else:
                one = Stream(name=rendition.name, renditions=(rendition,), chunks=chunks)
                streams.append(one)
        return streams

    def find(self, name: str, bitrate: int, time: int) -> tuple[Rendition, Chunks, int]:
        """What ``QualityLevels(bitrate)/Fragments(name=time)`` asks for: the rendition, the list
        that has this time, and its index there.

        The list is the rendition's own, or that of the stream in which a manifest lists it. Raises
        ``NotFound`` without such a rendition, and for times that no fragment begins at
        ``FragmentNotFound`` (before the first), ``FragmentNotAvailable`` (after the last) or
        ``FragmentMissing``.
        """
        rendition = self._presentation.find(f"{name}={bitrate}")
        if rendition is not None and four_cc(rendition) is None:
            raise NotFound("Smooth Streaming cannot carry the codec of this track")
        if rendition is not None:
            own = self.chunks(rendition)
            index = own.find(time)
            if index is not None:
                return rendition, own, index
        for stream in self.all():
            named = [r for r in stream.renditions if r.bitrate == bitrate]
            if not named or all(r.name != name for r in stream.renditions):
                continue
            rendition = rendition or named[0]
            index = stream.chunks.find(time) if rendition is named[0] else None
            if index is not None:
                return rendition, stream.chunks, index
        if rendition is None:
            raise NotFound("the presentation has no such track")
        raise _no_fragment(self.chunks(rendition), time)

    def _make_clock(self) -> Clock:
        """Stored fragments keep their times, and what is made goes by theirs."""
        for rendition in sorted(self._carried, key=lambda r: r.kind is not Kind.VIDEO):
            chunks = self._stored.get(rendition.selector)
            if chunks is not None:
                clock = chunks.clock
                return Clock(shift=at_clock(clock.shift, clock.timescale, TIMESCALE))
        return clock_for(rendition.track for rendition in self._carried)


def passes_through(request: Request) -> bool:
    """Whether the location hands out stored fragments as they are (``usp_iss_pass_through``)."""
    given = request.directives.get("usp_iss_pass_through")
    return given is not None and given != ("off",)


def _ordered(presentation: Presentation) -> list[Rendition]:
    video, text = presentation.of_kind(Kind.VIDEO), presentation.of_kind(Kind.TEXT)
    return [*video, *audio_choices(presentation), *text]


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
    named = (*common, rendition.name, rendition.language)
    if rendition.kind is Kind.AUDIO:
        return (*named, rendition.audio.sampling_rate, rendition.audio.channels)
    return named


def _no_fragment(chunks: Chunks, time: int) -> Exception:
    begin, end = chunks.time(0), chunks.time(len(chunks))
    if time < begin:
        return FragmentNotFound(f"time {time} lies before the first fragment, at {begin}")
    if time >= end:
        return FragmentNotAvailable(
            f"time {time} lies after the last fragment, which ends at {end}"
        )
    return FragmentMissing(f"no fragment starts at {time}")
