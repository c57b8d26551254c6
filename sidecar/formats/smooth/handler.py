"""The request kinds of Smooth Streaming."""

from __future__ import annotations

import re
from collections.abc import Callable

from sidecar.errors import NotFound
from sidecar.formats.fragments import CONTENT_TYPES
from sidecar.formats.smooth.chunks import Chunks
from sidecar.formats.smooth.manifest import CONTENT_TYPE, DEFAULT_VERSION, client_manifest
from sidecar.formats.smooth.streams import Stream, Streams
from sidecar.formats.spec import Answer, Request, RequestKind
from sidecar.formats.urls import encoded, suffix
from sidecar.media.presentation import Rendition
from sidecar.media.track import Kind
from sidecar.mux.plan import CacheClass, FileRanges, Inline, Part, Plan
from sidecar.mux.smooth import fragment, key_frame, sample_data
from sidecar.timeline.clips import clipped

# What may be asked of a fragment: its nouns ([MS-SSTR] 2.2.3).
_WHOLE, _SAMPLES, _METADATA, _KEY_FRAME = "Fragments", "RawFragments", "FragmentInfo", "KeyFrames"


def answer_manifest(request: Request) -> Answer:
    """``X.ism/Manifest``"""
    selected = {r.selector for r in request.selected.renditions}
    listed = []
    for stream in _streams(request).all():
        renditions = tuple(r for r in stream.renditions if r.selector in selected)
        indices = clipped(stream.chunks.segments, request.clip)
        if renditions and len(indices):
            shown = Stream(name=stream.name, renditions=renditions, chunks=stream.chunks)
            listed.append((shown, indices))
    if not listed:
        raise NotFound("no track that is selected can be streamed")
    manifest = client_manifest(
        listed,
        version=request.options.iss_client_manifest_version or DEFAULT_VERSION,
        whole=request.clip.is_whole,
        query=suffix(request.options),
    )
    plan = Plan(
        parts=(Inline(manifest),), content_type=CONTENT_TYPE, cache_class=CacheClass.MANIFEST
    )
    return Answer(plan=plan)


def answer_fragment(request: Request) -> Answer:
    """``X.ism/QualityLevels(1000)/Fragments(video=0)``, and the other nouns."""
    match = request.match
    streams = _streams(request)
    rendition, listed, index = streams.find(
        match["name"], int(match["bitrate"]), int(match["time"])
    )
    own = streams.chunks(rendition)
    count = len(listed)
    until = min(count, index + 1 + request.read_ahead)
    plans = [
        Plan(
            parts=_parts(rendition, own, at, match["noun"]),
            content_type=CONTENT_TYPES[rendition.kind],
            cache_class=CacheClass.MEDIA,
            headers=_next(request, listed, at + 1),
        )
        for at in range(index, until)
    ]
    head = f"{match['level']}/{match['noun']}({match['name']}="
    paths = [f"{head}{listed.time(at)})" for at in range(index + 1, until)]
    return Answer(plan=plans[0], ahead=tuple(zip(paths, plans[1:], strict=True)))


def _streams(request: Request) -> Streams:
    if not request.options.iss_playout:
        raise NotFound("Smooth Streaming is switched off for this presentation")
    if not request.presentation.renditions:
        raise NotFound("the presentation has no tracks")
    return Streams(request)


def _parts(rendition: Rendition, chunks: Chunks, index: int, noun: str) -> tuple[Part, ...]:
    track, span = rendition.track, chunks.span(index)
    if noun == _SAMPLES:
        return sample_data(track, span)
    if noun == _KEY_FRAME and rendition.kind is Kind.VIDEO:
        return key_frame(track, span, chunks.clock, index + 1)[0]
    stored = chunks.stored
    if stored is not None:
        length = stored.moof_length if noun == _METADATA else stored.length
        here = slice(index, index + 1)
        return (FileRanges(track.source, stored.offset[here], length[here]),)
    parts, moof_size = fragment(track, span, chunks.clock, index + 1)
    if noun == _METADATA:
        (head, *_) = parts
        assert isinstance(head, Inline)
        return (Inline(head.data[:moof_size]),)
    return parts


def _next(request: Request, chunks: Chunks, index: int) -> tuple[tuple[str, str], ...]:
    """The Link header that names fragment ``index``; none when there is no such."""
    if index >= len(chunks):
        return ()
    noun, name = request.match["noun"], encoded(request.match["name"])
    query = suffix(request.options)
    return (("Link", f'<{noun}({name}={chunks.time(index)}){query}>; rel="next"'),)


def _kind(name: str, pattern: str, answer: Callable[[Request], Answer]) -> RequestKind:
    return RequestKind(name=name, format="smooth", pattern=re.compile(pattern), answer=answer)


# Every number has one spelling. What follows the bitrate are custom attributes of the track, which
# tell equal bitrates apart where there are such; here there are none.
_NUMBER = r"(?:0|[1-9][0-9]{0,17})"
_LEVEL = rf"(?P<level>QualityLevels\((?P<bitrate>{_NUMBER})(?:,[^()/]{{1,256}})?\))"
_NOUN = rf"(?P<noun>{_WHOLE}|{_SAMPLES}|{_METADATA}|{_KEY_FRAME})"

KINDS = (
    _kind(
        "smooth.fragment",
        rf"{_LEVEL}/{_NOUN}\((?P<name>[^()=/]+)=(?P<time>{_NUMBER})\)",
        answer_fragment,
    ),
    _kind("smooth.manifest", r"[Mm]anifest", answer_manifest),
)
