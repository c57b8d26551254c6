"""The request kinds of DASH."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from sidecar.errors import FragmentMissing, FragmentNotAvailable, FragmentNotFound, NotFound
from sidecar.formats.dash.mpd import CONTENT_TYPE, KEY_FRAMES, mpd
from sidecar.formats.dash.text import answer_sidecar
from sidecar.formats.dash.ticks import countable
from sidecar.formats.eras import ERA, asked_for
from sidecar.formats.fragments import init_answer, numbered, segment_answer
from sidecar.formats.key_frames import key_frame_answer, key_frames_of
from sidecar.formats.policies import source_policy
from sidecar.formats.spec import Answer, Request, RequestKind
from sidecar.formats.urls import find_rendition
from sidecar.media.options import Options
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind
from sidecar.mux.plan import CacheClass, Inline, Plan
from sidecar.mux.text import is_rewritten
from sidecar.timeline.segmenter import SegmentPolicy
from sidecar.timeline.segments import SegmentList


def policy(presentation: Presentation, options: Options) -> SegmentPolicy:
    """DASH segments are those of the source, merged by ``mpd.minimum_fragment_length``."""
    return source_policy(presentation, options.mpd_minimum_fragment_length)


def answer_mpd(request: Request) -> Answer:
    """``X.ism/.mpd``"""
    _require_playout(request)
    if not request.selected.renditions:
        raise NotFound("the presentation has no tracks")
    plan = Plan(
        parts=(Inline(mpd(request, policy(request.presentation, request.options))),),
        content_type=CONTENT_TYPE,
        cache_class=CacheClass.MANIFEST,
        last_modified=None if request.live is None else request.live.changed_ms // 1000,
    )
    return Answer(plan=plan)


def answer_init(request: Request) -> Answer:
    """``X.ism/dash/B-video=1000.dash``"""
    return init_answer(asked_for(request, _rendition(request)))


def answer_timed_segment(request: Request) -> Answer:
    """``X.ism/dash/B-video=1000-48000.dash``: the segment that starts at that tick."""
    rendition, segments = _segments(request)
    named = countable(segments)
    return segment_answer(
        request,
        rendition,
        segments,
        _starting(named, int(request.match["time"])),
        format_name="dash",
        ending=lambda index: f"-{int(named.start[index])}.dash",
    )


def answer_numbered_segment(request: Request) -> Answer:
    """``X.ism/dash/B-video=1000-7.m4s``"""
    rendition, segments = _segments(request)
    return segment_answer(
        request,
        rendition,
        segments,
        numbered(segments, int(request.match["number"])),
        format_name="dash",
        ending=lambda index: f"-{segments.number(index)}.m4s",
    )


def answer_timed_key_frame(request: Request) -> Answer:
    """``X.ism/dash/keyframes/B-video=1000-48000.dash``: the sync sample presented at that tick."""
    rendition = _rendition(request)
    key_frames = key_frames_of(request, rendition)
    named = countable(key_frames)
    return key_frame_answer(
        request,
        rendition,
        key_frames,
        _starting(named, int(request.match["time"])),
        ending=lambda index: f"-{int(named.start[index])}.dash",
    )


def answer_numbered_key_frame(request: Request) -> Answer:
    """``X.ism/dash/keyframes/B-video=1000-7.m4s``"""
    rendition = _rendition(request)
    key_frames = key_frames_of(request, rendition)
    return key_frame_answer(
        request,
        rendition,
        key_frames,
        numbered(key_frames, int(request.match["number"])),
        ending=lambda index: f"-{index + 1}.m4s",
    )


def _starting(segments: SegmentList, time: int) -> int:
    index = segments.at_time(time)
    if index is not None:
        if segments.is_gap(index):
            raise FragmentMissing(f"the segment at {time} was never received")
        return index
    begin, end = int(segments.start[0]), int(segments.start[-1])
    if time < begin:
        raise FragmentNotFound(
            f"time {time} lies before the first segment, at {begin}",
            seconds=Fraction(time, segments.timescale),
        )
    if time >= end:
        raise FragmentNotAvailable(
            f"time {time} lies after the last segment, which ends at {end}",
            behind=segments.end if time == end else None,
        )
    raise FragmentMissing(f"no segment starts at {time}")


def _segments(request: Request) -> tuple[Rendition, SegmentList]:
    rendition = _rendition(request)
    chosen = policy(request.presentation, request.options)
    return rendition, request.timeline.segments(rendition, chosen)


def _require_playout(request: Request) -> None:
    if not request.options.mpd_playout:
        raise NotFound("DASH is switched off for this presentation")


def _rendition(request: Request) -> Rendition:
    _require_playout(request)
    return find_rendition(request.presentation, request.match["stem"])


def _reads(request: Request) -> bool:
    return any(
        is_rewritten(rendition)
        for rendition in request.presentation.of_kind(Kind.TEXT)
        if request.match["stem"].endswith(f"-{rendition.selector}")
    )


def _kind(
    name: str,
    pattern: str,
    answer: Callable[[Request], Answer],
    *,
    lists: bool = False,
    reads_media: bool | Callable[[Request], bool] = False,
) -> RequestKind:
    return RequestKind(
        name=name,
        format="dash",
        pattern=re.compile(pattern),
        answer=answer,
        lists=lists,
        reads_media=reads_media,
    )


# As in HLS: a selector ends in "=<bitrate>", and every number has one spelling.
_STEM = r"(?P<stem>.*=[0-9]+)"
_NUMBER = r"(?:0|[1-9][0-9]{0,17})"
_TIMED, _NUMBERED = rf"{_STEM}-(?P<time>{_NUMBER})\.dash", rf"{_STEM}-(?P<number>{_NUMBER})\.m4s"
_TRICK = rf"dash/{KEY_FRAMES}"

# Those of key frames first: a basename, which means nothing, could be taken for their folder.
KINDS = (
    _kind("dash.key_frame", rf"{_TRICK}{_TIMED}", answer_timed_key_frame),
    _kind("dash.numbered_key_frame", rf"{_TRICK}{_NUMBERED}", answer_numbered_key_frame),
    _kind("dash.key_frame_init", rf"{_TRICK}{_STEM}{ERA}\.dash", answer_init),
    _kind("dash.segment", rf"dash/{_TIMED}", answer_timed_segment, reads_media=_reads),
    _kind("dash.numbered", rf"dash/{_NUMBERED}", answer_numbered_segment, reads_media=_reads),
    _kind("dash.init", rf"dash/{_STEM}{ERA}\.dash", answer_init),
    RequestKind(
        name="dash.sidecar",
        format="dash",
        pattern=re.compile(rf"dash/{_STEM}\.(?P<type>webvtt|ttml)"),
        answer=answer_sidecar,
        reads_media=True,
        lists=False,
    ),
    _kind("dash.mpd", r"[^/]*\.mpd", answer_mpd, lists=True),
)
