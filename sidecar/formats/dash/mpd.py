"""The MPD (ISO/IEC 23009-1 5.3), static."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from lxml import etree

from sidecar.errors import NotFound
from sidecar.formats.dash.adaptation import AdaptationSet, adaptation_sets, trick_play_sets
from sidecar.formats.dash.elements import (
    Representation,
    adaptation_set_element,
    child,
    qualified,
    representation_element,
)
from sidecar.formats.dash.period import Listing, Period, listing, period_of
from sidecar.formats.dash.template import NAMESPACE, segment_template
from sidecar.formats.dash.text import append_sidecars
from sidecar.formats.urls import encoded, suffix
from sidecar.media.options import Options
from sidecar.media.presentation import Presentation
from sidecar.media.track import Kind
from sidecar.mux.rates import key_frame_rates
from sidecar.timeline.clips import Clip
from sidecar.timeline.segmenter import SegmentPolicy, Timeline

CONTENT_TYPE = "application/dash+xml"
# Where the segments of single key frames are, below that of all segments.
KEY_FRAMES = "keyframes/"

_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_NAMESPACES: dict[str | None, str] = {"xsi": _XSI, None: NAMESPACE}
_SCHEMA = (
    "http://standards.iso.org/ittf/PubliclyAvailableStandards/MPEG-DASH_schema_files/DASH-MPD.xsd"
)


def mpd(
    presentation: Presentation,
    timeline: Timeline,
    policy: SegmentPolicy,
    options: Options,
    clip: Clip,
) -> bytes:
    """The MPD of ``clip`` of ``presentation``, with exact durations, UTF-8.

    The root's start tag ends within the first 512 bytes: GStreamer looks no further. Raises
    ``NotFound`` when no track presents anything in the clip.
    """
    presentation, listings = _listed(presentation, timeline, policy, clip)
    sets = adaptation_sets(presentation)
    key_frames = _key_frames(presentation, timeline, clip) if options.fixed_gop else {}
    sets += trick_play_sets(presentation, sets, key_frames)
    exact = period_of(presentation, listings, clip)
    # As it is written, in milliseconds: what counts segments by it must count as clients do.
    period = replace(exact, duration=_upwards(exact.duration))
    longest = max(one.longest for one in (*listings.values(), *key_frames.values()))

    # The stubs know no default namespace, which lxml takes under the key None.
    root = etree.Element(qualified("MPD"), nsmap=_NAMESPACES)  # type: ignore[arg-type]
    root.set(f"{{{_XSI}}}schemaLocation", f"{NAMESPACE} {_SCHEMA}")
    root.set("type", "static")
    root.set("mediaPresentationDuration", _iso_duration(period.duration))
    root.set("maxSegmentDuration", _iso_duration(_upwards(longest)))
    root.set("minBufferTime", _iso_duration(_upwards(options.mpd_min_buffer_time)))
    root.set("profiles", "urn:mpeg:dash:profile:isoff-live:2011")
    root.append(etree.Comment(" Created with OpenOrigin "))
    element = child(root, "Period", id="1", duration=_iso_duration(period.duration))
    child(element, "BaseURL").text = "dash/"
    for number, adaptation in enumerate(sets, 1):
        of_set = _representations(adaptation, key_frames if adaptation.key_frames else listings)
        main = adaptation.trick_play_of
        described = adaptation_set_element(
            element,
            adaptation,
            of_set,
            number=number,
            main=sets.index(main) + 1 if main is not None else None,
        )
        _set_access(described, adaptation, of_set, timeline.aligned(policy))
        _set_segments(described, adaptation, of_set, presentation.name, period, options)
    if clip.is_whole:
        # Files know no clips: they would begin somewhere else than the rest does.
        append_sidecars(element, sets, presentation.name, options)
    etree.indent(root)
    return etree.tostring(root, xml_declaration=True, encoding="utf-8")


def _listed(
    presentation: Presentation, timeline: Timeline, policy: SegmentPolicy, clip: Clip
) -> tuple[Presentation, dict[str, Listing]]:
    """The tracks that present anything in the clip, and what is listed of each (by selector)."""
    listings = {}
    for rendition in presentation.renditions:
        listed = listing(timeline.segments(rendition, policy), clip)
        if listed is not None:
            listings[rendition.selector] = listed
    if not listings:
        raise NotFound("none of the tracks presents anything in the clip")
    kept = tuple(r for r in presentation.renditions if r.selector in listings)
    return replace(presentation, renditions=kept), listings


def _key_frames(presentation: Presentation, timeline: Timeline, clip: Clip) -> dict[str, Listing]:
    """What is listed of the key frames of each ordinary video rendition that has them."""
    found = {}
    for rendition in presentation.of_kind(Kind.VIDEO):
        key_frames = timeline.key_frames(rendition)
        listed = listing(key_frames, clip) if key_frames is not None else None
        if listed is not None:
            found[rendition.selector] = listed
    return found


def _representations(
    adaptation: AdaptationSet, listings: Mapping[str, Listing]
) -> list[Representation]:
    made = []
    for rendition in adaptation.renditions:
        listed, bandwidth = listings[rendition.selector], rendition.bitrate
        if adaptation.key_frames:
            bandwidth = key_frame_rates(rendition.track, listed.segments).peak
        made.append(Representation(rendition=rendition, listed=listed, bandwidth=bandwidth))
    return made


def _set_access(
    element: etree._Element,
    adaptation: AdaptationSet,
    of_set: list[Representation],
    aligned: bool,
) -> None:
    """Whether segments of one representation can follow those of another, and be decoded then."""
    if adaptation.key_frames:
        aligned = _shared(of_set) is not None
    elif adaptation.kind is not Kind.VIDEO:
        aligned = True
    closed = all(one.listed.segments.closed for one in of_set)
    element.set("segmentAlignment", "true" if aligned else "false")
    # Leading pictures of an open GOP cannot be decoded after a switch: SAP type 3.
    element.set("startWithSAP", "1" if closed else "3")


def _set_segments(
    element: etree._Element,
    adaptation: AdaptationSet,
    of_set: list[Representation],
    name: str,
    period: Period,
    options: Options,
) -> None:
    """Representations, and where their segments are: said of the set where it is true of all."""
    addressing = {
        "base": f"{KEY_FRAMES if adaptation.key_frames else ''}{encoded(name)}-",
        "query": "" if adaptation.key_frames else suffix(options, "dash"),
        "addressing": options.mpd_segment_template,
    }
    shared = _shared(of_set)
    if shared is not None:
        element.append(segment_template(shared, **addressing, period=period))
    for one in of_set:
        representation = representation_element(element, adaptation, one)
        if shared is None:
            representation.append(segment_template(one.listed, **addressing, period=period))


def _shared(of_set: list[Representation]) -> Listing | None:
    """What is listed of each of ``of_set``, or None when they differ."""
    first = of_set[0].listed
    start = first.start.tobytes()
    for other in (one.listed for one in of_set[1:]):
        same = other.timescale == first.timescale and other.chosen == first.chosen
        if not (same and other.start.tobytes() == start):
            return None
    return first


def _upwards(value: Fraction) -> Fraction:
    """``value`` in whole milliseconds, none of it lost."""
    return Fraction(math.ceil(value * 1000), 1000)


def _iso_duration(value: Fraction) -> str:
    """Whole milliseconds as an xs:duration: ``PT12M13.979S``."""
    seconds, rest = divmod(int(value * 1000), 1000)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    text = f"{seconds % 60}.{rest:03d}".rstrip("0").rstrip(".") if rest else str(seconds % 60)
    return f"PT{f'{hours}H' if hours else ''}{f'{minutes}M' if hours or minutes else ''}{text}S"
