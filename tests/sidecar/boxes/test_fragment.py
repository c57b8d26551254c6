from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymp4 import parser as pymp4

from sidecar.boxes import fragment
from sidecar.boxes.fragment import MAX_CHILDREN, BoxBudget, Run, read_moof
from sidecar.boxes.movie import SampleDefaults
from sidecar.errors import InvalidMedia, UnsupportedMedia
from tests.support.boxes import Traf, Trun, box, full, moof, tfxd, words

AT = 5000


def read(*trafs: Traf, defaults: dict[int, SampleDefaults] | None = None) -> list[Run]:
    return read_moof(memoryview(moof(*trafs)), 8, AT, 0, defaults or {}, BoxBudget(0))


def rows(run: Run) -> list[tuple[int, ...]]:
    columns = run.layout.bit_count()
    values = struct.unpack(f">{len(run.rows) // 4}I", run.rows)
    return list(zip(*[iter(values)] * columns, strict=True))


def test_a_plain_run() -> None:
    (run,) = read(Traf(track_id=3, time=900, truns=[Trun(data_offset=108)]))
    assert (run.track_ID, run.base_media_decode_time, run.data_offset) == (3, 900, AT + 108)
    assert (run.sample_count, run.layout, run.data_length) == (2, 0x300, 30)
    assert rows(run) == [(40, 10), (40, 20)]
    assert run.first_sample_flags is None


@pytest.mark.parametrize("version", [0, 1])
def test_both_versions_of_tfdt(version: int) -> None:
    (run,) = read(Traf(time=0xFFFFFFFF, time_version=version))
    assert run.base_media_decode_time == 0xFFFFFFFF


def test_a_decode_time_out_of_range() -> None:
    with pytest.raises(InvalidMedia, match="out of range") as info:
        read(Traf(time=1 << 63, time_version=1))
    assert info.value.box_path == "moof[0]/traf/tfdt"


def test_no_decode_time() -> None:
    (run,) = read(Traf(time=None))
    assert run.base_media_decode_time is None


def test_tfxd_counts_only_without_tfdt() -> None:
    assert read(Traf(time=None, extra=tfxd(77)))[0].base_media_decode_time == 77
    assert read(Traf(time=None, extra=tfxd(-213333)))[0].base_media_decode_time == -213333
    assert read(Traf(time=5, extra=tfxd(77)))[0].base_media_decode_time == 5


def test_times_before_0_are_written_as_if_they_were_unsigned() -> None:
    assert read(Traf(time=(1 << 64) - 1024, time_version=1))[0].base_media_decode_time == -1024


def test_only_the_first_run_states_the_time() -> None:
    first, second = read(Traf(time=9, truns=[Trun(), Trun()]))
    assert (first.base_media_decode_time, second.base_media_decode_time) == (9, None)


def test_defaults_come_from_trex_unless_tfhd_has_them() -> None:
    defaults = {1: SampleDefaults(1, 2, 3)}
    (run,) = read(Traf(defaults=(None, 50, None), truns=[Trun(flags=1)]), defaults=defaults)
    inherited = (run.default_sample_duration, run.default_sample_size, run.default_sample_flags)
    assert inherited == (1, 50, 3)
    (run,) = read(Traf(defaults=(7, 8, 9), description=True), defaults=defaults)
    inherited = (run.default_sample_duration, run.default_sample_size, run.default_sample_flags)
    assert inherited == (7, 8, 9)


def test_base_data_offset() -> None:
    (run,) = read(Traf(base=1 << 40, truns=[Trun(data_offset=-3)]))
    assert run.data_offset == (1 << 40) - 3


def test_without_data_offsets_runs_follow_each_other() -> None:
    truns = [Trun(flags=0x301, data_offset=100), Trun(flags=0x200, rows=[(5,), (6,)]),
             Trun(flags=0, rows=[(), ()]), Trun(flags=0x300)]  # fmt: skip
    found = read(Traf(defaults=(None, 9, None), truns=truns))
    assert [run.data_offset - AT for run in found] == [100, 130, 141, 159]


def test_without_a_base_a_traf_follows_the_data_of_the_one_before() -> None:
    first = Traf(track_id=1, default_base_is_moof=False, truns=[Trun(data_offset=200)])
    second = Traf(track_id=2, default_base_is_moof=False, truns=[Trun(data_offset=4)])
    third = Traf(track_id=3, default_base_is_moof=True, truns=[Trun(data_offset=4)])
    fourth = Traf(track_id=4, default_base_is_moof=False, truns=[Trun(flags=0x300)])
    offsets = [run.data_offset - AT for run in read(first, second, third, fourth)]
    assert offsets == [200, 234, 4, 34]


def test_first_sample_flags() -> None:
    (run,) = read(Traf(truns=[Trun(first_sample_flags=0x2000000)]))
    assert run.first_sample_flags == 0x2000000
    assert rows(run) == [(40, 10), (40, 20)]


def test_an_empty_fragment_has_no_runs() -> None:
    assert read(Traf(empty=True)) == []


@pytest.mark.parametrize("columns", range(16))
def test_every_combination_of_columns(columns: int) -> None:
    flags = columns << 8 | 1
    row = tuple(range(columns.bit_count()))
    (run,) = read(Traf(defaults=(1, 6, 1), truns=[Trun(flags=flags, rows=[row, row])]))
    assert run.layout == columns << 8
    if columns:
        assert rows(run) == [row, row]
    size = row[1 if columns & 1 else 0] if columns & 2 else 6
    assert run.data_length == 2 * size


@pytest.mark.parametrize("count", [3, 1 << 20, 0xFFFFFFFF])
def test_a_count_that_lies(count: int) -> None:
    with pytest.raises(InvalidMedia, match=f"{count} samples are claimed") as info:
        read(Traf(truns=[Trun(count=count)]))
    assert info.value.box_path == "moof[0]/traf/trun"
    assert info.value.offset > AT


def test_a_count_without_rows_is_only_a_number() -> None:
    (run,) = read(Traf(defaults=(1, 1, 1), truns=[Trun(flags=1, rows=[], count=0xFFFFFFFF)]))
    assert (run.sample_count, run.data_length, len(run.rows)) == (0xFFFFFFFF, 0xFFFFFFFF, 0)


def test_a_traf_without_tfhd() -> None:
    data = box(b"moof", box(b"traf", full(b"tfdt", words(0))))
    with pytest.raises(InvalidMedia, match="no tfhd"):
        read_moof(memoryview(data), 8, AT, 0, {}, BoxBudget(0))


def test_every_truncation_of_a_moof_is_refused() -> None:
    trun = Trun(flags=0xF01, rows=[(1, 2, 3, 4)], first_sample_flags=5)
    data = moof(Traf(time=1, base=3, description=True, defaults=(1, 2, 3), truns=[trun]))
    assert len(read_moof(memoryview(data), 8, AT, 0, {}, BoxBudget(0))) == 1
    after_mfhd = 24
    for length in range(9, len(data)):
        cut = memoryview(data)[:length]
        if length == after_mfhd:
            assert read_moof(cut, 8, AT, 0, {}, BoxBudget(0)) == []
            continue
        with pytest.raises(InvalidMedia):
            read_moof(cut, 8, AT, 0, {}, BoxBudget(0))


@pytest.mark.parametrize("kind", [b"tfhd", b"tfdt", b"trun"])
def test_leaves_too_short_for_their_fields(kind: bytes) -> None:
    tfhd = full(b"tfhd", words(1), flags=0x20000)
    whole = {
        b"tfhd": full(b"tfhd", words(1), bytes(24), flags=0x3B),
        b"tfdt": full(b"tfdt", bytes(8), version=1),
        b"trun": full(b"trun", words(0), bytes(8), flags=5),
    }[kind]
    for length in range(8, len(whole)):
        leaf = box(kind, whole[8:length])
        children = (leaf,) if kind == b"tfhd" else (tfhd, leaf)
        data = box(b"moof", box(b"traf", *children), box(b"free", bytes(40)))
        with pytest.raises(InvalidMedia):
            read_moof(memoryview(data), 8, AT, 0, {}, BoxBudget(0))


def test_large_sizes_and_unknown_boxes() -> None:
    traf = Traf().build()
    data = box(b"moof", box(b"uuid", bytes(16)), box(b"traf", traf[8:], large=True), bytes(4))
    assert len(read_moof(memoryview(data), 8, AT, 0, {}, BoxBudget(0))) == 1


@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**31 - 1)), max_size=20),
    st.integers(-(2**31), 2**31 - 1),
)
def test_pymp4_reads_the_same_run(samples: list[tuple[int, int]], data_offset: int) -> None:
    trun = Trun(flags=0x301, rows=samples, data_offset=data_offset)
    theirs = pymp4.TrackRunBox.parse(trun.build()[4:])
    (ours,) = read(Traf(truns=[trun]))
    assert rows(ours) == [(s.sample_duration, s.sample_size) for s in theirs.sample_info]
    assert ours.data_offset - AT == theirs.data_offset


def test_empty_runs_only_say_where_the_next_begins() -> None:
    def run(relative: int | None, *sizes: int) -> Trun:
        flags = 0x200 if relative is None else 0x201
        return Trun(flags=flags, rows=[(size,) for size in sizes], data_offset=relative or 0)

    truns = [run(100, 5, 6), run(None), run(None, 7), run(500), run(None), run(None, 8)]
    assert [(one.data_offset - AT, one.sample_count) for one in read(Traf(truns=truns))] == [
        (100, 2),
        (111, 1),
        (500, 1),
    ]
    alone = read(Traf(truns=[run(100), run(None), run(None, 8)]))
    assert [(one.data_offset - AT, one.sample_count) for one in alone] == [(100, 0), (100, 1)]


def test_moofs_hold_so_many_boxes_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fragment, "MAX_BOXES", 10)
    data = memoryview(box(b"moof", box(b"free"), box(b"free"), box(b"free"), box(b"free")))
    budget = BoxBudget(file_size=3 * fragment.BYTES_PER_BOX)
    for _ in range(3):
        assert read_moof(data, 8, AT, 0, {}, budget) == []
    with pytest.raises(UnsupportedMedia, match="the moofs hold more than 13 boxes"):
        read_moof(data, 8, AT, 0, {}, budget)


def test_a_moof_full_of_empty_boxes() -> None:
    many = box(b"free") * (MAX_CHILDREN + 1)
    for data in (box(b"moof", many), box(b"moof", box(b"traf", many))):
        with pytest.raises(UnsupportedMedia, match="children"):
            read_moof(memoryview(data), 8, AT, 0, {}, BoxBudget(0))
