"""Sample ranges become as few byte ranges as the file allows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sidecar.media.track import Samples
from sidecar.mux.ranges import byte_ranges


def samples(sizes: list[int], gaps: list[int]) -> Samples:
    """Samples of ``sizes``, each after ``gaps`` foreign bytes."""
    offsets, at = [], 0
    for size, gap in zip(sizes, gaps, strict=True):
        at += gap
        offsets.append(at)
        at += size
    return Samples(
        decode_time=np.arange(len(sizes) + 1, dtype=np.int64),
        composition_offset=None,
        size=np.array(sizes, dtype=np.uint32),
        offset=np.array(offsets, dtype=np.int64),
        sync=None,
        fragment_start=None,
    )


def ranges(columns: Samples, first: int, last: int) -> list[tuple[int, int]]:
    offset, length = byte_ranges(columns, first, last)
    return list(zip(offset.tolist(), length.tolist(), strict=True))


def test_neighbours_are_merged() -> None:
    columns = samples([10, 20, 30, 40], [5, 0, 1, 0])
    assert ranges(columns, 0, 4) == [(5, 30), (36, 70)]
    assert ranges(columns, 1, 3) == [(15, 20), (36, 30)]
    assert ranges(columns, 2, 3) == [(36, 30)]


def test_samples_without_bytes_make_no_range() -> None:
    columns = samples([0, 10, 0, 20, 0], [0, 0, 7, 0, 0])
    assert ranges(columns, 0, 5) == [(0, 10), (17, 20)]
    assert ranges(columns, 0, 1) == []


def test_offsets_beyond_32_bits() -> None:
    columns = samples([0xFFFFFFFF, 0xFFFFFFFF, 5], [1 << 40, 0, 0])
    assert ranges(columns, 0, 3) == [(1 << 40, 2 * 0xFFFFFFFF + 5)]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=1, max_size=30), st.data()
)
def test_the_ranges_read_what_the_samples_say(
    layout: list[tuple[int, int]], data: st.DataObject
) -> None:
    columns = samples([size for size, _ in layout], [gap for _, gap in layout])
    first = data.draw(st.integers(0, len(layout) - 1))
    last = data.draw(st.integers(first + 1, len(layout)))
    wanted = [
        at
        for start, size in zip(
            columns.offset[first:last].tolist(), columns.size[first:last].tolist(), strict=True
        )
        for at in range(start, start + size)
    ]
    made = ranges(columns, first, last)
    assert [at for start, length in made for at in range(start, start + length)] == wanted
    assert all(length > 0 for _, length in made)
    assert all(start + length != following for (start, length), (following, _) in pairwise(made)), (
        "neighbours are merged"
    )
