"""av1C and AV1 sequence headers."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.codecs.av1 import parse_sequence_header
from sidecar.codecs.describe import describe
from sidecar.codecs.facts import VideoFacts
from sidecar.errors import InvalidMedia
from tests.support.bitwriter import BitWriter, box, visual_entry


@dataclass(frozen=True, kw_only=True)
class Picture:
    profile: int = 0
    reduced: bool = False
    size: tuple[int, int] = (320, 180)
    timing: bool = False
    decoder_model: bool = False
    display_delay: bool = False
    points: int = 1
    level: int = 4
    order_hint: bool = True
    screen_content: int = 2
    high_bitdepth: bool = False
    monochrome: bool = False
    colour: tuple[int, int, int] | None = None
    full_range: bool = False


def write_sequence_header(picture: Picture) -> bytes:
    """AV1 bitstream 5.5, from the writing side."""
    writer = BitWriter().bits(3, picture.profile).flag(picture.reduced).flag(picture.reduced)
    if picture.reduced:
        writer.bits(5, picture.level)
    else:
        writer.flag(picture.timing)
        if picture.timing:
            writer.bits(32, 1).bits(32, 25).flag(True).ue(0).flag(picture.decoder_model)
            if picture.decoder_model:
                writer.bits(5, 19).bits(32, 1).bits(5, 9).bits(5, 9)
        writer.flag(picture.display_delay).bits(5, picture.points - 1)
        for _ in range(picture.points):
            writer.bits(12, 0).bits(5, picture.level)
            if picture.level > 7:
                writer.flag(True)
            if picture.timing and picture.decoder_model:
                writer.flag(True).bits(20, 7).bits(20, 9).flag(False)
            if picture.display_delay:
                writer.flag(True).bits(4, 3)
    writer.bits(4, 13).bits(4, 11)
    writer.bits(14, picture.size[0] - 1).bits(12, picture.size[1] - 1)
    if not picture.reduced:
        writer.flag(True).bits(4, 1).bits(3, 1)
    writer.bits(3, 7)
    if not picture.reduced:
        writer.bits(4, 15).flag(picture.order_hint)
        if picture.order_hint:
            writer.bits(2, 3)
        writer.flag(picture.screen_content == 2)
        if picture.screen_content != 2:
            writer.flag(picture.screen_content == 1)
        if picture.screen_content:
            writer.flag(False).flag(True)
        if picture.order_hint:
            writer.bits(3, 6)
    writer.bits(3, 5).flag(picture.high_bitdepth)
    if picture.profile == 2 and picture.high_bitdepth:
        writer.flag(True)
    if picture.profile != 1:
        writer.flag(picture.monochrome)
    writer.flag(picture.colour is not None)
    for point in picture.colour or ():
        writer.bits(8, point)
    if picture.colour != (1, 13, 0) or (picture.monochrome and picture.profile != 1):
        writer.flag(picture.full_range)
    return writer.bits(4, 0b0010).bytes()


def av1_config(fixed: str, *obus: bytes) -> bytes:
    return box(b"av1C", bytes.fromhex(fixed) + b"".join(obus))


def obu(kind: int, payload: bytes, *, sized: bool = True) -> bytes:
    header = bytes([kind << 3 | (2 if sized else 0)])
    return header + (bytes([len(payload)]) if sized else b"") + payload


def facts(entry: bytes) -> VideoFacts:
    found = describe(entry, b"vide", box_path="stsd", offset=100)
    assert isinstance(found, VideoFacts)
    return found


PICTURES = st.builds(
    Picture,
    profile=st.integers(0, 2),
    reduced=st.booleans(),
    size=st.tuples(st.integers(1, 1 << 14), st.integers(1, 1 << 12)),
    timing=st.booleans(),
    decoder_model=st.booleans(),
    display_delay=st.booleans(),
    points=st.integers(1, 32),
    level=st.integers(0, 31),
    order_hint=st.booleans(),
    screen_content=st.integers(0, 2),
    high_bitdepth=st.booleans(),
    monochrome=st.booleans(),
    colour=st.none() | st.tuples(*[st.integers(0, 255)] * 3) | st.just((1, 13, 0)),
    full_range=st.booleans(),
)


@given(PICTURES)
def test_size_and_colour_as_written(picture: Picture) -> None:
    header = parse_sequence_header(write_sequence_header(picture))
    assert (header.width, header.height) == picture.size
    colour = None if picture.colour == (2, 2, 2) else picture.colour
    points = header.colour and (
        header.colour.primaries, header.colour.transfer, header.colour.matrix,
    )  # fmt: skip
    assert points == colour
    srgb = picture.colour == (1, 13, 0) and not (picture.monochrome and picture.profile != 1)
    assert header.full_range == (picture.full_range or srgb)


@pytest.mark.parametrize(
    ("fixed", "colour", "full_range", "codec"),
    [
        # AV1 in ISOBMFF 5: the short form stands for 4:2:0, BT.709, studio range.
        ("81000C00", None, False, "av01.0.00M.08"),
        ("81050C00", (1, 1, 1), False, "av01.0.05M.08"),
        ("81054C00", None, False, "av01.0.05M.10"),
        ("81048C00", None, False, "av01.0.04H.08"),
        ("814D6C00", None, False, "av01.2.13M.12"),
        # The example of that section: PQ with colocated chroma.
        ("81044E00", (9, 16, 9), False, "av01.0.04M.10.0.112.09.16.09.0"),
        ("81012C00", (1, 1, 1), True, "av01.0.01M.08.0.110.01.01.01.1"),
        ("81200000", None, False, "av01.1.00M.08.0.000.01.01.01.0"),
        ("81001C00", None, False, "av01.0.00M.08.1.110.01.01.01.0"),
    ],
)
def test_codec_strings(
    fixed: str, colour: tuple[int, int, int] | None, full_range: bool, codec: str
) -> None:
    header = write_sequence_header(Picture(colour=colour, full_range=full_range))
    found = facts(visual_entry(b"av01", av1_config(fixed, obu(1, header))))
    assert found.codec == codec
    assert (found.width, found.height) == (320, 180)
    assert found.codec_private_data[:4].hex().upper() == fixed


def test_without_obus_the_boxes_say_size_and_colour() -> None:
    colr = box(b"colr", b"nclx" + struct.pack(">HHHB", 9, 18, 9, 0x80))
    found = facts(visual_entry(b"av01", av1_config("81054C00"), colr, size=(1920, 1080)))
    assert found.codec == "av01.0.05M.10.0.110.09.18.09.1"
    assert (found.width, found.height, found.video_range) == (1920, 1080, "HLG")


def test_the_sequence_header_is_found_behind_others_and_without_a_size() -> None:
    header = write_sequence_header(Picture(size=(99, 77)))
    for obus in ((obu(2, b""), obu(5, b"x" * 9), obu(1, header)), (obu(1, header, sized=False),)):
        found = facts(visual_entry(b"av01", av1_config("81000C00", *obus)))
        assert (found.width, found.height) == (99, 77)


@pytest.mark.parametrize(
    "config",
    [
        box(b"av1C", b"\x81\0\x0c"),
        av1_config("01000C00"),
        av1_config("82000C00"),
        av1_config("81000C00", b"\x0a\x40"),
        av1_config("81000C00", b"\x0a" + b"\xff" * 9),
        av1_config("81000C00", b"\x0e"),
        av1_config("81000C00", obu(1, write_sequence_header(Picture())[:6])),
    ],
)
def test_damage_is_named_with_its_place(config: bytes) -> None:
    with pytest.raises(InvalidMedia) as caught:
        facts(visual_entry(b"av01", config))
    assert caught.value.box_path == "stsd/av01/av1C"
