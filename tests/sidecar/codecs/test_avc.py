"""avcC and H.264 sequence parameter sets."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.codecs.avc import parse_sps
from sidecar.codecs.describe import describe
from sidecar.codecs.facts import VideoFacts
from sidecar.errors import InvalidMedia
from tests.support.bitwriter import BitWriter, box, nal_unit, visual_entry

PPS = bytes.fromhex("68EBE3CB22C0")
# 1280x720 High at 3.1, written by libx264; ffprobe: 1280x720, sar 1:1.
X264 = bytes.fromhex("6764001FACD9405005BB011000000300100000030320F183196000")[:-1]


@dataclass(frozen=True, kw_only=True)
class Picture:
    profile: int = 100
    chroma: int = 1
    planes: bool = False
    macroblocks: tuple[int, int] = (4, 3)
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    frame_only: bool = True
    order_type: int = 0
    scaling: bool = False
    aspect: tuple[int, int] | int | None = None
    transfer: int | None = None
    located: bool = False
    timed: bool = False
    delivered: tuple[int, int] = (0, 0)
    reordered: int | None = None


def write_sps(picture: Picture) -> bytes:
    """ISO/IEC 14496-10 7.3.2.1.1 and E.1.1, from the writing side."""
    writer = BitWriter().bits(8, picture.profile).bits(8, 0).bits(8, 31).ue(0)
    if picture.profile in (100, 110, 122, 244):
        writer.ue(picture.chroma)
        if picture.chroma == 3:
            writer.flag(picture.planes)
        writer.ue(0).ue(0).flag(False).flag(picture.scaling)
        if picture.scaling:
            for index in range(12 if picture.chroma == 3 else 8):
                writer.flag(index != 1)
                if index == 0:
                    writer.se(-8)  # next scale 0: the default list, no further deltas
                elif index != 1:
                    for _ in range(16 if index < 6 else 64):
                        writer.se(0)
    writer.ue(4).ue(picture.order_type)
    if picture.order_type == 0:
        writer.ue(2)
    elif picture.order_type == 1:
        writer.flag(False).se(-1).se(2).ue(3).se(1).se(-7).se(0)
    writer.ue(3).flag(False)
    rows = picture.macroblocks[1]
    writer.ue(picture.macroblocks[0] - 1).ue(rows - 1).flag(picture.frame_only)
    if not picture.frame_only:
        writer.flag(True)
    writer.flag(True).flag(any(picture.crop))
    if any(picture.crop):
        for side in picture.crop:
            writer.ue(side)
    vui = any(one is not None for one in (picture.aspect, picture.transfer, picture.reordered))
    writer.flag(vui)
    if vui:
        writer.flag(picture.aspect is not None)
        if isinstance(picture.aspect, int):
            writer.bits(8, picture.aspect)
        elif picture.aspect is not None:
            writer.bits(8, 255).bits(16, picture.aspect[0]).bits(16, picture.aspect[1])
        writer.flag(True).flag(False)  # overscan
        writer.flag(picture.transfer is not None)
        if picture.transfer is not None:
            writer.bits(4, 0b1010).flag(True).bits(8, 9).bits(8, picture.transfer).bits(8, 9)
        writer.flag(picture.located)
        if picture.located:
            writer.ue(1).ue(0)
        writer.flag(picture.timed)
        if picture.timed:
            writer.bits(32, 1).bits(32, 50).flag(True)
        for count in picture.delivered:  # hrd_parameters
            writer.flag(count > 0)
            if count:
                writer.ue(count - 1).bits(8, 0x12)
                for at in range(count):
                    writer.ue(1000 + at).ue(7).flag(False)
                writer.bits(20, 0xABCDE)
        if any(picture.delivered):
            writer.flag(False)
        writer.flag(True).flag(picture.reordered is not None)
        if picture.reordered is not None:
            writer.flag(True).ue(2).ue(1).ue(16).ue(16).ue(picture.reordered).ue(4)
    writer.flag(True)
    return nal_unit(b"\x67", writer.bytes())


def avc_config(*sps: bytes, pps: tuple[bytes, ...] = (PPS,), profile: str = "64001F") -> bytes:
    body = b"\x01" + bytes.fromhex(profile) + b"\xff" + bytes([0xE0 | len(sps)])
    body += b"".join(struct.pack(">H", len(nal)) + nal for nal in sps)
    body += bytes([len(pps)]) + b"".join(struct.pack(">H", len(nal)) + nal for nal in pps)
    return box(b"avcC", body)


def facts(entry: bytes) -> VideoFacts:
    found = describe(entry, b"vide", box_path="stsd", offset=100)
    assert isinstance(found, VideoFacts)
    return found


PICTURES = st.builds(
    Picture,
    profile=st.sampled_from([66, 77, 100, 110, 122, 244]),
    chroma=st.integers(0, 3),
    planes=st.booleans(),
    macroblocks=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    crop=st.tuples(*[st.integers(0, 3)] * 4),
    frame_only=st.booleans(),
    order_type=st.integers(0, 2),
    scaling=st.booleans(),
    aspect=st.none() | st.integers(1, 16) | st.tuples(st.integers(1, 999), st.integers(1, 999)),
    transfer=st.none() | st.integers(0, 255),
    located=st.booleans(),
    timed=st.booleans(),
    delivered=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    reordered=st.none() | st.integers(0, 16),
)


@given(PICTURES)
def test_what_is_said_is_as_written(picture: Picture) -> None:
    chroma = picture.chroma if picture.profile >= 100 else 1
    unit_x = 2 if chroma in (1, 2) else 1
    unit_y = 2 if chroma == 1 else 1
    fields = 1 if picture.frame_only else 2
    left, right, top, bottom = picture.crop
    width = 16 * picture.macroblocks[0] - unit_x * (left + right)
    height = 16 * picture.macroblocks[1] * fields - unit_y * fields * (top + bottom)
    if width <= 0 or height <= 0:
        with pytest.raises(InvalidMedia):
            parse_sps(write_sps(picture))
        return
    sps = parse_sps(write_sps(picture))
    assert (sps.width, sps.height) == (width, height)
    assert (sps.transfer, sps.reordered) == (picture.transfer, picture.reordered)
    if isinstance(picture.aspect, int):
        ratios = {1: (1, 1), 2: (12, 11), 14: (4, 3), 15: (3, 2), 16: (2, 1)}
        assert sps.sample_aspect == ratios.get(picture.aspect, sps.sample_aspect)
        assert sps.sample_aspect is not None
    else:
        assert sps.sample_aspect == picture.aspect


def test_facts_of_an_encoders_configuration() -> None:
    found = facts(visual_entry(b"avc1", avc_config(X264)))
    assert (found.codec, found.fourcc, found.sample_entry) == ("avc1.64001F", "AVC1", "avc1")
    assert (found.width, found.height) == (1280, 720)
    assert found.codec_private_data == b"\0\0\0\1" + X264 + b"\0\0\0\1" + PPS


@pytest.mark.parametrize(
    ("profile", "codec"),
    [("42C00D", "avc1.42C00D"), ("4D401E", "avc1.4D401E"), ("7A0A29", "avc1.7A0A29")],
)
def test_codec_string_has_profile_constraints_and_level(profile: str, codec: str) -> None:
    sps = write_sps(Picture())
    assert facts(visual_entry(b"avc1", avc_config(sps, profile=profile))).codec == codec


def test_avc3_keeps_its_name_and_may_lack_parameter_sets() -> None:
    entry = visual_entry(b"avc3", avc_config(pps=()), size=(720, 576))
    found = facts(entry)
    assert (found.codec, found.width, found.height) == ("avc3.64001F", 720, 576)
    assert found.codec_private_data == b""
    with pytest.raises(InvalidMedia, match="no sequence parameter set"):
        facts(visual_entry(b"avc1", avc_config(pps=())))


def test_pasp_wins_over_the_vui_and_is_reduced() -> None:
    sps = write_sps(Picture(aspect=(4, 3)))
    assert facts(visual_entry(b"avc1", avc_config(sps))).pixel_aspect == (4, 3)
    pasp = box(b"pasp", struct.pack(">II", 128, 90))
    assert facts(visual_entry(b"avc1", avc_config(sps), pasp)).pixel_aspect == (64, 45)
    empty = box(b"pasp", bytes(8))
    assert facts(visual_entry(b"avc1", avc_config(sps), empty)).pixel_aspect == (4, 3)
    assert facts(visual_entry(b"avc1", avc_config(write_sps(Picture())))).pixel_aspect == (1, 1)


@pytest.mark.parametrize(
    ("transfer", "expected"), [(1, "SDR"), (2, None), (14, "SDR"), (16, "PQ"), (18, "HLG")]
)
def test_video_range(transfer: int, expected: str | None) -> None:
    sps = write_sps(Picture(transfer=transfer))
    assert facts(visual_entry(b"avc1", avc_config(sps))).video_range == expected
    colr = box(b"colr", b"nclx" + struct.pack(">HHHB", 9, transfer, 9, 0))
    plain = write_sps(Picture())
    assert facts(visual_entry(b"avc1", colr, avc_config(plain))).video_range == expected


def test_a_vui_that_breaks_off_only_loses_what_it_says() -> None:
    whole = write_sps(Picture(aspect=(4, 3), transfer=16))
    cut = facts(visual_entry(b"avc1", avc_config(whole[:-5])))
    assert (cut.width, cut.height, cut.video_range) == (64, 48, None)


def test_unknown_boxes_in_the_entry_are_passed_over() -> None:
    config = avc_config(write_sps(Picture()))
    entry = visual_entry(b"avc1", box(b"btrt", bytes(12)), box(b"abcd", b"x"), config)
    assert facts(entry).width == 64


@pytest.mark.parametrize(
    "config",
    [
        box(b"avcC", b""),
        box(b"avcC", b"\x02\x64\x00\x1f\xff\xe0\x00"),
        box(b"avcC", b"\x01\x64\x00\x1f\xff\xff\x00"),
        box(b"avcC", b"\x01\x64\x00\x1f\xff\xe1\xff\xff\x67"),
        box(b"avcC", b"\x01\x64\x00\x1f\xff\xe1\x00\x01\x67"),
        avc_config(b"\x68" + write_sps(Picture())[1:]),
        avc_config(write_sps(Picture())[:6]),
        b"",
    ],
)
def test_damage_is_named_with_its_place(config: bytes) -> None:
    with pytest.raises(InvalidMedia) as caught:
        facts(visual_entry(b"avc1", config))
    assert caught.value.box_path.startswith("stsd/avc1")
    assert caught.value.offset is not None and caught.value.offset >= 100
