"""The request kinds of HLS: playlists, and segments in fragmented MP4."""

from __future__ import annotations

import re
from collections.abc import Callable

from sidecar.errors import NotFound
from sidecar.formats.eras import ERA, asked_for
from sidecar.formats.fragments import init_answer, numbered, segment_answer
from sidecar.formats.hls import text
from sidecar.formats.hls.layout import Layout, carried, layout_of
from sidecar.formats.hls.master import master_playlist
from sidecar.formats.hls.playlist import media_playlist
from sidecar.formats.hls.rules import policy, require_playout
from sidecar.formats.hls.selectors import find_renditions, muxed_stem
from sidecar.formats.hls.tags import CONTENT_TYPE
from sidecar.formats.hls.transport import KINDS as TRANSPORT_KINDS
from sidecar.formats.key_frames import key_frame_answer, key_frames_of
from sidecar.formats.spec import Answer, Request, RequestKind
from sidecar.formats.urls import find_rendition, stem
from sidecar.media.presentation import Rendition
from sidecar.media.track import Kind
from sidecar.mux.elementary import stream_info
from sidecar.mux.plan import CacheClass, Inline, Plan


def answer_master(request: Request) -> Answer:
    """``X.ism/.m3u8``"""
    require_playout(request)
    if not any(r.kind is not Kind.TEXT for r in request.presentation.renditions):
        raise NotFound("the presentation has neither video nor audio")
    layout = layout_of(request.presentation, request.options)
    return _playlist(
        master_playlist(
            carried(request.selected, layout),
            request.timeline,
            policy(request),
            request.options,
            request.clip,
            layout,
            request.folder,
        ),
        request,
        master=True,
    )


def answer_media_playlist(request: Request) -> Answer:
    """``X.ism/B-video=1000.m3u8``, ``X.ism/B-audio=64-video=1000.m3u8``"""
    require_playout(request)
    found = find_renditions(request.presentation, request.match["stem"])
    layout = layout_of(request.presentation, request.options)
    if len(found) == 2:
        video, audio = found
        if layout is Layout.FMP4:
            raise NotFound("sound and picture are apart in fragmented MP4")
        base = muxed_stem(request.presentation, audio, video)
        segments = request.timeline.muxed(video, audio, policy(request)).video
        return _playlist(
            media_playlist(segments, request, layout, base=base, extension="ts"), request
        )
    (rendition,) = found
    base = stem(request.presentation, rendition)
    segments = request.timeline.segments(rendition, policy(request))
    if rendition.kind is Kind.TEXT:
        base = text.base_url(request.presentation, rendition, layout)
        return _playlist(
            media_playlist(segments, request, layout, base=base, extension=text.EXTENSION), request
        )
    if layout is Layout.FMP4:
        base = f"hls/{base}"
        return _playlist(
            media_playlist(segments, request, layout, base=base, extension="m4s", init=base),
            request,
        )
    extension = stream_info(rendition.track, None).extension or "ts"
    return _playlist(
        media_playlist(segments, request, layout, base=base, extension=extension), request
    )


def answer_key_frame_playlist(request: Request) -> Answer:
    """``X.ism/keyframes/B-video=1000.m3u8``: it lies beside its segments; the init segment is that
    of the rendition."""
    rendition = _rendition(request)
    layout = layout_of(request.presentation, request.options)
    base = stem(request.presentation, rendition)
    fmp4 = layout is Layout.FMP4
    return _playlist(
        media_playlist(
            key_frames_of(request, rendition),
            request,
            layout,
            base=base,
            extension="m4s" if fmp4 else "ts",
            init=f"../hls/{base}" if fmp4 else None,
            key_frames=True,
        ),
        request,
    )


def answer_init(request: Request) -> Answer:
    """``X.ism/hls/B-video=1000.m4s``"""
    return init_answer(asked_for(request, _rendition(request)))


def answer_segment(request: Request) -> Answer:
    """``X.ism/hls/B-video=1000-7.m4s``"""
    rendition = _rendition(request)
    segments = request.timeline.segments(rendition, policy(request))
    return segment_answer(
        request,
        rendition,
        segments,
        numbered(segments, int(request.match["number"])),
        format_name="hls",
        ending=lambda index: f"-{segments.number(index)}.m4s",
    )


def answer_key_frame(request: Request) -> Answer:
    """``X.ism/keyframes/B-video=1000-7.m4s``: one sync sample."""
    rendition = _rendition(request)
    key_frames = key_frames_of(request, rendition)
    return key_frame_answer(
        request,
        rendition,
        key_frames,
        numbered(key_frames, int(request.match["number"])),
        ending=lambda index: f"-{index + 1}.m4s",
    )


def _rendition(request: Request) -> Rendition:
    require_playout(request)
    rendition = find_rendition(request.presentation, request.match["stem"])
    if rendition.kind is Kind.TEXT:
        raise NotFound("text tracks have segments of WebVTT only")
    return rendition


def _playlist(lines: str, request: Request, *, master: bool = False) -> Answer:
    live = request.live
    plan = Plan(
        parts=(Inline(lines.encode()),),
        content_type=CONTENT_TYPE,
        cache_class=CacheClass.MANIFEST,
        last_modified=live.changed_ms // 1000 if live is not None and not master else None,
    )
    return Answer(plan=plan)


def _kind(
    name: str,
    pattern: str,
    answer: Callable[[Request], Answer],
    *,
    lists: bool = False,
    reads_media: bool = False,
) -> RequestKind:
    return RequestKind(
        name=name,
        format="hls",
        pattern=re.compile(pattern),
        answer=answer,
        lists=lists,
        reads_media=reads_media,
    )


# A selector ends in "=<bitrate>", which tells init segments from media segments although
# trackNames may hold dashes. Numbers have one spelling each, or caches would keep two of a thing.
_STEM = r"(?P<stem>.*=[0-9]+)"
_NUMBER = r"(?P<number>0|[1-9][0-9]{0,17})"

KINDS = (
    *TRANSPORT_KINDS,
    _kind(
        "hls.text_segment",
        rf"(?P<folder>hls/)?{_STEM}-{_NUMBER}\.{text.EXTENSION}",
        text.answer_segment,
        reads_media=True,
    ),
    _kind("hls.segment", rf"hls/{_STEM}-{_NUMBER}\.m4s", answer_segment),
    _kind("hls.init", rf"hls/{_STEM}{ERA}\.m4s", answer_init),
    _kind("hls.key_frame", rf"keyframes/{_STEM}-{_NUMBER}\.m4s", answer_key_frame),
    _kind(
        "hls.key_frame_playlist",
        rf"keyframes/{_STEM}\.m3u8",
        answer_key_frame_playlist,
        lists=True,
    ),
    _kind("hls.media_playlist", rf"{_STEM}\.m3u8", answer_media_playlist, lists=True),
    _kind("hls.master", r"[^/]*\.m3u8", answer_master, lists=True),
)
