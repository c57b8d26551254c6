"""Damaged streams give results or our errors, in bounded time and memory."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import MediaError
from sidecar.live.headers import read_header
from sidecar.live.model import Fragment, Header, Incoming
from sidecar.live.parser import StreamParser
from sidecar.live.rows import pack_samples
from tests.support.encoder import stream

KINDS = ["smooth", "samples in moov", "file offsets", "chunks"]
# Seconds of a processor for less than 30 kB: far from what a quadratic step would take.
PATIENCE = 2.0


def take(data: bytes) -> MediaError | None:
    """Parses ``data`` and looks at all that comes; the error, if it is ours."""
    begin = time.thread_time()
    try:
        parser = StreamParser()
        for one in parser.feed(data):
            check(one)
        for one in parser.finish():
            check(one)
    except MediaError as error:
        assert error.offset is None or 0 <= error.offset <= len(data)
        return error
    finally:
        assert time.thread_time() - begin < PATIENCE
    return None


def check(one: Incoming) -> None:
    """What is handed on must hold, however odd it is."""
    if isinstance(one, Header):
        assert one.tracks
        assert read_header(one.data).digest == one.digest
    elif isinstance(one, Fragment):
        for track in one.tracks:
            samples = track.samples
            assert len(samples.size) >= 1
            assert int(samples.offset.min()) >= one.moof
            assert int((samples.offset + samples.size).max()) <= len(one.data)
            assert track.duration == int(samples.duration.sum(dtype=int)) > 0
            assert abs(track.time) < 1 << 62
            pack_samples(samples)


@pytest.mark.parametrize("name", KINDS)
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_changed_bytes(name: str, data: st.DataObject) -> None:
    """Changes are where boxes are rather than in media, which nobody looks at."""
    whole = bytearray(stream(name)[:30_000])
    boxes = [at for at in _places(bytes(whole)) if at < len(whole)]
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.sampled_from(boxes))
        whole[at] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, whole[at] ^ 1]))
    take(bytes(whole))


@pytest.mark.parametrize("name", KINDS)
@settings(deadline=None, max_examples=60)
@given(at=st.integers(0, 30_000), length=st.integers(1, 300), insert=st.binary(max_size=40))
def test_lost_and_inserted_bytes(name: str, at: int, length: int, insert: bytes) -> None:
    whole = stream(name)[:30_000]
    take(whole[:at] + insert + whole[at + length :])


@pytest.mark.parametrize("name", KINDS)
def test_every_truncation_within_boxes_is_told(name: str) -> None:
    whole = stream(name)[:30_000]
    ends = set()
    at = 0
    while at < len(whole):
        at += int.from_bytes(whole[at : at + 4], "big")
        ends.add(at)
    places = [place for place in _places(whole) if place < len(whole)]
    for cut in sorted({*places[::7], *(end for end in ends if end < len(whole))}):
        error = take(whole[:cut])
        if cut not in ends and cut:
            assert error is not None
            assert "early" in error.sentence or "should be" in error.sentence


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=300))
def test_garbage(data: bytes) -> None:
    take(data)


def test_many_small_boxes_cost_linear_time_and_no_memory() -> None:
    header = stream("cmaf")[: stream("cmaf").index(b"moof") - 4]
    for small in (b"\0\0\0\x08free", b"\0\0\0\x08mfra", b"\0\0\0\x08mdat", b"\0\0\0\x08ftyp"):
        parser = StreamParser()
        list(parser.feed(header))
        begin = time.thread_time()
        tracemalloc.start()
        try:
            assert sum(1 for _ in parser.feed(small * 5000)) in (0, 5000)
            assert tracemalloc.get_traced_memory()[1] < 200_000
        finally:
            tracemalloc.stop()
        assert time.thread_time() - begin < PATIENCE


def _places(whole: bytes) -> list[int]:
    """Every byte of boxes that are read, of the first 16 bytes of others."""
    places: list[int] = []
    at = 0
    while at + 8 <= len(whole):
        size = int.from_bytes(whole[at : at + 4], "big")
        read = whole[at + 4 : at + 8] in (b"moov", b"moof", b"uuid", b"ftyp")
        places += range(at, at + (size if read else 16))
        at += size
    return places
