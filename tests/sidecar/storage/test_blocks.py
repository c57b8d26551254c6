"""Blocks are fetched once, in few pieces, and forgotten within a budget."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sidecar.storage.blocks import BLOCK, Blocks

DATA = random.Random(5).randbytes(3 * BLOCK + 1234)


class Remote:
    """``fetch`` of DATA, which notes what it is asked for, and waits when told to."""

    def __init__(self, data: bytes = DATA) -> None:
        self.data = data
        self.asked: list[tuple[int, int]] = []
        self.fails: Exception | None = None
        self.entered = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def __call__(self, first: int, end: int) -> bytes:
        self.asked.append((first, end))
        self.entered.set()
        assert self.go.wait(60)
        if self.fails is not None:
            raise self.fails
        return self.data[first:end]


@pytest.mark.parametrize(
    ("first", "end"),
    [
        (0, 1),
        (0, BLOCK),
        (BLOCK - 1, BLOCK + 1),
        (10, len(DATA)),
        (len(DATA) - 1, len(DATA)),
        (5, 5),
    ],
)
def test_exactly_what_is_asked_for(first: int, end: int) -> None:
    blocks, remote = Blocks(1 << 30), Remote()
    for _ in range(2):
        assert blocks.read("a", len(DATA), first, end, remote) == DATA[first:end]
    assert len(remote.asked) == (1 if end > first else 0)


def test_only_what_is_missing_is_fetched() -> None:
    blocks, remote = Blocks(1 << 30), Remote()
    blocks.read("a", len(DATA), BLOCK, BLOCK + 1, remote)
    blocks.read("a", len(DATA), 0, len(DATA), remote)
    assert remote.asked[0] == (BLOCK, 2 * BLOCK)
    assert sorted(remote.asked[1:]) == [(0, BLOCK), (2 * BLOCK, len(DATA))]


def test_other_content_is_other_blocks() -> None:
    blocks, one, two = Blocks(1 << 30), Remote(), Remote(DATA[::-1])
    assert blocks.read("a", len(DATA), 0, 9, one) == DATA[:9]
    assert blocks.read("b", len(DATA), 0, 9, two) == DATA[::-1][:9]


def test_what_is_put_is_there() -> None:
    blocks, remote = Blocks(1 << 30), Remote()
    blocks.put("a", len(DATA), 0, DATA[: BLOCK + 7])
    assert blocks.read("a", len(DATA), 5, BLOCK, remote) == DATA[5:BLOCK]
    assert not remote.asked
    blocks.put("a", len(DATA), 2 * BLOCK, DATA[2 * BLOCK :])
    assert blocks.read("a", len(DATA), 2 * BLOCK, len(DATA), remote) == DATA[2 * BLOCK :]
    assert not remote.asked
    assert blocks.nbytes == 2 * BLOCK + len(DATA) - 2 * BLOCK - BLOCK


def test_one_flight_for_all() -> None:
    blocks, remote = Blocks(1 << 30), Remote()
    remote.go.clear()
    with ThreadPoolExecutor(8) as threads:
        reads = [threads.submit(blocks.read, "a", len(DATA), 0, 99, remote) for _ in range(8)]
        assert remote.entered.wait(60)
        remote.go.set()
        assert {read.result(60) for read in reads} == {DATA[:99]}
    assert remote.asked == [(0, BLOCK)]


def test_a_failure_is_told_to_all_and_not_kept() -> None:
    blocks, remote = Blocks(1 << 30), Remote()
    remote.fails = OSError("broken")
    for _ in range(2):
        with pytest.raises(OSError, match="broken"):
            blocks.read("a", len(DATA), 0, len(DATA), remote)
    remote.fails = None
    assert blocks.read("a", len(DATA), 0, len(DATA), remote) == DATA


def test_much_comes_in_several_pieces() -> None:
    data = bytes(20 << 20)
    blocks, remote = Blocks(1 << 30), Remote(data)
    assert blocks.read("a", len(data), 0, len(data), remote) == data
    assert len(remote.asked) == 5
    assert max(end - first for first, end in remote.asked) == 4 << 20


def test_the_budget_holds() -> None:
    blocks, remote = Blocks(2 * BLOCK), Remote()
    assert blocks.read("a", len(DATA), 0, len(DATA), remote) == DATA
    assert blocks.nbytes <= 2 * BLOCK
    blocks.read("a", len(DATA), len(DATA) - 1, len(DATA), remote)
    assert len(remote.asked) == 1
    blocks.read("a", len(DATA), 0, 1, remote)
    assert len(remote.asked) == 2
    assert blocks.nbytes <= 2 * BLOCK
