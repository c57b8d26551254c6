"""Movie fragments that say where in the stream their data is, made independent of the place.

A stream may begin anywhere in an archive, and base_data_offset (ISO/IEC 14496-12 8.8.7) counts from
the first byte of a file: the samples of such a fragment are found by its offset from the moof
instead.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import repeat

from sidecar.boxes.fragment import DATA_OFFSET, Run
from sidecar.boxes.header import walk
from sidecar.boxes.write import box
from sidecar.errors import InvalidMedia
from sidecar.live.topbox import TopBox

_BASE_DATA_OFFSET = 0x000001
_DURATION_IS_EMPTY = 0x010000
_DEFAULT_BASE_IS_MOOF = 0x020000
_FURTHEST = 1 << 31
_WORD = struct.Struct(">I")
_OFFSET = struct.Struct(">i")


def rebased_moof(moof: TopBox, runs: Sequence[Run]) -> bytes:
    """``moof`` without base_data_offset, each trun with the distance of its data from the moof.

    ``runs``: all that were read from it. What follows it must stay right behind it. Raises
    ``InvalidMedia`` when data is further away than a trun can say.
    """
    # Distances have four bytes whatever they are: the first pass only tells the size.
    size = len(_rewritten(moof, repeat(0)))
    distances = [run.data_offset - moof.end + size for run in runs]
    for run, distance in zip(runs, distances, strict=True):
        if not -_FURTHEST <= distance < _FURTHEST:
            raise InvalidMedia("the data is not near", box_path=run.where[0], offset=run.where[1])
    return _rewritten(moof, iter(distances))


def _rewritten(moof: TopBox, distances: Iterator[int]) -> bytes:
    """``distances``: of each run's data from the first byte of the new moof."""
    data = memoryview(moof.data)
    children: list[bytes | memoryview] = []
    for child in walk(data, moof.header.body, moof.header.end):
        if child.type == b"traf":
            children.append(_traf(data, child.body, child.end, distances))
        else:
            children.append(data[child.start : child.end])
    return box(b"moof", *children)


def _traf(data: memoryview, start: int, end: int, distances: Iterator[int]) -> bytes:
    boxes = list(walk(data, start, end))
    # The last tfhd counts, as for the reader of the runs.
    tfhd = next(child for child in reversed(boxes) if child.type == b"tfhd")
    (flags,) = _WORD.unpack_from(data, tfhd.body)
    children: list[bytes | memoryview] = []
    for child in boxes:
        if child is tfhd:
            children.append(_tfhd(data[child.body : child.end], flags))
        elif child.type == b"trun" and not flags & _DURATION_IS_EMPTY:
            children.append(_trun(data[child.body : child.end], next(distances)))
        else:
            children.append(data[child.start : child.end])
    return box(b"traf", *children)


def _tfhd(body: memoryview, flags: int) -> bytes:
    rest = body[16:] if flags & _BASE_DATA_OFFSET else body[8:]
    flags = flags & ~_BASE_DATA_OFFSET | _DEFAULT_BASE_IS_MOOF
    return box(b"tfhd", _WORD.pack(flags), body[4:8], rest)


def _trun(body: memoryview, data_offset: int) -> bytes:
    (flags,) = _WORD.unpack_from(body)
    rest = body[12:] if flags & DATA_OFFSET else body[8:]
    return box(b"trun", _WORD.pack(flags | DATA_OFFSET), body[4:8], _OFFSET.pack(data_offset), rest)
