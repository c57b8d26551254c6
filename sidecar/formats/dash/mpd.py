"""The MPD (ISO/IEC 23009-1 5.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lxml import etree

from sidecar.errors import NotFound
from sidecar.formats.dash.adaptation import AdaptationSet, adaptation_sets, trick_play_sets
from sidecar.formats.dash.clock import (
    append_time_source,
    growing,
    iso_duration,
    longest_of,
    stored,
    upwards,
)
from sidecar.formats.dash.elements import (
    Representation,
    adaptation_set_element,
    child,
    qualified,
    representation_element,
)
from sidecar.formats.dash.eras import Part, parts
from sidecar.formats.dash.events import append_event_streams, append_inband_streams
from sidecar.formats.dash.period import Listing, Period, listing, live_period, period_of
from sidecar.formats.dash.template import NAMESPACE, segment_template
from sidecar.formats.dash.text import append_sidecars
from sidecar.formats.spec import Request
from sidecar.formats.urls import encoded, suffix
from sidecar.media.options import Options
from sidecar.media.presentation import Presentation, Rendition
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


def mpd(request: Request, policy: SegmentPolicy) -> bytes:
    """The MPD of what the request selects and of its clip, with exact durations, UTF-8.

    That of a presentation that grows is dynamic until it has ended. The root's start tag ends
    within the first 512 bytes: GStreamer looks no further. Raises ``NotFound`` when no track
    presents anything in the clip.
    """
    timeline, options, clip = request.timeline, request.options, request.clip
    presentation, listings = _listed(request.selected, timeline, policy, clip)
    key_frames = _key_frames(presentation, timeline, clip) if options.fixed_gop else {}
    period = _period(presentation, listings, request)
    dynamic = request.live is not None and not request.live.ended

    # The stubs know no default namespace, which lxml takes under the key None.
    root = etree.Element(qualified("MPD"), nsmap=_NAMESPACES)  # type: ignore[arg-type]
    longest = longest_of((*listings.values(), *key_frames.values()))
    if dynamic:
        assert request.live is not None
        reference = listings[_reference(presentation).selector]
        # Of all segments, also those to come (ISO/IEC 23009-1 5.3.1.2).
        longest = max(longest, timeline.longest(policy))
        attributes = growing(period, request.live, reference, longest, options)
    else:
        root.set(f"{{{_XSI}}}schemaLocation", f"{NAMESPACE} {_SCHEMA}")
        attributes = stored(period, longest, options)
    for name, value in attributes.items():
        root.set(name, value)
    root.set("profiles", "urn:mpeg:dash:profile:isoff-live:2011")
    root.append(etree.Comment(" Created with OpenOrigin "))
    for part in parts(presentation, listings, period, request.live):
        _append_period(root, part, request, key_frames, aligned=timeline.aligned(policy))
    if dynamic:
        append_time_source(root)
    etree.indent(root)
    return etree.tostring(root, xml_declaration=True, encoding="utf-8")


def _append_period(
    root: etree._Element,
    part: Part,
    request: Request,
    key_frames: Mapping[str, Listing],
    *,
    aligned: bool,
) -> None:
    presentation, listings, period = part.presentation, part.listings, part.period
    sets = adaptation_sets(presentation)
    sets += trick_play_sets(presentation, sets, key_frames)
    element = child(
        root,
        "Period",
        id=str(part.era + 1),
        start=iso_duration(period.start) if request.live is not None else None,
        duration=iso_duration(period.duration) if period.duration is not None else None,
    )
    child(element, "BaseURL").text = f"{request.folder}dash/"
    append_event_streams(element, request.live, part)
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
        append_inband_streams(described, adaptation, presentation, request.live)
        _set_access(described, adaptation, of_set, aligned)
        _set_segments(described, adaptation, of_set, presentation.name, part, request.options)
    if request.clip.is_whole:
        # Files know no clips: they would begin somewhere else than the rest does.
        append_sidecars(element, sets, presentation.name, request.options)


def _period(
    presentation: Presentation, listings: Mapping[str, Listing], request: Request
) -> Period:
    """The Period as it is written, in milliseconds: what counts segments by its duration must
    count as clients do."""
    if request.live is None:
        exact = period_of(presentation, listings, request.clip)
    else:
        exact = live_period(presentation, listings, request.clip, request.live)
    return exact if exact.duration is None else replace(exact, duration=upwards(exact.duration))


def _reference(presentation: Presentation) -> Rendition:
    """The rendition whose segments those of all others follow."""
    return (presentation.of_kind(Kind.VIDEO) or presentation.renditions)[0]


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
    part: Part,
    options: Options,
) -> None:
    """Representations, and where their segments are: said of the set where it is true of all."""
    addressing: dict[str, Any] = {
        "base": f"{KEY_FRAMES if adaptation.key_frames else ''}{encoded(name)}-",
        "query": "" if adaptation.key_frames else suffix(options, "dash"),
        "addressing": options.mpd_segment_template,
        "era": part.era,
        "period": part.period,
    }
    shared = _shared(of_set)
    if shared is not None:
        element.append(segment_template(shared, **addressing))
    for one in of_set:
        representation = representation_element(element, adaptation, one)
        if shared is None:
            representation.append(segment_template(one.listed, **addressing))


def _shared(of_set: list[Representation]) -> Listing | None:
    """What is listed of each of ``of_set``, or None when they differ."""
    first = of_set[0].listed
    alike = all(_same(one.listed, first) for one in of_set[1:])
    return first if alike else None


def _same(one: Listing, other: Listing) -> bool:
    if (one.timescale, one.first_number) != (other.timescale, other.first_number):
        return False
    if one.start.tobytes() != other.start.tobytes():
        return False
    gaps = [None if gap is None else gap.tobytes() for gap in (one.gap, other.gap)]
    return gaps[0] == gaps[1]
