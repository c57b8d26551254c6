"""Fragments of encoders whose clocks do not agree with the lengths of their samples."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from tests.support.isobmff import boxes

_TFXD = bytes.fromhex("6d1d9b0542d544e680e2141daff757b2")


def moved(piece: bytes, ticks: Mapping[int, int]) -> bytes:
    """``piece`` with its fragments so many ``ticks`` later: track_ID -> ticks of the track."""
    data = bytearray(piece)
    for name, body, end in boxes(piece):
        if name != "moof":
            continue
        for child, start, stop in boxes(piece, body, end):
            if child == "traf":
                _move(data, piece, start, stop, ticks)
    return bytes(data)


def _move(data: bytearray, piece: bytes, start: int, stop: int, ticks: Mapping[int, int]) -> None:
    later = 0
    for name, body, _ in boxes(piece, start, stop):
        if name == "tfhd":
            later = ticks.get(struct.unpack_from(">I", piece, body + 4)[0], 0)
        elif name == "tfdt":
            _add(data, body, later)
        elif name == "uuid" and piece[body : body + 16] == _TFXD:
            _add(data, body + 16, later)


def _add(data: bytearray, at: int, later: int) -> None:
    """Adds to the time behind version and flags."""
    form = ">Q" if data[at] else ">I"
    (time,) = struct.unpack_from(form, data, at + 4)
    struct.pack_into(form, data, at + 4, time + later)
