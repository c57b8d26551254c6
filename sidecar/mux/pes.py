"""PES packets in transport packets (ISO/IEC 13818-1 2.4.3), a whole segment at a time.

A PES packet fills whole transport packets: its stuffing stands in the adaptation field of the first
one, before the PES header. So the bodies of all packets are one string of 184-byte blocks, and
headers are columns.
"""

from __future__ import annotations

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
_FLAGS_BYTES = 2  # length, flags
_PTS_HEADER, _PTS_DTS_HEADER = 14, 19
_LONGEST_PACKET = 0xFFFF
# Packets whose number is a multiple of this leave the continuity counter where it was.
_CONTINUITY = 16
# A packet with one byte of payload: adaptation field of 182 bytes behind its length.
_ALMOST_ALL_STUFFING = b"\xb6\x00" + bytes([0xFF]) * 181
FILL = bytes([0xFF]) * (MOST_ADAPTATION + _PTS_DTS_HEADER + 64)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PesStream:
    """The PES packets of one elementary stream in a segment, as columns of equal length n >= 1.

    - ``pts``, ``dts``: int64[n], 90 kHz, not reduced to 33 bits.
    - ``order``: int64[n], 90 kHz: packets of all streams are sent by this; ascending.
    - ``size``: int64[n], bytes of payload; ``pieces``: the payload of each.
    - ``random_access``: bool[n], where a decoder can begin; None: not said.
    - ``has_pcr``: whether every PES packet carries the clock.
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
    """How the PES packets of a stream fill blocks of ``BLOCK`` bytes, columns of length n.

    ``adaptation``: bytes of the adaptation field in the first packet, length byte included, 0 =
    none. ``header``: bytes of the PES header. ``blocks``: packets of each, those of ``tail``
    included. ``tail``: bytes at the end of the last PES packet that get a packet each, so that the
    number of packets is a multiple of 16: counters start at 0 in every segment, and go on from the
    one before nevertheless, whichever that is.
    """

    stream: PesStream
    both: NDArray[np.bool_]
    adaptation: NDArray[np.int64]
    header: NDArray[np.int64]
    blocks: NDArray[np.int64]
    tail: int

    def body(self, at: int) -> list[Buffer]:
        """The blocks of PES packet ``at``: 0xFF where fields are written later, and its payload."""
        room = FILL[: int(self.adaptation[at]) + int(self.header[at])]
        pieces = [room, *self.stream.pieces[at]]
        if at + 1 < len(self.blocks) or not self.tail:
            return pieces
        whole = b"".join(pieces)
        cut = len(whole) - self.tail
        ends = [_ALMOST_ALL_STUFFING + whole[i : i + 1] for i in range(cut, len(whole))]
        return [whole[:cut], *ends]


def packed(stream: PesStream) -> Packed:
    """``stream`` laid out in blocks.

    Raises ``InvalidMedia`` for an audio PES packet longer than its length field can say.
    """
    size = stream.size
    both = stream.pts != stream.dts
    header = np.where(both, _PTS_DTS_HEADER, _PTS_HEADER)
    least = _PCR_BYTES if stream.has_pcr else 0
    adaptation = np.full(len(size), least)
    if not stream.has_pcr and stream.random_access is not None:
        adaptation[stream.random_access] = _FLAGS_BYTES
    # What the last packets may take away must not be the header's fields.
    if size[-1] < _CONTINUITY:
        header[-1] += _CONTINUITY - size[-1]
    need = adaptation + header + size
    blocks = -(-need // BLOCK)
    others = int(blocks[:-1].sum())
    last = int(need[-1])
    tail = next(
        count
        for count in range(_CONTINUITY + 1)
        if (others - (count - last) // BLOCK + count) % _CONTINUITY == 0
    )
    blocks[-1] = -((tail - last) // BLOCK)
    need[-1] -= tail
    adaptation += blocks * BLOCK - need
    blocks[-1] += tail
    # Stuffing that would push the header out of the first packet goes into the header.
    over = np.maximum(adaptation - MOST_ADAPTATION, 0)
    longest = int((header + over + size).max()) - 6
    if longest > _LONGEST_PACKET and stream.info.stream_id & 0xF0 != 0xE0:
        raise InvalidMedia(f"an audio PES packet of {longest} bytes is too long")
    return Packed(stream, both, adaptation - over, header + over, blocks, tail)


def write_headers(packets: NDArray[np.uint8], rows: NDArray[np.int64], packs: Packed) -> None:
    """Writes adaptation fields and PES headers into ``packets`` (uint8[m, 188]), of which ``rows``
    (int64[n]) are the first packets of the PES packets, filled with 0xFF there."""
    stream, adaptation = packs.stream, packs.adaptation
    held = np.flatnonzero(adaptation)
    packets[rows[held], 4] = adaptation[held] - 1
    held = np.flatnonzero(adaptation > 1)
    flags = np.full(len(held), 0x10 if stream.has_pcr else 0, dtype=np.uint8)
    if stream.random_access is not None:
        flags |= stream.random_access[held].astype(np.uint8) << 6
    packets[rows[held], 5] = flags
    if stream.has_pcr:
        packets[rows, 6:12] = clock_reference(stream.dts)
    length = packs.header + stream.size - 6
    length[length > _LONGEST_PACKET] = 0  # video: not said
    head = np.empty((len(rows), _PTS_HEADER), dtype=np.uint8)
    head[:, :3] = (0, 0, 1)
    head[:, 3] = stream.info.stream_id
    head[:, 4] = length >> 8
    head[:, 5] = length & 0xFF
    head[:, 6] = 0x84  # data_alignment_indicator
    head[:, 7] = np.where(packs.both, 0xC0, 0x80)
    head[:, 8] = packs.header - 9
    head[:, 9:] = _stamp(np.where(packs.both, 3, 2), stream.pts)
    column = 4 + adaptation[:, np.newaxis]
    packets[rows[:, np.newaxis], column + np.arange(_PTS_HEADER)] = head
    second = np.flatnonzero(packs.both)
    if len(second):
        column = column[second] + np.arange(_PTS_HEADER, _PTS_DTS_HEADER)
        packets[rows[second, np.newaxis], column] = _stamp(1, stream.dts[second])


def _stamp(prefix: NDArray[np.int64] | int, time: NDArray[np.int64]) -> NDArray[np.uint8]:
    """uint8[n, 5]: 33 bits with their markers (2.4.3.6)."""
    field = np.empty((len(time), 5), dtype=np.uint8)
    field[:, 0] = (prefix << 4) | (time >> 30 & 7) << 1 | 1
    field[:, 1] = time >> 22 & 0xFF
    field[:, 2] = (time >> 15 & 0x7F) << 1 | 1
    field[:, 3] = time >> 7 & 0xFF
    field[:, 4] = (time & 0x7F) << 1 | 1
    return field


# How long before its decoding a picture is sent: the time that a decoder's buffer holds.
_DELAY = 63_000


def clock_reference(dts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """uint8[n, 6]: program clock reference when what is decoded at ``dts`` is sent (2.4.3.5)."""
    base = dts - _DELAY
    field = np.empty((len(base), 6), dtype=np.uint8)
    field[:, 0] = base >> 25 & 0xFF
    field[:, 1] = base >> 17 & 0xFF
    field[:, 2] = base >> 9 & 0xFF
    field[:, 3] = base >> 1 & 0xFF
    field[:, 4] = (base & 1) << 7 | 0x7E
    field[:, 5] = 0
    return field
