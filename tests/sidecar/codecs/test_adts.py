"""ADTS headers from AudioSpecificConfigs."""

from __future__ import annotations

import numpy as np
import pytest

from sidecar.codecs.adts import adts_headers, adts_template
from sidecar.errors import InvalidMedia, UnsupportedMedia
from tests.support.mpegts import adts_frames


def fields(header: bytes) -> tuple[int, int, int]:
    """(profile, sampling_frequency_index, channel_configuration)."""
    return header[2] >> 6, header[2] >> 2 & 15, (header[2] & 1) << 2 | header[3] >> 6


@pytest.mark.parametrize(
    ("specific", "expected"),
    [
        ("1190", (1, 3, 2)),  # LC 48 kHz stereo
        ("1208", (1, 4, 1)),  # LC 44.1 kHz mono
        ("11B0", (1, 3, 6)),  # LC 48 kHz 5.1
        ("2B118800", (1, 6, 2)),  # HE-AAC, hierarchical: core 24 kHz
        ("131056E598", (1, 6, 2)),  # HE-AAC, backward compatible: core 24 kHz
        ("EB098800", (1, 6, 1)),  # HE-AAC v2: the core is mono
        ("0990", (0, 3, 2)),  # Main
    ],
)
def test_what_the_header_says(specific: str, expected: tuple[int, int, int]) -> None:
    template = adts_template(bytes.fromhex(specific))
    assert template[:2] == b"\xff\xf1"
    assert fields(template) == expected


@pytest.mark.parametrize(
    ("specific", "sentence"),
    [
        ("178005DC10", "no index"),  # 3000 Hz, written out
        ("1194", "960"),
        ("11E0", "channel layout"),  # channelConfiguration 12: 7.1
    ],
)
def test_what_it_cannot_say(specific: str, sentence: str) -> None:
    with pytest.raises((UnsupportedMedia, InvalidMedia), match=sentence):
        adts_template(bytes.fromhex(specific))


def test_lengths() -> None:
    template = adts_template(b"\x11\x90")
    sizes = [1, 249, 250, 2040, 2041, 8184]
    headers = adts_headers(template, np.array(sizes, dtype=np.int64))
    frames = [bytes(size) for size in sizes]
    joined = b"".join(headers[7 * at : 7 * at + 7] + frame for at, frame in enumerate(frames))
    assert [frame for _, frame in adts_frames(joined)] == frames
    with pytest.raises(InvalidMedia, match="8185 bytes"):
        adts_headers(template, np.array([8185], dtype=np.int64))
