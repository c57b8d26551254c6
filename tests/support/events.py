"""Event messages and splice information sections, bit by bit from their standards."""

from __future__ import annotations

import struct

from tests.support.bitwriter import BitWriter
from tests.support.boxes import box, full
from tests.support.mpegts import crc

SCTE35 = "urn:scte:scte35:2013:bin"
ID3 = "https://aomedia.org/emsg/ID3"


def section(command: int, body: bytes, descriptors: bytes = b"", **said: int) -> bytes:
    """A splice_info_section; ``said``: fields that are other than usual."""
    bits = BitWriter()
    bits.bits(8, said.get("protocol_version", 0))
    bits.flag(bool(said.get("encrypted", 0))).bits(6, 0).bits(33, said.get("pts_adjustment", 0))
    bits.bits(8, 0).bits(12, 0xFFF).bits(12, said.get("length", len(body))).bits(8, command)
    inner = bits.bytes() + body + struct.pack(">H", len(descriptors)) + descriptors
    head = bytes([0xFC]) + struct.pack(">H", 0x3000 | (len(inner) + 4)) + inner
    return head + crc(head).to_bytes(4)


def splice_time(pts: int | None) -> BitWriter:
    bits = BitWriter()
    if pts is None:
        return bits.flag(False).bits(7, 0x7F)
    return bits.flag(True).bits(6, 0x3F).bits(33, pts)


def splice_insert(
    event_id: int,
    *,
    out: bool = True,
    duration: int | None = None,
    auto_return: bool = True,
    pts: int | None = 0,
    cancel: bool = False,
    **said: int,
) -> bytes:
    """``duration``, ``pts``: ticks of 90 kHz."""
    bits = BitWriter().bits(32, event_id).flag(cancel).bits(7, 0x7F)
    if not cancel:
        bits.flag(out).flag(True).flag(duration is not None).flag(pts is None).bits(4, 0xF)
        if pts is not None:
            bits.text += splice_time(pts).text
        if duration is not None:
            bits.flag(auto_return).bits(6, 0x3F).bits(33, duration)
        bits.bits(16, 1).bits(8, 0).bits(8, 0)
    return section(5, bits.bytes(), **said)


def segmentation(
    event_id: int, type_id: int, *, duration: int | None = None, cancel: bool = False
) -> bytes:
    """A segmentation descriptor."""
    bits = BitWriter().bits(32, event_id).flag(cancel).bits(7, 0x7F)
    if not cancel:
        bits.flag(True).flag(duration is not None).flag(True).bits(5, 0x1F)
        if duration is not None:
            bits.bits(40, duration)
        bits.bits(8, 0).bits(8, 0).bits(8, type_id).bits(8, 0).bits(8, 0)
    body = b"CUEI" + bits.bytes()
    return bytes([2, len(body)]) + body


def time_signal(*descriptors: bytes, pts: int | None = 0, **said: int) -> bytes:
    return section(6, splice_time(pts).bytes(), b"".join(descriptors), **said)


def emsg(
    *,
    time: int,
    scheme: str = SCTE35,
    value: str = "",
    id: int = 1,
    timescale: int = 90_000,
    duration: int = 0xFFFFFFFF,
    data: bytes = b"",
    version: int = 1,
) -> bytes:
    """``time``: presentation time, of version 0 the delta."""
    names = scheme.encode() + b"\0" + value.encode() + b"\0"
    if version:
        numbers = struct.pack(">IQII", timescale, time, duration, id)
        return full(b"emsg", numbers, names, data, version=1)
    return full(b"emsg", names, struct.pack(">IIII", timescale, time, duration, id), data)


def emib(
    *,
    delta: int = 0,
    scheme: str = SCTE35,
    value: str = "",
    id: int = 1,
    duration: int = 0xFFFFFFFF,
    data: bytes = b"",
) -> bytes:
    names = scheme.encode() + b"\0" + value.encode() + b"\0"
    return full(b"emib", bytes(4), struct.pack(">qII", delta, duration, id), names, data)


def emeb() -> bytes:
    return box(b"emeb")
