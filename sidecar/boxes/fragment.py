"""The moof side: tfhd, tfdt, trun (ISO/IEC 14496-12 8.8), and PIFF's tfxd.

A file may hold ten thousand fragments, so this module reads headers with bare ``struct`` calls and
leaves the rows of truns alone: they are expanded for all fragments of a track at once.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sidecar.boxes.header import read_header
from sidecar.boxes.movie import SampleDefaults
from sidecar.boxes.piff import TFXD
from sidecar.errors import InvalidMedia, UnsupportedMedia

# trun flags (8.8.8.1)
DATA_OFFSET = 0x001
FIRST_SAMPLE_FLAGS = 0x004
SAMPLE_DURATION = 0x100
SAMPLE_SIZE = 0x200
SAMPLE_FLAGS = 0x400
SAMPLE_COMPOSITION_TIME_OFFSET = 0x800
ROW = SAMPLE_DURATION | SAMPLE_SIZE | SAMPLE_FLAGS | SAMPLE_COMPOSITION_TIME_OFFSET

# Of a moof or traf, and of all of them in a file (one more for each BYTES_PER_BOX of it): floods of
# empty boxes must not take seconds. 24 h of subtitles in fragments of 1 s are 432 000 in 12 MB.
MAX_CHILDREN = 1 << 12
MAX_BOXES = 400_000
BYTES_PER_BOX = 256

# tfhd flags (8.8.7.1)
_BASE_DATA_OFFSET = 0x000001
_SAMPLE_DESCRIPTION_INDEX = 0x000002
_DEFAULT_SAMPLE_DURATION = 0x000008
_DEFAULT_SAMPLE_SIZE = 0x000010
_DEFAULT_SAMPLE_FLAGS = 0x000020
_DURATION_IS_EMPTY = 0x010000
_DEFAULT_BASE_IS_MOOF = 0x020000

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
    missing. ``first_sample_flags``: None when not given. ``moof_offset``: byte offset of its moof.
    ``in_file``: its traf says where in the file the samples are, rather than how far from the moof.
    ``tfxd_duration``: of all samples of its traf, as tfxd says; 0 = unknown, or not the first run.
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
    in_file: bool = False
    tfxd_duration: int = 0

    @property
    def data_length(self) -> int:
        """Bytes of all its samples."""
        if not self.layout & SAMPLE_SIZE or not self.sample_count:
            return self.sample_count * self.default_sample_size
        table = np.frombuffer(self.rows, ">u4").reshape(self.sample_count, -1)
        column = 1 if self.layout & SAMPLE_DURATION else 0
        return int(table[:, column].sum(dtype=np.int64))

    @property
    def where(self) -> tuple[str, int]:
        """Box path and byte offset, for errors."""
        return f"moof/traf(track {self.track_ID})/trun", self.moof_offset


class BoxBudget:
    """How many boxes the moofs of a file of ``file_size`` bytes may hold together."""

    def __init__(self, file_size: int) -> None:
        self.most = self.left = MAX_BOXES + file_size // BYTES_PER_BOX


@dataclass(frozen=True, slots=True)
class _Evidence:
    """Where a moof stands, to make errors about byte ``at`` of it."""

    box_path: str
    moof_offset: int
    budget: BoxBudget

    def spend(self, boxes: int) -> None:
        self.budget.left -= boxes
        if self.budget.left < 0:
            raise UnsupportedMedia(
                f"the moofs hold more than {self.budget.most} boxes",
                box_path=self.box_path,
                offset=self.moof_offset,
            )

    def damaged(self, sentence: str, child: str, at: int) -> InvalidMedia:
        return InvalidMedia(
            sentence, box_path=f"{self.box_path}/{child}", offset=self.moof_offset + at
        )

    def short(self, child: str, at: int) -> InvalidMedia:
        return self.damaged("the box ends before its fields do", child, at)


def read_moof(
    data: memoryview,
    body: int,
    offset: int,
    index: int,
    defaults: Mapping[int, SampleDefaults],
    budget: BoxBudget,
) -> list[Run]:
    """The runs of a moof, in order.

    ``data`` is the whole box, header included, its body from byte ``body`` on; ``offset`` where it
    starts in the file; ``index`` its number in the file (for paths); ``defaults`` of trex by
    track_ID; ``budget`` that of the file.

    Raises ``InvalidMedia`` when a box or a count does not fit, ``UnsupportedMedia`` for a box with
    more than ``MAX_CHILDREN``, and when the budget is used up.
    """
    runs: list[Run] = []
    evidence = _Evidence(f"moof[{index}]", offset, budget)
    for box_type, start, end in _boxes(data, body, len(data), evidence):
        if box_type == b"traf":
            _read_traf(data, start, end, evidence, defaults, runs)
    return runs


def _boxes(
    data: memoryview, start: int, end: int, evidence: _Evidence
) -> list[tuple[bytes, int, int]]:
    """Type, body and end of each box in ``start`` .. ``end``: the fast form of ``header.walk``."""
    boxes: list[tuple[bytes, int, int]] = []
    unpack = _HEADER.unpack_from
    while start < end:
        if len(boxes) == MAX_CHILDREN:
            raise UnsupportedMedia(
                f"a box has more than {MAX_CHILDREN} children",
                box_path=evidence.box_path,
                offset=evidence.moof_offset + start,
            )
        if end - start >= 8:
            size, box_type = unpack(data, start)
            if 8 <= size <= end - start:
                boxes.append((box_type, start + 8, start + size))
                start += size
                continue
        elif end - start == 4 and not any(data[start:end]):
            break
        header = read_header(
            data, start, end, box_path=evidence.box_path, base=evidence.moof_offset
        )
        # An extended type is part of the header there and of the body here.
        boxes.append((header.type, header.body - len(header.extended_type), header.end))
        start = header.end
    evidence.spend(len(boxes))
    return boxes


def _read_traf(
    data: memoryview,
    start: int,
    end: int,
    evidence: _Evidence,
    defaults: Mapping[int, SampleDefaults],
    runs: list[Run],
) -> None:
    """Appends the runs of one traf to ``runs``, which holds those of the trafs before it."""
    tfhd: tuple[int, int] | None = None
    time: int | None = None
    tfxd_time: int | None = None
    tfxd_duration = 0
    truns: list[tuple[int, int]] = []
    for box_type, body, limit in _boxes(data, start, end, evidence):
        if box_type == b"trun":
            truns.append((body, limit))
        elif box_type == b"tfhd":
            tfhd = (body, limit)
        elif box_type == b"tfdt":
            # Signed, although it is specified otherwise: encoders write the time of audio priming
            # so, here and in tfxd.
            time = _read_time(data, body, limit, _SIGNED, "traf/tfdt", evidence)
        elif box_type == b"uuid" and data[body : body + 16] == TFXD:
            tfxd_time = _read_time(data, body + 16, limit, _SIGNED, "traf/uuid", evidence)
            tfxd_duration = _read_tfxd_duration(data, body + 16, limit)
    if tfhd is None:
        raise evidence.damaged("the traf has no tfhd", "traf", start)
    track_id, flags, base, duration, size, sample_flags = _read_tfhd(
        data, tfhd[0], tfhd[1], evidence, defaults
    )
    if flags & _DURATION_IS_EMPTY:
        return
    in_file = base is not None
    if base is None:
        # Without a base of its own a traf goes on where the data of the one before it ends.
        continues = runs and not flags & _DEFAULT_BASE_IS_MOOF
        base = runs[-1].data_offset + runs[-1].data_length if continues else evidence.moof_offset
    if time is None:
        time = tfxd_time
    previous: Run | None = None
    empty_at: int | None = None
    for body, limit in truns:
        count, trun_flags, relative, first_flags, rows = _read_trun(data, body, limit, evidence)
        if relative is not None:
            data_offset = base + relative
        elif empty_at is not None:
            data_offset = empty_at
        elif previous is not None:
            data_offset = previous.data_offset + previous.data_length
        else:
            data_offset = base
        empty_at = None
        if not count and previous is not None:
            # It only says where the next one may begin. The first says that the track is here.
            empty_at = data_offset
            continue
        previous = Run(
            track_id,
            None if previous is not None else time,
            data_offset,
            count,
            trun_flags & ROW,
            rows,
            duration,
            size,
            sample_flags,
            first_flags,
            evidence.moof_offset,
            in_file,
            tfxd_duration,
        )
        tfxd_duration = 0
        runs.append(previous)


def _read_tfhd(
    data: memoryview,
    body: int,
    end: int,
    evidence: _Evidence,
    defaults: Mapping[int, SampleDefaults],
) -> tuple[int, int, int | None, int, int, int]:
    """track_ID, flags, base_data_offset or None, default duration, size and flags (8.8.7)."""
    if end - body < 8:
        raise evidence.short("traf/tfhd", body)
    flags, track_id = _TWO_WORDS.unpack_from(data, body)
    inherited = defaults.get(track_id, _NO_DEFAULTS)
    base: int | None = None
    duration = inherited.default_sample_duration
    size = inherited.default_sample_size
    sample_flags = inherited.default_sample_flags
    position = body + 8
    try:
        if flags & _BASE_DATA_OFFSET:
            (base,) = _LONG.unpack_from(data, position)
            position += 8
        if flags & _SAMPLE_DESCRIPTION_INDEX:
            position += 4
        if flags & _DEFAULT_SAMPLE_DURATION:
            (duration,) = _WORD.unpack_from(data, position)
            position += 4
        if flags & _DEFAULT_SAMPLE_SIZE:
            (size,) = _WORD.unpack_from(data, position)
            position += 4
        if flags & _DEFAULT_SAMPLE_FLAGS:
            (sample_flags,) = _WORD.unpack_from(data, position)
            position += 4
    except struct.error:
        raise evidence.short("traf/tfhd", position) from None
    if position > end:
        raise evidence.short("traf/tfhd", end)
    if base is not None and base > _LATEST:
        raise evidence.damaged(f"base_data_offset {base} is beyond any file", "traf/tfhd", body)
    return track_id, flags, base, duration, size, sample_flags


def _read_time(
    data: memoryview,
    body: int,
    end: int,
    long_form: struct.Struct,
    child: str,
    evidence: _Evidence,
) -> int:
    """The time after version and flags, 32 or 64 bits by version: tfdt (8.8.12) and tfxd."""
    long = end > body and data[body] == 1
    if end - body < (12 if long else 8):
        raise evidence.short(child, body)
    time: int = (long_form if long else _WORD).unpack_from(data, body + 4)[0]
    if abs(time) > _LATEST:
        raise evidence.damaged(f"the time {time} is out of range", child, body + 4)
    return time


def _read_tfxd_duration(data: memoryview, body: int, end: int) -> int:
    """What follows the time, in as many bits as that; 0 when it is not there."""
    long = data[body] == 1
    at = body + (12 if long else 8)
    layout = _LONG if long else _WORD
    duration: int = layout.unpack_from(data, at)[0] if at + layout.size <= end else 0
    return duration if duration <= _LATEST else 0


def _read_trun(
    data: memoryview, body: int, end: int, evidence: _Evidence
) -> tuple[int, int, int | None, int | None, memoryview]:
    """sample_count, flags, data_offset, first_sample_flags, rows (8.8.8)."""
    if end - body < 8:
        raise evidence.short("traf/trun", body)
    flags, count = _TWO_WORDS.unpack_from(data, body)
    position = body + 8
    if 4 * (flags & DATA_OFFSET) + (flags & FIRST_SAMPLE_FLAGS) > end - position:
        raise evidence.short("traf/trun", position)
    data_offset: int | None = None
    first_sample_flags: int | None = None
    if flags & DATA_OFFSET:
        (data_offset,) = _OFFSET.unpack_from(data, position)
        position += 4
    if flags & FIRST_SAMPLE_FLAGS:
        (first_sample_flags,) = _WORD.unpack_from(data, position)
        position += 4
    length = 4 * count * (flags & ROW).bit_count()
    if length > end - position:
        raise evidence.damaged(
            f"{count} samples are claimed, {end - position} bytes are there", "traf/trun", body + 4
        )
    return count, flags, data_offset, first_sample_flags, data[position : position + length]
