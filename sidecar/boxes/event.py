"""Event messages: ``emsg`` beside fragments (ISO/IEC 23009-1 5.10.3.3), ``emib`` as samples of a
track (ISO/IEC 23001-18 6.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sidecar.boxes.leaf import Leaf
from sidecar.boxes.write import full_box
from sidecar.errors import UnsupportedMedia

# A section of SCTE-35 has 4 kB at most, a picture in an ID3 tag maybe more.
MAX_MESSAGE = 1 << 16
# Of a scheme or a value.
_MAX_NAME = 1 << 10
_V0 = struct.Struct(">IIII")
_V1 = struct.Struct(">IQII")
_INSTANCE = struct.Struct(">4xqII")
# Of event_duration: not known.
_UNKNOWN = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMessage:
    """``presentation_time``: ticks of ``timescale``; ``relative``: it counts from the earliest
    presentation time of the segment, or of the sample. ``timescale``: 0 where it is that of the
    track. ``event_duration``: ticks, None = not known."""

    scheme_id_uri: str
    value: str
    timescale: int
    presentation_time: int
    relative: bool
    event_duration: int | None
    id: int
    message_data: bytes


def read_emsg(leaf: Leaf) -> EventMessage:
    """The message of an ``emsg``. Raises ``InvalidMedia`` when it is damaged, ``UnsupportedMedia``
    for other versions than 0 and 1 and for what is longer than is taken."""
    version, _ = leaf.version_and_flags()
    if version == 1:
        timescale, time, duration, number = leaf.unpack(_V1, 4)
        scheme, at = _text(leaf, 4 + _V1.size)
        value, at = _text(leaf, at)
    elif version == 0:
        scheme, at = _text(leaf, 4)
        value, at = _text(leaf, at)
        timescale, time, duration, number = leaf.unpack(_V0, at)
        at += _V0.size
    else:
        raise UnsupportedMedia(
            f"an event message has version {version}", box_path=leaf.box_path, offset=leaf.offset
        )
    if not timescale:
        raise leaf.damaged("the timescale of an event message is 0")
    return EventMessage(
        scheme_id_uri=scheme,
        value=value,
        timescale=timescale,
        presentation_time=time,
        relative=version == 0,
        event_duration=None if duration == _UNKNOWN else duration,
        id=number,
        message_data=_message(leaf, at),
    )


def read_emib(leaf: Leaf) -> EventMessage:
    """The message of an ``emib``, which counts from its sample. Raises as ``read_emsg``."""
    delta, duration, number = leaf.unpack(_INSTANCE, 4)
    scheme, at = _text(leaf, 4 + _INSTANCE.size)
    value, at = _text(leaf, at)
    return EventMessage(
        scheme_id_uri=scheme,
        value=value,
        timescale=0,
        presentation_time=delta,
        relative=True,
        event_duration=None if duration == _UNKNOWN else duration,
        id=number,
        message_data=_message(leaf, at),
    )


def emsg_box(
    *,
    scheme_id_uri: str,
    value: str,
    timescale: int,
    presentation_time: int,
    event_duration: int | None,
    id: int,
    message_data: bytes,
) -> bytes:
    """An ``emsg`` of version 1; times in ticks of ``timescale``."""
    duration = _UNKNOWN if event_duration is None else min(event_duration, _UNKNOWN - 1)
    return full_box(
        b"emsg",
        1,
        0,
        _V1.pack(timescale, presentation_time, duration, id),
        scheme_id_uri.encode() + b"\0",
        value.encode() + b"\0",
        message_data,
    )


def _text(leaf: Leaf, at: int) -> tuple[str, int]:
    """The string at byte ``at`` of the body, and where what follows it begins."""
    begin = bytes(leaf.body[at : at + _MAX_NAME])
    length = begin.find(b"\0")
    if length < 0:
        raise leaf.damaged("a string of an event message does not end", at)
    return begin[:length].decode("utf-8", "replace"), at + length + 1


def _message(leaf: Leaf, at: int) -> bytes:
    size = len(leaf.body) - at
    if size > MAX_MESSAGE:
        raise UnsupportedMedia(
            f"an event message has {size} bytes, {MAX_MESSAGE} at the most are taken",
            box_path=leaf.box_path,
            offset=leaf.offset + at,
        )
    return bytes(leaf.body[at:])
