"""Downloads of a presentation that grows: parts of it that are over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from sidecar.errors import NotFound
from sidecar.formats.spec import Request
from sidecar.media.presentation import Rendition
from sidecar.media.track import Kind, Samples
from sidecar.mux.plan import CacheClass
from sidecar.timeline.clips import Clip

# What decoders need before a clip begins less than this before it, seconds.
_LEAD = 120


def require_end(request: Request) -> None:
    """Raises ``NotFound`` for what is still going on: there is no file yet that will stay."""
    if request.live is not None and not request.live.ended:
        raise NotFound(
            "the presentation is going on: what is over of it can be downloaded, "
            "from vbegin to vend"
        )


def cache_class(request: Request) -> CacheClass:
    """That of files; but one up to the end of a presentation is another when that goes on again."""
    if request.live is None or request.options.clip_end is not None:
        return CacheClass.MEDIA
    return CacheClass.MANIFEST


def without_holes(tracks: Sequence[Rendition], clip: Clip) -> tuple[list[Rendition], Clip]:
    """``tracks`` and ``clip`` for a file: what was never received is a pause, in which the frame
    before it stays, and times count from shortly before ``clip``, since those of a file must not
    be large."""
    base = max(0, int(clip.begin or 0) - _LEAD)
    found = []
    for rendition in tracks:
        track, samples = rendition.track, rendition.track.samples
        held = samples.size > 0
        if rendition.kind is Kind.TEXT:
            held[:] = True  # nothing is shown then
        sync, offsets = samples.sync, samples.composition_offset
        kept = Samples(
            decode_time=samples.decode_time[np.append(held, True)] - base * track.timescale,
            composition_offset=None if offsets is None else offsets[held],
            size=samples.size[held],
            offset=samples.offset[held],
            sync=None if sync is None else sync[held],
            fragment_start=None,
        )
        found.append(replace(rendition, track=replace(track, samples=kept)))
    return found, Clip(_earlier(clip.begin, base), _earlier(clip.end, base))


def _earlier(time: Fraction | None, base: int) -> Fraction | None:
    return None if time is None else time - base
