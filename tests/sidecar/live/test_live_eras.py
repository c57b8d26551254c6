"""What begins an era, and how eras are counted."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from sidecar.boxes.write import box, full_box
from sidecar.live import eras
from sidecar.live.index import PointIndex
from sidecar.live.model import IncomingTrack, SampleTable, TrackFragment
from sidecar.media.track import Kind
from tests.support.pushed import track

_ENTRY = bytes(6) + b"\0\1"


def picture(*children: bytes, width: int = 640) -> IncomingTrack:
    fields = struct.pack(">16xHH50x", width, 360)
    entry = box(b"avc1", _ENTRY, fields, *children)
    return replace(track(1, Kind.VIDEO), sample_entry_box=entry)


def sound(bitrate: int, configuration: bytes = b"\x11\x90") -> IncomingTrack:
    specific = bytes([5, len(configuration)]) + configuration
    decoder = bytes([0x40, 0x15]) + bytes(3) + struct.pack(">II", bitrate, bitrate) + specific
    es = bytes(2) + b"\0" + bytes([4, len(decoder)]) + decoder + bytes([6, 1, 2])
    esds = full_box(b"esds", 0, 0, bytes([3, len(es)]) + es)
    entry = box(b"mp4a", _ENTRY, struct.pack(">8xHHHHI", 2, 16, 0, 0, 48_000 << 16), esds)
    return replace(track(2, Kind.AUDIO), sample_entry_box=entry)


def test_bitrates_that_encoders_measure_are_no_change() -> None:
    plain = eras.configuration(picture(box(b"avcC", b"1")), 0)
    for bitrate in (b"1", b"2"):
        one = picture(box(b"avcC", b"1"), box(b"btrt", bitrate * 12))
        assert eras.configuration(one, 0) == plain
    assert eras.configuration(sound(64_000), 0) == eras.configuration(sound(96_000), 0)


def test_what_samples_are_decoded_by_is_one() -> None:
    plain = picture(box(b"avcC", b"1"))
    different = [
        plain,
        picture(box(b"avcC", b"2")),
        picture(box(b"avcC", b"1"), width=320),
        picture(box(b"avcC", b"1"), box(b"pasp", b"12345678")),
        replace(plain, timescale=90_000),
        sound(64_000),
        sound(64_000, b"\x12\x10"),
        # Nothing that can be taken apart.
        replace(plain, sample_entry_box=b""),
        replace(plain, sample_entry_box=box(b"avc1", b"short")),
    ]
    found = {eras.configuration(one, 0) for one in different}
    assert len(found) == len(different)
    # Nor is anything else that the header says.
    for other in (replace(plain, edit_media_time=7), replace(plain, name="x", bitrate=9)):
        assert eras.configuration(other, 0) == eras.configuration(plain, 0)
    assert eras.configuration(plain, 1) != eras.configuration(plain, 0)


def fragment(time: int, delay: int = 0) -> TrackFragment:
    table = SampleTable(
        duration=np.array([10, 10], np.uint32),
        size=np.array([1, 1], np.uint32),
        composition_offset=np.array([delay, delay], np.int32) if delay else None,
        sync=None,
        offset=np.array([0, 1]),
    )
    return TrackFragment(track_ID=1, time=time, duration=20, begins=True, samples=table)


@pytest.fixture
def index(tmp_path: Path) -> PointIndex:
    made = PointIndex.open(tmp_path / "ch.db3", create=True)
    for number in (1, 2):
        made.run("INSERT INTO track (stream, track_ID, header) VALUES ('main', ?, 1)", number)
    made.add_file("main", 1, "ch-1.mp4", 0)
    return made


def noted(index: PointIndex, sent: Sequence[tuple[int, str]], track_id: int = 1) -> None:
    """Fragments at these times, configured so; header 1 is that of "a", and so on."""
    row = index.tracks()[track_id - 1]
    for time, configured in sent:
        one = fragment(time, 2)
        header = ord(configured) - ord("a") + 1
        index.add(row, one, header=header, file=1, offset=0, length=1, now_ms=time)
        eras.note(index, track_id, one, header, configured.encode(), track(1, Kind.VIDEO))


@pytest.mark.parametrize("configured", ["aabb", "abba", "abab", "abcc", "aaaa"])
def test_rows_do_not_depend_on_the_order_in_which_fragments_come(
    index: PointIndex, configured: str
) -> None:
    sent = [(20 * at, one) for at, one in enumerate(configured)]
    expected = [
        eras.EraRow(1, time, time + 2, ord(one) - ord("a") + 1, 0)
        for at, (time, one) in enumerate(sent)
        if not at or configured[at - 1] != one
    ]
    for order in itertools.permutations(sent):
        index.run("DELETE FROM fragment")
        index.run("DELETE FROM era")
        noted(index, order)
        assert list(eras.rows(index)) == expected, order


def counted(timescale: int = 1000, lead: int = 0) -> IncomingTrack:
    return replace(track(1, Kind.VIDEO), timescale=timescale, edit_media_time=lead)


def test_changes_of_several_tracks_at_once_are_one(index: PointIndex) -> None:
    noted(index, [(0, "a"), (2000, "b"), (4000, "c"), (6000, "a")])
    noted(index, [(0, "a"), (1850, "b"), (6400, "c")], 2)
    found = eras.eras_of(eras.rows(index), {1: counted(), 2: counted()})
    assert [(one.number, one.first, one.last) for one in found.changes] == [
        (1, Fraction(185, 100), 2), (2, 4, 4), (3, 6, 6), (4, Fraction(64, 10), Fraction(64, 10))
    ]  # fmt: skip
    assert found.changes[0].tracks == {1: (2000, 2002), 2: (1850, 1852)}
    assert [found.header(1, era) for era in range(5)] == [1, 2, 3, 1, 1]
    assert [found.header(2, era) for era in range(5)] == [1, 2, 2, 2, 3]
    assert found.header(3, 0) is None


def test_what_leaves_the_archive_is_still_counted(index: PointIndex) -> None:
    noted(index, [(0, "a"), (20, "b"), (40, "b"), (60, "c")])
    index.run("DELETE FROM fragment WHERE time < 60")
    assert [row.time for row in eras.rows(index)] == [0, 20, 60]
    noted(index, [(80, "c"), (100, "d")])
    assert [row.time for row in eras.rows(index)] == [0, 20, 60, 100]


def test_an_encoder_that_begins_anew_is_counted_from_then_on(index: PointIndex) -> None:
    assert eras.restarts(index, 5000) == 0
    eras.restarted(index, 5000)
    eras.restarted(index, 5000)
    assert [eras.restarts(index, at) for at in (4000, 4749, 4750, 5000, 9000)] == [0, 0, 1, 1, 1]
    assert eras.rows(index) == ()


@pytest.mark.parametrize(("timescale", "lead"), [(90_000, 0), (12_800, 1024), (10_000_000, 0)])
def test_times_are_counted_as_those_of_the_first_header(timescale: int, lead: int) -> None:
    own = counted(timescale, lead)
    given = eras.counted_as(own, 48_000, 512)
    assert (given.timescale, given.edit_media_time) == (48_000, 512)
    count, begin = 200, 7 * timescale + lead
    step = timescale * 1001 // 30_000
    table = SampleTable(
        duration=np.full(count, step, np.uint32),
        size=np.ones(count, np.uint32),
        composition_offset=np.arange(count, dtype=np.int32) % 3 * step,
        sync=None,
        offset=np.arange(count),
    )
    one = TrackFragment(track_ID=1, time=begin, duration=count * step, begins=True, samples=table)
    found = eras.recounted(one, own, given)
    assert table.composition_offset is not None
    assert found.samples.composition_offset is not None
    for at in range(count):
        decoded = begin + at * step
        time = found.time + int(found.samples.duration[:at].sum())
        for ours, theirs in (
            (time, decoded),
            (
                time + int(found.samples.composition_offset[at]),
                decoded + int(table.composition_offset[at]),
            ),
        ):
            exact = Fraction(theirs - lead, timescale)
            assert abs(Fraction(ours - 512, 48_000) - exact) <= Fraction(1, 96_000)
    assert found.duration == int(found.samples.duration.sum())
    # What is counted as it came stays what it is.
    assert eras.recounted(one, own, eras.counted_as(own, timescale, lead)) is one
