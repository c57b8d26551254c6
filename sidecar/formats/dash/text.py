"""Text as one file beside the segments: a sidecar (ISO/IEC 23009-1 5.3.9.1, one BaseURL)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from lxml import etree

from sidecar.errors import NotFound
from sidecar.formats.dash.adaptation import AdaptationSet
from sidecar.formats.dash.elements import child, describe_choice, text_attributes
from sidecar.formats.spec import Answer, Request
from sidecar.formats.urls import encoded, find_rendition
from sidecar.media.options import Options
from sidecar.media.presentation import Rendition
from sidecar.media.text.cues import LATEST
from sidecar.media.track import Kind
from sidecar.mux.plan import CacheClass, FileRanges, Inline, Part, Plan
from sidecar.mux.text import timed_text
from sidecar.mux.ttml import ttml_document
from sidecar.mux.webvtt import webvtt_document

# sample entry of the track -> ending of the file's name, its type
_SIDECARS = {"wvtt": ("webvtt", "text/vtt"), "stpp": ("ttml", "application/ttml+xml")}
# In front of the ids of their representations: ids are used once.
_SIDECAR = "sidecar-"


def append_sidecars(
    period: etree._Element, sets: Iterable[AdaptationSet], name: str, options: Options
) -> None:
    """An AdaptationSet for the sidecar of every text rendition of ``sets`` that has one, behind
    the others of ``period``. ``name``: of the presentation."""
    renditions = [r for one in sets if one.kind is Kind.TEXT for r in one.renditions]
    roles = {r.selector: one.role for one in sets for r in one.renditions}
    for rendition in renditions:
        if not has_sidecar(rendition, options):
            continue
        ending, mime_type = _SIDECARS[rendition.text.sample_entry]
        element = child(
            period,
            "AdaptationSet",
            id=str(len(period.findall("{*}AdaptationSet")) + 1),
            **text_attributes(rendition),
            mimeType=mime_type,
        )
        describe_choice(element, rendition, roles[rendition.selector])
        representation = child(
            element,
            "Representation",
            id=_SIDECAR + encoded(rendition.selector),
            bandwidth=str(rendition.bitrate),
        )
        url = f"{encoded(f'{name}-{rendition.selector}')}.{ending}"
        child(representation, "BaseURL").text = url


def has_sidecar(rendition: Rendition, options: Options) -> bool:
    """Whether MPDs list the text ``rendition`` as one file too. Only if asked: dash.js, which takes
    text of the kind that comes first, would have the others in its menu in vain."""
    if rendition.text.sample_entry == "wvtt":
        return options.mpd_sidecar_webvtt
    return options.mpd_sidecar_ttml


def answer_sidecar(request: Request) -> Answer:
    """``X.ism/dash/B-textstream_eng=1000.webvtt``, ``.ttml``: all of a text track."""
    if not request.options.mpd_playout:
        raise NotFound("DASH is switched off for this presentation")
    rendition = find_rendition(request.presentation, request.match["stem"])
    if rendition.kind is not Kind.TEXT:
        raise NotFound("only text is served as one file")
    if request.live is not None:
        raise NotFound("live text is served in segments only")
    ending, mime_type = _SIDECARS[rendition.text.sample_entry]
    if ending != request.match["type"]:
        raise NotFound(f"this text is served as {ending}")
    plan = Plan(
        parts=(_whole(request, rendition),),
        content_type=f"{mime_type}; charset=utf-8" if mime_type == "text/vtt" else mime_type,
        cache_class=CacheClass.MEDIA,
    )
    return Answer(plan=plan)


def _whole(request: Request, rendition: Rendition) -> Part:
    track = rendition.track
    if track.text is not None and track.text.ttml is not None:
        # The file itself: an XML document says in which encoding it is.
        size = np.array([track.source.size], dtype=np.int64)
        return FileRanges(track.source, np.zeros(1, dtype=np.int64), size)
    text = timed_text(track, 0, LATEST, request.read)
    if rendition.text.sample_entry == "stpp":
        return Inline(ttml_document(text, 0, LATEST))
    return Inline(webvtt_document(text.cues.items, header=text.header))
