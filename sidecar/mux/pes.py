"""PES packets in transport packets (ISO/IEC 13818-1 2.4.3), whole segments at a time.

A PES packet fills whole transport packets: its stuffing stands in the adaptation field of the first
one, before the PES header. So the bodies of all packets are one string of 184-byte blocks, and
headers are columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sidecar.errors import InvalidMedia
from sidecar.mux.annexb import START_CODE
from sidecar.mux.psi import StreamInfo

BLOCK = 184
Buffer = bytes | bytearray | memoryview

# An adaptation field, its length byte included, that leaves room for any PES header behind it.
MOST_ADAPTATION = 164
_PCR_BYTES = 8  # length, flags, PCR
_PTS_HEADER, _PTS_DTS_HEADER = 14, 19
_LONGEST_PACKET = 0xFFFF
# Packets whose number is a multiple of this leave the continuity counter where it was.
_CONTINUITY = 16
# A packet with one byte of payload: adaptation field of 182 bytes behind its length.
_ALMOST_ALL_STUFFING = b"\xb6\x00" + bytes([0xFF]) * 181
_NO_CLOCK = 0xFFFFFFFFFFFF
# Rows of adaptation fields and of PES headers, in 64-bit words: room for the stuffing that either
# of them may get.
_FIELD_WORDS, _HEADER_WORDS = 21, 8
_FIELD_BYTES, _HEADER_BYTES = 8 * _FIELD_WORDS, 8 * _HEADER_WORDS


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """Payload that is left where it is, which saves copying it once more.

    Payload i goes on with ``data[begin[i] : end[i]]`` (int64[n], from 4 on). ``coded``, ``code``:
    int64[m]: in payload ``coded[j]``, ``START_CODE`` takes the place of the four bytes at
    ``data[code[j]]``.
    """

    data: bytes | bytearray
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    coded: NDArray[np.int64]
    code: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PesStream:
    """The PES packets of one elementary stream in consecutive segments, as columns of equal length
    n >= 1.

    - ``first``: index of the first one of each segment, and n.
    - ``pts``, ``dts``: int64[n], 90 kHz, not reduced to 33 bits.
    - ``order``: int64[n], 90 kHz: packets of all streams are sent by this; ascending.
    - ``size``: int64[n], bytes of payload; ``pieces``: what the payload of each begins with;
      ``stored``: the rest of it, None: there is no more.
    - ``has_pcr``: whether every PES packet carries the clock (video) and may be longer than its
      length field can say; ``random_access``: bool[n], where a decoder can begin; None: not said.
    """

    pid: int
    info: StreamInfo
    first: Sequence[int]
    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    order: NDArray[np.int64]
    size: NDArray[np.int64]
    pieces: Sequence[Sequence[Buffer]]
    stored: Stored | None = None
    random_access: NDArray[np.bool_] | None = None
    has_pcr: bool = False


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Packed:
    """How PES packets fill blocks of ``BLOCK`` bytes: those of all streams, one stream after the
    other, columns of length n.

    ``first``: index of the first one of each stream, and n. ``blocks``: int64[n], how many blocks
    each fills; of these the first ``composed`` (int64[n]) are made, one behind the other in
    ``body``, and the others are the bytes from ``rest`` (int64[n]) on of what is stored of its
    stream. ``lead``: int64[n], bytes before what is stored. ``adapted``: bool[n], whether the
    first block begins with an adaptation field. ``tail``: how many blocks at the end of some PES
    packets, by their index, have one byte each, so that the number of packets of a stream in a
    segment is a multiple of 16: counters start at 0 in every segment, and go on from the one
    before nevertheless, whichever that is.
    """

    first: list[int]
    blocks: NDArray[np.int64]
    composed: NDArray[np.int64]
    body: bytes
    rest: NDArray[np.int64]
    lead: NDArray[np.int64]
    adapted: NDArray[np.bool_]
    tail: dict[int, int]


def packed(streams: Sequence[PesStream]) -> Packed:
    """The PES packets of ``streams`` (at least one) laid out in blocks.

    Raises ``InvalidMedia`` for an audio PES packet longer than its length field can say.
    """
    counts = [len(stream.size) for stream in streams]
    first = [0, *itertools.accumulate(counts)]
    size = np.concatenate([stream.size for stream in streams])
    pts = np.concatenate([stream.pts for stream in streams])
    dts = np.concatenate([stream.dts for stream in streams])
    has_pcr = np.repeat([stream.has_pcr for stream in streams], counts)
    last = np.array(
        [
            base + end - 1
            for stream, base in zip(streams, first, strict=False)
            for begin, end in itertools.pairwise(stream.first)
            if end > begin
        ]
    )
    both = pts != dts
    header = np.where(both, _PTS_DTS_HEADER, _PTS_HEADER)
    adaptation = has_pcr * _PCR_BYTES
    # What the last packets may take away must not be the header's fields.
    header[last] += np.maximum(_CONTINUITY - size[last], 0)
    need = adaptation + header + size
    blocks = -(-need // BLOCK)
    tail = _tails(blocks, need, last)
    need[last] -= tail
    blocks[last] = -(-need[last] // BLOCK)
    adaptation += blocks * BLOCK - need
    # Stuffing that would push the header out of the first packet goes into the header.
    over = np.maximum(adaptation - MOST_ADAPTATION, 0)
    adaptation -= over
    header += over
    length = header + size - 6
    too_long = length > _LONGEST_PACKET
    if np.count_nonzero(too_long):
        if np.count_nonzero(too_long & ~has_pcr):
            longest = int(length[~has_pcr].max())
            raise InvalidMedia(f"an audio PES packet of {longest} bytes is too long")
        length[too_long] = 0  # not said
    fields = _adaptation_fields(streams, first, adaptation)
    headers = _pes_headers(streams, counts, pts, dts, both, header, length)
    blocks[last] += tail

    lead = adaptation + header + size
    composed, rest = blocks.copy(), np.zeros_like(blocks)
    cut = dict(zip(last[tail > 0].tolist(), tail[tail > 0].tolist(), strict=True))
    bodies: list[tuple[Buffer, ...]] = []
    for stream, (begin, end) in zip(streams, itertools.pairwise(first), strict=True):
        heads = zip(
            range(begin * _FIELD_BYTES, end * _FIELD_BYTES, _FIELD_BYTES),
            adaptation[begin:end].tolist(),
            range(begin * _HEADER_BYTES, end * _HEADER_BYTES, _HEADER_BYTES),
            header[begin:end].tolist(),
            stream.pieces,
            strict=True,
        )
        if stream.stored is None:
            bodies += [
                (fields[a : a + room], headers[b : b + more], *own)
                for a, room, b, more, own in heads
            ]
            continue
        stored = stream.stored
        lead[begin:end] -= stored.end - stored.begin
        composed[begin:end] = -(-lead[begin:end] // BLOCK)
        until = stored.begin + composed[begin:end] * BLOCK - lead[begin:end]
        for at in cut:
            if begin <= at < end:
                composed[at], until[at - begin] = blocks[at], stored.end[at - begin]
        rest[begin:end] = until
        data = stored.data
        bodies += [
            (fields[a : a + room], headers[b : b + more], *own, data[begins:ends])
            for (a, room, b, more, own), begins, ends in zip(
                heads, stored.begin.tolist(), until.tolist(), strict=True
            )
        ]
        for at in cut:
            if begin <= at < end:
                whole = bytearray(b"".join(bodies[at]))
                for code in stored.code[stored.coded == at - begin].tolist():
                    position = int(lead[at]) + code - int(stored.begin[at - begin])
                    whole[position : position + 4] = START_CODE
                bodies[at] = (whole,)
    for at, count in cut.items():
        bodies[at] = tuple(_with_tail(b"".join(bodies[at]), count))
    return Packed(
        first=first,
        blocks=blocks,
        composed=composed,
        body=b"".join(itertools.chain.from_iterable(bodies)),
        rest=rest,
        lead=lead,
        adapted=adaptation > 0,
        tail=cut,
    )


def _tails(
    blocks: NDArray[np.int64], need: NDArray[np.int64], last: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many bytes of the PES packets ``last`` must get a packet each, for those of a segment to
    fill a multiple of 16.

    ``last``: those that end a stream's part of a segment; ``blocks``, ``need`` (bytes): of all.
    """
    begin = np.empty_like(last)
    begin[0], begin[1:] = 0, last[:-1] + 1
    others = np.add.reduceat(blocks, begin) - blocks[last]
    counts = [
        _tail(other, bytes_)
        for other, bytes_ in zip(others.tolist(), need[last].tolist(), strict=True)
    ]
    return np.array(counts)


def _tail(others: int, need: int) -> int:
    # One byte more adds a packet, and at most once in so few bytes takes one away.
    for count in range(_CONTINUITY):
        if (others - (count - need) // BLOCK + count) % _CONTINUITY == 0:
            return count
    return _CONTINUITY


def _with_tail(body: bytes, count: int) -> list[bytes]:
    cut = len(body) - count
    return [body[:cut]] + [_ALMOST_ALL_STUFFING + body[at : at + 1] for at in range(cut, len(body))]


def _adaptation_fields(
    streams: Sequence[PesStream], first: Sequence[int], adaptation: NDArray[np.int64]
) -> bytes:
    """The adaptation field of each PES packet, in rows of ``_FIELD_BYTES`` bytes that end in
    stuffing; of a shorter field, the PES header overwrites what it has no room for."""
    field = adaptation - 1 << 56
    for stream, (begin, end) in zip(streams, itertools.pairwise(first), strict=True):
        field[begin:end] += _clock_word(stream.dts) + (0x10 << 48) if stream.has_pcr else _NO_CLOCK
        if stream.random_access is not None:
            field[begin:end] += stream.random_access * (0x40 << 48)
    words = np.full((len(field), _FIELD_WORDS), -1, dtype=np.int64)
    words.view(">i8")[:, 0] = field
    return words.tobytes()


def _pes_headers(
    streams: Sequence[PesStream],
    counts: Sequence[int],
    pts: NDArray[np.int64],
    dts: NDArray[np.int64],
    both: NDArray[np.bool_],
    header: NDArray[np.int64],
    length: NDArray[np.int64],
) -> bytes:
    """The header of each PES packet, in rows of ``_HEADER_BYTES`` bytes that end in stuffing."""
    words = np.full((len(pts), _HEADER_WORDS), -1, dtype=np.int64)
    column = words.view(">i8")
    # packet_start_code_prefix, stream_id, length, data_alignment_indicator, PTS_DTS_flags
    fixed = np.repeat([0x100_0000_8480 | one.info.stream_id << 32 for one in streams], counts)
    column[:, 0] = fixed + (length << 16) + both * 0x40
    presented, decoded = _stamp(np.stack((pts, dts)))
    presented += 0x2100010001 + both * (0x10 << 32)
    decoded = np.where(both, decoded + 0x1100010001, -1)
    column[:, 1] = (header - 9 << 56) + (presented << 16) + (decoded >> 24 & 0xFFFF)
    column[:, 2] = decoded << 40 | 0xFFFFFFFFFF
    return words.tobytes()


def _stamp(time: NDArray[np.int64]) -> NDArray[np.int64]:
    """40 bits: the 33 bits of each ``time`` where a PES header has them (2.4.3.6), no markers."""
    stamp: NDArray[np.int64] = (time & 0x1C0000000) << 3
    stamp += (time & 0x3FFF8000) << 2
    stamp += (time & 0x7FFF) << 1
    return stamp


# How long before its decoding a picture is sent: the time that a decoder's buffer holds.
_DELAY = 63_000


def _clock_word(dts: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[n], 48 bits: program clock reference when what is decoded at ``dts`` is sent
    (2.4.3.5)."""
    word: NDArray[np.int64] = ((dts - _DELAY & 0x1FFFFFFFF) << 15) + 0x7E00
    return word


def clock_reference(dts: int) -> bytes:
    """The six bytes of the same."""
    return int(_clock_word(np.array([dts]))[0]).to_bytes(6)
