"""The request kinds of Smooth Streaming."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from sidecar.errors import NotFound, UnsupportedMedia
from sidecar.formats.eras import described_in
from sidecar.formats.fragments import CONTENT_TYPES, received, until_gap
from sidecar.formats.smooth.chunks import Chunks
from sidecar.formats.smooth.manifest import CONTENT_TYPE, DEFAULT_VERSION, client_manifest
from sidecar.formats.smooth.streams import Stream, Streams, streams_of
from sidecar.formats.spec import Answer, Request, RequestKind
from sidecar.formats.urls import encoded, suffix
from sidecar.media.presentation import Rendition
from sidecar.media.track import Kind
from sidecar.mux.plan import CacheClass, FileRanges, Inline, Part, Plan
from sidecar.mux.smooth import document, fragment, key_frame, sample_data
from sidecar.mux.text import smooth_document
from sidecar.timeline.clips import Clip, clipped
from sidecar.timeline.live import Live

# What may be asked of a fragment: its nouns ([MS-SSTR] 2.2.3).
_WHOLE, _SAMPLES, _METADATA, _KEY_FRAME = "Fragments", "RawFragments", "FragmentInfo", "KeyFrames"


# Seconds: sound is cut at the frame that is nearest to where the pictures are.
_NOTHING = Fraction(1, 20)


def answer_manifest(request: Request) -> Answer:
    """``X.ism/Manifest``"""
    streams = _streams(request).all
    if not streams:
        raise UnsupportedMedia("the presentation has no track that Smooth Streaming can carry")
    listed = _listed(streams, request)
    live = request.live
    if not listed:
        raise NotFound(
            "no track that is selected can be streamed"
            if live is None
            else "no fragment is there with those that must follow it"
        )
    manifest = client_manifest(
        listed,
        live=None if live is None or live.ended else live,
        version=request.options.iss_client_manifest_version or DEFAULT_VERSION,
        whole=request.clip.is_whole,
        query=suffix(request.options, "smooth"),
        folder=request.folder,
    )
    plan = Plan(
        parts=(Inline(manifest),),
        content_type=CONTENT_TYPE,
        cache_class=CacheClass.MANIFEST,
        last_modified=None if live is None else live.changed_ms // 1000,
    )
    return Answer(plan=plan)


def _listed(streams: Iterable[Stream], request: Request) -> list[tuple[Stream, range]]:
    """What is selected of ``streams``, and the fragments that the clip lists of each."""
    selected = {r.selector for r in request.selected.renditions}
    kept = []
    for stream in streams:
        renditions = tuple(r for r in stream.renditions if r.selector in selected)
        if renditions:
            kept.append(replace(stream, renditions=renditions))
    if request.live is not None:
        return _growing(kept, request, request.clip, request.live)
    around = _around(kept, request.clip)
    listed = []
    for stream in kept:
        clip = request.clip if stream.kind is Kind.VIDEO else around
        indices = clipped(stream.chunks.segments, clip)
        if len(indices):
            listed.append((stream, indices))
    return listed


def _growing(
    streams: Sequence[Stream], request: Request, clip: Clip, live: Live
) -> list[tuple[Stream, range]]:
    """Of a presentation that grows, fragments of equal numbers belong together: those that the clip
    lists of the video, or of what comes next to it, as far as they can be had. A window is as long
    as in the other formats: it begins as much earlier as it ends. A manifest describes qualities
    once: what is listed is of one era, that of the newest that can be had."""

    def end(stream: Stream) -> int:
        return stream.chunks.segments.first_number + stream.chunks.available

    listed: list[tuple[Stream, range]] = []
    if not streams:
        return listed
    leading = max(streams, key=lambda one: (end(one), one.kind is Kind.VIDEO))
    segments = leading.chunks.segments
    wanted = clipped(segments, clip)
    begin, stop = segments.number(wanted.start), segments.number(wanted.stop)
    if not live.ended and not live.fixed_begin:
        begin -= max(0, stop - end(leading))
    era = 0
    if segments.era is not None and wanted:
        era = segments.era_of(max(wanted.start, min(wanted.stop, leading.chunks.available) - 1))
        begin = max(begin, segments.number(int(np.searchsorted(segments.era, era))))
    for stream in streams:
        segments, first = stream.chunks.segments, stream.chunks.segments.first_number
        indices = range(max(0, begin - first), min(stop - first, stream.chunks.available))
        held = [at for at in indices if not segments.is_gap(at)]
        if held:
            described = tuple(described_in(request, one, era) for one in stream.renditions)
            whole = replace(stream, renditions=described)
            listed.append((whole, range(held[0], held[-1] + 1)))
    return listed


def _around(streams: Iterable[Stream], clip: Clip) -> Clip:
    """The clip for what is not video: a manifest begins with the earliest fragment that it lists,
    so a clip begins and ends with the fragments of its video, and of the others those are left out
    that hold next to nothing of that."""
    for stream in streams:
        segments = stream.chunks.segments
        indices = clipped(segments, clip)
        if clip.is_whole or stream.kind is not Kind.VIDEO or not len(indices):
            continue
        begin, end = (
            Fraction(int(segments.start[at]), segments.timescale)
            for at in (indices.start, indices.stop)
        )
        if end - begin > 2 * _NOTHING:
            return Clip(
                None if clip.begin is None else begin + _NOTHING,
                None if clip.end is None else end - _NOTHING,
            )
    return clip


def answer_fragment(request: Request) -> Answer:
    """``X.ism/QualityLevels(1000)/Fragments(video=0)``, and the other nouns."""
    match = request.match
    streams = _streams(request)
    rendition, stream = streams.rendition(match["name"], int(match["bitrate"]))
    listed, index = streams.listed(rendition, stream, int(match["time"]))
    own = streams.chunks(rendition)
    time = _times(listed, own)
    until = until_gap(own.segments, index, index + 1 + request.read_ahead)
    plans = [
        Plan(
            parts=_parts(request, rendition, own, at),
            content_type=CONTENT_TYPES[rendition.kind],
            cache_class=CacheClass.MEDIA,
            headers=_next(request, own, at, time),
            last_modified=received(request, own.segments, at),
        )
        for at in range(index, min(until, own.available))
    ]
    head = f"{match['level']}/{match['noun']}({match['name']}="
    paths = [f"{head}{time(index + ahead)})" for ahead in range(1, len(plans))]
    return Answer(plan=plans[0], ahead=tuple(zip(paths, plans[1:], strict=True)))


def _times(listed: Chunks, own: Chunks) -> Callable[[int], int]:
    """When a fragment of ``own`` (index) begins as ``listed`` says it, if it does."""
    ahead = own.segments.first_number - listed.segments.first_number

    def time(index: int) -> int:
        at = index + ahead
        return listed.time(at) if 0 <= at < len(listed) else own.time(index)

    return time


def _is_text(request: Request) -> bool:
    """Whether a fragment of text is asked for: it is made of what the text says."""
    match = request.match
    return any(
        rendition.kind is Kind.TEXT and rendition.bitrate == int(match["bitrate"])
        for rendition in request.presentation.renditions
        if rendition.name == match["name"]
    )


def _streams(request: Request) -> Streams:
    if not request.options.iss_playout:
        raise NotFound("Smooth Streaming is switched off for this presentation")
    if not request.presentation.renditions:
        raise NotFound("the presentation has no tracks")
    return streams_of(request)


def _parts(request: Request, rendition: Rendition, chunks: Chunks, index: int) -> tuple[Part, ...]:
    noun = request.match["noun"]
    track, span, number = rendition.track, chunks.span(index), chunks.segments.number(index)
    if chunks.stored is not None and noun in (_WHOLE, _METADATA):
        stored, here = chunks.stored, slice(index, index + 1)
        length = stored.moof_length if noun == _METADATA else stored.length
        return (FileRanges(track.source, stored.offset[here], length[here]),)
    if chunks.stored is None and rendition.kind is Kind.TEXT:
        begin, end = chunks.milliseconds(index), chunks.milliseconds(index + 1)
        data = smooth_document(rendition, begin, end, request.read)
        if noun == _SAMPLES:
            return (Inline(data),)
        parts, moof_size = document(data, span, number)
    elif noun == _SAMPLES:
        return sample_data(track, span)
    elif noun == _KEY_FRAME and rendition.kind is Kind.VIDEO:
        return key_frame(track, span, chunks.clock, number)[0]
    else:
        parts, moof_size = fragment(track, span, chunks.clock, number)
    if noun == _METADATA:
        head = parts[0]
        assert isinstance(head, Inline)
        return (Inline(head.data[:moof_size]),)
    return parts


def _next(
    request: Request, chunks: Chunks, index: int, time: Callable[[int], int]
) -> tuple[tuple[str, str], ...]:
    """The Link header that names the fragment behind ``index``; none when there is no such yet."""
    following = chunks.following(index, 1)
    if not following or following[0] >= chunks.available:
        return ()
    noun, name = request.match["noun"], encoded(request.match["name"])
    query = suffix(request.options, "smooth")
    return (("Link", f'<{noun}({name}={time(following[0])}){query}>; rel="next"'),)


# Every number has one spelling. What follows the bitrate are custom attributes of the track, which
# tell equal bitrates apart where there are such; here there are none.
_NUMBER = r"(?:0|[1-9][0-9]{0,17})"
_LEVEL = rf"(?P<level>QualityLevels\((?P<bitrate>{_NUMBER})(?:,[^()/]{{1,256}})?\))"
_NOUN = rf"(?P<noun>{_WHOLE}|{_SAMPLES}|{_METADATA}|{_KEY_FRAME})"

KINDS = (
    RequestKind(
        name="smooth.fragment",
        format="smooth",
        pattern=re.compile(rf"{_LEVEL}/{_NOUN}\((?P<name>[^()=/]+)=(?P<time>{_NUMBER})\)"),
        answer=answer_fragment,
        reads_media=_is_text,
        lists=False,
    ),
    RequestKind(
        name="smooth.manifest",
        format="smooth",
        pattern=re.compile(r"[Mm]anifest"),
        answer=answer_manifest,
    ),
)
