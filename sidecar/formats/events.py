"""Events that go out in segments: which ones, and in which."""

from __future__ import annotations

from fractions import Fraction

from sidecar.boxes.event import emsg_box
from sidecar.boxes.header import read_header
from sidecar.formats.spec import Request
from sidecar.media.events import ID3, Event
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind
from sidecar.mux.plan import Inline, Part
from sidecar.mux.timestamps import unwrapped_time
from sidecar.timeline.live import Live
from sidecar.timeline.segments import SegmentList

# What a PES packet can hold, with its header.
_LONGEST_TAG = 65_000


def carries_events(presentation: Presentation, rendition: Rendition) -> bool:
    """Whether segments of ``rendition`` hold events: pictures, or sound where there are none."""
    return rendition.kind is (Kind.VIDEO if presentation.of_kind(Kind.VIDEO) else Kind.AUDIO)


def events_in(live: Live, segments: SegmentList, index: int) -> tuple[Event, ...]:
    """The events of segment ``index``: those that begin in it, and those that came with it later
    than they begin; but for breaks of the programme, which manifests tell of."""
    if live.carried is None:
        return ()
    begin, end = segments.start[index : index + 2].tolist()
    return live.carried(Fraction(begin, segments.timescale), Fraction(end, segments.timescale))


def id3_tags(
    request: Request, segments: SegmentList, index: int, until: int
) -> list[list[tuple[int, bytes]]] | None:
    """(when it counts, 90 kHz, and its bytes) of each ID3 tag in the transport streams of segments
    ``index`` to ``until``; None where no program has any."""
    live = request.live
    if live is None or live.carried is None:
        return None
    return [
        [
            (unwrapped_time(one.time, one.timescale), one.data)
            for one in events_in(live, segments, at)
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
    head, live = parts[0], request.live
    if live is None or not carries_events(request.presentation, rendition):
        return parts
    boxes = [_box(one) for one in events_in(live, segments, index)]
    if not boxes or not isinstance(head, Inline):
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
