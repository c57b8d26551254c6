"""Media files whose samples lie in other files (ISO/IEC 14496-12 8.7.2)."""

from __future__ import annotations

import struct

from sidecar.boxes.write import box, full_box
from tests.support.isobmff import boxes

_PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"dinf")


def referring(data: bytes, location: bytes) -> bytes:
    """A file without media: the moov of ``data``, its samples where ``location`` says."""
    reference = full_box(b"dref", 0, 0, struct.pack(">I", 1), full_box(b"url ", 0, 0, location))
    pieces = [
        _with(data, body, end, name.encode(), reference)
        for name, body, end in boxes(data)
        if name in ("ftyp", "moov")
    ]
    return b"".join(pieces)


def _with(data: bytes, body: int, end: int, name: bytes, reference: bytes) -> bytes:
    if name == b"dref":
        return reference
    if name not in _PARENTS:
        return box(name, data[body:end])
    children = (_with(data, b, e, n.encode(), reference) for n, b, e in boxes(data, body, end))
    return box(name, *children)
