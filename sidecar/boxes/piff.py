"""PIFF: the ``uuid`` boxes of Smooth Streaming fragments ([MS-SSTR] 2.2.4.4)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from sidecar.boxes.write import box

TFXD = bytes.fromhex("6d1d9b0542d544e680e2141daff757b2")
TFRF = bytes.fromhex("d4807ef2ca3946958e5426cb9e46a79f")
LIVE_SERVER_MANIFEST = bytes.fromhex("a5d40b30e81411ddba2f0800200c9a66")

_TIMES = struct.Struct(">IQQ")
_COUNT = struct.Struct(">IB")
_FOLLOWING = struct.Struct(">QQ")
_LONG = 1 << 24  # version 1: times of 64 bits


def tfxd(absolute_time: int, duration: int) -> bytes:
    """TfxdBox: when the fragment begins and how long it lasts, ticks of the stream's TimeScale."""
    return box(b"uuid", TFXD, _TIMES.pack(_LONG, absolute_time, duration))


def tfrf(following: Sequence[tuple[int, int]]) -> bytes:
    """TfrfBox: (time, duration) of the fragments that come next, ticks of the stream's TimeScale;
    255 of them at the most."""
    entries = (_FOLLOWING.pack(*one) for one in following)
    return box(b"uuid", TFRF, _COUNT.pack(_LONG, len(following)), *entries)
