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
# Room for both and the stuffing that either of them may get.
_HEAD_BYTES = MOST_ADAPTATION + _PTS_DTS_HEADER + 32


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

    def bodies(self) -> list[Sequence[Buffer]]:
        """The blocks of each PES packet, adaptation field to payload."""
        heads = _heads(self)
        rooms = (self.adaptation + self.header).tolist()
        bodies: list[Sequence[Buffer]] = [
            (heads[at : at + room], *pieces)
            for at, room, pieces in zip(
                range(0, len(heads), _HEAD_BYTES), rooms, self.stream.pieces, strict=True
            )
        ]
        if self.tail:
            whole = b"".join(bodies[-1])
            cut = len(whole) - self.tail
            ends = [_ALMOST_ALL_STUFFING + whole[i : i + 1] for i in range(cut, len(whole))]
            bodies[-1] = [whole[:cut], *ends]
        return bodies


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


def _heads(packs: Packed) -> bytes:
    """Adaptation field and PES header of each PES packet, in rows of ``_HEAD_BYTES`` bytes."""
    stream, adaptation = packs.stream, packs.adaptation
    heads = np.full((len(adaptation), _HEAD_BYTES), 0xFF, dtype=np.uint8)
    # What a shorter field has no room for, the PES header overwrites.
    heads[:, 0] = adaptation - 1 & 0xFF
    heads[:, 1] = 0x10 if stream.has_pcr else 0
    if stream.random_access is not None:
        heads[stream.random_access, 1] |= 0x40
    if stream.has_pcr:
        heads[:, 2:8] = clock_reference(stream.dts)
    length = packs.header + stream.size - 6
    length[length > _LONGEST_PACKET] = 0  # video: not said
    fixed = np.empty((len(heads), _PTS_DTS_HEADER), dtype=np.uint8)
    fixed[:, :3] = (0, 0, 1)
    fixed[:, 3] = stream.info.stream_id
    fixed[:, 4] = length >> 8
    fixed[:, 5] = length & 0xFF
    fixed[:, 6] = 0x84  # data_alignment_indicator
    fixed[:, 7] = np.where(packs.both, 0xC0, 0x80)
    fixed[:, 8] = packs.header - 9
    fixed[:, 9:14] = _stamp(np.where(packs.both, 0x31, 0x21), stream.pts)
    row = np.arange(0, heads.size, _HEAD_BYTES) + adaptation
    flat = heads.reshape(-1)
    count = _PTS_HEADER
    if packs.both.any():
        fixed[:, 14:] = _stamp(0x11, stream.dts)
        fixed[~packs.both, 14:] = 0xFF  # stuffing, or nothing
        count = _PTS_DTS_HEADER
    flat[row[:, np.newaxis] + np.arange(count)] = fixed[:, :count]
    return heads.tobytes()


def _stamp(prefix: NDArray[np.int64] | int, time: NDArray[np.int64]) -> NDArray[np.uint8]:
    """uint8[n, 5]: 33 bits with their markers (2.4.3.6), ``prefix`` with the first one."""
    field = np.empty((len(time), 5), dtype=np.uint8)
    field[:, 0] = time >> 29 & 0xE | prefix
    field[:, 1] = time >> 22 & 0xFF
    field[:, 2] = time >> 14 & 0xFE | 1
    field[:, 3] = time >> 7 & 0xFF
    field[:, 4] = time << 1 & 0xFE | 1
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
