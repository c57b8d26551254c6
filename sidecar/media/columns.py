"""Sample columns as a file states them, before its edit list is applied."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sidecar.errors import InvalidMedia
from sidecar.media.track import StoredFragments


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Columns:
    """The samples of a track in decode order, times as the boxes give them, track timescale.

    As ``track.Samples``, but nothing is shifted: ``decode_time`` (int64[n+1]) may be negative;
    edit lists apply to composition times.

    - ``composition_time``: int64[n], decode order, decode_time + composition_offset; made here.
    """

    decode_time: NDArray[np.int64]
    composition_offset: NDArray[np.int32] | None
    size: NDArray[np.uint32]
    offset: NDArray[np.int64]
    sync: NDArray[np.bool_] | None
    fragment_start: NDArray[np.int64] | None
    stored: StoredFragments | None = None
    composition_time: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        times = self.decode_time[:-1]
        if self.composition_offset is not None:
            times = times + self.composition_offset
        object.__setattr__(self, "composition_time", times)

    def __len__(self) -> int:
        return int(self.size.shape[0])


def check_inside(columns: Columns, file_size: int, where: tuple[str, int]) -> None:
    """Raises ``InvalidMedia`` when a sample does not lie within 0 .. ``file_size``.

    ``where``: box path and byte offset of what describes the samples.
    """
    if not len(columns):
        return
    lowest, highest = int(columns.offset.min()), int(columns.offset.max())
    if lowest >= 0 and highest + int(columns.size.max()) <= file_size:
        return
    outside = (columns.offset + columns.size > file_size) | (columns.offset < 0)
    if outside.any():
        index = int(np.argmax(outside))
        end = int(columns.offset[index]) + int(columns.size[index])
        raise InvalidMedia(
            f"sample {index + 1} ends at byte {end}, the file has {file_size}",
            box_path=where[0],
            offset=where[1],
        )


def concatenate(first: Columns, second: Columns, where: tuple[str, int]) -> Columns:
    """The samples of ``second`` after those of ``first``, which has some, as one track.

    Raises ``InvalidMedia`` (about ``where``: box path, byte offset) when ``second`` begins before
    the last sample of ``first``.
    """
    if second.decode_time[0] < first.decode_time[-2]:
        raise InvalidMedia("the decode time goes back", box_path=where[0], offset=where[1])
    offsets: NDArray[np.int32] | None = None
    if first.composition_offset is not None or second.composition_offset is not None:
        offsets = np.concatenate([_composition_offsets(first), _composition_offsets(second)])
    sync: NDArray[np.bool_] | None = None
    if first.sync is not None or second.sync is not None:
        sync = np.concatenate([_sync(first), _sync(second)])
    starts = [
        np.zeros(min(1, len(first)), np.int64)
        if first.fragment_start is None
        else first.fragment_start
    ]
    if second.fragment_start is not None:
        starts.append(second.fragment_start + len(first))
    return Columns(
        decode_time=np.concatenate([first.decode_time[:-1], second.decode_time]),
        composition_offset=offsets,
        size=np.concatenate([first.size, second.size]),
        offset=np.concatenate([first.offset, second.offset]),
        sync=sync,
        fragment_start=np.concatenate(starts),
    )


def _composition_offsets(columns: Columns) -> NDArray[np.int32]:
    if columns.composition_offset is None:
        return np.zeros(len(columns), np.int32)
    return columns.composition_offset


def _sync(columns: Columns) -> NDArray[np.bool_]:
    return np.ones(len(columns), np.bool_) if columns.sync is None else columns.sync
