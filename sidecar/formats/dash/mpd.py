"""The MPD (ISO/IEC 23009-1 5.3), static."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from lxml import etree

from sidecar.codecs.facts import AudioFacts, VideoFacts
from sidecar.formats.dash.adaptation import GROUPS, AdaptationSet, adaptation_sets
from sidecar.formats.dash.template import NAMESPACE, segment_template
from sidecar.formats.fragments import CONTENT_TYPES
from sidecar.formats.urls import encoded, suffix
from sidecar.media.languages import bcp47
from sidecar.media.options import Options
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind
from sidecar.mux.rates import frame_rate
from sidecar.timeline.segmenter import SegmentPolicy, Timeline
from sidecar.timeline.segments import SegmentList

CONTENT_TYPE = "application/dash+xml"

_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_NAMESPACES: dict[str | None, str] = {"xsi": _XSI, None: NAMESPACE}
_SCHEMA = (
    "http://standards.iso.org/ittf/PubliclyAvailableStandards/MPEG-DASH_schema_files/DASH-MPD.xsd"
)
_ROLE = "urn:mpeg:dash:role:2011"
_CONTENT_TYPES = {Kind.AUDIO: "audio", Kind.VIDEO: "video", Kind.TEXT: "text"}
_LANGUAGE = re.compile(r"[a-zA-Z]{1,8}(-[a-zA-Z0-9]{1,8})*")  # xs:language


def mpd(
    presentation: Presentation, timeline: Timeline, policy: SegmentPolicy, options: Options
) -> bytes:
    """The MPD of ``presentation`` with exact durations, UTF-8.

    The root's start tag ends within the first 512 bytes: GStreamer looks no further.
    """
    sets = adaptation_sets(presentation)
    lists = {r.selector: timeline.segments(r, policy) for r in presentation.renditions}
    # As it is written, in milliseconds: what counts segments by it must count as clients do.
    period_duration = _upwards(max(segments.end for segments in lists.values()))
    longest = max(segments.longest for segments in lists.values())

    # The stubs know no default namespace, which lxml takes under the key None.
    root = etree.Element(_name("MPD"), nsmap=_NAMESPACES)  # type: ignore[arg-type]
    root.set(f"{{{_XSI}}}schemaLocation", f"{NAMESPACE} {_SCHEMA}")
    root.set("type", "static")
    root.set("mediaPresentationDuration", _iso_duration(period_duration))
    root.set("maxSegmentDuration", _iso_duration(_upwards(longest)))
    root.set("minBufferTime", _iso_duration(_upwards(options.mpd_min_buffer_time)))
    root.set("profiles", "urn:mpeg:dash:profile:isoff-live:2011")
    root.append(etree.Comment(" Created with OpenOrigin "))
    period = _child(root, "Period", id="1", duration=_iso_duration(period_duration))
    _child(period, "BaseURL").text = "dash/"
    for number, adaptation in enumerate(sets, 1):
        element = _adaptation_set(period, number, adaptation)
        shared = _shared([lists[r.selector] for r in adaptation.renditions])
        aligned = adaptation.kind is not Kind.VIDEO or timeline.aligned(policy)
        closed = all(lists[r.selector].closed for r in adaptation.renditions)
        element.set("segmentAlignment", "true" if aligned else "false")
        # Leading pictures of an open GOP cannot be decoded after a switch: SAP type 3.
        element.set("startWithSAP", "1" if closed else "3")
        base = f"{encoded(presentation.name)}-"
        addressing = {
            "base": base,
            "query": suffix(options),
            "addressing": options.mpd_segment_template,
        }
        if shared is not None:
            element.append(segment_template(shared, **addressing, period=period_duration))
        for rendition in adaptation.renditions:
            representation = _representation(element, rendition)
            if shared is None:
                own = lists[rendition.selector]
                representation.append(segment_template(own, **addressing, period=period_duration))
    etree.indent(root)
    return etree.tostring(root, xml_declaration=True, encoding="utf-8")


def _adaptation_set(
    period: etree._Element, number: int, adaptation: AdaptationSet
) -> etree._Element:
    first = adaptation.first
    facts = first.track.facts
    bitrates = [rendition.bitrate for rendition in adaptation.renditions]
    element = _child(
        period,
        "AdaptationSet",
        id=str(number),
        group=str(GROUPS[adaptation.kind]),
        contentType=_CONTENT_TYPES[adaptation.kind],
        lang=_language(first),
        minBandwidth=str(min(bitrates)),
        maxBandwidth=str(max(bitrates)),
    )
    if isinstance(facts, VideoFacts):
        _set_video(element, [rendition.video for rendition in adaptation.renditions])
    elif isinstance(facts, AudioFacts):
        _set_common(
            element,
            "audioSamplingRate",
            {str(rendition.audio.sampling_rate) for rendition in adaptation.renditions},
        )
    element.set("mimeType", CONTENT_TYPES[adaptation.kind])
    if not isinstance(facts, VideoFacts):
        _set_common(element, "codecs", {r.track.facts.codec for r in adaptation.renditions})
    if isinstance(facts, AudioFacts):
        scheme, value = facts.channel_configuration
        _child(element, "AudioChannelConfiguration", schemeIdUri=scheme, value=value)
    labels = {rendition.label for rendition in adaptation.renditions}
    if len(labels) == 1 and first.label:
        _child(element, "Label").text = _printable(first.label)
    if adaptation.role == "description":
        _child(
            element,
            "Accessibility",
            schemeIdUri="urn:tva:metadata:cs:AudioPurposeCS:2007",
            value="1",
        )
    _child(element, "Role", schemeIdUri=_ROLE, value=adaptation.role)
    return element


def _set_video(element: etree._Element, facts: list[VideoFacts]) -> None:
    _set_common(element, "par", {_picture_aspect(one) for one in facts})
    element.set("maxWidth", str(max(one.width for one in facts)))
    element.set("maxHeight", str(max(one.height for one in facts)))
    _set_common(element, "sar", {_ratio(*one.pixel_aspect) for one in facts})


def _representation(adaptation_set: etree._Element, rendition: Rendition) -> etree._Element:
    facts = rendition.track.facts
    # Clients put the id into URLs as it is, and it may hold no space: so it is percent-encoded.
    element = _child(
        adaptation_set,
        "Representation",
        id=encoded(rendition.selector),
        bandwidth=str(rendition.bitrate),
    )
    if isinstance(facts, VideoFacts):
        element.set("width", str(facts.width))
        element.set("height", str(facts.height))
        if adaptation_set.get("sar") is None:
            element.set("sar", _ratio(*facts.pixel_aspect))
        rate = frame_rate(rendition.track)
        if rate:
            element.set("frameRate", str(rate))
    elif isinstance(facts, AudioFacts) and adaptation_set.get("audioSamplingRate") is None:
        element.set("audioSamplingRate", str(facts.sampling_rate))
    if adaptation_set.get("codecs") is None:
        element.set("codecs", facts.codec)
    return element


def _shared(lists: list[SegmentList]) -> SegmentList | None:
    """The list that stands for all of ``lists``, or None when they differ."""
    first = lists[0]
    for other in lists[1:]:
        if other.timescale != first.timescale or other.start.tobytes() != first.start.tobytes():
            return None
    return first


def _set_common(element: etree._Element, attribute: str, values: set[str]) -> None:
    """Says on the set what is true of all its representations."""
    if len(values) == 1:
        element.set(attribute, next(iter(values)))


def _language(rendition: Rendition) -> str | None:
    tag = bcp47(rendition.language) if rendition.language else ""
    return tag if _LANGUAGE.fullmatch(tag) else None


def _picture_aspect(facts: VideoFacts) -> str:
    horizontal, vertical = facts.pixel_aspect
    return _ratio(facts.width * horizontal, facts.height * vertical)


def _ratio(first: int, second: int) -> str:
    divisor = math.gcd(first, second) or 1
    return f"{first // divisor}:{second // divisor}"


def _upwards(value: Fraction) -> Fraction:
    """``value`` in whole milliseconds, none of it lost."""
    return Fraction(math.ceil(value * 1000), 1000)


def _iso_duration(value: Fraction) -> str:
    """Whole milliseconds as an xs:duration: ``PT12M13.979S``."""
    seconds, rest = divmod(int(value * 1000), 1000)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    text = f"{seconds % 60}.{rest:03d}".rstrip("0").rstrip(".") if rest else str(seconds % 60)
    return f"PT{f'{hours}H' if hours else ''}{f'{minutes}M' if hours or minutes else ''}{text}S"


def _printable(text: str) -> str:
    """``text`` without the control characters that XML cannot hold."""
    return "".join(character for character in text if character.isprintable())


def _name(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _child(parent: etree._Element, name: str, **attributes: str | None) -> etree._Element:
    given = {key: value for key, value in attributes.items() if value is not None}
    return etree.SubElement(parent, _name(name), given)
