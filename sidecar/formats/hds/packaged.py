"""Fragments of content that a packager has made: files of fragments (.f4f) and their index (.f4x).

``nameSeg1.f4f`` holds the fragments of segment 1 one after the other, each beginning with an
``afra`` box and ending with an ``mdat`` box; ``nameSeg1.f4x`` holds an ``afra`` box whose global
entries tell where the fragments begin. Nothing is read of the media itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sidecar.boxes.hds import GlobalAccessEntries, read_afra
from sidecar.boxes.header import walk
from sidecar.boxes.leaf import Leaf
from sidecar.errors import InvalidMedia, MediaError, NotFound
from sidecar.mux.plan import CacheClass, FileRanges, Plan
from sidecar.storage.source import ReadRange, SourceIdentity

FRAGMENT_TYPE = "video/f4f"

# 24 h with an entry each second are 2.4 MB.
_MAX_INDEX_BYTES = 16 << 20
_HEADER = 8


def packaged_fragment(
    index: SourceIdentity, file: SourceIdentity, segment: int, fragment: int, read: ReadRange
) -> Plan:
    """Fragment ``fragment`` of ``segment`` as it lies in ``file``, where ``index`` says.

    Raises ``NotFound`` when the index does not know it, ``InvalidMedia`` when the index is damaged
    or is not that of ``file``.
    """
    entries = _entries(index, read)
    offset = entries.afra_offset
    ours = entries.segment == segment
    wanted = offset[ours & (entries.fragment == fragment)]
    if not len(wanted):
        raise NotFound("the index has no such fragment")
    # Several entries of one fragment: its random access points.
    begin = int(wanted.min())
    later = offset[ours & (offset > begin)]
    end = min(int(later.min()), file.size) if len(later) else file.size
    if begin + _HEADER > end or read(file, begin, _HEADER)[4:] != b"afra":
        raise InvalidMedia(
            "no fragment begins where the index says", path=file.path, box_path="afra", offset=begin
        )
    return Plan(
        parts=(
            FileRanges(
                file, np.array([begin], dtype=np.int64), np.array([end - begin], dtype=np.int64)
            ),
        ),
        content_type=FRAGMENT_TYPE,
        cache_class=CacheClass.MEDIA,
    )


def _entries(index: SourceIdentity, read: ReadRange) -> GlobalAccessEntries:
    if index.size > _MAX_INDEX_BYTES:
        raise InvalidMedia(f"an index of {index.size} bytes is not read", path=index.path)
    try:
        tables = [read_afra(leaf) for leaf in _leaves(read(index, 0, index.size))]
    except MediaError as error:
        error.path = error.path or index.path
        raise
    if not tables:
        raise InvalidMedia("the index has no afra box", path=index.path)
    return GlobalAccessEntries(
        segment=np.concatenate([table.segment for table in tables]),
        fragment=np.concatenate([table.fragment for table in tables]),
        afra_offset=np.concatenate([table.afra_offset for table in tables]),
    )


def _leaves(data: bytes) -> Iterator[Leaf]:
    """The ``afra`` boxes of a file."""
    for header in walk(data, 0, len(data)):
        if header.type == b"afra":
            body = memoryview(data)[header.body : header.end]
            yield Leaf(header.type, body, header.name, header.body)
