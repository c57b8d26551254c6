"""Pieces that will be read are fetched before, in parallel, and forgotten behind the reader."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sidecar.storage.ahead import Ahead

DATA = random.Random(9).randbytes(8 << 20)
SPANS = [(at, at + 5000) for at in range(0, len(DATA) - 5000, 100_000)]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads


def test_pieces_come_once_and_several_at_a_time(threads: ThreadPoolExecutor) -> None:
    asked: list[tuple[int, int]] = []
    together = threading.Barrier(16)

    def fetch(first: int, end: int) -> bytes:
        asked.append((first, end))
        if len(asked) <= 16:
            together.wait(60)
        return DATA[first:end]

    ahead = Ahead(SPANS, fetch, threads)
    assert not asked
    for first, end in SPANS:
        assert ahead.read(first + 7, end - 7) == DATA[first + 7 : end - 7]
        assert ahead.read(first, end) == DATA[first:end]
        assert len(ahead._running) <= 32
    assert sorted(asked) == SPANS


def test_what_is_not_in_a_piece(threads: ThreadPoolExecutor) -> None:
    ahead = Ahead([(100, 200)], lambda first, end: DATA[first:end], threads)
    assert ahead.read(0, 10) is None
    assert ahead.read(150, 201) is None
    assert ahead.read(99, 101) is None
    assert ahead.read(100, 200) == DATA[100:200]
    assert Ahead([], lambda first, end: b"", threads).read(0, 1) is None


def test_neighbours_come_together(threads: ThreadPoolExecutor) -> None:
    asked: list[tuple[int, int]] = []

    def fetch(first: int, end: int) -> bytes:
        asked.append((first, end))
        return DATA[first:end]

    ahead = Ahead([(5000, 6000), (0, 100), (20_000, 30_000), (200_000, 200_001)], fetch, threads)
    assert ahead.read(50, 29_000) == DATA[50:29_000]
    assert ahead.read(200_000, 200_001) == DATA[200_000:200_001]
    assert sorted(asked) == [(0, 30_000), (200_000, 200_001)]


def test_failures_are_told(threads: ThreadPoolExecutor) -> None:
    def fetch(first: int, end: int) -> bytes:
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        Ahead(SPANS, fetch, threads).read(0, 1)
