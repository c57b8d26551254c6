"""Answers that formats with CMAF segments share."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.errors import FragmentNotAvailable, FragmentNotFound
from sidecar.formats.spec import Answer, Request
from sidecar.formats.urls import encoded, suffix
from sidecar.media.presentation import Rendition
from sidecar.media.track import Kind
from sidecar.mux.cmaf import init_segment, media_segment
from sidecar.mux.plan import CacheClass, Inline, Plan
from sidecar.timeline.segments import SegmentList

CONTENT_TYPES = {Kind.VIDEO: "video/mp4", Kind.AUDIO: "audio/mp4", Kind.TEXT: "application/mp4"}


def init_answer(rendition: Rendition) -> Answer:
    """The init segment of ``rendition``."""
    plan = Plan(
        parts=(Inline(init_segment(rendition)),),
        content_type=CONTENT_TYPES[rendition.kind],
        cache_class=CacheClass.MEDIA,
    )
    return Answer(plan=plan)


def segment_answer(
    request: Request,
    rendition: Rendition,
    segments: SegmentList,
    index: int,
    path: Callable[[int], str],
) -> Answer:
    """Segment ``index`` of ``segments``, and the ones after it that the request wants planned.

    ``path`` gives the virtual path (decoded) of the segment at an index.
    """
    count = len(segments)

    def plan(at: int) -> Plan:
        return Plan(
            parts=media_segment(
                rendition.track,
                int(segments.first_sample[at]),
                int(segments.first_sample[at + 1]),
                at + 1,
            ),
            content_type=CONTENT_TYPES[rendition.kind],
            cache_class=CacheClass.MEDIA,
            headers=link_next(request, path(at + 1)) if at + 1 < count else (),
        )

    following = range(index + 1, min(count, index + 1 + request.read_ahead))
    return Answer(plan=plan(index), ahead=tuple((path(at), plan(at)) for at in following))


def link_next(request: Request, virtual_path: str) -> tuple[tuple[str, str], ...]:
    """The header that names the next segment, relative to the URL of this one (RFC 8288)."""
    directory, _, name = virtual_path.partition("/")
    url = encoded(name if directory and name else virtual_path) + suffix(request.options)
    return (("Link", f'<{url}>; rel="next"'),)


def numbered(segments: SegmentList, number: int) -> int:
    """Index of the segment that is ``number``, counting from 1.

    Raises ``FragmentNotFound`` before the first, ``FragmentNotAvailable`` after the last.
    """
    if number < 1:
        raise FragmentNotFound(f"segment {number} lies before the first, which is 1")
    if number > len(segments):
        raise FragmentNotAvailable(f"segment {number} lies after the last, {len(segments)}")
    return number - 1
