"""Leaf boxes through pymp4: both versions, QuickTime's forms, and what must be refused."""

from __future__ import annotations

import collections
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from pymp4 import parser as pymp4

from sidecar.boxes.declared import (
    Handler,
    MediaHeader,
    MovieHeader,
    read_hdlr,
    read_mdhd,
    read_mvhd,
    read_tkhd,
)
from sidecar.errors import InvalidMedia
from tests.support import boxes

READERS = [
    (read_mvhd, boxes.mvhd),
    (read_tkhd, boxes.tkhd),
    (read_mdhd, boxes.mdhd),
]


@pytest.mark.parametrize("version", [0, 1])
def test_movie_header(version: int) -> None:
    header = read_mvhd(boxes.leaf(boxes.mvhd(600, 1234, version=version)))
    assert header == MovieHeader(timescale=600, duration=1234)


def test_threads_read_boxes_of_their_own() -> None:
    leaves = [boxes.leaf(boxes.mdhd(1000 + number, number)) for number in range(400)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as executor:
            headers = list(executor.map(read_mdhd, leaves))
    finally:
        sys.setswitchinterval(interval)
    assert headers == [read_mdhd(leaf) for leaf in leaves]


@pytest.mark.parametrize("version", [0, 1])
def test_track_header(version: int) -> None:
    header = read_tkhd(boxes.leaf(boxes.tkhd(7, version=version)))
    assert (header.track_ID, header.flags) == (7, 3)


@pytest.mark.parametrize("version", [0, 1])
def test_media_header(version: int) -> None:
    header = read_mdhd(boxes.leaf(boxes.mdhd(48000, "fra", version=version)))
    assert header == MediaHeader(timescale=48000, duration=0, language="fra")


@pytest.mark.parametrize("code", [0, 11, 0x3FF, 0x7FFF])
def test_a_language_that_is_not_three_letters_is_none(code: int) -> None:
    assert read_mdhd(boxes.leaf(boxes.mdhd(language=code))).language is None


@pytest.mark.parametrize("data", [boxes.mvhd(0), boxes.mdhd(0)], ids=["mvhd", "mdhd"])
def test_timescale_zero(data: bytes) -> None:
    reader = read_mvhd if data[4:8] == b"mvhd" else read_mdhd
    with pytest.raises(InvalidMedia, match="timescale is 0") as info:
        reader(boxes.leaf(data, offset=500, path="moov/x"))
    assert (info.value.box_path, info.value.offset) == ("moov/x", 508)


@pytest.mark.parametrize(("reader", "make"), READERS)
@pytest.mark.parametrize("version", [0, 1])
def test_every_truncation_is_refused(reader, make, version: int) -> None:
    data = make(version=version)
    for length in range(8, len(data)):
        with pytest.raises(InvalidMedia):
            reader(boxes.leaf(data[:length]))


@pytest.mark.parametrize(("reader", "make"), READERS)
def test_a_leaf_must_be_consumed_whole(reader, make) -> None:
    with pytest.raises(InvalidMedia, match="bytes, its fields"):
        reader(boxes.leaf(make() + bytes(4)))


@pytest.mark.parametrize(("reader", "make"), READERS)
def test_an_unknown_version_is_refused(reader, make) -> None:
    data = bytearray(make())
    data[8] = 2
    with pytest.raises(InvalidMedia, match="version 2"):
        reader(boxes.leaf(bytes(data)))


@pytest.mark.parametrize(("reader", "make"), READERS)
def test_any_bytes_give_a_header_or_our_error(reader, make) -> None:
    rng = random.Random(1)
    for _ in range(300):
        data = bytearray(make(version=rng.randint(0, 1)))
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(8, len(data))] = rng.randrange(256)
        try:
            reader(boxes.leaf(bytes(data)))
        except InvalidMedia as error:
            assert error.box_path and error.offset is not None


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"VideoHandler\0", "VideoHandler"),
        (b"\0", ""),
        (b"", ""),
        (b"no terminator", "no terminator"),
        (b"\x05Apple", "Apple"),
        (b"\x05Apple and more", "Apple"),
        ("Größe\0".encode(), "Größe"),
        (b"caf\xe9\0", "caf\ufffd"),
        (b"name\0after", "name"),
    ],
)
def test_handler_names(body: bytes, name: str) -> None:
    expected = Handler(handler_type=b"soun", name=name)
    assert read_hdlr(boxes.leaf(boxes.hdlr(b"soun", body))) == expected


def test_quicktime_handler() -> None:
    data = boxes.full(b"hdlr", b"mhlr", b"vide", b"appl", bytes(8), b"\x0dVideo Handler")
    handler = read_hdlr(boxes.leaf(data))
    assert handler == Handler(handler_type=b"vide", name="Video Handler")


@pytest.mark.parametrize("length", range(12))
def test_a_handler_without_a_type(length: int) -> None:
    with pytest.raises(InvalidMedia, match="too short"):
        read_hdlr(boxes.leaf(boxes.box(b"hdlr", bytes(length))))


def test_construct_can_build_arrays_again() -> None:
    brands = {"major_brand": b"isom", "minor_version": 1, "compatible_brands": [b"isom", b"avc1"]}
    built = pymp4.FileTypeBox.build({"type": b"ftyp", **brands})
    assert built == b"ftypisom\0\0\0\1isomavc1"


def test_the_repair_stays_inside_construct() -> None:
    assert not hasattr(collections, "Sequence")
    check = "import collections, sidecar.boxes.declared; print(hasattr(collections, 'Sequence'))"
    out = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
