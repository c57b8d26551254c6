"""dac3 and dec3."""

from __future__ import annotations

import pytest

from sidecar.codecs.ac3 import DOLBY_CHANNELS
from sidecar.codecs.describe import describe
from sidecar.codecs.facts import AudioFacts
from sidecar.errors import InvalidMedia
from tests.support.bitwriter import BitWriter, box, sound_entry


def facts(entry: bytes) -> AudioFacts:
    found = describe(entry, b"soun", box_path="stsd", offset=100)
    assert isinstance(found, AudioFacts)
    return found


def dac3(fscod: int, acmod: int, lfe: bool) -> bytes:
    writer = BitWriter().bits(2, fscod).bits(5, 8).bits(3, 0).bits(3, acmod).flag(lfe)
    return box(b"dac3", writer.bits(5, 10).bits(5, 0).bytes())


def dec3(
    *, acmod: int = 7, lfe: bool = True, chan_loc: int | None = None, independent: int = 1,
    fscod: int = 0, tail: bytes = b"",
) -> bytes:  # fmt: skip
    writer = BitWriter().bits(13, 384).bits(3, independent - 1)
    for _ in range(independent):
        writer.bits(2, fscod).bits(5, 16).bits(2, 0).bits(3, 0).bits(3, acmod).flag(lfe)
        writer.bits(3, 0)
        if chan_loc is None:
            writer.bits(4, 0).bits(1, 0)
        else:
            writer.bits(4, 1).bits(9, chan_loc)
    return box(b"dec3", writer.bytes() + tail)


# ETSI TS 102 366: acmod and lfeon -> channels and the bits L C R Ls Rs .. LFE.
LAYOUTS = [
    (0, False, 2, "A000"),
    (1, False, 1, "4000"),
    (2, False, 2, "A000"),
    (3, False, 3, "E000"),
    (4, False, 3, "A100"),
    (5, True, 5, "E101"),
    (6, False, 4, "B800"),
    (7, False, 5, "F800"),
    (7, True, 6, "F801"),
]


@pytest.mark.parametrize(("acmod", "lfe", "channels", "chanmap"), LAYOUTS)
def test_channels(acmod: int, lfe: bool, channels: int, chanmap: str) -> None:
    for entry in (
        sound_entry(b"ac-3", dac3(0, acmod, lfe)),
        sound_entry(b"ec-3", dec3(acmod=acmod, lfe=lfe)),
    ):
        found = facts(entry)
        assert found.channels == channels
        assert found.hls_channels == str(channels)
        assert found.channel_configuration == (DOLBY_CHANNELS, chanmap)


@pytest.mark.parametrize(("fscod", "rate"), [(0, 48000), (1, 44100), (2, 32000), (3, 24000)])
def test_sampling_rate(fscod: int, rate: int) -> None:
    found = facts(sound_entry(b"ec-3", dec3(fscod=fscod), rate=24000))
    assert (found.sampling_rate, found.samples_per_frame) == (rate, 1536)


def test_codec_strings_are_the_sample_entries() -> None:
    ac3 = facts(sound_entry(b"ac-3", dac3(0, 7, True)))
    assert (ac3.codec, ac3.fourcc, ac3.codec_private_data.hex()) == ("ac-3", "ac-3", "103d40")
    ec3 = facts(sound_entry(b"ec-3", dec3()))
    assert (ec3.codec, ec3.fourcc) == ("ec-3", "ec-3")


@pytest.mark.parametrize(
    ("chan_loc", "channels", "chanmap"),
    [
        (0b000000010, 8, "FA01"),  # Lrs/Rrs: 7.1
        (0b000000100, 7, "F901"),  # Cs: 6.1
        (0b000000001, 8, "FC01"),  # Lc/Rc
        (0b001000000, 8, "F811"),  # Lvh/Rvh: 5.1.2
        (0b100000010, 9, "FA03"),  # and a second LFE
    ],
)
def test_dependent_substreams_add_channels(chan_loc: int, channels: int, chanmap: str) -> None:
    found = facts(sound_entry(b"ec-3", dec3(chan_loc=chan_loc)))
    assert (found.channels, found.channel_configuration[1]) == (channels, chanmap)


def test_joint_object_coding() -> None:
    found = facts(sound_entry(b"ec-3", dec3(tail=b"\x01\x10")))
    assert (found.codec, found.channels, found.hls_channels) == ("ec-3", 6, "16/JOC")
    assert facts(sound_entry(b"ec-3", dec3(tail=b"\0\x10"))).hls_channels == "6"


def test_the_first_independent_substream_counts() -> None:
    found = facts(sound_entry(b"ec-3", dec3(acmod=2, lfe=False, independent=3)))
    assert found.channels == 2


@pytest.mark.parametrize(
    "entry",
    [
        sound_entry(b"ac-3"),
        sound_entry(b"ac-3", box(b"dac3", b"\x10")),
        sound_entry(b"ac-3", dac3(3, 2, False), rate=0),
        sound_entry(b"ec-3", box(b"dec3", b"")),
        sound_entry(b"ec-3", box(b"dec3", dec3(independent=8)[8:-6])),
    ],
)
def test_damage_is_named_with_its_place(entry: bytes) -> None:
    with pytest.raises(InvalidMedia) as caught:
        facts(entry)
    assert caught.value.box_path.startswith(("stsd/ac-3", "stsd/ec-3"))
