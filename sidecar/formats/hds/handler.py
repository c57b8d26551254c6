"""The request kinds of HDS."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np

from sidecar.errors import NotFound
from sidecar.formats.eras import described_in
from sidecar.formats.fragments import numbered, received, until_gap
from sidecar.formats.hds.bootstrap import bootstrap
from sidecar.formats.hds.f4m import CONTENT_TYPE, Listed, manifest
from sidecar.formats.hds.fragments import FragmentList, fragment_list
from sidecar.formats.hds.packaged import FRAGMENT_TYPE
from sidecar.formats.hds.streams import Stream, find_stream, streams
from sidecar.formats.spec import Answer, Request, RequestKind
from sidecar.formats.urls import encoded, suffix
from sidecar.mux.flv import TIMESCALE, Span, fragment
from sidecar.mux.plan import CacheClass, Inline, Plan
from sidecar.timeline.clips import clipped
from sidecar.timeline.live import Live
from sidecar.timeline.segmenter import SegmentPolicy
from sidecar.timeline.segments import SegmentList

_BOOTSTRAP_TYPE = "video/abst"
_DEFAULT_LENGTH = Fraction(4)
# A plan has a header for every sample, so more of them cost more to hold than to make anew.
_MOST_AHEAD = 8


def policy(request: Request) -> SegmentPolicy:
    """Fragments are whole GOPs of 4 s or more unless told otherwise, whatever the source; live ones
    are what the encoder sends, so that they can be played as soon as they are there.

    The reference names no default for HDS; 4 s is that of its other format with muxed segments.
    """
    length = request.options.hds_minimum_fragment_length
    if length is None:
        length = _DEFAULT_LENGTH if request.live is None else Fraction(0)
    return SegmentPolicy(video=length, audio=length, text=length)


def answer_manifest(request: Request) -> Answer:
    """``X.ism/.f4m``, also of a clip: ``end`` counts here as for the other formats. What goes on
    has its bootstrap information beside it, so that players need not ask for all again."""
    _require_playout(request)
    listed = []
    for stream in streams(request.selected):
        fragments = _fragments(request, stream)
        indices = _listed(request, fragments)
        if len(indices):
            listed.append(Listed(stream=stream, fragments=fragments, indices=indices))
    if not listed:
        raise NotFound("nothing is presented in the clip")
    options, live = request.options, _going_on(request)
    document = manifest(
        request.presentation.name,
        listed,
        suffix(options, "hds"),
        live=live,
        bootstrap_query="&".join(
            filter(None, (options.queries.get("hds"), options.playlist_query))
        ),
        folder=request.folder,
    )
    return _answer(document, CONTENT_TYPE, request.live if live is None else None)


def answer_bootstrap(request: Request) -> Answer:
    """``X.ism/B-audio=1000-video=1000.abst``: what the manifest holds of that stream."""
    _require_playout(request)
    stream = find_stream(request.presentation, request.match["stem"])
    fragments = _fragments(request, stream)
    indices = _listed(request, fragments)
    if not len(indices):
        raise NotFound("nothing is presented in the clip")
    live = _going_on(request) is not None
    return _answer(bootstrap(fragments, indices, live=live), _BOOTSTRAP_TYPE, request.live)


def answer_fragment(request: Request) -> Answer:
    """``X.ism/B-audio=1000-video=1000-Seg1-Frag7``

    The number of the segment does not count: there is one, but players derive another from a
    bootstrap that does not begin with fragment 1.
    """
    _require_playout(request)
    stem, segment = request.match["stem"], request.match["segment"]
    stream = find_stream(request.presentation, stem)
    fragments = _fragments(request, stream)
    shown, count = _shown(fragments), len(fragments)
    index = numbered(fragments, int(request.match["number"]))
    query = suffix(request.options, "hds")

    def name(at: int) -> str:
        return f"{stem}-Seg{segment}-Frag{fragments.first_number + at}"

    until = until_gap(fragments, index, index + 1 + min(request.read_ahead, _MOST_AHEAD))
    plans = [
        Plan(
            parts=fragment(*_spans(request, stream, fragments, at), fragments.earlier),
            content_type=FRAGMENT_TYPE,
            cache_class=CacheClass.MEDIA,
            headers=(("Link", f'<{encoded(name(at + 1))}{query}>; rel="next"'),)
            if at + 1 < count
            else (),
            last_modified=received(request, shown, at),
        )
        for at in range(index, until)
    ]
    paths = [name(at) for at in range(index + 1, until)]
    return Answer(plan=plans[0], ahead=tuple(zip(paths, plans[1:], strict=True)))


def _require_playout(request: Request) -> None:
    if not request.options.hds_playout:
        raise NotFound("HDS is switched off for this presentation")


def _fragments(request: Request, stream: Stream) -> FragmentList:
    return fragment_list(request.timeline, policy(request), stream.video, stream.audio)


def _spans(
    request: Request, stream: Stream, fragments: FragmentList, index: int
) -> tuple[Span | None, Span | None]:
    """(video, audio) samples of fragment ``index``, which begins with what these are decoded by."""
    era = fragments.era_of(index)
    video, audio = (
        None
        if span is None or one is None
        else replace(span, track=described_in(request, one, era).track)
        for span, one in zip(fragments.spans(index), (stream.video, stream.audio), strict=True)
    )
    return video, audio


def _shown(fragments: FragmentList) -> SegmentList:
    numbers = np.arange(len(fragments.start), dtype=np.int64)
    return SegmentList(timescale=TIMESCALE, first_sample=numbers, start=fragments.start)


def _listed(request: Request, fragments: FragmentList) -> range:
    """Indices of what the clip lists, from the first to the last that is there."""
    listed = clipped(_shown(fragments), request.clip)
    there = [at for at in listed if not fragments.is_gap(at)]
    return range(there[0], there[-1] + 1) if there else listed[:0]


def _going_on(request: Request) -> Live | None:
    return None if request.live is None or request.live.ended else request.live


def _answer(document: bytes, content_type: str, live: Live | None) -> Answer:
    """``live``: when what is listed in ``document`` was received; None when that does not count."""
    plan = Plan(
        parts=(Inline(document),),
        content_type=content_type,
        cache_class=CacheClass.MANIFEST,
        last_modified=None if live is None else live.changed_ms // 1000,
    )
    return Answer(plan=plan)


def _kind(
    name: str, pattern: str, answer: Callable[[Request], Answer], *, lists: bool = True
) -> RequestKind:
    return RequestKind(
        name=name, format="hds", pattern=re.compile(pattern), answer=answer, lists=lists
    )


# As in HLS: a selector ends in "=<bitrate>", and every number has one spelling.
_STEM = r"(?P<stem>[^/]*=[0-9]+)"
_SEGMENT = r"Seg(?P<segment>[1-9][0-9]{0,9})"
_FRAGMENT = r"Frag(?P<number>0|[1-9][0-9]{0,17})"

KINDS = (
    _kind("hds.fragment", rf"{_STEM}-{_SEGMENT}-{_FRAGMENT}", answer_fragment, lists=False),
    _kind("hds.bootstrap", rf"{_STEM}\.abst", answer_bootstrap),
    _kind("hds.manifest", r"[^/]*\.f4m", answer_manifest),
)
