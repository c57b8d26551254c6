"""A transport stream of one program, a segment at a time (ISO/IEC 13818-1, RFC 8216 3.2).

Continuity counters need no memory of earlier segments. PAT and PMT come once in each, so their
counter is the segment's index. The packets of an elementary stream are a multiple of 16 in each
segment (``pes.Packed``), so that every segment begins at 0 where the one before ended at 15:
segments are continuous in any order, and each can be made alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sidecar.mux.pes import BLOCK, Buffer, Packed, PesStream, clock_reference, packed
from sidecar.mux.psi import PACKET, StreamInfo, tables

VIDEO_PID = 0x100
AUDIO_PID = 0x101

_BLOCK = np.dtype((np.void, BLOCK))
_PACKET = np.dtype([("head", ">u4"), ("body", _BLOCK)])

# The clock comes with every picture; where pictures are further apart, at least as often as this.
_CLOCK_INTERVAL = 8_100
_CLOCK_STEP = 7_200


def transport_stream(
    program: Sequence[tuple[int, StreamInfo]],
    streams: Sequence[PesStream],
    *,
    index: int,
    end: int,
) -> memoryview:
    """The packets of segment ``index``.

    ``program``: PID and description of all elementary streams, whether or not the segment has any
    of their packets; the first carries the clock. ``streams``: those that it has packets of.
    ``end``: 90 kHz, when the segment after it begins to be decoded.
    """
    clock_pid = program[0][0]
    psi = tables(tuple(program), clock_pid, index & 15)
    if not streams:
        return memoryview(psi)
    layout = packed(streams)
    clock = _clock_between(clock_pid, streams, end)

    order = np.concatenate([*(stream.order for stream in streams), clock])
    # At the same time, the clock goes first and streams in their order.
    rank = np.arange(1, len(order) + 1)
    rank[layout.first[-1] :] = 0
    count = np.concatenate([layout.blocks, np.ones_like(clock)])
    sequence = np.lexsort((rank, order))
    # Where each PES packet begins, in packets; PAT and PMT come first.
    row = np.empty(len(sequence), dtype=np.int64)
    row[sequence] = 2 + np.cumsum(count[sequence]) - count[sequence]

    bodies = [*layout.body, *((_clock_block(time),) for time in clock)]
    pieces: list[Buffer] = []
    for at in sequence.tolist():
        pieces += bodies[at]
    body = np.frombuffer(b"".join(pieces), dtype=_BLOCK)

    packets = np.empty(2 + len(body), dtype=_PACKET)
    packets["body"][2:] = body
    head = _packet_headers(streams, layout, row, len(packets), clock_pid)
    packets["head"] = head
    raw = packets.view(np.uint8)
    raw[: 2 * PACKET] = np.frombuffer(psi, dtype=np.uint8)
    return raw.data


def _packet_headers(
    streams: Sequence[PesStream],
    layout: Packed,
    row: NDArray[np.int64],
    total: int,
    clock_pid: int,
) -> NDArray[np.uint32]:
    """uint32[total]: the first four bytes of each packet. ``row``: first packet of each PES packet,
    then packets with the clock alone."""
    head = np.zeros(total, dtype=np.uint32)
    first, last = layout.first, layout.first[-1]
    pid = np.repeat(
        np.array([0x47000010 | stream.pid << 8 for stream in streams], dtype=np.uint32),
        [int(np.add.reduce(layout.blocks[a:b])) for a, b in itertools.pairwise(first)],
    )
    every = _runs(row[:last], layout.blocks)
    # Each stream has a multiple of 16 packets, so one count serves them all.
    head[every] = pid | np.arange(len(every), dtype=np.uint32) & 15
    starts = row[:last]
    head[starts] |= 0x400000
    head[starts[layout.adapted]] |= 0x20
    for end, count in zip(first[1:], layout.tail, strict=True):
        if count:
            stop = int(row[end - 1] + layout.blocks[end - 1])
            head[stop - count : stop] |= 0x20
    alone = row[last:]
    if len(alone):
        before = np.cumsum(head >> 8 & 0x1FFF == clock_pid)[alone]
        head[alone] = 0x47000020 | clock_pid << 8 | (before - 1 & 15).astype(np.uint32)
    return head


def _runs(first: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """``first[i]``, ``first[i] + 1`` .. ``first[i] + count[i] - 1`` for every i, in a row."""
    ends = np.cumsum(count)
    rows: NDArray[np.int64] = np.arange(int(ends[-1])) + np.repeat(first - (ends - count), count)
    return rows


def _clock_between(clock_pid: int, streams: Sequence[PesStream], end: int) -> NDArray[np.int64]:
    """Times (90 kHz) at which the clock is sent in a packet of its own."""
    for stream in streams:
        if stream.pid == clock_pid:
            times = np.append(stream.dts, max(end, int(stream.dts[-1])))
            break
    else:
        first = min(int(stream.order[0]) for stream in streams)
        times = np.array([first - 1, max(end, first)])
    gaps = np.diff(times)
    alone = [
        np.arange(int(times[at]) + _CLOCK_STEP, int(times[at + 1]), _CLOCK_STEP)
        for at in np.flatnonzero(gaps > _CLOCK_INTERVAL).tolist()
    ]
    if not any(stream.pid == clock_pid for stream in streams):
        alone.insert(0, times[:1])
    return np.concatenate(alone) if alone else np.empty(0, dtype=np.int64)


def _clock_block(time: np.int64) -> bytes:
    """The body of a packet with an adaptation field only."""
    field = clock_reference(np.array([time], dtype=np.int64)).tobytes()
    return (b"\xb7\x10" + field).ljust(BLOCK, b"\xff")
