"""tfhd and trun of consecutive samples (ISO/IEC 14496-12 8.8.7, 8.8.8): what fragments share."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

# Segments hold one track, whatever its number was in the source.
TRACK_ID = 1

# Sample flags (14496-12 8.8.3.1): sample_depends_on 2 = no other; 1 and sample_is_non_sync_sample.
SYNC_SAMPLE = 0x02000000
NON_SYNC_SAMPLE = 0x01010000

MFHD = struct.Struct(">I4sII")

TFHD_DEFAULT_DURATION = 0x000008
TFHD_DEFAULT_SIZE = 0x000010
TFHD_DEFAULT_FLAGS = 0x000020
TRUN_DATA_OFFSET = 0x000001
TRUN_FIRST_SAMPLE_FLAGS = 0x000004
TRUN_DURATION = 0x000100
TRUN_SIZE = 0x000200
TRUN_FLAGS = 0x000400
TRUN_COMPOSITION_OFFSET = 0x000800

_UINT32_MAX = 0xFFFFFFFF
_U32 = struct.Struct(">I")
_BOX = struct.Struct(">I4s")
_LARGE_BOX = struct.Struct(">I4sQ")
_TFHD = struct.Struct(">I4sII")
_TRUN = struct.Struct(">I4sIIi")

# The C function itself: np.all, any and sum take more time on the way in than on 100 samples.
count_nonzero = np.count_nonzero
_T = TypeVar("_T", bound=np.generic)


class Run(NamedTuple):
    """Columns of the samples of one ``trun``; None: all 0 (composition), all sync (sync).

    ``base_time``: decode time of the first. Times are ticks of whatever timescale the fragment is
    written in.
    """

    base_time: int
    duration: NDArray[np.int64]
    size: NDArray[np.uint32]
    composition: NDArray[np.int32] | None
    sync: NDArray[np.bool_] | None


class TrackRun(NamedTuple):
    """A ``trun`` but for its data offset, which depends on the size of all boxes."""

    version_flags: int
    sample_count: int
    rest: bytes

    @property
    def size(self) -> int:
        """Bytes of the box."""
        return _TRUN.size + len(self.rest)

    def box(self, data_offset: int) -> bytes:
        """The box, with its samples ``data_offset`` bytes behind the start of the ``moof``."""
        head = _TRUN.pack(self.size, b"trun", self.version_flags, self.sample_count, data_offset)
        return head + self.rest


def column_slice(column: NDArray[_T] | None, first: int, last: int) -> NDArray[_T] | None:
    """``first`` .. ``last``-1 of a column that may not be there."""
    return None if column is None else column[first:last]


def run_boxes(
    run: Run, *, version: int, tfhd_flags: int = 0, track_id: int = TRACK_ID
) -> tuple[bytes, TrackRun]:
    """``tfhd`` and ``trun`` of ``run``; only what varies stands in the rows of the latter.

    ``version`` of the ``trun``: 1 = composition offsets are signed. ``tfhd_flags``: further ones
    that announce no field.
    """
    count = len(run.size)
    tfhd_flags |= TFHD_DEFAULT_FLAGS
    trun_flags = TRUN_DATA_OFFSET
    defaults = []
    columns: list[NDArray[Any]] = []

    duration = int(run.duration[0])
    if count_nonzero(run.duration == duration) == count:
        tfhd_flags |= TFHD_DEFAULT_DURATION
        defaults.append(duration)
    else:
        trun_flags |= TRUN_DURATION
        columns.append(run.duration)
    size = int(run.size[0])
    # Almost no coded size is constant: the last sample tells that for the price of one look.
    if size == run.size[-1] and count_nonzero(run.size == size) == count:
        tfhd_flags |= TFHD_DEFAULT_SIZE
        defaults.append(size)
    else:
        trun_flags |= TRUN_SIZE
        columns.append(run.size)

    sync = count if run.sync is None else count_nonzero(run.sync)
    first_flags = b""
    if sync == count:
        defaults.append(SYNC_SAMPLE)
    else:
        defaults.append(NON_SYNC_SAMPLE)
        assert run.sync is not None
        if sync == 1 and run.sync[0]:
            trun_flags |= TRUN_FIRST_SAMPLE_FLAGS
            first_flags = _U32.pack(SYNC_SAMPLE)
        elif sync:
            trun_flags |= TRUN_FLAGS
            columns.append(np.where(run.sync, SYNC_SAMPLE, NON_SYNC_SAMPLE))
    if run.composition is not None and count_nonzero(run.composition):
        trun_flags |= TRUN_COMPOSITION_OFFSET
        columns.append(run.composition.view(np.uint32))

    rows = np.empty((count, len(columns)), dtype=">u4")
    for index, column in enumerate(columns):
        rows[:, index] = column
    tfhd = b"".join(
        (
            _TFHD.pack(_TFHD.size + 4 * len(defaults), b"tfhd", tfhd_flags, track_id),
            *map(_U32.pack, defaults),
        )
    )
    return tfhd, TrackRun(version << 24 | trun_flags, count, first_flags + rows.tobytes())


def mdat_header(payload: int) -> bytes:
    """Header of an ``mdat`` around ``payload`` bytes; with a 64-bit size where it needs one."""
    if payload + _BOX.size <= _UINT32_MAX:
        return _BOX.pack(payload + _BOX.size, b"mdat")
    return _LARGE_BOX.pack(1, b"mdat", payload + _LARGE_BOX.size)
