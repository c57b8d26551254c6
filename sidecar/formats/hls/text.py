"""Text in HLS: a group of subtitles, and WebVTT segments (RFC 8216 3.5, 4.3.4.1)."""

from __future__ import annotations

from sidecar.errors import NotFound
from sidecar.formats.fragments import numbered, received, until_gap
from sidecar.formats.hls.layout import Layout
from sidecar.formats.hls.rules import policy, require_playout
from sidecar.formats.hls.tags import quoted, tag
from sidecar.formats.spec import Answer, Request
from sidecar.formats.urls import encoded, find_rendition, stem, suffix
from sidecar.media.languages import bcp47, english_name
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.text.cues import TIMESCALE
from sidecar.media.track import Kind
from sidecar.mux.plan import CacheClass, Inline, Plan
from sidecar.mux.text import timed_text
from sidecar.mux.timestamps import timestamp
from sidecar.mux.webvtt import CONTENT_TYPE, webvtt_document
from sidecar.units import rescale

GROUP = "textstream"
EXTENSION = "webvtt"
# Segments beside those of fragmented MP4 count time as these do, from 0; the others as transport
# streams do. They say different things, so they are in different places.
_FOLDERS = {Layout.FMP4: "hls/"}
_MARKS = {"caption": "captions", "forced-subtitle": "forced"}
# For those who do not hear (Apple's authoring specification for HLS).
_CHARACTERISTICS = {
    "caption": "public.accessibility.transcribes-spoken-dialog,"
    "public.accessibility.describes-music-and-sound"
}
_FORCED = "forced-subtitle"


def base_url(presentation: Presentation, rendition: Rendition, layout: Layout) -> str:
    """What the URLs of the segments of the text ``rendition`` begin with."""
    return f"{_FOLDERS.get(layout, '')}{stem(presentation, rendition)}"


def subtitle_lines(presentation: Presentation, query: str, folder: str) -> list[str]:
    """The EXT-X-MEDIA tags of the text of ``presentation``, one group; empty without text.

    The default is the first that is neither forced nor captions, else the first that is not forced.
    ``query``: what the URLs of playlists end with, ``folder``: what they begin with.
    """
    texts = presentation.of_kind(Kind.TEXT)
    chosen = [one for one in texts if one.role != _FORCED]
    default = next((one for one in chosen if one.role not in _MARKS), next(iter(chosen), None))
    titles: set[str] = set()
    manners: set[tuple[str | None, str | None]] = set()
    lines = []
    for one in texts:
        language = bcp47(one.language) if one.language else None
        title = _title(one, titles)
        # AUTOSELECT only where language and purpose tell them apart (RFC 8216 4.3.4.1.1).
        manner = (language, one.role if one.role in _MARKS else None)
        characteristics = _CHARACTERISTICS.get(one.role or "")
        lines.append(
            tag(
                "EXT-X-MEDIA",
                TYPE="SUBTITLES",
                GROUP_ID=quoted(GROUP),
                LANGUAGE=quoted(language) if language else None,
                NAME=quoted(title),
                DEFAULT="YES" if one is default else None,
                AUTOSELECT="YES" if one is default or manner not in manners else None,
                FORCED="YES" if one.role == _FORCED else None,
                CHARACTERISTICS=quoted(characteristics) if characteristics else None,
                URI=quoted(f"{folder}{stem(presentation, one)}.m3u8{query}"),
            )
        )
        titles.add(title)
        manners.add(manner)
    return lines


def _title(rendition: Rendition, used: set[str]) -> str:
    """NAME, which no other of the group has."""
    language = rendition.language
    wanted = rendition.label or (english_name(language) if language else None) or GROUP
    mark = _MARKS.get(rendition.role or "")
    if mark and not rendition.label:
        wanted = f"{wanted} ({mark})"
    title, number = wanted, 2
    while title in used:
        title, number = f"{wanted} {number}", number + 1
    return title


def answer_segment(request: Request) -> Answer:
    """``X.ism/B-textstream_eng=1000-7.webvtt``, and below ``hls/`` beside fragmented MP4.

    Cues that are shown across a boundary are in both segments, whole, at the times of the
    presentation; a segment without any is a WebVTT file all the same.
    """
    require_playout(request)
    rendition = find_rendition(request.presentation, request.match["stem"])
    if rendition.kind is not Kind.TEXT:
        raise NotFound("only text is served as WebVTT")
    segments = request.timeline.segments(rendition, policy(request))
    index = numbered(segments, int(request.match["number"]))
    count = len(segments)
    until = until_gap(segments, index, index + 1 + request.read_ahead)
    bounds = [
        rescale(ticks, segments.timescale, TIMESCALE)
        for ticks in segments.start[index : until + 1].tolist()
    ]
    if segments.number(index) == 1:
        bounds[0] = 0
    text = timed_text(rendition.track, bounds[0], bounds[-1], request.read)
    folder = request.match["folder"] or ""
    mpegts = 0 if folder else timestamp(0, TIMESCALE)
    name, query = encoded(request.match["stem"]), suffix(request.options, "hls")
    plans = []
    for at in range(index, until):
        begin, end = bounds[at - index], bounds[at - index + 1]
        document = webvtt_document(
            text.cues.overlapping(begin, end), header=text.header, mpegts=mpegts
        )
        link = f'<{name}-{segments.number(at + 1)}.{EXTENSION}{query}>; rel="next"'
        plans.append(
            Plan(
                parts=(Inline(document),),
                content_type=CONTENT_TYPE,
                cache_class=CacheClass.MEDIA,
                last_modified=received(request, segments, at),
                headers=(("Link", link),) if at + 1 < count else (),
            )
        )
    paths = [
        f"{folder}{request.match['stem']}-{segments.number(at)}.{EXTENSION}"
        for at in range(index + 1, until)
    ]
    return Answer(plan=plans[0], ahead=tuple(zip(paths, plans[1:], strict=True)))
