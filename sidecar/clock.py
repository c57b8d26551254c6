"""The only module that reads a clock. Below service/, "now" is an argument."""

from __future__ import annotations

import time


def now_ns() -> int:
    """Wall clock, nanoseconds since the Unix epoch."""
    return time.time_ns()


def monotonic_ns() -> int:
    """Monotonic clock for measuring spans, nanoseconds."""
    return time.monotonic_ns()
