"""Writes decoder configurations bit by bit, for the tests of what reads them."""

from __future__ import annotations

import struct


class BitWriter:
    """Appends fields; ``bytes()`` pads with zeros to a whole byte."""

    def __init__(self) -> None:
        self.text = ""

    def bits(self, count: int, value: int) -> BitWriter:
        if count:
            self.text += f"{value:0{count}b}"
        return self

    def flag(self, value: bool = True) -> BitWriter:
        return self.bits(1, int(value))

    def ue(self, value: int) -> BitWriter:
        code = f"{value + 1:b}"
        self.text += "0" * (len(code) - 1) + code
        return self

    def se(self, value: int) -> BitWriter:
        return self.ue(2 * value - 1 if value > 0 else -2 * value)

    def bytes(self) -> bytes:
        padded = self.text + "0" * (-len(self.text) % 8)
        return int(f"1{padded}", 2).to_bytes(len(padded) // 8 + 1)[1:]


def nal_unit(header: bytes, payload: bytes) -> bytes:
    """A NAL unit around ``payload``, with emulation prevention, by the encoder's rule."""
    written = bytearray(header)
    zeros = 0
    for byte in payload:
        if zeros == 2 and byte <= 3:
            written.append(3)
            zeros = 0
        written.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(written)


def box(box_type: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), box_type) + body


def visual_entry(box_type: bytes, *children: bytes, size: tuple[int, int] = (64, 48)) -> bytes:
    fields = bytes(6) + b"\0\1" + bytes(16) + struct.pack(">HH", *size) + bytes(50)
    return box(box_type, fields + b"".join(children))


def sound_entry(
    box_type: bytes, *children: bytes, channels: int = 2, rate: int = 48000, version: int = 0
) -> bytes:
    fields = bytes(6) + b"\0\1" + struct.pack(">H6xHHHHI", version, channels, 16, 0, 0, rate << 16)
    return box(box_type, fields + b"".join(children))


def esds(object_type_indication: int, specific: bytes, *, long_lengths: bool = False) -> bytes:
    def descriptor(tag: int, body: bytes) -> bytes:
        length = bytes([len(body)])
        return bytes([tag]) + (b"\x80\x80\x80" + length if long_lengths else length) + body

    config = bytes([object_type_indication, 0x15]) + bytes(11)
    if specific:
        config += descriptor(5, specific)
    stream = b"\0\1\0" + descriptor(4, config) + descriptor(6, b"\2")
    return box(b"esds", bytes(4) + descriptor(3, stream))
