"""esds and AudioSpecificConfig."""

from __future__ import annotations

import struct

import pytest

from sidecar.codecs.aac import MPEG_CHANNELS, parse_audio_specific_config
from sidecar.codecs.describe import describe
from sidecar.codecs.facts import AudioFacts
from sidecar.errors import InvalidMedia, UnsupportedMedia
from tests.support.bitwriter import BitWriter, box, esds, sound_entry


def facts(entry: bytes) -> AudioFacts:
    found = describe(entry, b"soun", box_path="stsd", offset=100)
    assert isinstance(found, AudioFacts)
    return found


def config(hexadecimal: str) -> tuple[int, int, int, int]:
    """Object type, rate, channels, samples per frame."""
    found = parse_audio_specific_config(bytes.fromhex(hexadecimal))
    return found.object_type, found.sampling_rate, found.channels, found.frame_length


@pytest.mark.parametrize(
    ("specific", "expected"),
    [
        # LC: 00010, index 4 (44100), 2 channels.
        ("1210", (2, 44100, 2, 1024)),
        ("1190", (2, 48000, 2, 1024)),
        ("11B0", (2, 48000, 6, 1024)),
        ("11B8", (2, 48000, 8, 1024)),
        # frameLengthFlag: frames of 960.
        ("1194", (2, 48000, 2, 960)),
        # SBR, both signallings: 24000 in the core, 48000 played.
        ("2B118800", (5, 48000, 2, 2048)),
        ("131056E598", (5, 48000, 2, 2048)),
        # The same with SBR at the core's rate (downsampled).
        ("131056E5B0", (5, 24000, 2, 1024)),
        # sbrPresentFlag 0, and a sync pattern of something else.
        ("119056E500", (2, 48000, 2, 1024)),
        ("1190ABCDEF", (2, 48000, 2, 1024)),
        # PS: one channel in the core, two played.
        ("EB098800", (29, 48000, 2, 2048)),
        ("130856E59D4880", (29, 48000, 2, 2048)),
        ("130856E59D4800", (5, 48000, 1, 2048)),
        # Sampling frequency spelled out: 00010 1111, 24 bits, 0001.
        ("17805DC008", (2, 48000, 1, 1024)),
    ],
)
def test_audio_specific_configs(specific: str, expected: tuple[int, int, int, int]) -> None:
    assert config(specific) == expected


def test_the_escape_of_object_types() -> None:
    """17 has no need of the escape; 42 (USAC) is 31 + 6 bits of 10."""
    assert config("8990")[0] == 17
    with pytest.raises(UnsupportedMedia, match="object type 42"):
        config("F9464000")


def test_a_program_config_element_states_the_channels() -> None:
    # Written by ffmpeg's encoder for a quad layout; ffprobe: 4 channels.
    quad = "1200050404002110" + "0D" + b"Lavc59.37.100".hex() + "56E500"
    assert config(quad) == (2, 44100, 4, 1024)
    found = parse_audio_specific_config(bytes.fromhex(quad))
    assert found.configuration == 10  # 2 front, 2 back


@pytest.mark.parametrize(
    ("front", "side", "back", "lfe", "channels", "configuration"),
    [
        ((False,), (), (), 0, 1, 1),
        ((True,), (), (), 0, 2, 2),
        ((False, True), (), (True,), 1, 6, 6),
        ((False, True), (True,), (True,), 1, 8, 12),
        ((False, True, True), (), (True,), 1, 8, 7),
        ((False, True), (), (True, False), 1, 7, 11),
        ((True, True, True), (True,), (), 0, 8, 8),  # no number of its own: the count
    ],
)
def test_layouts_of_a_program_config_element(
    front: tuple[bool, ...],
    side: tuple[bool, ...],
    back: tuple[bool, ...],
    lfe: int,
    channels: int,
    configuration: int,
) -> None:
    writer = BitWriter().bits(5, 2).bits(4, 3).bits(4, 0).bits(3, 0)
    writer.bits(4, 0).bits(2, 1).bits(4, 3)
    writer.bits(4, len(front)).bits(4, len(side)).bits(4, len(back)).bits(2, lfe)
    writer.bits(3, 0).bits(4, 1).flag(True).bits(4, 0).flag(False).flag(True).bits(3, 0)
    for elements in (front, side, back):
        for pair in elements:
            writer.flag(pair).bits(4, 0)
    for _ in range(lfe):
        writer.bits(4, 0)
    writer.bits(5, 0)  # one coupling channel
    data = writer.bytes() + b"\x02hi"
    found = parse_audio_specific_config(data)
    assert (found.channels, found.configuration) == (channels, configuration)


@pytest.mark.parametrize(
    "specific",
    ["", "12", "1700000008", "1690", "11C0", "11F8", "2B11", "1200", "1780", "12000000000000"],
)
def test_damaged_configs_are_our_error(specific: str) -> None:
    with pytest.raises(InvalidMedia):
        config(specific)


@pytest.mark.parametrize("object_type", [6, 7, 8, 23, 34, 39])
def test_other_object_types_are_not_served(object_type: int) -> None:
    writer = BitWriter()
    if object_type > 30:
        writer.bits(5, 31).bits(6, object_type - 32)
    else:
        writer.bits(5, object_type)
    with pytest.raises(UnsupportedMedia, match=f"object type {object_type} "):
        parse_audio_specific_config(writer.bits(4, 3).bits(4, 2).bits(32, 0).bytes())


@pytest.mark.parametrize(
    ("indication", "specific", "codec", "fourcc"),
    [
        (0x40, "1190", "mp4a.40.2", "AACL"),
        (0x40, "131056E598", "mp4a.40.5", "AACH"),
        (0x40, "EB098800", "mp4a.40.29", "AACH"),
        (0x67, "1190", "mp4a.67", "AACL"),
    ],
)
@pytest.mark.parametrize("long_lengths", [False, True])
def test_codec_strings(
    indication: int, specific: str, codec: str, fourcc: str, long_lengths: bool
) -> None:
    data = bytes.fromhex(specific)
    found = facts(sound_entry(b"mp4a", esds(indication, data, long_lengths=long_lengths)))
    assert (found.codec, found.fourcc, found.audio_tag) == (codec, fourcc, 255)
    assert found.codec_private_data == data
    assert found.channel_configuration == (MPEG_CHANNELS, "2")
    assert found.hls_channels == "2"


def test_mp3_is_known_by_its_layer() -> None:
    found = facts(sound_entry(b"mp4a", esds(0x6B, b""), channels=1, rate=44100))
    assert (found.codec, found.samples_per_frame) == ("mp4a.40.34", 1152)
    assert (found.channels, found.sampling_rate) == (1, 44100)
    assert facts(sound_entry(b"mp4a", esds(0x69, b""))).samples_per_frame == 576


def test_other_object_type_indications_are_not_served() -> None:
    with pytest.raises(UnsupportedMedia, match="0xDD"):
        facts(sound_entry(b"mp4a", esds(0xDD, b"\x01")))


def quicktime(version: int, extra: bytes) -> bytes:
    wave = box(b"wave", box(b"frma", b"mp4a") + esds(0x40, b"\x11\x90") + bytes(8)[:0] + bytes(4))
    return sound_entry(b"mp4a", extra, wave, version=version)


def test_quicktime_entries_have_longer_fields_and_a_wave_box() -> None:
    version_2 = struct.pack(">IdII", 72, 48000.0, 2, 0x7F000000) + bytes(16)
    for entry in (quicktime(0, b""), quicktime(1, bytes(16)), quicktime(2, version_2)):
        found = facts(entry)
        assert (found.codec, found.sampling_rate, found.channels) == ("mp4a.40.2", 48000, 2)


def test_isos_version_1_has_no_more_fields() -> None:
    srat = box(b"srat", struct.pack(">II", 0, 96000))
    entry = sound_entry(b"mp4a", srat, esds(0x40, b"\x10\x10"), version=1)
    assert facts(entry).sampling_rate == 96000


@pytest.mark.parametrize(
    "child",
    [
        b"",
        box(b"esds", b""),
        box(b"esds", bytes(4)),
        box(b"esds", bytes(4) + b"\x03\xff\xff\xff\xff"),
        box(b"esds", bytes(4) + b"\x03\x03\0\1\0"),
        box(b"esds", bytes(4) + b"\x03\x05\0\1\xe0\x04\x00"),
        esds(0x40, b""),
        esds(0x40, b"\x11"),
        box(b"esds", esds(0x40, b"\x11\x90")[8:-1]),
        esds(0x40, b"\x11\x90")[:-2],
    ],
)
def test_damage_is_named_with_its_place(child: bytes) -> None:
    with pytest.raises(InvalidMedia) as caught:
        facts(sound_entry(b"mp4a", child))
    assert caught.value.box_path.startswith("stsd/mp4a")
    assert caught.value.offset is not None and caught.value.offset >= 100
