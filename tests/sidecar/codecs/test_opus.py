"""dOps."""

from __future__ import annotations

import struct

import pytest

from sidecar.codecs.aac import MPEG_CHANNELS
from sidecar.codecs.describe import describe
from sidecar.codecs.facts import AudioFacts
from sidecar.errors import InvalidMedia
from tests.support.bitwriter import box, sound_entry


def dops(channels: int, version: int = 0, rate: int = 44100) -> bytes:
    return box(b"dOps", struct.pack(">BBHIhB", version, channels, 312, rate, 0, 0))


@pytest.mark.parametrize(
    ("channels", "configuration"), [(1, "1"), (2, "2"), (4, "10"), (6, "6"), (8, "12"), (11, "11")]
)
def test_facts(channels: int, configuration: str) -> None:
    entry = sound_entry(b"Opus", dops(channels), rate=44100)
    found = describe(entry, b"soun", box_path="stsd", offset=0)
    assert isinstance(found, AudioFacts)
    assert (found.codec, found.sampling_rate, found.samples_per_frame) == ("Opus", 48000, None)
    assert (found.channels, found.hls_channels) == (channels, str(channels))
    assert found.channel_configuration == (MPEG_CHANNELS, configuration)


@pytest.mark.parametrize("child", [b"", box(b"dOps", bytes(10)), dops(2, version=1), dops(0)])
def test_damage_is_our_error(child: bytes) -> None:
    with pytest.raises(InvalidMedia):
        describe(sound_entry(b"Opus", child), b"soun", box_path="stsd", offset=0)
