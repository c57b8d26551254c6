"""Where fragments are, as mfra and sidx say."""

from __future__ import annotations

import struct

import pytest

from sidecar.boxes.leaf import Leaf
from sidecar.boxes.random_access import MFRO_BYTES, mfra_size, moof_offsets, subsegment_offsets
from sidecar.boxes.write import box, full_box
from sidecar.errors import InvalidMedia


def tfra(
    track: int, version: int, lengths: int, moofs: list[int], count: int | None = None
) -> bytes:
    numbers = bytes(sum((lengths >> shift & 3) + 1 for shift in (4, 2, 0)))
    entry = struct.Struct(">QQ" if version else ">II")
    rows = b"".join(entry.pack(7, moof) + numbers for moof in moofs)
    head = struct.pack(">III", track, lengths, len(moofs) if count is None else count)
    return full_box(b"tfra", version, 0, head, rows)


def leaf(data: bytes, at: int = 0) -> Leaf:
    return Leaf(data[4:8], memoryview(data)[8:], "x", at + 8)


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("lengths", [0, 0b111111, 0b010010])
def test_moofs_of_all_tracks(version: int, lengths: int) -> None:
    tables = tfra(1, version, lengths, [5000, 100]), tfra(2, version, lengths, [100, 70_000])
    size = 8 + sum(map(len, tables)) + MFRO_BYTES
    mfra = box(b"mfra", *tables, full_box(b"mfro", 0, 0, struct.pack(">I", size)))
    assert mfra_size(mfra[-MFRO_BYTES:]) == len(mfra)
    assert moof_offsets(leaf(mfra)).tolist() == [100, 5000, 70_000]


@pytest.mark.parametrize("tail", [b"", bytes(16), b"\0\0\0\x10mfro" + bytes(8), bytes(15)])
def test_files_without_mfra(tail: bytes) -> None:
    assert mfra_size(tail) is None


def test_tables_that_claim_more_than_they_hold() -> None:
    with pytest.raises(InvalidMedia, match="no room for 4294967295"):
        moof_offsets(leaf(box(b"mfra", tfra(1, 0, 0, [1], 2**32 - 1))))
    with pytest.raises(InvalidMedia):
        moof_offsets(leaf(box(b"mfra", full_box(b"tfra", 0, 0, bytes(8)))))
    sidx = full_box(b"sidx", 0, 0, struct.pack(">IIIIHH", 1, 1000, 0, 0, 0, 9), bytes(8 * 12))
    with pytest.raises(InvalidMedia, match="no room for 9"):
        subsegment_offsets(leaf(sidx))


@pytest.mark.parametrize(("version", "layout"), [(0, ">IIIIHH"), (1, ">IIQQHH")])
def test_subsegments(version: int, layout: str) -> None:
    rows = [(1 << 31 | 50, 4000, 0), (60, 4000, 1 << 31), (70, 4000, 0)]
    sidx = full_box(
        b"sidx",
        version,
        0,
        struct.pack(layout, 1, 1000, 0, 11, 0, len(rows)),
        *(struct.pack(">III", *row) for row in rows),
    )
    begin = 300 + len(sidx) + 11
    assert subsegment_offsets(leaf(sidx, 300)).tolist() == [begin, begin + 50, begin + 110]
