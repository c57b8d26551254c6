"""Bytes of boxes that are built here (ISO/IEC 14496-12 4.2)."""

from __future__ import annotations

import struct
from collections.abc import Iterable


def box(box_type: bytes, *payload: bytes | memoryview) -> bytes:
    """A box of ``box_type`` around ``payload``; 64-bit size when it does not fit 32 bits."""
    size = 8 + sum(map(len, payload))
    if size <= 0xFFFFFFFF:
        return b"".join((struct.pack(">I4s", size, box_type), *payload))
    return b"".join((struct.pack(">I4sQ", 1, box_type, size + 8), *payload))


def full_box(box_type: bytes, version: int, flags: int, *payload: bytes) -> bytes:
    """A full box: ``version`` (8 bits) and ``flags`` (24 bits) before ``payload``."""
    return box(box_type, struct.pack(">I", version << 24 | flags), *payload)


def boxed(box_type: bytes, pieces: Iterable[bytes | memoryview]) -> list[bytes | memoryview]:
    """The header of a box of ``box_type`` around ``pieces``, then these: nothing is copied.

    Memoryviews must be of bytes.
    """
    listed = list(pieces)
    size = 8 + sum(map(len, listed))
    if size <= 0xFFFFFFFF:
        return [struct.pack(">I4s", size, box_type), *listed]
    return [struct.pack(">I4sQ", 1, box_type, size + 8), *listed]
