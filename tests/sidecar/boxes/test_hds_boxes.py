"""Boxes of HDS: bootstrap information against pymp4, random access against our own writer."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymp4 import parser as pymp4

import sidecar.boxes.declared  # noqa: F401 - pymp4 builds nothing with arrays before
from sidecar.boxes.hds import FragmentRunEntry, abst, afrt, asrt, read_afra
from sidecar.boxes.leaf import Leaf
from sidecar.errors import InvalidMedia
from tests.support.f4f import GlobalEntry, afra

u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
runs = st.lists(
    st.builds(
        FragmentRunEntry,
        first_fragment=u32,
        first_fragment_timestamp=u64,
        fragment_duration=st.integers(1, 2**32 - 1),
    ),
    max_size=20,
)


@given(entries=runs, count=u32, scale=st.integers(1, 2**32 - 1), end=u64)
def test_pymp4_reads_the_same_and_builds_the_same_bytes(
    entries: list[FragmentRunEntry], count: int, scale: int, end: int
) -> None:
    built = abst(
        asrt(count), afrt(entries, time_scale=scale), time_scale=scale, current_media_time=end
    )
    found: Any = pymp4.Box.parse(built)
    assert found.type == b"abst"
    assert (found.version, found.flags, found.info_version) == (0, 0, 1)
    assert [found[name] for name in ("profile", "live", "update")] == [False] * 3
    assert (found.time_scale, found.current_media_time) == (scale, end)
    (segments,) = found.segment_run_table
    (run,) = segments.segment_run_enteries
    assert (run.first_segment, run.fragments_per_segment) == (1, count)
    (fragments,) = found.fragment_run_table
    assert fragments.time_scale == scale
    *listed, last = fragments.fragment_run_enteries
    assert [
        (one.first_fragment, one.first_fragment_timestamp, one.fragment_duration) for one in listed
    ] == [
        (one.first_fragment, one.first_fragment_timestamp, one.fragment_duration) for one in entries
    ]
    assert (last.fragment_duration, last.discontinuity) == (0, 0)
    assert pymp4.Box.build(found) == built


def leaf(box: bytes) -> Leaf:
    return Leaf(b"afra", memoryview(box)[8:], "afra", 8)


@st.composite
def indexes(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[GlobalEntry], bool, bool]:
    long_ids, long_offsets = draw(st.booleans()), draw(st.booleans())
    number = u32 if long_ids else st.integers(0, 2**16 - 1)
    offset = u64 if long_offsets else u32
    entry = st.builds(
        GlobalEntry,
        time=u64,
        segment=number,
        fragment=number,
        afra_offset=offset,
        offset_from_afra=offset,
    )
    local = draw(st.lists(st.tuples(u64, offset), max_size=5))
    return local, draw(st.lists(entry, max_size=20)), long_ids, long_offsets


@given(indexes())
def test_global_entries(
    index: tuple[list[tuple[int, int]], list[GlobalEntry], bool, bool],
) -> None:
    local, entries, long_ids, long_offsets = index
    box = afra(local, entries, long_ids=long_ids, long_offsets=long_offsets)
    found = read_afra(leaf(box))
    assert found.segment.tolist() == [entry.segment for entry in entries]
    assert found.fragment.tolist() == [entry.fragment for entry in entries]
    assert found.afra_offset.tolist() == [entry.afra_offset for entry in entries]


def test_local_entries_only() -> None:
    assert len(read_afra(leaf(afra([(0, 0), (40, 9)]))).fragment) == 0


ENTRIES = [GlobalEntry(time=0, segment=1, fragment=1, afra_offset=0)] * 3


@pytest.mark.parametrize("at", [17, 21], ids=["local", "global"])
def test_counts_beyond_the_box(at: int) -> None:
    box = bytearray(afra((), ENTRIES))
    box[at : at + 4] = b"\xff" * 4
    with pytest.raises(InvalidMedia, match="entries are claimed") as caught:
        read_afra(leaf(bytes(box)))
    assert caught.value.box_path == "afra"


def test_every_cut_is_an_error() -> None:
    box = afra([(0, 0)], ENTRIES)
    for length in range(8, len(box)):
        with pytest.raises(InvalidMedia):
            read_afra(leaf(box[:length]))


def test_another_version() -> None:
    box = bytearray(afra((), ENTRIES))
    struct.pack_into(">B", box, 8, 1)
    with pytest.raises(InvalidMedia, match="version 1"):
        read_afra(leaf(bytes(box)))
