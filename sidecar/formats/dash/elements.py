"""The elements below Period: AdaptationSet and Representation (ISO/IEC 23009-1 5.3.3, 5.3.5)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from lxml import etree

from sidecar.codecs.facts import AudioFacts, VideoFacts
from sidecar.formats.dash.adaptation import GROUPS, AdaptationSet
from sidecar.formats.dash.period import Listing
from sidecar.formats.dash.template import NAMESPACE
from sidecar.formats.fragments import CONTENT_TYPES
from sidecar.formats.urls import encoded
from sidecar.media.languages import bcp47
from sidecar.media.presentation import Rendition
from sidecar.media.track import Kind
from sidecar.mux.rates import frame_rate

_ROLE = "urn:mpeg:dash:role:2011"
# What says of a role that it is for those who cannot see, or not hear (DASH-IF IOP 3.11).
_ACCESSIBILITY = {
    "description": ("urn:tva:metadata:cs:AudioPurposeCS:2007", "1"),
    "caption": (_ROLE, "caption"),
}
_TRICK_PLAY = "http://dashif.org/guidelines/trickmode"
_CONTENT_TYPES = {Kind.AUDIO: "audio", Kind.VIDEO: "video", Kind.TEXT: "text"}
_LANGUAGE = re.compile(r"[a-zA-Z]{1,8}(-[a-zA-Z0-9]{1,8})*")  # xs:language
# In front of the ids of representations that are made of key frames: ids are used once.
_KEY_FRAMES = "keyframes-"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Representation:
    """``rendition`` as an adaptation set has it: ``listed`` segments of ``bandwidth`` bit/s."""

    rendition: Rendition
    listed: Listing
    bandwidth: int


def child(parent: etree._Element, name: str, **attributes: str | None) -> etree._Element:
    """A new element behind the others of ``parent``, with the attributes that are not None."""
    given = {key: value for key, value in attributes.items() if value is not None}
    return etree.SubElement(parent, qualified(name), given)


def qualified(name: str) -> str:
    """``name`` in the namespace of MPDs."""
    return f"{{{NAMESPACE}}}{name}"


def adaptation_set_element(
    period: etree._Element,
    adaptation: AdaptationSet,
    of_set: list[Representation],
    *,
    number: int,
    main: int | None,
) -> etree._Element:
    """AdaptationSet ``number``, without representations. ``main``: the number of the set that it
    is the trick play of."""
    first = adaptation.first
    facts = first.track.facts
    bandwidths = [one.bandwidth for one in of_set]
    element = child(
        period,
        "AdaptationSet",
        id=str(number),
        group=str(GROUPS[adaptation.kind]),
        contentType=_CONTENT_TYPES[adaptation.kind],
        lang=_language(first),
        minBandwidth=str(min(bandwidths)),
        maxBandwidth=str(max(bandwidths)),
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
    if adaptation.trick_play_of is not None:
        rate = _playout_rate(adaptation.trick_play_of, adaptation, of_set[0])
        element.set("maxPlayoutRate", str(rate))
        element.set("codingDependency", "false")
    if isinstance(facts, AudioFacts):
        scheme, value = facts.channel_configuration
        child(element, "AudioChannelConfiguration", schemeIdUri=scheme, value=value)
    if main is not None:
        # Players that do not know what this is must not choose the set.
        child(element, "EssentialProperty", schemeIdUri=_TRICK_PLAY, value=str(main))
    labels = {rendition.label for rendition in adaptation.renditions}
    describe_choice(element, first if len(labels) == 1 else None, adaptation.role)
    return element


def describe_choice(element: etree._Element, labelled: Rendition | None, role: str) -> None:
    """What a viewer chooses by: the label of ``labelled``, and ``role``."""
    if labelled is not None and labelled.label:
        child(element, "Label").text = _printable(labelled.label)
    scheme, value = _ACCESSIBILITY.get(role, (None, None))
    if scheme is not None:
        child(element, "Accessibility", schemeIdUri=scheme, value=value)
    child(element, "Role", schemeIdUri=_ROLE, value=role)


def text_attributes(rendition: Rendition) -> dict[str, str | None]:
    """What sets of text say of themselves, whatever they are made of."""
    bandwidth = str(rendition.bitrate)
    return {
        "group": str(GROUPS[Kind.TEXT]),
        "contentType": _CONTENT_TYPES[Kind.TEXT],
        "lang": _language(rendition),
        "minBandwidth": bandwidth,
        "maxBandwidth": bandwidth,
    }


def representation_element(
    adaptation_set: etree._Element, adaptation: AdaptationSet, one: Representation
) -> etree._Element:
    """The Representation of ``one``, with what its set does not say of all."""
    rendition = one.rendition
    facts = rendition.track.facts
    # Clients put the id into URLs as it is, and it may hold no space: so it is percent-encoded.
    identity = encoded(rendition.selector)
    element = child(
        adaptation_set,
        "Representation",
        id=f"{_KEY_FRAMES}{identity}" if adaptation.key_frames else identity,
        bandwidth=str(one.bandwidth),
    )
    if isinstance(facts, VideoFacts):
        element.set("width", str(facts.width))
        element.set("height", str(facts.height))
        if adaptation_set.get("sar") is None:
            element.set("sar", _ratio(*facts.pixel_aspect))
        rate = frame_rate(rendition.track)
        if rate and not adaptation.key_frames:
            element.set("frameRate", str(rate))
    elif isinstance(facts, AudioFacts) and adaptation_set.get("audioSamplingRate") is None:
        element.set("audioSamplingRate", str(facts.sampling_rate))
    if adaptation_set.get("codecs") is None:
        element.set("codecs", facts.codec)
    return element


def _playout_rate(main: AdaptationSet, adaptation: AdaptationSet, one: Representation) -> int:
    """How many times faster than usual pictures follow each other as they usually do."""
    own = one.listed.segments if adaptation.key_frames else one.rendition.track.samples
    return max(1, round(len(main.first.track.samples) / max(1, len(own))))


def _set_video(element: etree._Element, facts: list[VideoFacts]) -> None:
    _set_common(element, "par", {_picture_aspect(one) for one in facts})
    element.set("maxWidth", str(max(one.width for one in facts)))
    element.set("maxHeight", str(max(one.height for one in facts)))
    _set_common(element, "sar", {_ratio(*one.pixel_aspect) for one in facts})


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


def _printable(text: str) -> str:
    """``text`` without the control characters that XML cannot hold."""
    return "".join(character for character in text if character.isprintable())
