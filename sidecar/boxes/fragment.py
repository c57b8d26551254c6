"""The moof side: tfhd, tfdt, trun (ISO/IEC 14496-12 8.8), and PIFF's tfxd.

A file may hold ten thousand fragments, so this module reads headers with bare ``struct`` calls and
leaves the rows of truns alone: they are expanded for all fragments of a track at once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from sidecar.boxes.header import read_header
from sidecar.boxes.movie import SampleDefaults
from sidecar.errors import InvalidMedia

# trun flags (8.8.8.1)
DATA_OFFSET = 0x001
FIRST_SAMPLE_FLAGS = 0x004
SAMPLE_DURATION = 0x100
SAMPLE_SIZE = 0x200
SAMPLE_FLAGS = 0x400
SAMPLE_COMPOSITION_TIME_OFFSET = 0x800
ROW = SAMPLE_DURATION | SAMPLE_SIZE | SAMPLE_FLAGS | SAMPLE_COMPOSITION_TIME_OFFSET

# tfhd flags (8.8.7.1)
_BASE_DATA_OFFSET = 0x000001
_SAMPLE_DESCRIPTION_INDEX = 0x000002
_DEFAULT_SAMPLE_DURATION = 0x000008
_DEFAULT_SAMPLE_SIZE = 0x000010
_DEFAULT_SAMPLE_FLAGS = 0x000020
_DURATION_IS_EMPTY = 0x010000
_DEFAULT_BASE_IS_MOOF = 0x020000

_TFXD = bytes.fromhex("6d1d9b0542d544e680e2141daff757b2")
_HEADER = struct.Struct(">I4s")
_WORD = struct.Struct(">I")
_TWO_WORDS = struct.Struct(">II")
_OFFSET = struct.Struct(">i")
_LONG = struct.Struct(">Q")
_SIGNED = struct.Struct(">q")
_NO_DEFAULTS = SampleDefaults()
# An edit list or rescaling must not overflow 64 bits later on.
_LATEST = 1 << 60


@dataclass(slots=True)
class Run:
    """A trun with what it inherits; not frozen, as freezing doubles the cost of making one.

    ``base_media_decode_time``: of its first sample, from tfdt or tfxd, or None when it continues.
    ``data_offset``: byte offset of its first sample in the file. ``layout``: which columns ``rows``
    has, the trun flags within ``ROW``; each is 32 bits. ``default_*`` hold where a column is
    missing. ``first_sample_flags``: None when not given. ``moof_offset``, ``box_path``: evidence.
    """

    track_ID: int  # noqa: N815 - the specification's spelling
    base_media_decode_time: int | None
    data_offset: int
    sample_count: int
    layout: int
    rows: memoryview
    default_sample_duration: int
    default_sample_size: int
    default_sample_flags: int
    first_sample_flags: int | None
    moof_offset: int
    box_path: str

    @property
    def data_length(self) -> int:
        """Bytes of all its samples."""
        if not self.layout & SAMPLE_SIZE:
            return self.sample_count * self.default_sample_size
        table = np.frombuffer(self.rows, ">u4").reshape(self.sample_count, -1)
        column = 1 if self.layout & SAMPLE_DURATION else 0
        return int(table[:, column].sum(dtype=np.int64))


def _boxes(
    data: memoryview, start: int, end: int, box_path: str, base: int
) -> Iterator[tuple[bytes, int, int]]:
    """Type, body and end of each box in ``start`` .. ``end``: the fast form of ``header.walk``."""
    while start < end:
        if end - start >= 8:
            size, box_type = _HEADER.unpack_from(data, start)
            if 8 <= size <= end - start:
                yield box_type, start + 8, start + size
                start += size
                continue
        elif end - start == 4 and not any(data[start:end]):
            return
        header = read_header(data, start, end, box_path=box_path, base=base)
        # An extended type is part of the header there and of the body here.
        yield header.type, header.body - len(header.extended_type), header.end
        start = header.end


def read_moof(
    data: memoryview, body: int, offset: int, index: int, defaults: Mapping[int, SampleDefaults]
) -> list[Run]:
    """The runs of a moof, in order.

    ``data`` is the whole box, header included, its body from byte ``body`` on; ``offset`` where it
    starts in the file; ``index`` its number in the file (for paths); ``defaults`` of trex by
    track_ID.

    Raises ``InvalidMedia`` when a box or a count does not fit.
    """
    runs: list[Run] = []
    number = 0
    path = f"moof[{index}]"
    for box_type, start, end in _boxes(data, body, len(data), path, offset):
        if box_type == b"traf":
            _read_traf(data, start, end, offset, f"{path}/traf[{number}]", defaults, runs)
            number += 1
    return runs


def _read_traf(
    data: memoryview,
    start: int,
    end: int,
    moof_offset: int,
    box_path: str,
    defaults: Mapping[int, SampleDefaults],
    runs: list[Run],
) -> None:
    """Appends the runs of one traf to ``runs``, which holds those of the trafs before it."""
    tfhd: tuple[int, int] | None = None
    time: int | None = None
    tfxd_time: int | None = None
    truns: list[tuple[int, int]] = []
    for box_type, body, limit in _boxes(data, start, end, box_path, moof_offset):
        if box_type == b"trun":
            truns.append((body, limit))
        elif box_type == b"tfhd":
            tfhd = (body, limit)
        elif box_type == b"tfdt":
            time = _read_tfdt(data, body, limit, box_path, moof_offset)
        elif box_type == b"uuid" and data[body : body + 16] == _TFXD:
            tfxd_time = _read_tfxd(data, body + 16, limit, box_path, moof_offset)
    if tfhd is None:
        raise InvalidMedia("the traf has no tfhd", box_path=box_path, offset=moof_offset + start)
    track_id, flags, base, inherited = _read_tfhd(
        data, tfhd[0], tfhd[1], box_path, moof_offset, defaults
    )
    if flags & _DURATION_IS_EMPTY:
        return
    if base is None:
        # Without a base of its own a traf goes on where the data of the one before it ends.
        continues = runs and not flags & _DEFAULT_BASE_IS_MOOF
        base = runs[-1].data_offset + runs[-1].data_length if continues else moof_offset
    if time is None:
        time = tfxd_time
    for number, (body, limit) in enumerate(truns):
        path = f"{box_path}/trun[{number}]"
        count, run_flags, relative, first_flags, rows = _read_trun(
            data, body, limit, path, moof_offset
        )
        if relative is not None:
            data_offset = base + relative
        elif number:
            data_offset = runs[-1].data_offset + runs[-1].data_length
        else:
            data_offset = base
        runs.append(
            Run(
                track_id,
                None if number else time,
                data_offset,
                count,
                run_flags & ROW,
                rows,
                inherited.default_sample_duration,
                inherited.default_sample_size,
                inherited.default_sample_flags,
                first_flags,
                moof_offset,
                path,
            )
        )


def _short(box_path: str, at: int) -> InvalidMedia:
    return InvalidMedia("the box ends before its fields do", box_path=box_path, offset=at)


def _read_tfhd(
    data: memoryview,
    body: int,
    end: int,
    box_path: str,
    moof_offset: int,
    defaults: Mapping[int, SampleDefaults],
) -> tuple[int, int, int | None, SampleDefaults]:
    """track_ID, flags, base_data_offset or None, and the defaults (8.8.7)."""
    if end - body < 8:
        raise _short(f"{box_path}/tfhd", moof_offset + body)
    flags, track_id = _TWO_WORDS.unpack_from(data, body)
    position = body + 8
    needed = 8 * (flags & 1) + 4 * (
        bool(flags & _SAMPLE_DESCRIPTION_INDEX)
        + bool(flags & _DEFAULT_SAMPLE_DURATION)
        + bool(flags & _DEFAULT_SAMPLE_SIZE)
        + bool(flags & _DEFAULT_SAMPLE_FLAGS)
    )
    if needed > end - position:
        raise _short(f"{box_path}/tfhd", moof_offset + position)
    base: int | None = None
    if flags & _BASE_DATA_OFFSET:
        base = _LONG.unpack_from(data, position)[0]
        position += 8
    if flags & _SAMPLE_DESCRIPTION_INDEX:
        position += 4
    inherited = defaults.get(track_id, _NO_DEFAULTS)
    if not flags & (_DEFAULT_SAMPLE_DURATION | _DEFAULT_SAMPLE_SIZE | _DEFAULT_SAMPLE_FLAGS):
        return track_id, flags, base, inherited
    values = [
        inherited.default_sample_duration,
        inherited.default_sample_size,
        inherited.default_sample_flags,
    ]
    for column, flag in enumerate(
        (_DEFAULT_SAMPLE_DURATION, _DEFAULT_SAMPLE_SIZE, _DEFAULT_SAMPLE_FLAGS)
    ):
        if flags & flag:
            values[column] = _WORD.unpack_from(data, position)[0]
            position += 4
    return track_id, flags, base, SampleDefaults(*values)


def _read_tfdt(data: memoryview, body: int, end: int, box_path: str, moof_offset: int) -> int:
    """baseMediaDecodeTime, track timescale (8.8.12)."""
    long = end > body and data[body] == 1
    if end - body < (12 if long else 8):
        raise _short(f"{box_path}/tfdt", moof_offset + body)
    time: int = (_LONG if long else _WORD).unpack_from(data, body + 4)[0]
    if time > _LATEST:
        raise InvalidMedia(
            f"baseMediaDecodeTime {time} is out of range",
            box_path=f"{box_path}/tfdt",
            offset=moof_offset + body + 4,
        )
    return time


def _read_tfxd(data: memoryview, body: int, end: int, box_path: str, moof_offset: int) -> int:
    """FragmentAbsoluteTime of PIFF's tfxd, track timescale.

    Signed, although it is specified otherwise: encoders write the time of audio priming so.
    """
    long = end > body and data[body] == 1
    if end - body < (12 if long else 8):
        raise _short(f"{box_path}/uuid", moof_offset + body)
    time: int = (_SIGNED if long else _WORD).unpack_from(data, body + 4)[0]
    if abs(time) > _LATEST:
        raise InvalidMedia(
            f"FragmentAbsoluteTime {time} is out of range",
            box_path=f"{box_path}/uuid",
            offset=moof_offset + body + 4,
        )
    return time


def _read_trun(
    data: memoryview, body: int, end: int, box_path: str, moof_offset: int
) -> tuple[int, int, int | None, int | None, memoryview]:
    """sample_count, flags, data_offset, first_sample_flags, rows (8.8.8)."""
    if end - body < 8:
        raise _short(box_path, moof_offset + body)
    flags, count = _TWO_WORDS.unpack_from(data, body)
    position = body + 8
    if 4 * (flags & DATA_OFFSET) + (flags & FIRST_SAMPLE_FLAGS) > end - position:
        raise _short(box_path, moof_offset + position)
    data_offset: int | None = None
    first_sample_flags: int | None = None
    if flags & DATA_OFFSET:
        data_offset = _OFFSET.unpack_from(data, position)[0]
        position += 4
    if flags & FIRST_SAMPLE_FLAGS:
        first_sample_flags = _WORD.unpack_from(data, position)[0]
        position += 4
    length = 4 * count * (flags & ROW).bit_count()
    if length > end - position:
        raise InvalidMedia(
            f"{count} samples are claimed, {end - position} bytes are there",
            box_path=box_path,
            offset=moof_offset + body + 4,
        )
    return count, flags, data_offset, first_sample_flags, data[position : position + length]
