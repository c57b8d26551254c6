"""hvcC and H.265 sequence parameter sets."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.codecs.describe import describe
from sidecar.codecs.facts import VideoFacts
from sidecar.codecs.hevc import parse_sps
from sidecar.errors import InvalidMedia
from tests.support.bitwriter import BitWriter, box, nal_unit, visual_entry


@dataclass(frozen=True, kw_only=True)
class Picture:
    size: tuple[int, int] = (64, 48)
    chroma: int = 1
    planes: bool = False
    window: tuple[int, int, int, int] = (0, 0, 0, 0)
    sub_layers: int = 1
    scaling: bool = False
    pcm: bool = False
    sets: int = 0
    predicted: bool = False
    long_term: int = 0
    aspect: tuple[int, int] | None = None
    transfer: int | None = None
    reordered: int = 2


def write_sps(picture: Picture) -> bytes:
    """ISO/IEC 23008-2 7.3.2.2.1, 7.3.3, 7.3.4, 7.3.7 and E.2.1, from the writing side."""
    writer = BitWriter().bits(4, 0).bits(3, picture.sub_layers - 1).flag(True)
    writer.bits(8, 0x01).bits(32, 0x60000000).bits(48, 0x900000000000).bits(8, 93)
    if picture.sub_layers > 1:
        for layer in range(picture.sub_layers - 1):
            writer.flag(layer % 2 == 0).flag(True)
        writer.bits(2 * (9 - picture.sub_layers), 0)
        for layer in range(picture.sub_layers - 1):
            writer.bits(88 if layer % 2 == 0 else 0, 0).bits(8, 60)
    writer.ue(0).ue(picture.chroma)
    if picture.chroma == 3:
        writer.flag(picture.planes)
    writer.ue(picture.size[0]).ue(picture.size[1]).flag(any(picture.window))
    if any(picture.window):
        for side in picture.window:
            writer.ue(side)
    writer.ue(0).ue(0).ue(4).flag(True)
    for layer in range(picture.sub_layers):
        # Only the highest layer has all pictures.
        writer.ue(4).ue(picture.reordered * (layer == picture.sub_layers - 1)).ue(4)
    for value in (0, 3, 0, 3, 0, 0):
        writer.ue(value)
    writer.flag(picture.scaling)
    if picture.scaling:
        writer.flag(True)
        for size_id in range(4):
            for matrix in range(2 if size_id == 3 else 6):
                writer.flag(matrix == 0)
                if matrix:
                    writer.ue(1)
                else:
                    if size_id > 1:
                        writer.se(8)
                    for _ in range(min(64, 16 << (2 * size_id))):
                        writer.se(-3)
    writer.flag(True).flag(True).flag(picture.pcm)
    if picture.pcm:
        writer.bits(8, 0x77).ue(0).ue(1).flag(False)
    writer.ue(picture.sets)
    pictures = 0
    for index in range(picture.sets):
        if index:
            writer.flag(picture.predicted)
        if index and picture.predicted:
            writer.flag(False).ue(0)
            for j in range(pictures + 1):
                writer.flag(j % 3 == 0)
                if j % 3:
                    writer.flag(j % 3 == 1)
            pictures = sum(j % 3 != 2 for j in range(pictures + 1))
        else:
            writer.ue(2).ue(1)
            for _ in range(3):
                writer.ue(1).flag(True)
            pictures = 3
    writer.flag(picture.long_term > 0)
    if picture.long_term:
        writer.ue(picture.long_term)
        for _ in range(picture.long_term):
            writer.bits(8, 0xA5).flag(True)
    writer.flag(True).flag(False)
    vui = picture.aspect is not None or picture.transfer is not None
    writer.flag(vui)
    if vui:
        writer.flag(picture.aspect is not None)
        if picture.aspect is not None:
            writer.bits(8, 255).bits(16, picture.aspect[0]).bits(16, picture.aspect[1])
        writer.flag(False).flag(picture.transfer is not None)
        if picture.transfer is not None:
            writer.bits(4, 0b1010).flag(True).bits(8, 9).bits(8, picture.transfer).bits(8, 9)
    writer.flag(True)
    return nal_unit(b"\x42\x01", writer.bytes())


def hevc_config(
    *nal_units: bytes,
    profile: int = 0x01,
    compatibility: int = 0x60000000,
    constraints: str = "900000000000",
    level: int = 93,
) -> bytes:
    body = bytes([1, profile]) + compatibility.to_bytes(4) + bytes.fromhex(constraints)
    body += bytes([level]) + bytes.fromhex("F000FCFDF8F800000F") + bytes([len(nal_units)])
    for nal in nal_units:
        body += bytes([0x80 | nal[0] >> 1]) + struct.pack(">HH", 1, len(nal)) + nal
    return box(b"hvcC", body)


def facts(entry: bytes) -> VideoFacts:
    found = describe(entry, b"vide", box_path="stsd", offset=100)
    assert isinstance(found, VideoFacts)
    return found


PICTURES = st.builds(
    Picture,
    size=st.tuples(st.integers(1, 8192), st.integers(1, 8192)),
    chroma=st.integers(0, 3),
    planes=st.booleans(),
    window=st.tuples(*[st.integers(0, 4)] * 4),
    sub_layers=st.integers(1, 7),
    scaling=st.booleans(),
    pcm=st.booleans(),
    sets=st.integers(0, 20),
    predicted=st.booleans(),
    long_term=st.integers(0, 4),
    aspect=st.none() | st.tuples(st.integers(1, 999), st.integers(1, 999)),
    transfer=st.none() | st.integers(0, 255),
    reordered=st.integers(0, 15),
)


@given(PICTURES)
def test_what_is_said_is_as_written(picture: Picture) -> None:
    subsampled = picture.chroma in (1, 2), picture.chroma == 1
    left, right, top, bottom = picture.window
    width = picture.size[0] - (1 + subsampled[0]) * (left + right)
    height = picture.size[1] - (1 + subsampled[1]) * (top + bottom)
    if width <= 0 or height <= 0:
        with pytest.raises(InvalidMedia):
            parse_sps(write_sps(picture))
        return
    sps = parse_sps(write_sps(picture))
    assert (sps.width, sps.height) == (width, height)
    assert (sps.sample_aspect, sps.transfer) == (picture.aspect, picture.transfer)
    assert sps.reordered == picture.reordered


@pytest.mark.parametrize(
    ("entry", "fields", "codec"),
    [
        # Worked by hand from ISO/IEC 14496-15 E.3: flag 1 and flag 2 set, reversed 0x6.
        (b"hvc1", {"level": 93, "constraints": "B00000000000"}, "hvc1.1.6.L93.B0"),
        (b"hev1", {"level": 60}, "hev1.1.6.L60.90"),
        (
            b"hev1",
            {"profile": 0x64, "compatibility": 0x82000000, "level": 120,
             "constraints": "B02300000000"},
            "hev1.A4.41.H120.B0.23",
        ),
        (
            b"hvc1",
            {"profile": 0x02, "compatibility": 0x20000000, "level": 153,
             "constraints": "000000000000"},
            "hvc1.2.4.L153",
        ),
        (
            b"hvc1",
            {"profile": 0xE4, "compatibility": 0x00000001, "level": 186,
             "constraints": "900000000001"},
            "hvc1.C4.80000000.H186.90.0.0.0.0.1",
        ),
    ],
)  # fmt: skip
def test_codec_strings(entry: bytes, fields: dict[str, int], codec: str) -> None:
    config = hevc_config(write_sps(Picture()), **fields)  # type: ignore[arg-type]
    assert facts(visual_entry(entry, config)).codec == codec


def test_parameter_sets_are_private_data_in_decoding_order() -> None:
    vps, pps = b"\x40\x01\x0c", b"\x44\x01\xc1"
    sps = write_sps(Picture(size=(1920, 1088), window=(0, 0, 0, 4)))
    found = facts(visual_entry(b"hvc1", hevc_config(pps, sps, vps)))
    start = b"\0\0\0\1"
    assert found.codec_private_data == start + vps + start + sps + start + pps
    assert (found.width, found.height, found.fourcc) == (1920, 1080, "hvc1")


def test_hev1_may_lack_parameter_sets() -> None:
    found = facts(visual_entry(b"hev1", hevc_config(), size=(640, 360)))
    assert (found.width, found.height) == (640, 360)
    with pytest.raises(InvalidMedia, match="no sequence parameter set"):
        facts(visual_entry(b"hvc1", hevc_config()))


def test_too_many_reference_pictures_only_lose_the_vui() -> None:
    writer_picture = Picture(sets=20, predicted=False, transfer=16)
    whole = write_sps(writer_picture)
    assert parse_sps(whole).transfer == 16
    cut = parse_sps(whole[:30])
    assert (cut.width, cut.height, cut.transfer) == (64, 48, None)


@pytest.mark.parametrize(
    "config",
    [
        box(b"hvcC", bytes(22)),
        box(b"hvcC", b"\x02" + bytes(30)),
        box(b"hvcC", hevc_config(write_sps(Picture()))[8:-1]),
        box(b"hvcC", hevc_config()[8:-1] + b"\x01"),
        box(b"hvcC", hevc_config()[8:-1] + b"\x01\xa1\xff\xff"),
        hevc_config(write_sps(Picture())[:12]),
    ],
)
def test_damage_is_named_with_its_place(config: bytes) -> None:
    with pytest.raises(InvalidMedia) as caught:
        facts(visual_entry(b"hvc1", config))
    assert caught.value.box_path == "stsd/hvc1/hvcC"
