"""Bit fields, Exp-Golomb codes and emulation prevention."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.codecs.bits import BitReader, raw_payload
from sidecar.errors import InvalidMedia
from tests.support.bitwriter import BitWriter, nal_unit

FIELDS = st.lists(
    st.one_of(
        st.tuples(st.just("bits"), st.integers(1, 64)).flatmap(
            lambda kind: st.tuples(st.just(kind), st.integers(0, (1 << kind[1]) - 1))
        ),
        st.tuples(st.just(("ue", 0)), st.integers(0, (1 << 32) - 2)),
        st.tuples(st.just(("se", 0)), st.integers(-(1 << 31) + 1, (1 << 31) - 1)),
    ),
    max_size=40,
)


@given(FIELDS)
def test_what_was_written_is_read(fields: list[tuple[tuple[str, int], int]]) -> None:
    writer = BitWriter()
    for (kind, count), value in fields:
        if kind == "bits":
            writer.bits(count, value)
        else:
            getattr(writer, kind)(value)
    reader = BitReader(writer.bytes())
    for (kind, count), value in fields:
        assert (reader.bits(count) if kind == "bits" else getattr(reader, kind)()) == value
    assert reader.position == len(writer.text)
    assert reader.left < 8


@pytest.mark.parametrize(
    ("code", "unsigned", "signed"),
    [("1", 0, 0), ("010", 1, 1), ("011", 2, -1), ("00100", 3, 2), ("00111", 6, -3)],
)
def test_exp_golomb_codes_of_the_standard(code: str, unsigned: int, signed: int) -> None:
    data = int(code.ljust(8, "0"), 2).to_bytes()
    assert BitReader(data).ue() == unsigned
    assert BitReader(data).se() == signed


@given(st.binary(max_size=6), st.integers(0, 64))
def test_reading_past_the_end_is_our_error(data: bytes, count: int) -> None:
    reader = BitReader(data, box_path="stsd/avc1/avcC", offset=40)
    if count <= 8 * len(data):
        assert reader.bits(count) == int.from_bytes(data) >> (8 * len(data) - count)
        return
    for read in (reader.bits, reader.skip):
        with pytest.raises(InvalidMedia) as caught:
            read(count)
        assert (caught.value.box_path, caught.value.offset) == ("stsd/avc1/avcC", 40)
        assert reader.position == 0


@pytest.mark.parametrize("data", [bytes(4), bytes(5), bytes(100), b""])
def test_a_code_of_zeros_ends(data: bytes) -> None:
    with pytest.raises(InvalidMedia):
        BitReader(data).ue()


def test_align_moves_to_the_next_byte() -> None:
    reader = BitReader(b"\xff\x0f")
    reader.align()
    assert reader.position == 0
    reader.skip(3)
    reader.align()
    assert reader.bits(8) == 0x0F


@given(st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 255]), max_size=60))
def test_emulation_prevention_is_undone(payload: list[int]) -> None:
    written = nal_unit(b"\x67", bytes(payload))
    assert b"\0\0\0" not in written
    assert b"\0\0\1" not in written
    assert raw_payload(written) == b"\x67" + bytes(payload)
