"""The index of a publishing point: what is kept, what is refused, who sees what."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import InvalidMedia, NotFound, StorageError
from sidecar.live.index import PointIndex, Verdict
from sidecar.live.index_tracks import TrackRow
from sidecar.live.model import SampleTable, TrackFragment
from sidecar.live.rows import pack_samples, unpack_samples


def table(durations: list[int], sizes: list[int] | None = None, at: int = 100) -> SampleTable:
    size = np.array(sizes or [10] * len(durations), np.uint32)
    offset = at + np.concatenate(([0], np.cumsum(size[:-1], dtype=np.int64)))
    return SampleTable(
        duration=np.array(durations, np.uint32),
        size=size,
        composition_offset=None,
        sync=None,
        offset=offset.astype(np.int64),
    )


def fragment(time: int, duration: int = 20, *, begins: bool = True) -> TrackFragment:
    return TrackFragment(
        track_ID=1,
        time=time,
        duration=duration,
        begins=begins,
        samples=table([duration // 2, duration - duration // 2]),
    )


@pytest.fixture
def index(tmp_path: Path) -> PointIndex:
    made = PointIndex.open(tmp_path / "ch.db3", create=True)
    made.run("INSERT INTO header VALUES (1, 'main', x'00', x'00', 0)")
    made.run("INSERT INTO track (stream, track_ID, header) VALUES ('main', 1, 1)")
    made.add_file("main", 1, "ch-1.mp4", 0)
    return made


def track(index: PointIndex) -> TrackRow:
    return index.tracks()[0]


def push(index: PointIndex, one: TrackFragment, grace: int = 1000) -> Verdict:
    with index.transaction():
        verdict = index.judge(track(index), one, grace)
        if verdict is Verdict.ADDED:
            row = index.add(
                track(index), one, header=1, file=1, offset=0, length=100, now_ms=one.time
            )
            verdict = Verdict.ADDED if row is not None else Verdict.LATE
    return verdict


def sequences(index: PointIndex) -> list[tuple[int, int]]:
    return [(row.time, row.sequence) for row in index.fragments(1, -(1 << 50), 1 << 50)]


def test_fragments_are_counted_on_a_grid(index: PointIndex) -> None:
    for time in (40, 60, 80):
        assert push(index, fragment(time)) is Verdict.ADDED
    assert sequences(index) == [(40, 2), (60, 3), (80, 4)]
    extent = index.extent(1)
    assert extent is not None
    assert (extent.begin, extent.end) == (40, 100)
    assert (extent.first_sequence, extent.last_sequence) == (2, 4)


def test_what_is_there_already_is_a_duplicate(index: PointIndex) -> None:
    push(index, fragment(40))
    assert push(index, fragment(40)) is Verdict.DUPLICATE
    # The clocks of two encoders differ by a tick or two.
    assert push(index, fragment(42)) is Verdict.DUPLICATE
    assert push(index, fragment(38)) is Verdict.DUPLICATE
    assert push(index, fragment(59)) is Verdict.ADDED


def test_a_hole_keeps_the_numbers_for_what_fills_it_later(index: PointIndex) -> None:
    for time in (40, 60, 140, 100):
        assert push(index, fragment(time)) is Verdict.ADDED
    assert sequences(index) == [(40, 2), (60, 3), (100, 5), (140, 7)]
    push(index, fragment(80))
    push(index, fragment(120))
    assert [number for _, number in sequences(index)] == [2, 3, 4, 5, 6, 7]


def test_what_comes_too_late_is_not_waited_for(index: PointIndex) -> None:
    for time in (40, 140):
        push(index, fragment(time))
    assert push(index, fragment(80), grace=50) is Verdict.LATE
    assert push(index, fragment(80), grace=60) is Verdict.ADDED


def test_chunks_share_the_number_of_their_fragment(index: PointIndex) -> None:
    for time in (0, 20, 40, 60):
        push(index, fragment(time, 10))
        push(index, fragment(time + 10, 10, begins=False))
    assert [number for _, number in sequences(index)] == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("begin", [0, 3])
@pytest.mark.parametrize("length", [2, 5, 10, 20])
def test_numbers_are_those_of_time_whatever_the_first_chunk_is(
    index: PointIndex, begin: int, length: int
) -> None:
    for time in range(1000 + 20 * begin, 1120, 20):
        push(index, fragment(time, length))
        if length < 20:
            push(index, fragment(time + length, 20 - length, begins=False))
    assert dict(sequences(index)) == {
        time + late: time // 20
        for time in range(1000 + 20 * begin, 1120, 20)
        for late in {0, length % 20}
    }


def test_a_chunk_without_its_beginning_has_no_place(index: PointIndex) -> None:
    assert push(index, fragment(10, 10, begins=False)) is Verdict.LATE


def test_two_indexes_fed_the_same_in_another_order_agree(tmp_path: Path, index: PointIndex) -> None:
    other = PointIndex.open(tmp_path / "other.db3", create=True)
    other.run("INSERT INTO header VALUES (1, 'main', x'00', x'00', 0)")
    other.run("INSERT INTO track (stream, track_ID, header) VALUES ('main', 1, 1)")
    for time in (40, 60, 80, 120, 140):
        push(index, fragment(time))
    for time in (40, 60, 120, 80, 140):
        push(other, fragment(time))
    assert sequences(index) == sequences(other)


def test_readers_see_whole_transactions(index: PointIndex) -> None:
    reader = PointIndex.open(index.path)
    with index.transaction():
        index.add(track(index), fragment(0), header=1, file=1, offset=0, length=9, now_ms=5)
        assert reader.last_id == 0
    assert reader.last_id == 1
    (row,) = reader.newer(0)
    assert (row.time, row.duration, row.received_ms) == (0, 20, 5)
    assert row.samples.duration.tolist() == [10, 10]
    assert row.samples.offset.tolist() == [100, 110]
    assert reader.newer(1) == ()


def test_a_failed_transaction_leaves_nothing(index: PointIndex) -> None:
    with pytest.raises(RuntimeError), index.transaction():
        index.add(track(index), fragment(0), header=1, file=1, offset=0, length=9, now_ms=5)
        raise RuntimeError
    assert index.last_id == 0
    assert push(index, fragment(0)) is Verdict.ADDED


def test_a_file_takes_its_fragments_with_it(index: PointIndex) -> None:
    push(index, fragment(0))
    removals = index.removals
    with index.transaction():
        assert index.remove_file(1) == "ch-1.mp4"
    assert index.extent(1) is None
    assert index.removals == removals + 1
    with pytest.raises(NotFound):
        index.remove_file(1)


def test_part_of_the_rows(index: PointIndex) -> None:
    for time in (0, 20, 40, 60):
        push(index, fragment(time))
    assert [row.time for row in index.fragments(1, 20, 60)] == [20, 40]
    assert [row.time for row in index.fragments(1, 30, 41)] == [20, 40]
    assert [row.time for row in index.fragments(1, 80, 90)] == []


def test_the_stamp_tells_of_commits(index: PointIndex) -> None:
    index.touch(1_000_000_007)
    assert index.stamp.stat().st_mtime_ns == 1_000_000_007


def test_an_index_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        PointIndex.open(tmp_path / "none.db3")
    (tmp_path / "no.db3").write_bytes(b"this is not a database, however long it may be" * 100)
    with pytest.raises(StorageError, match=r"no\.db3"):
        PointIndex.open(tmp_path / "no.db3")


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**32 - 1),
            st.integers(0, 2**20),
            st.integers(-(2**31), 2**31 - 1),
            st.booleans(),
            st.integers(0, 2**40),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_tables_come_back_as_they_were(rows: list[tuple[int, int, int, bool, int]]) -> None:
    duration, size, composition, sync, offset = zip(*rows, strict=True)
    before = SampleTable(
        duration=np.array(duration, np.uint32),
        size=np.array(size, np.uint32),
        composition_offset=np.array(composition, np.int32),
        sync=np.array(sync, np.bool_),
        offset=np.array(offset, np.int64),
    )
    after = unpack_samples(pack_samples(before))
    assert after.duration.tolist() == list(duration)
    assert after.size.tolist() == list(size)
    zeros = [0] * len(rows)
    assert (zeros if after.composition_offset is None else after.composition_offset.tolist()) == (
        list(composition)
    )
    assert (after.sync is None and all(sync)) or after.sync.tolist() == list(sync)
    assert after.offset.tolist() == list(offset)


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_damaged_rows_are_refused(blob: bytes) -> None:
    try:
        unpack_samples(blob)
    except InvalidMedia:
        return


@pytest.mark.parametrize("version", [0, 9])
def test_a_database_of_somebody_else_is_left_alone(tmp_path: Path, version: int) -> None:
    path = tmp_path / "ch.db3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE fragment (id)")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()
    before = path.read_bytes()
    for create in (False, True):
        with pytest.raises(StorageError, match=r"no index of this origin|has version 9"):
            PointIndex.open(path, create=create)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["ch.db3"]
