"""Events in the MPD: streams of them, and which ones segments hold (ISO/IEC 23009-1 5.10)."""

from __future__ import annotations

import base64
from fractions import Fraction

from lxml import etree

from sidecar.formats.dash.adaptation import AdaptationSet
from sidecar.formats.dash.elements import child, qualified
from sidecar.formats.dash.eras import Part
from sidecar.formats.events import carries_events
from sidecar.media.breaks import section
from sidecar.media.events import SCTE35, SCTE35_NAMESPACE, SCTE35_XML, Event
from sidecar.media.presentation import Presentation
from sidecar.timeline.live import Live
from sidecar.units import rescale

_SECTIONS = 90_000


def append_event_streams(element: etree._Element, live: Live | None, part: Part) -> None:
    """Appends an EventStream to ``element``, the Period of ``part``, for each scheme and value of
    the events that begin in it, or are announced for later in one that goes on, and that do not
    stand in segments. Sections of SCTE-35 are wrapped as SCTE 214-1 says."""
    origin, duration, end = part.period.origin, part.period.duration, part.end
    if end is None and duration is not None:
        end = origin + duration
    events: dict[tuple[str, str, int], list[Event]] = {}
    for one in () if live is None else live.events:
        assert live is not None
        if one.begin < origin or not is_told(one, live.begin):
            continue
        if end is None or one.begin < end:
            events.setdefault((one.scheme, one.value, one.timescale), []).append(one)
    for (scheme, value, timescale), of_stream in sorted(events.items()):
        offset = rescale(origin.numerator, origin.denominator, timescale)
        stream = child(
            element,
            "EventStream",
            schemeIdUri=SCTE35_XML if scheme == SCTE35 else scheme,
            value=value or None,
            timescale=str(timescale),
            presentationTimeOffset=str(offset) if offset else None,
        )
        for one in of_stream:
            _append_event(stream, one)


def is_told(event: Event, begin: Fraction) -> bool:
    """Whether ``event`` lasts until ``begin`` (presentation time in the media, seconds) at least:
    an MPD from there on tells of it."""
    return event.begin + Fraction(_duration(event) or 0, event.timescale) >= begin


def append_inband_streams(
    element: etree._Element,
    adaptation: AdaptationSet,
    presentation: Presentation,
    live: Live | None,
) -> None:
    """Puts into an AdaptationSet which events its segments hold."""
    if live is None or adaptation.key_frames:
        return
    if not carries_events(presentation, adaptation.first):
        return
    # What a viewer chooses by stands behind it, and some descriptors before.
    behind = [
        at
        for at, one in enumerate(element)
        if one.tag in map(qualified, ("Label", "Accessibility", "Role"))
    ]
    place = behind[0] if behind else len(element)
    for scheme, value in reversed(live.streams_carried):
        stream = child(element, "InbandEventStream", schemeIdUri=scheme, value=value or None)
        element.insert(place, stream)


def _append_event(stream: etree._Element, event: Event) -> None:
    duration = _duration(event)
    element = child(
        stream,
        "Event",
        presentationTime=str(max(0, event.time)),
        duration=None if duration is None else str(duration),
        id=str(event.id),
        contentEncoding=None if event.scheme == SCTE35 else "base64",
    )
    text = base64.b64encode(event.data).decode()
    if event.scheme != SCTE35:
        element.text = text
        return
    names = {"scte35": SCTE35_NAMESPACE}
    signal = etree.SubElement(element, f"{{{SCTE35_NAMESPACE}}}Signal", nsmap=names)
    etree.SubElement(signal, f"{{{SCTE35_NAMESPACE}}}Binary").text = text


def _duration(event: Event) -> int | None:
    """How long the event lasts, or the break that its section begins, ticks."""
    info = section(event.data) if event.scheme == SCTE35 else None
    if info is None:
        return event.duration
    spans = [one.duration for one in info.segmentations if one.duration]
    if info.insert is not None and info.insert.duration:
        spans.insert(0, info.insert.duration)
    return rescale(spans[0], _SECTIONS, event.timescale) if spans else event.duration
