from __future__ import annotations

import pytest

from sidecar.boxes.movie import (
    MAX_BOXES,
    MAX_EDITS,
    MAX_TRACKS,
    Edit,
    SampleDefaults,
    is_self_contained,
    read_elng,
    read_elst,
    read_moov,
    read_stsd,
)
from sidecar.errors import InvalidMedia, UnsupportedMedia
from tests.support import boxes


def moov_leaf(*children: bytes) -> boxes.Leaf:
    return boxes.leaf(boxes.box(b"moov", *children))


def test_the_leaves_of_a_track_are_found_with_their_paths() -> None:
    movie = read_moov(boxes.leaf(boxes.moov(boxes.Trak().build(0), boxes.Trak().build(0))))
    assert movie.header.timescale == 1000
    assert not movie.fragmented
    stco = movie.tracks[1].leaf(b"stco")
    assert stco.box_path == "moov/trak[1]/mdia/minf/stbl/stco"


def test_offsets_are_those_of_the_file() -> None:
    data = boxes.moov(boxes.Trak().build(77))
    movie = read_moov(boxes.leaf(data, offset=4000))
    leaf = movie.tracks[0].leaf(b"stco")
    assert data[leaf.offset - 4000 :][: len(leaf.body)] == bytes(leaf.body)


def test_the_handler_of_minf_is_not_that_of_the_track() -> None:
    data_handler = boxes.full(b"hdlr", b"dhlr", b"alis", bytes(12), b"\0")
    minf = boxes.box(b"minf", data_handler, boxes.box(b"stbl"))
    mdia = boxes.box(b"mdia", minf, boxes.hdlr(b"soun"))
    movie = read_moov(moov_leaf(boxes.mvhd(), boxes.box(b"trak", mdia)))
    assert bytes(movie.tracks[0].leaf(b"hdlr").body[8:12]) == b"soun"


def test_unknown_and_quicktime_neighbours_are_stepped_over() -> None:
    track = boxes.Trak().build(0)
    with_terminator = boxes.box(b"trak", track[8:], boxes.box(b"free", b"x"), bytes(4))
    unknown = boxes.box(b"uuid", bytes(20)), boxes.box(b"\xa9nam"), boxes.box(b"udta", bytes(4))
    movie = read_moov(moov_leaf(*unknown, boxes.mvhd(), with_terminator, *unknown, bytes(4)))
    assert movie.tracks[0].leaf(b"stsz")


def test_large_sizes_inside_the_moov() -> None:
    trak = boxes.Trak().build(0)
    data = boxes.box(b"moov", boxes.mvhd(), boxes.box(b"trak", trak[8:], large=True), large=True)
    assert len(read_moov(boxes.leaf(data)).tracks) == 1


def test_trex_defaults() -> None:
    mvex = boxes.box(b"mvex", boxes.full(b"mehd", bytes(4)), boxes.trex(3, 40, 7, 0x10000))
    movie = read_moov(moov_leaf(boxes.mvhd(), mvex))
    assert movie.fragmented
    assert movie.defaults == {3: SampleDefaults(40, 7, 0x10000)}


def test_no_mvhd() -> None:
    with pytest.raises(InvalidMedia, match="no mvhd"):
        read_moov(moov_leaf(boxes.Trak().build(0)))


def test_a_missing_leaf_names_its_track() -> None:
    movie = read_moov(moov_leaf(boxes.mvhd(), boxes.box(b"trak", boxes.tkhd())))
    with pytest.raises(InvalidMedia, match="no hdlr") as info:
        movie.tracks[0].leaf(b"hdlr")
    assert info.value.box_path == "moov/trak[0]"


def test_a_child_larger_than_its_container() -> None:
    broken = boxes.box(b"trak", boxes.box(b"mdia", b"", size=999))
    with pytest.raises(InvalidMedia, match="claims 999") as info:
        read_moov(moov_leaf(boxes.mvhd(), broken))
    assert info.value.box_path == "moov/trak[0]/mdia"


def test_compressed_moov() -> None:
    with pytest.raises(UnsupportedMedia, match="compressed"):
        read_moov(moov_leaf(boxes.box(b"cmov", bytes(20))))


def test_too_many_tracks() -> None:
    with pytest.raises(UnsupportedMedia, match="tracks"):
        read_moov(moov_leaf(boxes.mvhd(), *[boxes.box(b"trak")] * (MAX_TRACKS + 1)))


def test_a_moov_full_of_empty_boxes() -> None:
    many = boxes.box(b"free") * (MAX_BOXES + 1)
    for data in (many, boxes.box(b"trak", boxes.box(b"mdia", many))):
        with pytest.raises(UnsupportedMedia, match="boxes"):
            read_moov(moov_leaf(boxes.mvhd(), data))


def test_too_many_edits() -> None:
    with pytest.raises(UnsupportedMedia, match="entries"):
        read_elst(boxes.leaf(boxes.elst(*[(1, 1)] * (MAX_EDITS + 1))))


@pytest.mark.parametrize("version", [0, 1])
def test_edits(version: int) -> None:
    leaf = boxes.leaf(boxes.elst((500, -1), (2000, 1024), version=version))
    assert read_elst(leaf) == (Edit(500, -1, 0x10000), Edit(2000, 1024, 0x10000))


def test_an_edit_with_another_rate() -> None:
    (edit,) = read_elst(boxes.leaf(boxes.elst((1, 2), rate=0x8000)))
    assert edit.media_rate != 0x10000


def test_edits_that_are_not_there() -> None:
    data = boxes.full(b"elst", boxes.words(1 << 31), bytes(12))
    with pytest.raises(InvalidMedia, match="entries are claimed"):
        read_elst(boxes.leaf(data))


def test_the_sample_entry_is_kept_byte_for_byte() -> None:
    entry = boxes.visual_entry(b"avc1", boxes.box(b"avcC", b"anything"), boxes.box(b"xxxx"))
    found = read_stsd(boxes.leaf(boxes.stsd(entry), offset=100))
    assert (found.type, found.box, found.data_reference_index) == (b"avc1", entry, 1)
    assert found.offset == 116


def test_several_sample_entries_are_unsupported() -> None:
    with pytest.raises(UnsupportedMedia, match="2 sample entries; only tracks with one are served"):
        read_stsd(boxes.leaf(boxes.stsd(boxes.visual_entry(), boxes.visual_entry())))


@pytest.mark.parametrize(
    "data",
    [
        boxes.stsd(),
        boxes.stsd(count=1),
        boxes.stsd(boxes.box(b"avc1", b"1234567")),
        boxes.stsd(boxes.box(b"avc1", b"", size=4000)),
    ],
    ids=["none", "claimed", "short", "long"],
)
def test_damaged_sample_descriptions(data: bytes) -> None:
    with pytest.raises(InvalidMedia):
        read_stsd(boxes.leaf(data))


def test_data_references() -> None:
    assert is_self_contained(boxes.leaf(boxes.dref()), 1)
    assert not is_self_contained(boxes.leaf(boxes.dref(self_contained=False)), 1)
    assert is_self_contained(boxes.leaf(boxes.dref(self_contained=False)), 2)


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        (b"de-AT\0", "de-AT"),
        (b"zh-Hans", "zh-Hans"),
        (b"\0", None),
        (b"../../etc\0", None),
        (b"e\0", None),
        (b"x" * 500, None),
    ],
)
def test_extended_language(tag: bytes, expected: str | None) -> None:
    assert read_elng(boxes.leaf(boxes.full(b"elng", tag))) == expected
