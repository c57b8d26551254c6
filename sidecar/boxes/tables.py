"""Sample tables as numpy columns (ISO/IEC 14496-12 8.6, 8.7).

Every count is compared with the bytes that are there before anything is allocated; run lengths are
cut to the number of samples before they are expanded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from sidecar.boxes.leaf import Leaf
from sidecar.errors import UnsupportedMedia

# 16 777 216 samples are four days of 48 kHz AAC and 400 MB of columns: more is an attack or a
# file that needs another design.
MAX_SAMPLES = 1 << 24

_WORD = struct.Struct(">I")
_TWO_WORDS = struct.Struct(">II")


Value = TypeVar("Value", np.int64, np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Runs(Generic[Value]):
    """A run-length coded column: ``sample_count`` int64[k] samples have ``value`` [k] each."""

    sample_count: NDArray[np.int64]
    value: NDArray[Value]
    leaf: Leaf

    def expand(self, samples: int) -> NDArray[Value]:
        """One value for each of the first ``samples`` samples, dtype of ``value``.

        Raises ``InvalidMedia`` when the runs hold fewer; what they hold beyond is ignored.
        """
        count = self.sample_count
        total = int(count.sum())
        if total < samples:
            raise self.leaf.damaged(f"the table describes {total} of {samples} samples", 4)
        if total > samples:
            count = np.diff(np.minimum(np.cumsum(count), samples), prepend=0)
        return np.repeat(self.value, count)


def read_stts(leaf: Leaf) -> Runs[np.int64]:
    """Sample durations: sample_delta int64, media timescale (8.6.1.2)."""
    table = _table(leaf, head=4, columns=2)
    delta = table[:, 1].astype(np.int64)
    if delta.size and int(delta.max()) > 0x7FFFFFFF:
        raise leaf.damaged("a sample_delta is negative", 8)
    return Runs(table[:, 0].astype(np.int64), delta, leaf)


def read_ctts(leaf: Leaf) -> Runs[np.int32]:
    """Composition offsets: sample_offset int32, media timescale (8.6.1.3).

    Version 0 is read as signed too: QuickTime and others write negative offsets there.
    """
    table = _table(leaf, head=4, columns=2)
    return Runs(table[:, 0].astype(np.int64), table[:, 1].astype(np.uint32).view(np.int32), leaf)


def read_stss(leaf: Leaf, samples: int) -> NDArray[np.bool_]:
    """bool[samples], true for sync samples (8.6.2).

    Raises ``InvalidMedia`` when a sample_number is 0 or greater than ``samples``.
    """
    number = _table(leaf, head=4, columns=1)[:, 0]
    if number.size and (int(number.min()) < 1 or int(number.max()) > samples):
        raise leaf.damaged(f"a sample_number is not within 1 .. {samples}", 8)
    sync = np.zeros(samples, np.bool_)
    sync[number.astype(np.int64) - 1] = True
    return sync


def read_stsz(leaf: Leaf, *, limit: int) -> NDArray[np.uint32]:
    """Sample sizes, uint32[n], bytes (8.7.3.2).

    A size common to all samples has no table that would bound their number: then they must fit
    into ``limit`` bytes, the size of the file.
    """
    sample_size, count = leaf.unpack(_TWO_WORDS, 4)
    _check_samples(leaf, count)
    if sample_size:
        if sample_size * count > limit:
            raise leaf.damaged(
                f"{count} samples of {sample_size} bytes do not fit into {limit} bytes", 4
            )
        return np.full(count, sample_size, np.uint32)
    return _table(leaf, head=8, columns=1)[:, 0].astype(np.uint32)


def read_stz2(leaf: Leaf) -> NDArray[np.uint32]:
    """Sample sizes of a compact table, uint32[n], bytes (8.7.3.3)."""
    word, count = leaf.unpack(_TWO_WORDS, 4)
    field_size = word & 0xFF
    if field_size not in (4, 8, 16):
        raise leaf.damaged(f"field_size is {field_size}, not 4, 8 or 16", 7)
    _check_samples(leaf, count)
    length = (count * field_size + 7) // 8
    if length > len(leaf.body) - 12:
        raise leaf.damaged(f"{count} entries are claimed, {len(leaf.body) - 12} bytes are there", 8)
    if field_size == 16:
        return np.frombuffer(leaf.body, ">u2", count, 12).astype(np.uint32)
    octets = np.frombuffer(leaf.body, np.uint8, length, 12)
    if field_size == 8:
        return octets.astype(np.uint32)
    pairs = np.empty((length, 2), np.uint32)
    pairs[:, 0] = octets >> 4
    pairs[:, 1] = octets & 15
    return pairs.reshape(-1)[:count].copy()


def read_stsc(leaf: Leaf, chunks: int) -> NDArray[np.int64]:
    """How many samples each chunk holds, int64[chunks] (8.7.4).

    Raises ``InvalidMedia`` unless first_chunk begins with 1 and ascends.
    """
    table = _table(leaf, head=4, columns=3)
    first_chunk = table[:, 0].astype(np.int64)
    if chunks == 0:
        return np.zeros(0, np.int64)
    if not first_chunk.size or first_chunk[0] != 1 or (np.diff(first_chunk) <= 0).any():
        raise leaf.damaged("first_chunk does not ascend from 1", 8)
    starts = np.minimum(first_chunk - 1, chunks)
    return np.repeat(table[:, 1].astype(np.int64), np.diff(starts, append=chunks))


def read_stco(leaf: Leaf) -> NDArray[np.int64]:
    """Chunk offsets, int64, bytes from the start of the file (8.7.5)."""
    return _table(leaf, head=4, columns=1)[:, 0].astype(np.int64)


def read_co64(leaf: Leaf) -> NDArray[np.int64]:
    """Chunk offsets, int64, bytes from the start of the file (8.7.5)."""
    offset = _table(leaf, head=4, columns=1, dtype=">u8")[:, 0]
    if offset.size and int(offset.max()) >> 62:
        raise leaf.damaged("a chunk_offset is beyond any file", 8)
    return offset.astype(np.int64)


def _check_samples(leaf: Leaf, count: int) -> None:
    if count > MAX_SAMPLES:
        raise UnsupportedMedia(
            f"a track has {count} samples, at most {MAX_SAMPLES} are served",
            box_path=leaf.box_path,
            offset=leaf.offset,
        )


def _table(leaf: Leaf, *, head: int, columns: int, dtype: str = ">u4") -> NDArray[np.uint64]:
    """The rows after ``head`` bytes and a 32-bit count: a big-endian view, no copy."""
    (count,) = leaf.unpack(_WORD, head)
    width = columns * int(dtype[-1])
    there = len(leaf.body) - head - 4
    if count * width > there:
        raise leaf.damaged(f"{count} entries are claimed, {there} bytes are there", head)
    return np.frombuffer(leaf.body, dtype, count * columns, head + 4).reshape(count, columns)
