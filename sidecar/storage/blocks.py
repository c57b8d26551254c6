"""Blocks of files on other servers, kept in memory; each is requested once, whoever wants it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait

BLOCK = 256 << 10
# What is requested at once, in one piece; more goes over several connections.
_MOST = 4 << 20
_PARALLEL = 4

# ``fetch(first, end)``: those bytes of the file.
FetchSpan = Callable[[int, int], bytes]
_Key = tuple[Hashable, int]


class Blocks:
    """At most ``budget`` bytes; the blocks that were used least recently go. For several threads.

    Files are told apart by any key, which has to change with their content.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.nbytes = 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, bytes] = OrderedDict()
        self._running: dict[_Key, Future[bytes]] = {}
        self._threads = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="blocks")

    def read(self, key: Hashable, size: int, first: int, end: int, fetch: FetchSpan) -> bytes:
        """The bytes from ``first`` to ``end`` of the file ``key``, which has ``size``.

        What is missing is fetched in as few requests as its gaps allow, in parallel where it is
        much. Raises what ``fetch`` raises.
        """
        if first >= end:
            return b""
        numbers = range(first // BLOCK, (end - 1) // BLOCK + 1)
        found: dict[int, bytes] = {}
        others: dict[int, Future[bytes]] = {}
        mine: dict[int, Future[bytes]] = {}
        with self._lock:
            for number in numbers:
                block = self._kept.get((key, number))
                if block is not None:
                    self._kept.move_to_end((key, number))
                    found[number] = block
                elif (running := self._running.get((key, number))) is not None:
                    others[number] = running
                else:
                    mine[number] = self._running[key, number] = Future()
        if mine:
            self._fetch(key, size, mine, fetch)
        for number, future in (mine | others).items():
            found[number] = future.result()
        if len(numbers) == 1:
            at = first - numbers[0] * BLOCK
            return found[numbers[0]][at : at + end - first]
        data = b"".join([found[number] for number in numbers])
        at = first - numbers[0] * BLOCK
        return data[at : at + end - first]

    def kept(self, key: Hashable, first: int, end: int) -> bytes | None:
        """Those bytes of the file ``key``, None unless they are in one block that is kept."""
        number = first // BLOCK
        if end > (number + 1) * BLOCK:
            return None
        with self._lock:
            block = self._kept.get((key, number))
        at = first - number * BLOCK
        return None if block is None else block[at : at + end - first]

    def put(self, key: Hashable, size: int, first: int, data: bytes) -> None:
        """Keeps those blocks that are whole in ``data``, the bytes from ``first`` on."""
        end = first + len(data)
        number = -(-first // BLOCK)
        while number * BLOCK < end and min((number + 1) * BLOCK, size) <= end:
            at = number * BLOCK - first
            with self._lock:
                self._keep((key, number), data[at : at + BLOCK])
            number += 1

    def _fetch(
        self, key: Hashable, size: int, mine: dict[int, Future[bytes]], fetch: FetchSpan
    ) -> None:
        """Sets all futures of ``mine``."""
        spans = _spans(sorted(mine))
        try:
            running = [
                self._threads.submit(self._fetch_span, key, size, span, mine, fetch)
                for span in spans[1:]
            ]
            self._fetch_span(key, size, spans[0], mine, fetch)
            wait(running)
        finally:
            with self._lock:
                for number in mine:
                    self._running.pop((key, number), None)

    def _fetch_span(
        self,
        key: Hashable,
        size: int,
        span: range,
        mine: dict[int, Future[bytes]],
        fetch: FetchSpan,
    ) -> None:
        first, end = span[0] * BLOCK, min((span[-1] + 1) * BLOCK, size)
        try:
            data = fetch(first, end)
        except BaseException as error:
            for number in span:
                mine[number].set_exception(error)
            return
        for number in span:
            at = number * BLOCK - first
            block = data if len(data) <= BLOCK else data[at : at + BLOCK]
            with self._lock:
                self._keep((key, number), block)
            mine[number].set_result(block)

    def _keep(self, key: _Key, block: bytes) -> None:
        before = self._kept.pop(key, None)
        self.nbytes += len(block) - (len(before) if before is not None else 0)
        self._kept[key] = block
        while self.nbytes > self.budget and self._kept:
            self.nbytes -= len(self._kept.popitem(last=False)[1])


def _spans(numbers: list[int]) -> list[range]:
    """``numbers``, in order, as runs of neighbours that are requested in one piece each."""
    most = _MOST // BLOCK
    spans: list[range] = []
    for number in numbers:
        if spans and spans[-1].stop == number and len(spans[-1]) < most:
            spans[-1] = range(spans[-1].start, number + 1)
        else:
            spans.append(range(number, number + 1))
    return spans
