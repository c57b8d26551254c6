"""The bytes of consecutive samples, read with few reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sidecar.errors import UnsupportedMedia
from sidecar.media.track import Track
from sidecar.storage.source import ReadRange, SourceIdentity

# Reading this much more costs as much as another read (some 4 us; the page cache gives 8 GB/s).
_MAX_GAP = 32 << 10
# What gaps may add, at the most, to what is wanted.
_MAX_WASTE = 4 << 20
# Segments that are rewritten stand in memory. 10 s of 40 Mbit/s are 50 MB; a segment that is
# longer than this comes from a source without key frames or from an excessive minimum length.
MAX_BYTES = 128 << 20


@dataclass(frozen=True, slots=True, eq=False)
class SampleBytes:
    """``data`` holds the samples (and maybe bytes between them); ``position``: int64[n], where each
    of them begins."""

    data: bytes
    position: NDArray[np.int64]


def read_samples(
    read: ReadRange, spans: Sequence[tuple[Track, int, int]]
) -> tuple[SampleBytes, ...]:
    """The bytes of samples ``first`` .. ``last``-1 of each (track, first, last) of ``spans``.

    Spans of one file share their reads, and so their ``data``; gaps are read along where that is
    cheaper than another read. Memory: the samples and at most ``_MAX_WASTE`` more.

    Raises ``UnsupportedMedia`` when the samples are more than ``MAX_BYTES``, and what ``read``
    raises.
    """
    offsets = [track.samples.offset[first:last] for track, first, last in spans]
    sizes = [track.samples.size[first:last] for track, first, last in spans]
    wanted = sum(int(np.add.reduce(size, dtype=np.int64)) for size in sizes)
    if wanted > MAX_BYTES:
        raise UnsupportedMedia(
            f"a segment of {wanted} bytes is too long to be rewritten, {MAX_BYTES} are allowed",
            path=spans[0][0].source.path,
        )
    by_source: dict[SourceIdentity, list[int]] = {}
    for at, (track, _, _) in enumerate(spans):
        by_source.setdefault(track.source, []).append(at)
    found: list[SampleBytes | None] = [None] * len(spans)
    for source, members in by_source.items():
        if len(members) == 1:
            offset, size = offsets[members[0]], sizes[members[0]]
        else:
            offset = np.concatenate([offsets[at] for at in members])
            size = np.concatenate([sizes[at] for at in members])
        begin, end = _reads(offset, size)
        pieces = [
            read(source, first, last - first)
            for first, last in zip(begin.tolist(), end.tolist(), strict=True)
        ]
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        for at in members:
            found[at] = SampleBytes(data, _positions(offsets[at], begin, end))
    return tuple(one for one in found if one is not None)


def _reads(
    offset: NDArray[np.int64], size: NDArray[np.uint32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(begin int64[k], end int64[k]): disjoint, ascending, together covering all samples."""
    stop = offset + size
    wanted = int(np.add.reduce(size, dtype=np.int64))
    if not wanted:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    least, most = int(offset.min()), int(stop.max())
    if most - least <= wanted + max(_MAX_GAP, wanted // 8):
        return np.array([least]), np.array([most])
    held = size > 0  # samples without bytes may lie anywhere
    offset, stop = offset[held], stop[held]
    order = np.argsort(offset, kind="stable")
    offset, stop = offset[order], np.maximum.accumulate(stop[order])
    gap = offset[1:] - stop[:-1]
    largest = _MAX_GAP
    while int(gap[(gap > 0) & (gap <= largest)].sum()) > max(wanted, _MAX_WASTE):
        largest //= 4
    apart = np.flatnonzero(gap > largest)
    begin = offset[np.concatenate(([0], apart + 1))]
    end = stop[np.concatenate((apart, [len(stop) - 1]))]
    return begin, end


def _positions(
    offset: NDArray[np.int64], begin: NDArray[np.int64], end: NDArray[np.int64]
) -> NDArray[np.int64]:
    if len(begin) <= 1:
        return offset - (int(begin[0]) if len(begin) else 0)
    base = np.concatenate(([0], np.cumsum(end - begin)[:-1])) - begin
    return offset + base[np.maximum(np.searchsorted(begin, offset, side="right") - 1, 0)]
