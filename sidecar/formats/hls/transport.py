"""Request kinds of HLS whose segments are transport streams or packed audio (RFC 8216 3.2, 3.4)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace

from sidecar.errors import NotFound
from sidecar.formats.eras import described_in
from sidecar.formats.events import id3_tags
from sidecar.formats.fragments import numbered, received, until_era, until_gap
from sidecar.formats.hls.rules import policy, require_playout
from sidecar.formats.hls.selectors import find_renditions
from sidecar.formats.key_frames import key_frames_of
from sidecar.formats.spec import Answer, Request, RequestKind
from sidecar.formats.urls import encoded, find_rendition, suffix
from sidecar.media.track import Kind
from sidecar.mux.elementary import stream_info
from sidecar.mux.packed_audio import packed_audio
from sidecar.mux.plan import Body, CacheClass, Plan
from sidecar.mux.ts_segment import TrackSpan, made_from, ts_key_frame, ts_segments
from sidecar.timeline.segments import SegmentList

_TS_TYPE = "video/mp2t"
_AUDIO_TYPES = {"aac": "audio/aac", "ac3": "audio/ac3", "ec3": "audio/eac3", "mp3": "audio/mpeg"}
# Segments that a sequential client asks for next, and that may be made before it does.
_FOLLOWING = 8
# Bytes of samples that may stand in memory for segments that are made along with another.
_TOGETHER = 12 << 20


def answer_ts_segment(request: Request) -> Answer:
    """``X.ism/B-audio=64-video=1000-7.ts``, ``X.ism/B-video=1000-7.ts``"""
    require_playout(request)
    video, *heard = find_renditions(request.presentation, request.match["stem"])
    if video.kind is not Kind.VIDEO:
        raise NotFound("sound alone is packed audio, not a transport stream")
    if heard:
        together = request.timeline.muxed(video, heard[0], policy(request))
        segments = together.video
    else:
        segments = request.timeline.segments(video, policy(request))
    index = numbered(segments, int(request.match["number"]))
    until = until_gap(segments, index, index + 1 + request.read_ahead)
    until = until_era(segments, index, until)
    if heard:
        until = together.alike(index, until)
    era = segments.era_of(index)
    video, *heard = (described_in(request, one, era) for one in (video, *heard))
    first = segments.first_sample[index : until + 1].tolist()
    spans = [TrackSpan(track=video.track, first=first)]
    if heard:
        first = together.heard(index, until)
        spans.append(TrackSpan(track=heard[0].track, first=first, language=heard[0].language))
    spans = _bounded(spans)
    number = segments.number(index)
    tags = id3_tags(request, segments, index, index + len(spans[0].first) - 1)
    made = ts_segments(
        request.read,
        spans[0],
        spans[1] if heard else None,
        number - 1,
        tags,
        grows=request.live is not None,
    )
    plans = [
        _plan(request, body, made_from(spans, at, number - 1 + at, tags=tags), segments, index + at)
        for at, body in enumerate(made)
    ]
    return _answer(request, plans, segments, index)


def answer_ts_key_frame(request: Request) -> Answer:
    """``X.ism/keyframes/B-video=1000-7.ts``: one sync sample."""
    require_playout(request)
    rendition = find_rendition(request.presentation, request.match["stem"])
    key_frames = key_frames_of(request, rendition)
    index = numbered(key_frames, int(request.match["number"]))
    sample, start = int(key_frames.first_sample[index]), int(key_frames.start[index])
    body = ts_key_frame(request.read, rendition.track, sample, start, index)
    span = TrackSpan(track=rendition.track, first=(sample, sample + 1))
    recipe = made_from([span], 0, index, key_frame=True)
    plan = _plan(request, body, recipe, key_frames, index)
    return _answer(request, [plan], key_frames, index)


def answer_packed_segment(request: Request) -> Answer:
    """``X.ism/B-audio=64-7.aac``, and the ones after it that the request wants planned."""
    require_playout(request)
    rendition = find_rendition(request.presentation, request.match["stem"])
    extension = request.match["extension"]
    if rendition.kind is not Kind.AUDIO:
        raise NotFound("only sound is packed audio")
    if stream_info(rendition.track, None).extension != extension:
        raise NotFound("the track has another codec")
    segments = request.timeline.segments(rendition, policy(request))
    index = numbered(segments, int(request.match["number"]))
    until = until_gap(segments, index, index + 1 + request.read_ahead)
    first = segments.first_sample[index : until + 1].tolist()
    plans = [
        Plan(
            parts=packed_audio(
                described_in(request, rendition, segments.era_of(at)).track,
                first[at - index],
                first[at - index + 1],
            ),
            content_type=_AUDIO_TYPES[extension],
            cache_class=CacheClass.MEDIA,
            headers=_next(request, segments, at, f"{extension}{_suffix(request)}"),
            last_modified=received(request, segments, at),
        )
        for at in range(index, until)
    ]
    stem = request.match["stem"]
    paths = [f"{stem}-{segments.number(at)}.{extension}" for at in range(index + 1, until)]
    return Answer(plan=plans[0], ahead=tuple(zip(paths, plans[1:], strict=True)))


def _bounded(spans: list[TrackSpan]) -> list[TrackSpan]:
    """The first segment of ``spans``, and of the others as many as may be made along."""
    count = len(spans[0].first) - 1
    if count == 1:
        return spans
    sizes = map(sum, zip(*(span.nbytes for span in spans), strict=True))
    fit = sum(size <= _TOGETHER for size in itertools.accumulate(sizes))
    return [replace(span, first=span.first[: max(1, fit) + 1]) for span in spans]


def _plan(request: Request, body: Body, recipe: bytes, segments: SegmentList, index: int) -> Plan:
    ending = "ts" if _folder(request) else f"ts{_suffix(request)}"
    return Plan(
        parts=(body,),
        content_type=_TS_TYPE,
        cache_class=CacheClass.MEDIA,
        headers=_next(request, segments, index, ending),
        made_from=recipe,
        last_modified=received(request, segments, index),
    )


def _answer(request: Request, plans: Sequence[Plan], segments: SegmentList, index: int) -> Answer:
    until = until_gap(segments, index, index + len(plans) + _FOLLOWING)
    paths = tuple(
        f"{_folder(request)}{request.match['stem']}-{segments.number(at)}.ts"
        for at in range(index + 1, until)
    )
    return Answer(plan=plans[0], ahead=tuple(zip(paths, plans[1:], strict=False)), following=paths)


def _folder(request: Request) -> str:
    return "keyframes/" if request.virtual_path.startswith("keyframes/") else ""


def _suffix(request: Request) -> str:
    return suffix(request.options, "hls")


def _next(
    request: Request, segments: SegmentList, index: int, ending: str
) -> tuple[tuple[str, str], ...]:
    if index + 1 >= len(segments):
        return ()
    name = f"{encoded(request.match['stem'])}-{segments.number(index + 1)}.{ending}"
    return (("Link", f'<{name}>; rel="next"'),)


_STEM = r"(?P<stem>.*=[0-9]+)"
_NUMBER = r"(?P<number>0|[1-9][0-9]{0,17})"

KINDS = (
    RequestKind(
        name="hls.ts_key_frame",
        format="hls",
        pattern=re.compile(rf"keyframes/{_STEM}-{_NUMBER}\.ts"),
        answer=answer_ts_key_frame,
        reads_media=True,
        follows=True,
        lists=False,
    ),
    RequestKind(
        name="hls.ts_segment",
        format="hls",
        pattern=re.compile(rf"{_STEM}-{_NUMBER}\.ts"),
        answer=answer_ts_segment,
        reads_media=True,
        follows=True,
        lists=False,
    ),
    RequestKind(
        name="hls.packed_audio",
        format="hls",
        pattern=re.compile(rf"{_STEM}-{_NUMBER}\.(?P<extension>aac|ac3|ec3|mp3)"),
        answer=answer_packed_segment,
        lists=False,
    ),
)
