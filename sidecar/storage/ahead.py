"""Pieces of a file that will be read in their order, fetched before that, several at once."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from sidecar.storage.blocks import FetchSpan

# Pieces that are nearer than this come along with what lies between them.
_GAP = 32 << 10
# How many are on their way at once, at most so many bytes each.
_AHEAD = 32
_MOST = 1 << 20


class Ahead:
    """The pieces ``spans`` (first byte, the one after the last) of a file. For one thread.

    They are fetched in ``threads`` when the first of them is read, some at a time; those before
    what is read are forgotten.
    """

    def __init__(
        self, spans: Sequence[tuple[int, int]], fetch: FetchSpan, threads: ThreadPoolExecutor
    ) -> None:
        self._spans = _merged(spans)
        self._begin = [first for first, _ in self._spans]
        self._fetch = fetch
        self._threads = threads
        self._running: dict[int, Future[bytes]] = {}

    def read(self, first: int, end: int) -> bytes | None:
        """Those bytes, None when they are not in one piece. Raises what ``fetch`` raises."""
        at = bisect.bisect_right(self._begin, first) - 1
        if at < 0 or end > self._spans[at][1]:
            return None
        for before in [number for number in self._running if number < at]:
            self._running.pop(before).cancel()
        for number in range(at, min(at + _AHEAD, len(self._spans))):
            if number not in self._running:
                self._running[number] = self._threads.submit(self._fetch, *self._spans[number])
        start = self._begin[at]
        return self._running[at].result()[first - start : end - start]


def _merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, end in sorted(spans):
        if merged and first - merged[-1][1] <= _GAP and end - merged[-1][0] <= _MOST:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((first, end))
    return merged
