"""Sample entries rewritten for initialization segments."""

from __future__ import annotations

import struct

import pytest

from sidecar.boxes.header import walk
from sidecar.codecs.describe import describe
from sidecar.codecs.portable import portable_entry
from tests.support.bitwriter import box, esds, sound_entry, visual_entry

AAC = esds(0x40, b"\x11\x90")


@pytest.mark.parametrize(
    "entry",
    [
        visual_entry(b"avc1", box(b"avcC", b"x"), box(b"abcd", b"y")),
        sound_entry(b"mp4a", AAC, box(b"btrt", bytes(12))),
        sound_entry(b"ec-3", box(b"dec3", b"\x0e\0\x20\x0f\0")),
    ],
)
def test_iso_entries_stay_as_they_are_but_for_the_data_reference(entry: bytes) -> None:
    assert portable_entry(entry) == entry
    other = entry[:14] + b"\0\7" + entry[16:]
    assert portable_entry(other) == entry


@pytest.mark.parametrize(
    ("version", "extra"),
    [
        (0, b""),
        (1, bytes(16)),
        (1, struct.pack(">IIII", 1024, 0, 0, 2)),
        (2, struct.pack(">IdII", 72, 48000.0, 2, 0x7F000000) + bytes(16)),
    ],
)
def test_quicktimes_audio_entries_become_isos(version: int, extra: bytes) -> None:
    wave = box(b"wave", box(b"frma", b"mp4a") + box(b"mp4a", bytes(4)) + AAC + bytes(8))
    entry = sound_entry(b"mp4a", extra, wave, box(b"chan", bytes(12)), version=version)
    written = portable_entry(entry)
    assert written == sound_entry(b"mp4a", AAC)
    assert describe(written, b"soun", box_path="", offset=0) == describe(
        entry, b"soun", box_path="", offset=0
    )


def test_isos_version_1_becomes_version_0() -> None:
    srat = box(b"srat", struct.pack(">II", 0, 96000))
    written = portable_entry(sound_entry(b"mp4a", srat, AAC, version=1, rate=1))
    assert [child.type for child in walk(written, 36, len(written))] == [b"esds"]
    assert written[16:18] == b"\0\0"


def test_the_terminator_of_quicktimes_visual_entries_goes() -> None:
    config = box(b"avcC", b"x")
    assert portable_entry(visual_entry(b"avc1", config, bytes(4))) == visual_entry(b"avc1", config)
