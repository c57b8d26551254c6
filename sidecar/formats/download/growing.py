"""Downloads of a presentation that grows: parts of it that are over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sidecar.errors import BadRequest, NotFound
from sidecar.formats.eras import described_in
from sidecar.formats.spec import Request
from sidecar.media.presentation import Rendition
from sidecar.media.track import Kind, Samples, least_delay
from sidecar.mux.plan import CacheClass
from sidecar.timeline.clips import Clip, clipped
from sidecar.timeline.segmenter import SegmentPolicy
from sidecar.timeline.segments import SegmentList

# What decoders need before a clip begins less than this before it, seconds.
_LEAD = 120


def require_end(request: Request) -> None:
    """Raises ``NotFound`` for what is still going on: there is no file yet that will stay."""
    if request.live is not None and not request.live.ended:
        raise NotFound(
            "the presentation is going on: what is over of it can be downloaded, "
            "from vbegin to vend"
        )


def in_one_era(
    request: Request, renditions: Sequence[Rendition], policy: SegmentPolicy
) -> list[Rendition]:
    """``renditions`` as they are in the clip. Raises ``BadRequest`` where that is told in two ways:
    a file has one for each of its tracks."""
    if request.live is None:
        return list(renditions)
    found = []
    for rendition in renditions:
        segments = request.timeline.segments(rendition, policy)
        eras = {segments.era_of(at) for at in clipped(segments, request.clip)}
        described = [described_in(request, rendition, era) for era in sorted(eras)]
        if len({one.track.sample_entry_box for one in described}) > 1:
            raise BadRequest(
                f"the encoder of {rendition.selector} was set up anew within the clip: "
                "a file can hold what comes before that, or what comes after it"
            )
        found.append(_all_delayed(described or [rendition]))
    return found


def _all_delayed(described: Sequence[Rendition]) -> Rendition:
    """The last of ``described``, one rendition in some eras, decoded early enough for what is there
    of it in any: tables of a file have no room for exceptions."""
    last = described[-1]
    samples = last.track.samples
    delays = [one.track.samples.composition_delay for one in described]
    delay = max(*delays, least_delay(samples.composition_offset))
    return replace(last, track=replace(last.track, samples=replace(samples, delay=delay)))


def cache_class(request: Request) -> CacheClass:
    """That of files; but one up to the end of a presentation is another when that goes on again."""
    if request.live is None or request.options.clip_end is not None:
        return CacheClass.MEDIA
    return CacheClass.MANIFEST


def without_holes(rendition: Rendition) -> Rendition:
    """``rendition`` without what was never received: a pause, in which the frame before stays."""
    held = _held(rendition)
    track, samples = rendition.track, rendition.track.samples
    sync, offsets = samples.sync, samples.composition_offset
    kept = Samples(
        decode_time=samples.decode_time[np.append(held, True)],
        composition_offset=None if offsets is None else offsets[held],
        size=samples.size[held],
        offset=samples.offset[held],
        sync=None if sync is None else sync[held],
        fragment_start=None,
        delay=samples.delay,
    )
    return replace(rendition, track=replace(track, samples=kept))


def segments_without_holes(rendition: Rendition, segments: SegmentList) -> SegmentList:
    """``segments`` of ``rendition`` as those of what ``without_holes`` makes of it."""
    if segments.gap is None:
        return segments
    kept = np.append(~segments.gap, True)
    before = np.concatenate(([0], np.cumsum(_held(rendition))))
    return replace(
        segments,
        first_sample=before[segments.first_sample][kept],
        start=segments.start[kept],
        gap=None,
    )


def counted_from_clip(tracks: Sequence[Rendition], clip: Clip) -> tuple[list[Rendition], Clip]:
    """``tracks`` and ``clip`` with times from shortly before it: those of a file that begins at 0
    are small, and there is room to count them in finer ticks."""
    base = max(0, int(clip.begin or 0) - _LEAD)
    found = []
    for rendition in tracks:
        track, samples = rendition.track, rendition.track.samples
        moved = replace(samples, decode_time=samples.decode_time - base * track.timescale)
        found.append(replace(rendition, track=replace(track, samples=moved)))
    return found, Clip(_earlier(clip.begin, base), _earlier(clip.end, base))


def _held(rendition: Rendition) -> NDArray[np.bool_]:
    """bool[n]: samples that were received; all of text, which shows nothing then."""
    if rendition.kind is Kind.TEXT:
        return np.ones(len(rendition.track.samples), dtype=np.bool_)
    return rendition.track.samples.size > 0


def _earlier(time: Fraction | None, base: int) -> Fraction | None:
    return None if time is None else time - base
