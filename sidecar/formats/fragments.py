"""Answers that formats with CMAF segments share."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Protocol

from sidecar.errors import FragmentMissing, FragmentNotAvailable, FragmentNotFound
from sidecar.formats.eras import described_in
from sidecar.formats.events import with_events
from sidecar.formats.spec import Answer, Request
from sidecar.formats.urls import encoded, suffix
from sidecar.media.presentation import Rendition
from sidecar.media.track import Kind
from sidecar.mux.cmaf import init_segment, media_segment
from sidecar.mux.plan import CacheClass, Inline, Plan
from sidecar.mux.text import text_segment
from sidecar.timeline.segments import SegmentList


class Numbered(Protocol):
    """A list of segments whose numbers follow each other."""

    @property
    def first_number(self) -> int: ...

    def __len__(self) -> int: ...

    def is_gap(self, index: int) -> bool:
        """Whether segment ``index`` was never received."""
        ...

    @property
    def end(self) -> Fraction:
        """Presentation time of the end of the last one, seconds."""
        ...


CONTENT_TYPES = {Kind.VIDEO: "video/mp4", Kind.AUDIO: "audio/mp4", Kind.TEXT: "application/mp4"}


def init_answer(rendition: Rendition) -> Answer:
    """The init segment of ``rendition``."""
    plan = Plan(
        parts=(Inline(init_segment(rendition)),),
        content_type=CONTENT_TYPES[rendition.kind],
        cache_class=CacheClass.MEDIA,
        describes=True,
    )
    return Answer(plan=plan)


def segment_answer(
    request: Request,
    rendition: Rendition,
    segments: SegmentList,
    index: int,
    *,
    format_name: str,
    ending: Callable[[int], str],
) -> Answer:
    """Segment ``index`` of ``segments``, and the ones after it that the request wants planned.

    Their virtual paths are the folder that is called as the format (``hls``, ``dash``), the stem as
    the request has it, and what ``ending`` makes of an index (``-7.m4s``).
    """
    stem, query = request.match["stem"], suffix(request.options, format_name)
    link = f"<{encoded(stem)}"
    count = len(segments)
    content_type = CONTENT_TYPES[rendition.kind]
    until = until_gap(segments, index, index + 1 + request.read_ahead)
    first_sample = segments.first_sample[index : until + 1].tolist()
    plans = [
        Plan(
            parts=text_segment(rendition, segments, at, request.read)
            if rendition.kind is Kind.TEXT
            else with_events(
                media_segment(
                    described_in(request, rendition, segments.era_of(at)).track,
                    first_sample[at - index],
                    first_sample[at - index + 1],
                    segments.number(at),
                ),
                request,
                rendition,
                segments,
                at,
            ),
            content_type=content_type,
            cache_class=CacheClass.MEDIA,
            last_modified=received(request, segments, at),
            headers=(("Link", f'{link}{ending(at + 1)}{query}>; rel="next"'),)
            if at + 1 < count
            else (),
        )
        for at in range(index, until)
    ]
    paths = [f"{format_name}/{stem}{ending(at)}" for at in range(index + 1, until)]
    return Answer(plan=plans[0], ahead=tuple(zip(paths, plans[1:], strict=True)))


def numbered(segments: Numbered, number: int) -> int:
    """Index of the segment that is ``number``.

    Raises ``FragmentNotFound`` before the first, ``FragmentNotAvailable`` after the last,
    ``FragmentMissing`` for one that was never received.
    """
    first, count = segments.first_number, len(segments)
    if number < first:
        raise FragmentNotFound(f"segment {number} lies before the first, which is {first}")
    if number >= first + count:
        raise FragmentNotAvailable(
            f"segment {number} lies after the last, {first + count - 1}"
            if count
            else f"there is no segment {number} yet",
            behind=segments.end if count and number == first + count else None,
        )
    index = number - first
    if segments.is_gap(index):
        raise FragmentMissing(f"segment {number} was never received")
    return index


def until_gap(segments: Numbered, index: int, until: int) -> int:
    """The end, ``until`` at the most, of the segments from ``index`` on that can be served."""
    at = index
    while at < min(until, len(segments)) and not segments.is_gap(at):
        at += 1
    return at


def until_era(segments: SegmentList, index: int, until: int) -> int:
    """The end, ``until`` at the most, of the segments from ``index`` on that are of its era."""
    at = index
    while at < until and segments.era_of(at) == segments.era_of(index):
        at += 1
    return at


def received(request: Request, segments: SegmentList, index: int) -> int | None:
    """When the last of segment ``index`` came, Unix seconds; None for stored content."""
    if request.live is None:
        return None
    end = Fraction(int(segments.start[index + 1]), segments.timescale)
    return request.live.received_ms(end) // 1000
