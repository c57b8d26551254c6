"""Access units: delimiters, parameter sets and start codes, whatever the samples hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.boxes.write import box
from sidecar.codecs.nal import NalFormat, nal_format
from sidecar.errors import InvalidMedia, UnsupportedMedia
from sidecar.mux import annexb
from sidecar.mux.annexb import START_CODE, access_units
from sidecar.mux.samples import SampleBytes
from tests.support.bitwriter import visual_entry

SPS, PPS, SEI, IDR, SLICE, AUD = (
    b"\x67one",
    b"\x68two",
    b"\x06sei",
    b"\x65idr",
    b"\x41p",
    b"\x09\x10",
)
SETS = START_CODE + SPS + START_CODE + PPS


def avc(length_size: int = 4) -> NalFormat:
    record = bytes((1, 100, 0, 31, 0xFC | length_size - 1, 0xE0, 0))
    return nal_format("avc1", visual_entry(b"avc1", box(b"avcC", record)))


def sample(units: list[bytes], length_size: int = 4) -> bytes:
    return b"".join(len(unit).to_bytes(length_size) + unit for unit in units)


def made(
    content: list[list[bytes]], *, entry: list[bool], length_size: int = 4, sets: bytes = SETS
) -> list[bytes]:
    """The access units of samples with ``content``, of which ``entry`` may be begun with."""
    coded = [sample(units, length_size) for units in content]
    size = np.array([len(one) for one in coded], dtype=np.int64)
    junk = b"junk"
    data = b"".join(junk + one for one in coded)
    position = np.cumsum(size + len(junk)) - size
    units = access_units(avc(length_size), sets, SampleBytes(data, position), size, np.array(entry))
    data = bytearray(units.data)
    for one, at in zip(units.coded.tolist(), units.code.tolist(), strict=True):
        assert position[one] <= at < position[one] + size[one] or length_size != 4
        data[at : at + 4] = START_CODE
    found = [
        prefix + bytes(data[begin:end])
        for prefix, begin, end in zip(units.prefix, units.begin.tolist(), units.end.tolist(),
                                      strict=True)
    ]  # fmt: skip
    assert [len(one) for one in found] == units.size.tolist()
    return found


def coded(*units: bytes) -> bytes:
    return b"".join(START_CODE + unit for unit in units)


DELIMITER = b"\x09\xf0"


@pytest.mark.parametrize("length_size", [1, 2, 4])
def test_delimiters_and_parameter_sets_where_they_are_missing(length_size: int) -> None:
    found = made(
        [[SEI, IDR], [SLICE], [AUD, SLICE], [SPS, PPS, IDR], [AUD, SEI, IDR], [IDR, IDR, IDR]],
        entry=[True, False, False, True, True, False],
        length_size=length_size,
    )
    assert found == [
        coded(DELIMITER, SPS, PPS, SEI, IDR),
        coded(DELIMITER, SLICE),
        coded(AUD, SLICE),
        coded(DELIMITER, SPS, PPS, IDR),
        coded(AUD, SPS, PPS, SEI, IDR),
        coded(DELIMITER, IDR, IDR, IDR),
    ]


def test_half_of_the_parameter_sets_is_not_enough() -> None:
    assert made([[PPS, IDR]], entry=[True]) == [coded(DELIMITER, SPS, PPS, PPS, IDR)]


def test_nothing_is_added_where_the_configuration_has_nothing() -> None:
    assert made([[SPS, IDR]], entry=[True], sets=b"") == [coded(DELIMITER, SPS, IDR)]


UNITS = st.lists(
    st.builds(lambda kind, rest: bytes([kind]) + rest, st.sampled_from([1, 5, 6, 7, 8, 12]),
              st.binary(max_size=30)),
    min_size=1, max_size=6,
)  # fmt: skip


@given(st.lists(UNITS, min_size=1, max_size=8), st.sampled_from([1, 2, 4]))
def test_no_unit_is_lost(content: list[list[bytes]], length_size: int) -> None:
    found = made(content, entry=[False] * len(content), length_size=length_size)
    assert found == [coded(DELIMITER, *units) for units in content]


@pytest.mark.parametrize(
    "damaged",
    [b"\0\0\0\x09abc", b"\0\0\0", b"\0\0\0\x01\x65\0\0", b"\xff\xff\xff\xff\x65", b""],
)
def test_damaged_samples(damaged: bytes) -> None:
    data = damaged + b"\0\0\0\x04\x41abc"
    size = np.array([len(damaged) or 1, 8], dtype=np.int64)
    position = np.array([0, len(damaged)], dtype=np.int64)
    with pytest.raises(InvalidMedia):
        access_units(avc(), SETS, SampleBytes(data, position), size, np.array([True, False]))


def test_units_without_number_are_refused() -> None:
    data = bytes(4 * (annexb._MAX_UNITS + 1))
    with pytest.raises(InvalidMedia, match="more than"):
        access_units(
            avc(),
            SETS,
            SampleBytes(data, np.array([0])),
            np.array([len(data)], dtype=np.int64),
            np.array([False]),
        )


def test_configurations() -> None:
    hevc = nal_format("hvc1", visual_entry(b"hvc1", box(b"hvcC", bytes(21) + b"\x0f\0")))
    assert hevc.length_size == 4 and hevc.parameter_sets == (32, 33, 34)
    with pytest.raises(UnsupportedMedia):
        nal_format("av01", b"")
    with pytest.raises(InvalidMedia, match="3 bytes"):
        avc(3)
    with pytest.raises(InvalidMedia, match="ends before"):
        nal_format("avc1", visual_entry(b"avc1", box(b"avcC", b"\1\2\3")))
