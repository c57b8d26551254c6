"""Sample tables as blobs of the index: what is the same for all samples is said once."""

from __future__ import annotations

import struct

import numpy as np

from sidecar.errors import InvalidMedia
from sidecar.live.model import SampleTable

# Of one fragment: a minute of sound in frames of 2.5 ms is 24 000.
MAX_SAMPLES = 1 << 18
_HEAD = struct.Struct("<BI")
# Which columns follow whole; of the others durations and sizes have one value, offsets the first.
_DURATIONS, _SIZES, _COMPOSITION, _SYNC, _OFFSETS = 1, 2, 4, 8, 16


def pack_samples(table: SampleTable) -> bytes:
    """``table`` as a blob: some 8 bytes a sample of video, 4 of audio."""
    count = len(table.size)
    flags = 0
    columns: list[bytes] = []
    for flag, column in ((_DURATIONS, table.duration), (_SIZES, table.size)):
        values = column.astype("<u4", copy=False)
        if (values == values[0]).all():
            columns.append(values[:1].tobytes())
        else:
            flags |= flag
            columns.append(values.tobytes())
    if table.composition_offset is not None and table.composition_offset.any():
        flags |= _COMPOSITION
        columns.append(table.composition_offset.astype("<i4", copy=False).tobytes())
    if table.sync is not None and not table.sync.all():
        flags |= _SYNC
        columns.append(np.packbits(table.sync).tobytes())
    offset = table.offset.astype("<i8", copy=False)
    if (offset[1:] - offset[:-1] == table.size[:-1]).all():
        columns.append(offset[:1].tobytes())
    else:
        flags |= _OFFSETS
        columns.append(offset.tobytes())
    return _HEAD.pack(flags, count) + b"".join(columns)


def unpack_samples(blob: bytes) -> SampleTable:
    """The table that ``pack_samples`` made ``blob`` of. Raises ``InvalidMedia`` for other bytes."""
    try:
        return _unpack(blob)
    except (struct.error, ValueError) as error:
        raise InvalidMedia("the index has a damaged row") from error


def _unpack(blob: bytes) -> SampleTable:
    flags, count = _HEAD.unpack_from(blob)
    if not 0 < count <= MAX_SAMPLES:
        raise ValueError
    at = _HEAD.size

    def take(kind: str, values: int) -> np.ndarray:
        nonlocal at
        column = np.frombuffer(blob, kind, values, at)
        at += column.nbytes
        return column

    duration = take("<u4", count if flags & _DURATIONS else 1)
    size = take("<u4", count if flags & _SIZES else 1)
    composition = take("<i4", count) if flags & _COMPOSITION else None
    sync = take("u1", -(-count // 8)) if flags & _SYNC else None
    duration = duration if flags & _DURATIONS else np.repeat(duration, count)
    size = size if flags & _SIZES else np.repeat(size, count)
    if flags & _OFFSETS:
        offset = take("<i8", count)
    else:
        offset = take("<i8", 1) + np.concatenate(([0], np.cumsum(size[:-1], dtype=np.int64)))
    if composition is not None:
        composition = composition.astype(np.int32, copy=False)
    return SampleTable(
        duration=duration.astype(np.uint32, copy=False),
        size=size.astype(np.uint32, copy=False),
        composition_offset=None
        if composition is None
        else composition.astype(np.int32, copy=False),
        sync=None if sync is None else np.unpackbits(sync, count=count).view(np.bool_),
        offset=offset.astype(np.int64, copy=False),
    )
