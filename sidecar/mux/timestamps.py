"""Timestamps of transport streams: 90 kHz, 33 bits, a fixed offset (ISO/IEC 13818-1 2.4.3.7)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FREQUENCY = 90_000
# Presentation time 0 stands 10 s after the origin, so that priming before it has a place too.
OFFSET = 900_000
MODULUS = 1 << 33


def unwrapped(ticks: NDArray[np.int64], timescale: int) -> NDArray[np.int64]:
    """Timestamps of ``ticks`` (int64[n], may be negative), not yet reduced to 33 bits.

    ``floor(ticks / timescale * 90000 + 1/2) + 900000``: monotonic, and exact where ``ticks`` since
    1970 times 90000 would leave 64 bits.
    """
    whole, rest = np.divmod(ticks, timescale)
    time: NDArray[np.int64] = (
        whole * FREQUENCY + (2 * rest * FREQUENCY + timescale) // (2 * timescale) + OFFSET
    )
    return time


def unwrapped_time(ticks: int, timescale: int) -> int:
    """The same of one time."""
    return (2 * ticks * FREQUENCY + timescale) // (2 * timescale) + OFFSET


def timestamp(ticks: int, timescale: int) -> int:
    """The 33-bit timestamp of one presentation time."""
    return unwrapped_time(ticks, timescale) % MODULUS
