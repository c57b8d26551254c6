"""The request kinds of HLS."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from sidecar.errors import NotFound
from sidecar.formats.fragments import CONTENT_TYPES, init_answer, numbered, segment_answer
from sidecar.formats.hls.master import master_playlist
from sidecar.formats.hls.playlist import key_frame_playlist, media_playlist
from sidecar.formats.hls.tags import CONTENT_TYPE
from sidecar.formats.spec import Answer, Request, RequestKind
from sidecar.formats.urls import encoded, find_rendition, suffix
from sidecar.media.options import Options
from sidecar.media.presentation import Rendition
from sidecar.media.track import Kind
from sidecar.mux.cmaf import key_frame_segment
from sidecar.mux.plan import CacheClass, Inline, Plan
from sidecar.timeline.segmenter import SegmentPolicy
from sidecar.timeline.segments import SegmentList

_DEFAULT_LENGTH = Fraction(4)


def policy(options: Options) -> SegmentPolicy:
    """HLS segments last 4 s unless told otherwise, whatever the source and the kind."""
    length = options.hls_minimum_fragment_length
    if length is None:
        length = _DEFAULT_LENGTH
    return SegmentPolicy(video=length, audio=length, text=length)


def answer_master(request: Request) -> Answer:
    """``X.ism/.m3u8``"""
    _require_playout(request)
    if not any(r.kind is not Kind.TEXT for r in request.presentation.renditions):
        raise NotFound("the presentation has neither video nor audio")
    return _playlist(
        master_playlist(
            request.presentation, request.timeline, policy(request.options), request.options
        )
    )


def answer_media_playlist(request: Request) -> Answer:
    """``X.ism/B-video=1000.m3u8``"""
    rendition = _rendition(request)
    segments = request.timeline.segments(rendition, policy(request.options))
    return _playlist(media_playlist(request.presentation, rendition, segments, request.options))


def answer_key_frame_playlist(request: Request) -> Answer:
    """``X.ism/keyframes/B-video=1000.m3u8``"""
    rendition = _rendition(request)
    return _playlist(
        key_frame_playlist(
            request.presentation, rendition, _key_frames(request, rendition), request.options
        )
    )


def answer_init(request: Request) -> Answer:
    """``X.ism/hls/B-video=1000.m4s``"""
    return init_answer(_rendition(request))


def answer_segment(request: Request) -> Answer:
    """``X.ism/hls/B-video=1000-7.m4s``"""
    rendition = _rendition(request)
    segments = request.timeline.segments(rendition, policy(request.options))
    return segment_answer(
        request,
        rendition,
        segments,
        numbered(segments, int(request.match["number"])),
        folder="hls/",
        ending=lambda index: f"-{index + 1}.m4s",
    )


def answer_key_frame(request: Request) -> Answer:
    """``X.ism/keyframes/B-video=1000-7.m4s``: one sync sample."""
    rendition = _rendition(request)
    key_frames = _key_frames(request, rendition)
    number = int(request.match["number"])
    index = numbered(key_frames, number)
    start = int(key_frames.start[index])
    name = f"{encoded(request.match['stem'])}-{number + 1}.m4s{suffix(request.options)}"
    plan = Plan(
        parts=key_frame_segment(
            rendition.track,
            int(key_frames.first_sample[index]),
            start,
            int(key_frames.start[index + 1]) - start,
            number,
        ),
        content_type=CONTENT_TYPES[Kind.VIDEO],
        cache_class=CacheClass.MEDIA,
        headers=(("Link", f'<{name}>; rel="next"'),) if number < len(key_frames) else (),
    )
    return Answer(plan=plan)


def _require_playout(request: Request) -> None:
    if not request.options.hls_playout:
        raise NotFound("HLS is switched off for this presentation")


def _rendition(request: Request) -> Rendition:
    _require_playout(request)
    rendition = find_rendition(request.presentation, request.match["stem"])
    if rendition.kind is Kind.TEXT:
        raise NotFound("text tracks are not served as HLS")
    return rendition


def _key_frames(request: Request, rendition: Rendition) -> SegmentList:
    if rendition.kind is not Kind.VIDEO:
        raise NotFound("only video has key frames")
    key_frames = request.timeline.key_frames(rendition)
    if key_frames is None:
        raise NotFound("the track has no key frames")
    return key_frames


def _playlist(text: str) -> Answer:
    plan = Plan(
        parts=(Inline(text.encode()),),
        content_type=CONTENT_TYPE,
        cache_class=CacheClass.MANIFEST,
    )
    return Answer(plan=plan)


def _kind(name: str, pattern: str, answer: Callable[[Request], Answer]) -> RequestKind:
    return RequestKind(name=name, format="hls", pattern=re.compile(pattern), answer=answer)


# A selector ends in "=<bitrate>", which tells init segments from media segments although
# trackNames may hold dashes. Numbers have one spelling each, or caches would keep two of a thing.
_STEM = r"(?P<stem>.*=[0-9]+)"
_NUMBER = r"(?P<number>0|[1-9][0-9]{0,17})"

KINDS = (
    _kind("hls.segment", rf"hls/{_STEM}-{_NUMBER}\.m4s", answer_segment),
    _kind("hls.init", rf"hls/{_STEM}\.m4s", answer_init),
    _kind("hls.key_frame", rf"keyframes/{_STEM}-{_NUMBER}\.m4s", answer_key_frame),
    _kind("hls.key_frame_playlist", rf"keyframes/{_STEM}\.m3u8", answer_key_frame_playlist),
    _kind("hls.media_playlist", rf"{_STEM}\.m3u8", answer_media_playlist),
    _kind("hls.master", r"[^/]*\.m3u8", answer_master),
)
