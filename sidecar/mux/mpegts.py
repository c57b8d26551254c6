"""Transport streams of one program, consecutive segments at a time (ISO/IEC 13818-1, RFC 8216 3.2).

Continuity counters need no memory of earlier segments. PAT and PMT come once in each, so their
counter is the segment's index. The packets of an elementary stream are a multiple of 16 in each
segment (``pes.Packed``), so that every segment begins at 0 where the one before ended at 15:
segments are continuous in any order, and each can be made alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sidecar.mux.annexb import START_CODE
from sidecar.mux.pes import BLOCK, Packed, PesStream, clock_reference, packed
from sidecar.mux.plan import Body, Composed, Inline
from sidecar.mux.psi import PACKET, StreamInfo, tables

VIDEO_PID = 0x100
AUDIO_PID = 0x101
TAG_PID = 0x102

_BLOCK = np.dtype((np.void, BLOCK))
_PACKET = np.dtype([("head", ">u4"), ("body", _BLOCK)])
_WHOLE = np.dtype((np.void, PACKET))
_HEAD_BYTES = PACKET - BLOCK
_TABLES = 2  # packets
# Times of one segment, 90 kHz, are further apart from those of the next in the order of sending.
_SEGMENT_SHIFT, _EARLIER = 56, 1 << 54
_Number = TypeVar("_Number", np.int64, np.uint32)

# The clock comes with every picture; where pictures are further apart, at least as often as this.
_CLOCK_INTERVAL = 8_100
_CLOCK_STEP = 7_200


def transport_streams(
    program: Sequence[tuple[int, StreamInfo]],
    streams: Sequence[PesStream],
    *,
    index: int,
    ends: Sequence[int],
) -> list[Body]:
    """The packets of segment ``index`` and of those after it, one for each of ``ends``.

    ``program``: PID and description of all elementary streams, whether or not a segment has any
    of their packets; the first carries the clock. ``streams``: those that there are packets of.
    ``ends``: 90 kHz, when the segment after each begins to be decoded. A segment is the same
    whichever others are made with it.
    """
    clock_pid, count = program[0][0], len(ends)
    psi = [tables(tuple(program), clock_pid, index + at & 15) for at in range(count)]
    if not streams:
        return [Inline(one) for one in psi]
    layout = packed(streams)
    clock, clock_segment = _clocks(clock_pid, streams, ends)
    sent = _sent(streams, layout, clock, clock_segment, count)
    heads = _packet_headers(streams, layout, sent, clock_pid)
    windows, origins = _stored(streams, layout, sent)
    rows, bodies = _composed(layout, sent, clock)
    codes = _start_codes(streams, layout, sent.payload)
    begin = sent.row[:count]
    cut_rows = np.searchsorted(rows, begin).tolist()
    cut_codes = np.searchsorted(codes, begin * PACKET).tolist()
    return [
        Composed(
            PACKET * (b - a),
            _Segment(
                psi=table,
                windows=windows,
                origins=origins[a:b],
                heads=heads[a:b],
                rows=rows[c:d] - a,
                bodies=bodies[c:d],
                codes=codes[e:f] - a * PACKET,
            ),
        )
        for table, (a, b), (c, d), (e, f) in zip(
            psi,
            itertools.pairwise([*begin.tolist(), len(heads)]),
            itertools.pairwise([*cut_rows, len(rows)]),
            itertools.pairwise([*cut_codes, len(codes)]),
            strict=True,
        )
    ]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Segment:
    """What puts the packets of a segment together when it is called.

    Packet i is ``windows[origins[i]]`` (no windows: anything) with the header ``heads[i]``;
    ``rows``, ``bodies``: packets that have another body; ``codes``: bytes at which a start code
    stands instead; ``psi``: the first packets.
    """

    psi: bytes
    windows: NDArray[np.void] | None
    origins: NDArray[np.int64]
    heads: NDArray[np.uint32]
    rows: NDArray[np.int64]
    bodies: NDArray[np.void]
    codes: NDArray[np.int64]

    def __call__(self) -> memoryview:
        if self.windows is None:
            packets = np.empty(len(self.heads), dtype=_PACKET)
        else:
            packets = self.windows[self.origins].view(_PACKET)
        packets["head"] = self.heads
        packets["body"][self.rows] = self.bodies
        raw = packets.view(np.uint8)
        if len(self.codes):
            # A packet's header may stand between two bytes of a start code.
            at = self.codes[:, np.newaxis] + np.arange(len(START_CODE))
            over = (self.codes % PACKET)[:, np.newaxis] + np.arange(len(START_CODE)) >= PACKET
            raw[at + _HEAD_BYTES * over] = tuple(START_CODE)
        raw[: len(self.psi)] = np.frombuffer(self.psi, dtype=np.uint8)
        return raw.data


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Sent:
    """What is sent when: the tables of each segment, then packets with the clock alone, then PES
    packets as in ``Packed``, as columns of length m.

    ``sequence``: their order; ``count``: packets of each, in that order; ``row``: the first packet
    of each; ``alone``, ``payload``: the parts of ``row`` that are the clock's and the PES packets'.
    """

    sequence: NDArray[np.int64]
    count: NDArray[np.int64]
    row: NDArray[np.int64]
    alone: NDArray[np.int64]
    payload: NDArray[np.int64]

    def spread(self, column: NDArray[_Number]) -> NDArray[_Number]:
        """``column`` (length m) for each packet."""
        return np.repeat(column[self.sequence], self.count)


def _sent(
    streams: Sequence[PesStream],
    layout: Packed,
    clock: NDArray[np.int64],
    clock_segment: NDArray[np.int64],
    segments: int,
) -> _Sent:
    every = np.arange(segments) << _SEGMENT_SHIFT
    # Of what is sent at the same time, what stands first here goes first.
    keys = [every - _EARLIER, clock + (clock_segment << _SEGMENT_SHIFT)]
    for stream in streams:
        if segments == 1:
            keys.append(stream.order)
        else:
            keys.append(stream.order + np.repeat(every, np.diff(stream.first)))
    sequence = np.argsort(np.concatenate(keys), kind="stable")
    before = segments + len(clock)
    count = np.ones(len(sequence), dtype=np.int64)
    count[:segments] = _TABLES
    count[before:] = layout.blocks
    count = count[sequence]
    row = np.empty_like(count)
    row[sequence] = np.cumsum(count) - count
    return _Sent(
        sequence=sequence,
        count=count,
        row=row,
        alone=row[segments:before],
        payload=row[before:],
    )


def _stored(
    streams: Sequence[PesStream], layout: Packed, sent: _Sent
) -> tuple[NDArray[np.void] | None, NDArray[np.int64]]:
    """(all stretches of a packet's length of what is stored of ``streams``, of one of them at the
    most, None = there is nothing; the index of that which each packet is a copy of)."""
    total = int(np.add.reduce(sent.count))
    data = next((one.stored.data for one in streams if one.stored is not None), b"")
    if len(data) < PACKET:
        return None, np.empty(total, dtype=np.int64)
    # Every packet is a copy of 188 bytes, the last 184 of which are those that it shall have: one
    # call copies all of a segment. Where they are not in the data, any bytes will do for now.
    windows = np.ndarray((len(data) - PACKET + 1,), _WHOLE, data, strides=(1,))
    origin = np.zeros(len(sent.row), dtype=np.int64)
    first = len(origin) - len(sent.payload)
    origin[first:] = layout.rest - _HEAD_BYTES - BLOCK * (sent.payload + layout.composed)
    begin = sent.spread(origin)
    begin += np.arange(0, total * BLOCK, BLOCK)
    np.clip(begin, 0, len(windows) - 1, out=begin)
    return windows, begin


def _composed(
    layout: Packed, sent: _Sent, clock: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.void]]:
    """(packets whose bodies are made, ascending; these bodies)."""
    body = b"".join([*map(_clock_block, clock.tolist()), layout.body])
    count = np.append(np.ones_like(clock), layout.composed) if len(clock) else layout.composed
    rows = _runs(sent.row[len(sent.row) - len(count) :], count)
    order = np.argsort(rows, kind="stable")
    return rows[order], np.frombuffer(body, dtype=_BLOCK)[order]


def _packet_headers(
    streams: Sequence[PesStream], layout: Packed, sent: _Sent, clock_pid: int
) -> NDArray[np.uint32]:
    """The first four bytes of each packet; of the tables, any."""
    before = len(sent.row) - len(sent.payload)
    # Continuity counters: each stream has a multiple of 16 packets, so one count serves them all.
    counter = np.zeros(len(sent.row), dtype=np.uint32)
    counter[before:] = np.cumsum(layout.blocks) - layout.blocks - sent.payload
    fixed = np.zeros(len(sent.row), dtype=np.uint32)
    for stream, (begin, end) in zip(streams, itertools.pairwise(layout.first), strict=True):
        fixed[before + begin : before + end] = 0x47000010 | stream.pid << 8
    head = sent.spread(counter)
    head += np.arange(len(head), dtype=np.uint32)
    head &= 15
    head |= sent.spread(fixed)

    head[sent.payload] |= np.where(layout.adapted, np.uint32(0x400020), np.uint32(0x400000))
    for at, length in layout.tail.items():
        stop = int(sent.payload[at] + layout.blocks[at])
        head[stop - length : stop] |= 0x20
    if len(sent.alone):
        counted = np.cumsum(head >> 8 & 0x1FFF == clock_pid)[sent.alone]
        head[sent.alone] = 0x47000020 | clock_pid << 8 | (counted - 1 & 15).astype(np.uint32)
    return head


def _start_codes(
    streams: Sequence[PesStream], layout: Packed, row: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The bytes, ascending, at which start codes take the place of the lengths that are stored,
    but those of PES packets with a tail."""
    found = [np.empty(0, dtype=np.int64)]
    for stream, begin in zip(streams, layout.first, strict=False):
        stored = stream.stored
        if stored is None or not len(stored.code):
            continue
        coded, code = stored.coded + begin, stored.code
        if layout.tail:
            whole = np.ones(layout.first[-1], dtype=np.bool_)
            whole[list(layout.tail)] = False
            coded, code = coded[whole[coded]], code[whole[coded]]
        block, within = np.divmod(layout.lead[coded] + code - stored.begin[coded - begin], BLOCK)
        found.append((block + row[coded]) * PACKET + _HEAD_BYTES + within)
    return np.sort(np.concatenate(found))


def _runs(first: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """``first[i]``, ``first[i] + 1`` .. ``first[i] + count[i] - 1`` for every i, in a row."""
    ends = np.cumsum(count)
    rows: NDArray[np.int64] = np.arange(int(ends[-1])) + np.repeat(first - (ends - count), count)
    return rows


def _clocks(
    clock_pid: int, streams: Sequence[PesStream], ends: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(times, 90 kHz; the segment of each) at which the clock is sent in a packet of its own."""
    own = next((stream for stream in streams if stream.pid == clock_pid), None)
    times: list[int] = []
    segments: list[int] = []
    if own is None or not _is_frequent(own, ends):
        for segment, end in enumerate(ends):
            found = _clock_between(own, streams, segment, end)
            times += found
            segments += [segment] * len(found)
    return np.array(times, dtype=np.int64), np.array(segments, dtype=np.int64)


def _is_frequent(stream: PesStream, ends: Sequence[int]) -> bool:
    """Whether every segment has PES packets of ``stream`` that come often enough for its clock."""
    dts = stream.dts
    if len(dts) > 1 and int((dts[1:] - dts[:-1]).max()) > _CLOCK_INTERVAL:
        return False
    return all(
        b > a and end - int(dts[b - 1]) <= _CLOCK_INTERVAL
        for (a, b), end in zip(itertools.pairwise(stream.first), ends, strict=True)
    )


def _clock_between(
    own: PesStream | None, streams: Sequence[PesStream], segment: int, end: int
) -> list[int]:
    """``own``: the stream that carries the clock."""
    times: list[int] = []
    if own is not None:
        times = own.dts[own.first[segment] : own.first[segment + 1]].tolist()
    found: list[int] = []
    if not times:
        # Whatever else there is in the segment comes behind the clock.
        firsts = [
            int(stream.order[stream.first[segment]])
            for stream in streams
            if stream.first[segment + 1] > stream.first[segment]
        ]
        if not firsts:
            return []
        times = found = [min(firsts) - 1]
    for time, following in itertools.pairwise([*times, max(end, times[-1])]):
        if following - time > _CLOCK_INTERVAL:
            found = found + list(range(time + _CLOCK_STEP, following, _CLOCK_STEP))
    return found


def _clock_block(time: int) -> bytes:
    """The body of a packet with an adaptation field only."""
    return (b"\xb7\x10" + clock_reference(time)).ljust(BLOCK, b"\xff")
