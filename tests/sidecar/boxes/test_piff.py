"""tfxd and tfrf, written here and read back by the reader of stored fragments."""

from __future__ import annotations

import struct

from sidecar.boxes.fragment import BoxBudget, read_moof
from sidecar.boxes.piff import tfrf, tfxd
from sidecar.boxes.write import box, full_box


def test_tfxd_is_the_time_of_a_fragment_without_tfdt() -> None:
    tfhd = full_box(b"tfhd", 0, 0x20, struct.pack(">II", 7, 0))
    trun = full_box(b"trun", 0, 0x301, struct.pack(">Ii", 1, 0), struct.pack(">II", 5, 9))
    traf = box(b"traf", tfhd, trun, tfxd(123_456_789_012, 20_000_000))
    moof = box(b"moof", full_box(b"mfhd", 0, 0, struct.pack(">I", 1)), traf)
    (run,) = read_moof(memoryview(moof), 8, 1000, 0, {}, BoxBudget(0))
    assert run.base_media_decode_time == 123_456_789_012
    assert run.track_ID == 7


def test_tfxd_has_times_of_64_bits() -> None:
    data = tfxd(1, 2)
    assert len(data) == 8 + 16 + 4 + 16
    assert data[4:8] == b"uuid"
    assert data[24:28] == b"\1\0\0\0"
    assert struct.unpack(">QQ", data[28:]) == (1, 2)


def test_tfrf_lists_what_comes_next() -> None:
    data = tfrf([(1, 2), (3, 4)])
    assert data[:8] == b"\0\0\0\x3duuid"
    assert data[8:24].hex() == "d4807ef2ca3946958e5426cb9e46a79f"
    assert data[24:29] == b"\1\0\0\0\2"
    assert struct.unpack(">4Q", data[29:]) == (1, 2, 3, 4)
    assert len(tfrf(())) == 29
