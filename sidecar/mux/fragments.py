"""All fragments of a track at once: their boxes and their bytes (ISO/IEC 14496-12 8.8).

A file of two hours has thousands of fragments with hundreds of thousands of samples: what they say
is columns here, with one row of bytes for each fragment or sample.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sidecar.media.track import Samples, Track
from sidecar.mux.decoding import delayed_offsets
from sidecar.mux.runs import (
    NON_SYNC_SAMPLE,
    SYNC_SAMPLE,
    TFHD_DEFAULT_DURATION,
    TFHD_DEFAULT_FLAGS,
    TRUN_COMPOSITION_OFFSET,
    TRUN_DATA_OFFSET,
    TRUN_DURATION,
    TRUN_FIRST_SAMPLE_FLAGS,
    TRUN_FLAGS,
    TRUN_SIZE,
    mdat_header,
)

_DEFAULT_BASE_IS_MOOF = 0x020000
_SIGNED_OFFSETS = 1 << 24  # version of trun
_U32 = struct.Struct(">I")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FragmentTable:
    """``count`` fragments of one track, one ``traf`` with one ``trun`` each.

    ``heads``: for each, the ``moof`` and the header of ``mdat``; sequence numbers are 0.
    ``payload``: int64[count], bytes behind these. ``first_range``: int64[count + 1]: the payload of
    fragment i are the ranges ``first_range[i]`` .. ``first_range[i + 1]``-1 of the columns
    ``offset`` and ``length`` (int64) in the track's file, neighbours merged.
    """

    heads: list[bytearray]
    payload: NDArray[np.int64]
    first_range: NDArray[np.int64]
    offset: NDArray[np.int64]
    length: NDArray[np.int64]


# Where the sequence number stands in a moof: behind three headers, version and flags.
SEQUENCE_NUMBER = 8 + 8 + 4


def fragment_table(track: Track, first: NDArray[np.int64], track_id: int) -> FragmentTable:
    """Fragments of ``track`` that begin with the samples ``first`` (int64[count + 1], ascending),
    whose last entry is the one behind them; each has at least one sample."""
    samples, begin, end = track.samples, int(first[0]), int(first[-1])
    first = first - begin
    count = np.diff(first)
    payload = np.add.reduceat(samples.size[begin:end], first[:-1], dtype=np.int64)
    offset, length, fragment = _ranges(samples, begin, end, count)
    return FragmentTable(
        heads=_heads(samples, begin, end, first, payload, track_id),
        payload=payload,
        first_range=np.searchsorted(fragment, np.arange(len(first))),
        offset=offset,
        length=length,
    )


def _ranges(
    samples: Samples, begin: int, end: int, count: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(offset, length, fragment) of each range, int64."""
    offset, size = samples.offset[begin:end], samples.size[begin:end].astype(np.int64)
    fragment = np.repeat(np.arange(len(count)), count)
    held = size > 0
    if np.count_nonzero(held) != len(held):
        offset, size, fragment = offset[held], size[held], fragment[held]
    if not len(size):
        return offset, size, fragment
    begins = np.empty(len(size), dtype=np.bool_)
    begins[0] = True
    np.not_equal(offset[:-1] + size[:-1], offset[1:], out=begins[1:])
    begins[1:] |= fragment[1:] != fragment[:-1]
    at = np.flatnonzero(begins)
    last = np.append(at[1:], len(size)) - 1
    return offset[at], offset[last] + size[last] - offset[at], fragment[at]


def _heads(
    samples: Samples,
    begin: int,
    end: int,
    first: NDArray[np.int64],
    payload: NDArray[np.int64],
    track_id: int,
) -> list[bytearray]:
    time = samples.decode_time[begin : end + 1]
    rows, defaults, first_flags, trun_flags = _rows(samples, begin, end, first)
    tfhd_flags = _DEFAULT_BASE_IS_MOOF | TFHD_DEFAULT_FLAGS
    tfhd_flags |= TFHD_DEFAULT_DURATION if len(defaults) > 1 else 0
    tfhd = struct.pack(">I4sII", 16 + 4 * len(defaults), b"tfhd", tfhd_flags, track_id)
    tfhd += b"".join(map(_U32.pack, defaults))
    trun = struct.pack(">I4sIII", 0, b"trun", trun_flags, 0, 0) + first_flags
    moof = struct.pack(">I4sI4sIII4s", 0, b"moof", 16, b"mfhd", 0, 0, 0, b"traf")
    template = moof + tfhd + struct.pack(">I4sIQ", 20, b"tfdt", 1 << 24, 0) + trun
    mdat = mdat_header(int(payload.max()))

    count = np.diff(first)
    of_rows = rows.strides[0] * count
    table = np.empty((len(count), len(template)), dtype=np.uint8)
    table[:] = np.frombuffer(template, dtype=np.uint8)
    trun_at = len(template) - len(trun)
    for at, values in (
        (0, len(template) + of_rows),
        (len(moof) - 8, len(template) - 24 + of_rows),
        (trun_at, len(trun) + of_rows),
        (trun_at + 12, count),
        (trun_at + 16, len(template) + of_rows + len(mdat)),
    ):
        table[:, at : at + 4] = values.astype(">u4").view(np.uint8).reshape(-1, 4)
    times = time[first[:-1]].astype(">u8").view(np.uint8).reshape(-1, 8)
    table[:, trun_at - 8 : trun_at] = times

    heads, bodies, width = table.tobytes(), rows.tobytes(), rows.strides[0]
    bounds = (width * first).tolist()
    length = len(template)
    large = len(mdat) > 8
    return [
        bytearray(heads[at * length : (at + 1) * length])
        + bodies[a:b]
        + (struct.pack(">I4sQ", 1, b"mdat", size + 16) if large else _U32.pack(size + 8) + b"mdat")
        for at, (a, b, size) in enumerate(
            zip(bounds[:-1], bounds[1:], payload.tolist(), strict=True)
        )
    ]


def _rows(
    samples: Samples, begin: int, end: int, first: NDArray[np.int64]
) -> tuple[NDArray[Any], list[int], bytes, int]:
    """(rows of trun, uint32[n, k] big-endian; defaults in tfhd: duration where all are the same,
    then flags; flags of the first sample, encoded; flags of trun)."""
    trun_flags = _SIGNED_OFFSETS | TRUN_DATA_OFFSET | TRUN_SIZE
    columns: list[NDArray[Any]] = [samples.size[begin:end]]
    defaults = []
    duration = np.diff(samples.decode_time[begin : end + 1])
    if int(duration.min()) == int(duration.max()):
        defaults.append(int(duration[0]))
    else:
        trun_flags |= TRUN_DURATION
        columns.insert(0, duration)
    sync = None if samples.sync is None else samples.sync[begin:end]
    of_sync = len(duration) if sync is None else int(np.count_nonzero(sync))
    first_flags = b""
    defaults.append(SYNC_SAMPLE if of_sync == len(duration) else NON_SYNC_SAMPLE)
    if sync is not None and 0 < of_sync < len(duration):
        if of_sync == len(first) - 1 and sync[first[:-1]].all():
            trun_flags |= TRUN_FIRST_SAMPLE_FLAGS
            first_flags = _U32.pack(SYNC_SAMPLE)
        else:
            trun_flags |= TRUN_FLAGS
            columns.append(np.where(sync, SYNC_SAMPLE, NON_SYNC_SAMPLE))
    offsets = delayed_offsets(samples, begin, end)
    if offsets is not None and np.count_nonzero(offsets):
        trun_flags |= TRUN_COMPOSITION_OFFSET
        columns.append(offsets.view(np.uint32))
    rows = np.empty((len(duration), len(columns)), dtype=">u4")
    for index, column in enumerate(columns):
        rows[:, index] = column
    return rows, defaults, first_flags, trun_flags
