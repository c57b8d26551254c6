"""PES packets in transport packets (ISO/IEC 13818-1 2.4.3), a whole segment at a time.

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
# Room for both and the stuffing that either of them may get.
_HEAD_BYTES = MOST_ADAPTATION + _PTS_DTS_HEADER + 32


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PesStream:
    """The PES packets of one elementary stream in a segment, as columns of equal length n >= 1.

    - ``pts``, ``dts``: int64[n], 90 kHz, not reduced to 33 bits.
    - ``order``: int64[n], 90 kHz: packets of all streams are sent by this; ascending.
    - ``size``: int64[n], bytes of payload; ``pieces``: the payload of each.
    - ``has_pcr``: whether every PES packet carries the clock (video) and may be longer than its
      length field can say; ``random_access``: bool[n], where a decoder can begin; None: not said.
    """

    pid: int
    info: StreamInfo
    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    order: NDArray[np.int64]
    size: NDArray[np.int64]
    pieces: Sequence[Sequence[Buffer]]
    random_access: NDArray[np.bool_] | None = None
    has_pcr: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """How PES packets fill blocks of ``BLOCK`` bytes: those of all streams, one stream after the
    other, columns of length n.

    ``first``: int, index of the first one of each stream, and n. ``body``: the blocks of each,
    adaptation field to payload; ``blocks``: int64[n], how many they are. ``adapted``: bool[n],
    whether the first has an adaptation field. ``tail``: for each stream, how many bytes at the end
    of its last PES packet get a packet each, so that the number of its packets is a multiple of
    16: counters start at 0 in every segment, and go on from the one before nevertheless, whichever
    that is.
    """

    first: list[int]
    body: list[Sequence[Buffer]]
    blocks: NDArray[np.int64]
    adapted: NDArray[np.bool_]
    tail: list[int]


def packed(streams: Sequence[PesStream]) -> Packed:
    """The PES packets of ``streams`` (at least one) laid out in blocks.

    Raises ``InvalidMedia`` for an audio PES packet longer than its length field can say.
    """
    counts = [len(stream.size) for stream in streams]
    first = [0, *itertools.accumulate(counts)]
    size = np.concatenate([stream.size for stream in streams])
    pts = np.concatenate([stream.pts for stream in streams])
    dts = np.concatenate([stream.dts for stream in streams])
    both = pts != dts
    header = np.where(both, _PTS_DTS_HEADER, _PTS_HEADER)
    adaptation = np.repeat([_PCR_BYTES if stream.has_pcr else 0 for stream in streams], counts)
    # What the last packets may take away must not be the header's fields.
    for last in (end - 1 for end in first[1:]):
        header[last] += max(0, _CONTINUITY - int(size[last]))
    need = adaptation + header + size
    blocks = -(-need // BLOCK)
    tail = [_tail(blocks[a:b], int(need[b - 1])) for a, b in itertools.pairwise(first)]
    for end, count in zip(first[1:], tail, strict=True):
        need[end - 1] -= count
        blocks[end - 1] = -(-need[end - 1] // BLOCK)
    adaptation += blocks * BLOCK - need
    # Stuffing that would push the header out of the first packet goes into the header.
    over = np.maximum(adaptation - MOST_ADAPTATION, 0)
    adaptation -= over
    header += over
    length = header + size - 6
    for stream, (begin, end) in zip(streams, itertools.pairwise(first), strict=True):
        longest = int(length[begin:end].max())
        if longest > _LONGEST_PACKET:
            if not stream.has_pcr:
                raise InvalidMedia(f"an audio PES packet of {longest} bytes is too long")
            length[length > _LONGEST_PACKET] = 0  # not said
    heads = _heads(streams, counts, pts, dts, both, adaptation, header, length)
    body: list[Sequence[Buffer]] = [
        (heads[at : at + room], *pieces)
        for at, room, pieces in zip(
            range(0, len(heads), _HEAD_BYTES),
            (adaptation + header).tolist(),
            itertools.chain.from_iterable(stream.pieces for stream in streams),
            strict=True,
        )
    ]
    for end, count in zip(first[1:], tail, strict=True):
        if count:
            whole = b"".join(body[end - 1])
            cut = len(whole) - count
            ends = [_ALMOST_ALL_STUFFING + whole[at : at + 1] for at in range(cut, len(whole))]
            body[end - 1] = [whole[:cut], *ends]
            blocks[end - 1] += count
    return Packed(first, body, blocks, adaptation > 0, tail)


def _tail(blocks: NDArray[np.int64], last: int) -> int:
    """How many of the ``last`` bytes of a stream's last PES packet must get a packet each, where
    its PES packets fill ``blocks``, for the sum to be a multiple of 16."""
    others = int(np.add.reduce(blocks)) - int(blocks[-1])
    # One byte more adds a packet, and at most once in so few bytes takes one away.
    for count in range(_CONTINUITY):
        if (others - (count - last) // BLOCK + count) % _CONTINUITY == 0:
            return count
    return _CONTINUITY


def _heads(
    streams: Sequence[PesStream],
    counts: Sequence[int],
    pts: NDArray[np.int64],
    dts: NDArray[np.int64],
    both: NDArray[np.bool_],
    adaptation: NDArray[np.int64],
    header: NDArray[np.int64],
    length: NDArray[np.int64],
) -> bytes:
    """Adaptation field and PES header of each PES packet, in rows of ``_HEAD_BYTES`` bytes."""
    heads = np.full((len(pts), _HEAD_BYTES), 0xFF, dtype=np.uint8)
    # What a shorter field has no room for, the PES header overwrites.
    heads[:, 0] = adaptation - 1
    begin = 0
    for stream, count in zip(streams, counts, strict=True):
        rows = heads[begin : begin + count]
        rows[:, 1] = 0x10 if stream.has_pcr else 0
        if stream.has_pcr:
            rows[:, 2:8] = clock_reference(stream.dts)
            if stream.random_access is not None:
                rows[stream.random_access, 1] |= 0x40
        begin += count
    fixed = np.empty((len(heads), _PTS_DTS_HEADER), dtype=np.uint8)
    fixed[:, :3] = (0, 0, 1)
    fixed[:, 3] = np.repeat([stream.info.stream_id for stream in streams], counts)
    fixed[:, 4] = length >> 8
    fixed[:, 5] = length
    fixed[:, 6] = 0x84  # data_alignment_indicator
    fixed[:, 7] = np.where(both, 0xC0, 0x80)
    fixed[:, 8] = header - 9
    fixed[:, 9:14] = _stamp(np.where(both, 0x31, 0x21), pts)
    row = np.arange(0, heads.size, _HEAD_BYTES) + adaptation
    flat = heads.reshape(-1)
    count = _PTS_HEADER
    if both.any():
        fixed[:, 14:] = _stamp(0x11, dts)
        fixed[~both, 14:] = 0xFF  # stuffing, or nothing
        count = _PTS_DTS_HEADER
    flat[row[:, np.newaxis] + np.arange(count)] = fixed[:, :count]
    return heads.tobytes()


def _stamp(prefix: NDArray[np.int64] | int, time: NDArray[np.int64]) -> NDArray[np.uint8]:
    """uint8[n, 5]: 33 bits with their markers (2.4.3.6), ``prefix`` with the first one."""
    field = np.empty((len(time), 5), dtype=np.uint8)
    field[:, 0] = time >> 29 & 0xE | prefix
    field[:, 1] = time >> 22
    field[:, 2] = time >> 14 & 0xFE | 1
    field[:, 3] = time >> 7
    field[:, 4] = time << 1 & 0xFE | 1
    return field


# How long before its decoding a picture is sent: the time that a decoder's buffer holds.
_DELAY = 63_000


def clock_reference(dts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """uint8[n, 6]: program clock reference when what is decoded at ``dts`` is sent (2.4.3.5)."""
    base = dts - _DELAY
    field = np.empty((len(base), 6), dtype=np.uint8)
    field[:, 0] = base >> 25  # assignment keeps the lowest eight bits
    field[:, 1] = base >> 17
    field[:, 2] = base >> 9
    field[:, 3] = base >> 1
    field[:, 4] = (base & 1) << 7 | 0x7E
    field[:, 5] = 0
    return field
