"""Stored files as they are downloaded: their moov comes first, everything else stays."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sidecar.boxes.header import BoxHeader, read_header
from sidecar.boxes.leaf import Leaf
from sidecar.errors import InvalidMedia, MediaError
from sidecar.mux.plan import FileRanges, Inline, Part
from sidecar.storage.source import ReadRange, SourceIdentity

# Boxes in front of the moov that are looked at; a progressive file has five.
_MAX_BOXES = 64
_MAX_MOOV = 256 << 20
_HEADER = 32
_SELF_CONTAINED = 0x000001
_CONTAINERS = frozenset((b"trak", b"mdia", b"minf", b"dinf", b"stbl"))
_OFFSET_TABLES = frozenset((b"stco", b"co64", b"saio"))


def stored_file(identity: SourceIdentity, read: ReadRange) -> tuple[Part, ...] | None:
    """The file ``identity`` as parts, with its moov in front of its media.

    It is one range when that is so already, or when what it holds cannot be moved (no moov, a
    compressed one, damage): a download is the file, whatever is in it. Otherwise the moov, its
    offsets corrected, is an inline part behind ``ftyp``. None when samples are in other files,
    so that the file alone does not play. Raises ``StorageError``.
    """
    whole = _range(identity, 0, identity.size)
    try:
        return _moved(identity, read, whole)
    except MediaError:
        return whole


def _moved(
    identity: SourceIdentity, read: ReadRange, whole: tuple[Part, ...]
) -> tuple[Part, ...] | None:
    ftyp_end, media_starts = 0, False
    for header in _top_level(identity, read):
        if header.type == b"ftyp" and header.start == 0:
            ftyp_end = header.end
        elif header.type == b"mdat":
            media_starts = True
        elif header.type == b"moov" and header.end - header.start <= _MAX_MOOV:
            data = bytearray(read(identity, header.start, header.end - header.start))
            body = memoryview(data)[header.body - header.start :]
            moov = Leaf(b"moov", body, "moov", header.body)
            if not all(map(_is_self_contained, _leaves(moov, frozenset((b"dref",))))):
                return None
            if not media_starts or any(child.type == b"cmov" for child in moov.children()):
                return whole
            tables = list(_leaves(moov, _OFFSET_TABLES))
            if not _correct(tables, ftyp_end, header.start, len(data)):
                return whole
            return (
                *_range(identity, 0, ftyp_end),
                Inline(bytes(data)),
                *_range(identity, ftyp_end, header.start),
                *_range(identity, header.end, identity.size),
            )
        elif header.type == b"moof":
            break
    return whole


def _range(identity: SourceIdentity, start: int, end: int) -> tuple[Part, ...]:
    if start >= end:
        return ()
    return (FileRanges(identity, np.array([start]), np.array([end - start])),)


def _top_level(identity: SourceIdentity, read: ReadRange) -> Iterator[BoxHeader]:
    """Headers of the first boxes; positions are those in the file."""
    position = 0
    for _ in range(_MAX_BOXES):
        if position >= identity.size:
            return
        window = read(identity, position, min(_HEADER, identity.size - position))
        header = read_header(window, 0, identity.size - position, base=position)
        yield BoxHeader(header.type, position, position + header.body, position + header.end)
        position += header.end


def _leaves(container: Leaf, wanted: frozenset[bytes]) -> Iterator[Leaf]:
    for child in container.children():
        if child.type in wanted:
            yield child
        elif child.type in _CONTAINERS:
            yield from _leaves(child, wanted)


def _is_self_contained(dref: Leaf) -> bool:
    return all(entry.version_and_flags()[1] & _SELF_CONTAINED for entry in dref.children(8))


def _correct(tables: list[Leaf], start: int, end: int, distance: int) -> bool:
    """Moves the offsets within ``start`` .. ``end`` of the file by ``distance``, in place.

    False, and nothing is changed, when one of them would need more bits than it has.
    """
    moved = []
    for table in tables:
        offsets = _offsets(table)
        values = offsets.astype(np.int64)
        values[(values >= start) & (values < end)] += distance
        if values.size and (int(values.max()) >> (8 * offsets.itemsize) or int(values.min()) < 0):
            return False
        moved.append((offsets, values))
    for offsets, values in moved:
        offsets[:] = values
    return True


def _offsets(table: Leaf) -> NDArray[Any]:
    """The offsets in a stco, co64 or saio: a view into its bytes."""
    version, flags = table.version_and_flags()
    head = 4
    large = table.type == b"co64"
    if table.type == b"saio":
        head += 8 if flags & 1 else 0
        large = version > 0
    (count,) = table.unpack(struct.Struct(">I"), head)
    width = 8 if large else 4
    if count * width > len(table.body) - head - 4:
        raise InvalidMedia(f"{count} offsets do not fit", box_path=table.box_path)
    return np.frombuffer(table.body, f">u{width}", count, head + 4)
