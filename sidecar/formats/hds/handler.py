"""The request kinds of HDS."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from sidecar.errors import NotFound
from sidecar.formats.fragments import numbered
from sidecar.formats.hds.bootstrap import bootstrap
from sidecar.formats.hds.f4m import CONTENT_TYPE, Listed, manifest
from sidecar.formats.hds.fragments import FragmentList, fragment_list
from sidecar.formats.hds.packaged import FRAGMENT_TYPE
from sidecar.formats.hds.streams import Stream, find_stream, streams
from sidecar.formats.spec import Answer, Request, RequestKind
from sidecar.formats.urls import encoded, suffix
from sidecar.media.options import Options
from sidecar.mux.flv import TIMESCALE, fragment
from sidecar.mux.plan import CacheClass, Inline, Plan
from sidecar.timeline.clips import clipped
from sidecar.timeline.segmenter import SegmentPolicy
from sidecar.timeline.segments import SegmentList

_BOOTSTRAP_TYPE = "video/abst"
_DEFAULT_LENGTH = Fraction(4)
# A plan has a header for every sample, so more of them cost more to hold than to make anew.
_MOST_AHEAD = 8


def policy(options: Options) -> SegmentPolicy:
    """Fragments are whole GOPs of 4 s or more unless told otherwise, whatever the source.

    The reference names no default for HDS; 4 s is that of its other format with muxed segments.
    """
    length = options.hds_minimum_fragment_length
    if length is None:
        length = _DEFAULT_LENGTH
    return SegmentPolicy(video=length, audio=length, text=length)


def answer_manifest(request: Request) -> Answer:
    """``X.ism/.f4m``, also of a clip: ``end`` counts here as for the other formats."""
    _require_playout(request)
    listed = []
    for stream in streams(request.selected):
        fragments = _fragments(request, stream)
        indices = _listed(request, fragments)
        if len(indices):
            listed.append(Listed(stream=stream, fragments=fragments, indices=indices))
    if not listed:
        raise NotFound("nothing is presented in the clip")
    document = manifest(request.presentation.name, listed, suffix(request.options, "hds"))
    return _answer(document, CONTENT_TYPE)


def answer_bootstrap(request: Request) -> Answer:
    """``X.ism/B-audio=1000-video=1000.abst``: what the manifest holds of that stream."""
    _require_playout(request)
    stream = find_stream(request.presentation, request.match["stem"])
    fragments = _fragments(request, stream)
    indices = _listed(request, fragments)
    if not len(indices):
        raise NotFound("nothing is presented in the clip")
    return _answer(bootstrap(fragments, indices), _BOOTSTRAP_TYPE)


def answer_fragment(request: Request) -> Answer:
    """``X.ism/B-audio=1000-video=1000-Seg1-Frag7``

    The number of the segment does not count: there is one, but players derive another from a
    bootstrap that does not begin with fragment 1.
    """
    _require_playout(request)
    stem, segment = request.match["stem"], request.match["segment"]
    fragments = _fragments(request, find_stream(request.presentation, stem))
    count = len(fragments)
    index = numbered(fragments, int(request.match["number"]))
    query = suffix(request.options, "hds")

    def name(at: int) -> str:
        return f"{stem}-Seg{segment}-Frag{at + 1}"

    until = min(count, index + 1 + min(request.read_ahead, _MOST_AHEAD))
    plans = [
        Plan(
            parts=fragment(*fragments.spans(at), fragments.earlier),
            content_type=FRAGMENT_TYPE,
            cache_class=CacheClass.MEDIA,
            headers=(("Link", f'<{encoded(name(at + 1))}{query}>; rel="next"'),)
            if at + 1 < count
            else (),
        )
        for at in range(index, until)
    ]
    paths = [name(at) for at in range(index + 1, until)]
    return Answer(plan=plans[0], ahead=tuple(zip(paths, plans[1:], strict=True)))


def _require_playout(request: Request) -> None:
    if not request.options.hds_playout:
        raise NotFound("HDS is switched off for this presentation")


def _fragments(request: Request, stream: Stream) -> FragmentList:
    return fragment_list(request.timeline, policy(request.options), stream.video, stream.audio)


def _listed(request: Request, fragments: FragmentList) -> range:
    numbers = np.arange(len(fragments.start), dtype=np.int64)
    shown = SegmentList(timescale=TIMESCALE, first_sample=numbers, start=fragments.start)
    return clipped(shown, request.clip)


def _answer(document: bytes, content_type: str) -> Answer:
    plan = Plan(
        parts=(Inline(document),), content_type=content_type, cache_class=CacheClass.MANIFEST
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
_SEGMENT = r"Seg(?P<segment>[1-9][0-9]{0,8})"
_FRAGMENT = r"Frag(?P<number>0|[1-9][0-9]{0,17})"

KINDS = (
    _kind("hds.fragment", rf"{_STEM}-{_SEGMENT}-{_FRAGMENT}", answer_fragment, lists=False),
    _kind("hds.bootstrap", rf"{_STEM}\.abst", answer_bootstrap),
    _kind("hds.manifest", r"[^/]*\.f4m", answer_manifest),
)
