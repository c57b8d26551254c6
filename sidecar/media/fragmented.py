"""The samples that movie fragments describe: the runs of all moofs of a track as columns."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sidecar.boxes.fragment import (
    SAMPLE_COMPOSITION_TIME_OFFSET,
    SAMPLE_DURATION,
    SAMPLE_FLAGS,
    SAMPLE_SIZE,
    Run,
)
from sidecar.errors import InvalidMedia
from sidecar.media.columns import Columns
from sidecar.media.track import StoredFragments

# sample_flags (ISO/IEC 14496-12 8.8.3.1). Some encoders set only one of the two for a sample that
# cannot be decoded alone, so either makes it no sync sample.
_NON_SYNC = np.uint32(0x00010000)
_DEPENDS_ON = np.uint32(0x03000000)
_DEPENDS_ON_OTHERS = np.uint32(0x01000000)


def fragment_columns(runs: Sequence[Run], start_time: int) -> Columns:
    """The samples of ``runs``, which are all of one track, in the order of the file, at least one.

    ``start_time``: decode time of the first when no box states it (the end of the moov's samples).
    Where a fragment begins later than the one before it ends, the last sample before the gap lasts
    until then; where it begins earlier, that sample is cut short.

    The caller has bounded the number of samples. Raises ``InvalidMedia`` when decode times go
    back by more than one sample.
    """
    counts = np.array([run.sample_count for run in runs], np.int64)
    first = np.zeros(len(runs) + 1, np.int64)
    np.cumsum(counts, out=first[1:])
    samples = int(first[-1])
    columns = _columns(runs, counts, samples)

    elapsed = np.zeros(samples + 1, np.int64)
    np.cumsum(columns[SAMPLE_DURATION].astype(np.int64), out=elapsed[1:])
    shift = _shifts(runs, elapsed[first[:-1]], start_time)
    decode_time = elapsed
    decode_time[:-1] += np.repeat(shift, counts)
    decode_time[-1] += shift[-1]
    back = np.diff(decode_time) < 0
    if back.any():
        sample = int(np.argmax(back)) + 1
        run = runs[min(int(np.searchsorted(first, sample, "right")), len(runs)) - 1]
        box_path, at = run.where
        raise InvalidMedia("the decode time goes back", box_path=box_path, offset=at)

    size = columns[SAMPLE_SIZE]
    before = np.zeros(samples + 1, np.int64)
    np.cumsum(size.astype(np.int64), out=before[1:])
    data_offset = np.array([run.data_offset for run in runs], np.int64)
    offset = np.repeat(data_offset - before[first[:-1]], counts)
    offset += before[:-1]

    flags = columns[SAMPLE_FLAGS]
    for index, run in enumerate(runs):
        if run.first_sample_flags is not None and run.sample_count:
            flags[first[index]] = run.first_sample_flags
    sync = (flags & _NON_SYNC) == 0
    sync &= (flags & _DEPENDS_ON) != _DEPENDS_ON_OTHERS

    # A fragment begins with the first sample of each moof.
    filled = counts > 0
    moof_offset = np.array([run.moof_offset for run in runs], np.int64)[filled]
    begins = np.diff(moof_offset, prepend=-1) != 0
    return Columns(
        decode_time=decode_time,
        composition_offset=columns[SAMPLE_COMPOSITION_TIME_OFFSET].view(np.int32),
        size=size,
        offset=offset,
        sync=sync,
        fragment_start=first[:-1][filled][begins],
    )


def stored_fragments(
    runs: Sequence[Run],
    columns: Columns,
    alone: Container[int],
    moof_end: Mapping[int, int],
    mdat_end: Mapping[int, int],
) -> StoredFragments | None:
    """Where the fragments of a track lie, or None unless each can be handed out as it is stored.

    ``runs``, ``columns``: as of ``fragment_columns``. ``alone``: offsets of the moofs that hold one
    track; ``moof_end``, ``mdat_end``: by offset of a moof, where it ends and where the mdat right
    behind it ends, if one is there. A fragment must state its time and hold all its samples, and
    must not say where in the file these are: elsewhere that is wrong.
    """
    assert columns.fragment_start is not None
    begins: dict[int, Run] = {}
    for run in runs:
        at, end = run.moof_offset, mdat_end.get(run.moof_offset)
        if at not in alone or end is None or run.in_file or not run.sample_count:
            return None
        if not moof_end[at] <= run.data_offset <= run.data_offset + run.data_length <= end:
            return None
        begins.setdefault(at, run)
    if any(run.base_media_decode_time is None for run in begins.values()):
        return None
    offset = np.fromiter(begins, np.int64, len(begins))
    moof = np.array([moof_end[at] for at in begins], np.int64)
    mdat = np.array([mdat_end[at] for at in begins], np.int64)
    time = columns.decode_time[np.append(columns.fragment_start, len(columns))]
    if len(columns.fragment_start) != len(begins) or (np.diff(time) <= 0).any():
        return None
    return StoredFragments(
        offset=offset, moof_length=moof - offset, length=mdat - offset, time=time
    )


def _columns(
    runs: Sequence[Run], counts: NDArray[np.int64], samples: int
) -> dict[int, NDArray[np.uint32]]:
    """Duration, size, flags and composition offset of every sample, uint32[n], by trun flag.

    Runs of equal layout are converted together: in most files that is all of them.
    """
    defaults = {
        SAMPLE_DURATION: [run.default_sample_duration for run in runs],
        SAMPLE_SIZE: [run.default_sample_size for run in runs],
        SAMPLE_FLAGS: [run.default_sample_flags for run in runs],
        SAMPLE_COMPOSITION_TIME_OFFSET: [0] * len(runs),
    }
    columns = {
        flag: np.repeat(np.array(values, np.uint32), counts) for flag, values in defaults.items()
    }
    layout = np.array([run.layout for run in runs], np.uint32)
    for present in set(layout.tolist()):
        flags = [flag for flag in defaults if present & flag]
        if not flags:
            continue
        rows = b"".join([run.rows for run in runs if run.layout == present])
        table = np.frombuffer(rows, ">u4").reshape(-1, len(flags))
        alone = table.shape[0] == samples
        where = slice(None) if alone else np.repeat(layout == present, counts)
        # Columns of a row stand in the order of their flags (8.8.8.2).
        for column, flag in enumerate(flags):
            columns[flag][where] = table[:, column]
    return columns


def _shifts(runs: Sequence[Run], elapsed: NDArray[np.int64], start_time: int) -> NDArray[np.int64]:
    """What to add to the running sum of durations in each run to get decode times.

    ``elapsed``: that sum at the start of each run. A run that states its time sets the shift, the
    others inherit it.
    """
    times = [run.base_media_decode_time for run in runs]
    stated = np.array([time is not None for time in times])
    shift = np.array([time or 0 for time in times], np.int64) - elapsed
    if not stated[0]:
        shift[0] = start_time
        stated[0] = True
    last_stated = np.maximum.accumulate(np.where(stated, np.arange(len(runs)), 0))
    return shift[last_stated]
