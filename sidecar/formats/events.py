"""Events that go out in segments: which ones, and in which."""

from __future__ import annotations

from fractions import Fraction

from sidecar.boxes.event import emsg_box
from sidecar.boxes.header import read_header
from sidecar.formats.spec import Request
from sidecar.media.events import SCTE35, Event
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind
from sidecar.mux.plan import Inline, Part
from sidecar.timeline.live import Live
from sidecar.timeline.segments import SegmentList

# Fragments of sound, and what came with them, begin up to a frame before the pictures, seconds.
_NEAR = Fraction(1, 20)


def inband(live: Live | None) -> list[Event]:
    """Events that stand in segments: those that came beside fragments, but for breaks of the
    programme, which manifests tell of."""
    return [] if live is None else [e for e in live.events if e.inband and e.scheme != SCTE35]


def carries_events(presentation: Presentation, rendition: Rendition) -> bool:
    """Whether segments of ``rendition`` hold events: pictures, or sound where there are none."""
    return rendition.kind is (Kind.VIDEO if presentation.of_kind(Kind.VIDEO) else Kind.AUDIO)


def with_events(
    parts: tuple[Part, ...],
    request: Request,
    rendition: Rendition,
    segments: SegmentList,
    index: int,
) -> tuple[Part, ...]:
    """``parts``, segment ``index`` of ``segments`` in CMAF, with its events before the ``moof``.

    An event stands in the segment in which it begins, or, when it came later, in that which it came
    with.
    """
    events = inband(request.live)
    head = parts[0]
    if (
        not events
        or not isinstance(head, Inline)
        or not carries_events(request.presentation, rendition)
    ):
        return parts
    begin, end = (
        Fraction(int(ticks), segments.timescale) for ticks in segments.start[index : index + 2]
    )
    boxes = [_box(one) for one in events if begin <= max(one.begin, one.known + _NEAR) < end]
    if not boxes:
        return parts
    data = bytes(head.data)
    first = read_header(data, 0, len(data)).end
    return (Inline(b"".join((data[:first], *boxes, data[first:]))), *parts[1:])


def _box(event: Event) -> bytes:
    return emsg_box(
        scheme_id_uri=event.scheme,
        value=event.value,
        timescale=event.timescale,
        presentation_time=max(0, event.time),
        event_duration=event.duration,
        id=event.id,
        message_data=event.data,
    )
