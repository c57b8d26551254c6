"""Single sync samples as segments: what trick play is made of."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.errors import NotFound
from sidecar.formats.fragments import CONTENT_TYPES
from sidecar.formats.spec import Answer, Request
from sidecar.formats.urls import encoded
from sidecar.media.presentation import Rendition
from sidecar.media.track import Kind
from sidecar.mux.cmaf import key_frame_segment
from sidecar.mux.plan import CacheClass, Plan
from sidecar.timeline.segments import SegmentList


def key_frames_of(request: Request, rendition: Rendition) -> SegmentList:
    """The sync samples of ``rendition``; raises ``NotFound`` when it has none, or is no video."""
    if rendition.kind is not Kind.VIDEO:
        raise NotFound("only video has key frames")
    key_frames = request.timeline.key_frames(rendition)
    if key_frames is None:
        raise NotFound("the track has no key frames")
    return key_frames


def key_frame_answer(
    request: Request,
    rendition: Rendition,
    key_frames: SegmentList,
    index: int,
    *,
    ending: Callable[[int], str],
) -> Answer:
    """Sync sample ``index``; the URL of the next is the request's with another ``ending``."""
    start = int(key_frames.start[index])
    following = f"{encoded(request.match['stem'])}{ending(index + 1)}"
    plan = Plan(
        parts=key_frame_segment(
            rendition.track,
            int(key_frames.first_sample[index]),
            start,
            int(key_frames.start[index + 1]) - start,
            index + 1,
        ),
        content_type=CONTENT_TYPES[Kind.VIDEO],
        cache_class=CacheClass.MEDIA,
        headers=(("Link", f'<{following}>; rel="next"'),) if index + 1 < len(key_frames) else (),
    )
    return Answer(plan=plan)
