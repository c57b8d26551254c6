"""Events that go out in segments: which ones, and in which."""

from __future__ import annotations

from fractions import Fraction

from sidecar.boxes.event import emsg_box
from sidecar.boxes.header import read_header
from sidecar.formats.spec import Request
from sidecar.media.events import ID3, SCTE35, Event
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind
from sidecar.mux.plan import Inline, Part
from sidecar.mux.timestamps import unwrapped_time
from sidecar.timeline.live import Live
from sidecar.timeline.segments import SegmentList

# Fragments of sound, and what came with them, begin up to a frame before the pictures, seconds.
_NEAR = Fraction(1, 20)
# What a PES packet can hold, with its header.
_LONGEST_TAG = 65_000


def inband(live: Live | None) -> list[Event]:
    """Events that stand in segments: those that came beside fragments, but for breaks of the
    programme, which manifests tell of."""
    return [] if live is None else [e for e in live.events if e.inband and e.scheme != SCTE35]


def carries_events(presentation: Presentation, rendition: Rendition) -> bool:
    """Whether segments of ``rendition`` hold events: pictures, or sound where there are none."""
    return rendition.kind is (Kind.VIDEO if presentation.of_kind(Kind.VIDEO) else Kind.AUDIO)


def events_in(live: Live | None, segments: SegmentList, index: int) -> list[Event]:
    """The events of segment ``index``: those that begin in it, and those that came with it later
    than they begin."""
    events = inband(live)
    if not events:
        return events
    begin, end = (
        Fraction(int(ticks), segments.timescale) for ticks in segments.start[index : index + 2]
    )
    return [one for one in events if begin <= max(one.begin, one.known + _NEAR) < end]


def id3_tags(
    request: Request, segments: SegmentList, index: int, until: int
) -> list[list[tuple[int, bytes]]] | None:
    """(when it counts, 90 kHz, and its bytes) of each ID3 tag in the transport streams of segments
    ``index`` to ``until``; None where no program has any."""
    if request.live is None or not request.options.timed_metadata:
        return None
    return [
        [
            (unwrapped_time(one.time, one.timescale), one.data)
            for one in events_in(request.live, segments, at)
            if one.scheme == ID3 and 0 < len(one.data) <= _LONGEST_TAG
        ]
        for at in range(index, until)
    ]


def with_events(
    parts: tuple[Part, ...],
    request: Request,
    rendition: Rendition,
    segments: SegmentList,
    index: int,
) -> tuple[Part, ...]:
    """``parts``, segment ``index`` of ``segments`` in CMAF, with its events before the ``moof``."""
    events = events_in(request.live, segments, index)
    head = parts[0]
    if (
        not events
        or not isinstance(head, Inline)
        or not carries_events(request.presentation, rendition)
    ):
        return parts
    boxes = map(_box, events)
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
