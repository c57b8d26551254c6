"""Sample tables against plain Python, and against lies about their length."""

from __future__ import annotations

from itertools import chain, repeat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.boxes import tables
from sidecar.errors import InvalidMedia, UnsupportedMedia
from tests.support import boxes

runs = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2**31 - 1)), max_size=20)


def spread(rows: list[tuple[int, int]]) -> list[int]:
    return list(chain.from_iterable(repeat(value, count) for count, value in rows))


@given(runs)
def test_stts_expands_its_runs(rows: list[tuple[int, int]]) -> None:
    expected = spread(rows)
    column = tables.read_stts(boxes.leaf(boxes.stts(*rows)))
    assert column.expand(len(expected)).tolist() == expected


@given(runs, st.integers(0, 10))
def test_runs_beyond_the_samples_are_cut(rows: list[tuple[int, int]], samples: int) -> None:
    expected = spread(rows)
    column = tables.read_stts(boxes.leaf(boxes.stts(*rows)))
    if samples <= len(expected):
        assert column.expand(samples).tolist() == expected[:samples]
    else:
        with pytest.raises(InvalidMedia, match=f"describes {len(expected)} of {samples}"):
            column.expand(samples)


def test_lying_run_lengths_do_not_allocate() -> None:
    rows = [(0xFFFFFFFF, 1)] * 1000
    column = tables.read_stts(boxes.leaf(boxes.stts(*rows)))
    assert column.expand(3).tolist() == [1, 1, 1]


def test_a_negative_duration_is_refused() -> None:
    with pytest.raises(InvalidMedia, match="negative"):
        tables.read_stts(boxes.leaf(boxes.stts((1, -5))))


@pytest.mark.parametrize("version", [0, 1])
@given(rows=st.lists(st.tuples(st.integers(0, 9), st.integers(-(2**31), 2**31 - 1)), max_size=20))
def test_ctts_is_signed_in_both_versions(version: int, rows: list[tuple[int, int]]) -> None:
    column = tables.read_ctts(boxes.leaf(boxes.ctts(*rows, version=version)))
    expanded = column.expand(sum(count for count, _ in rows))
    assert expanded.dtype == np.int32
    assert expanded.tolist() == spread(rows)


@given(st.sets(st.integers(1, 50)))
def test_stss(numbers: set[int]) -> None:
    sync = tables.read_stss(boxes.leaf(boxes.stss(*sorted(numbers))), 50)
    assert set((np.flatnonzero(sync) + 1).tolist()) == numbers
    assert sync.shape == (50,)


@pytest.mark.parametrize("number", [0, 6, 0xFFFFFFFF])
def test_stss_outside_the_track(number: int) -> None:
    with pytest.raises(InvalidMedia, match=r"not within 1 \.\. 5"):
        tables.read_stss(boxes.leaf(boxes.stss(1, number)), 5)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=30))
def test_stsz(sizes: list[int]) -> None:
    assert tables.read_stsz(boxes.leaf(boxes.stsz(*sizes)), limit=10).tolist() == sizes


def test_stsz_with_a_common_size() -> None:
    leaf = boxes.leaf(boxes.stsz(common=7, count=5))
    assert tables.read_stsz(leaf, limit=35).tolist() == [7] * 5
    with pytest.raises(InvalidMedia, match="do not fit into 34 bytes"):
        tables.read_stsz(leaf, limit=34)


@pytest.mark.parametrize("common", [0, 1])
def test_stsz_with_more_samples_than_are_served(common: int) -> None:
    leaf = boxes.leaf(boxes.stsz(common=common, count=tables.MAX_SAMPLES + 1))
    with pytest.raises(UnsupportedMedia, match="samples"):
        tables.read_stsz(leaf, limit=1 << 40)


@pytest.mark.parametrize("bits", [4, 8, 16])
@given(data=st.data())
def test_stz2(bits: int, data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=31))
    assert tables.read_stz2(boxes.leaf(boxes.stz2(bits, *sizes))).tolist() == sizes


def test_stz2_with_another_field_size() -> None:
    with pytest.raises(InvalidMedia, match="field_size is 12"):
        tables.read_stz2(boxes.leaf(boxes.full(b"stz2", boxes.words(12, 0))))


def test_stz2_that_claims_too_much() -> None:
    with pytest.raises(InvalidMedia, match="9 entries"):
        tables.read_stz2(boxes.leaf(boxes.full(b"stz2", boxes.words(4, 9), bytes(4))))


def test_stsc_spreads_over_the_chunks() -> None:
    leaf = boxes.leaf(boxes.stsc((1, 3, 1), (4, 2, 1), (6, 9, 1)))
    assert tables.read_stsc(leaf, 7).tolist() == [3, 3, 3, 2, 2, 9, 9]
    assert tables.read_stsc(leaf, 5).tolist() == [3, 3, 3, 2, 2]
    assert tables.read_stsc(leaf, 0).tolist() == []


@pytest.mark.parametrize("rows", [[], [(2, 1, 1)], [(1, 1, 1), (1, 2, 1)], [(1, 1, 1), (0, 2, 1)]])
def test_stsc_must_ascend_from_one(rows: list[tuple[int, int, int]]) -> None:
    with pytest.raises(InvalidMedia, match="ascend"):
        tables.read_stsc(boxes.leaf(boxes.stsc(*rows)), 5)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=20))
def test_chunk_offsets_of_both_widths(offsets: list[int]) -> None:
    assert tables.read_stco(boxes.leaf(boxes.stco(*offsets))).tolist() == offsets
    wide = [offset << 20 for offset in offsets]
    assert tables.read_co64(boxes.leaf(boxes.co64(*wide))).tolist() == wide


def test_co64_beyond_any_file() -> None:
    with pytest.raises(InvalidMedia, match="beyond any file"):
        tables.read_co64(boxes.leaf(boxes.co64(1 << 63)))


@pytest.mark.parametrize(
    ("reader", "data"),
    [
        (tables.read_stts, boxes.stts((1, 1), count=0xFFFFFFFF)),
        (tables.read_ctts, boxes.ctts((1, 1), count=2)),
        (tables.read_stco, boxes.stco(1, 2, count=3)),
        (lambda leaf: tables.read_stss(leaf, 9), boxes.stss(1, count=1 << 30)),
        (lambda leaf: tables.read_stsz(leaf, limit=99), boxes.stsz(1, 2, count=1 << 23)),
        (lambda leaf: tables.read_stsc(leaf, 9), boxes.stsc((1, 1, 1), count=2)),
    ],
)
def test_a_count_that_lies_is_refused_with_its_place(reader, data: bytes) -> None:
    with pytest.raises(InvalidMedia, match="entries are claimed") as info:
        reader(boxes.leaf(data, offset=1000, path="moov/x"))
    assert info.value.box_path == "moov/x"
    assert info.value.offset in (1012, 1016)


@pytest.mark.parametrize("length", range(12))
def test_a_box_too_short_for_its_head(length: int) -> None:
    for reader in (tables.read_stts, tables.read_stco, tables.read_co64, tables.read_stz2):
        leaf = boxes.leaf(boxes.box(b"none", bytes(length)))
        if length < 8 or reader is tables.read_stz2:
            with pytest.raises(InvalidMedia):
                reader(leaf)


def test_bytes_after_the_table_are_ignored() -> None:
    assert tables.read_stco(boxes.leaf(boxes.full(b"stco", boxes.words(1, 7, 8)))).tolist() == [7]
