"""Synthetic tracks that FLV can hold: with configurations, which those of ``tracks`` lack."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sidecar.boxes.write import box, full_box
from sidecar.media.presentation import Presentation
from sidecar.media.track import Track
from sidecar.storage.source import SourceIdentity
from tests.support.bitwriter import sound_entry, visual_entry
from tests.support.tracks import audio_track, presentation, rendition, video_track

AVCC = b"\1\x64\0\x1f\xff\xe1\0\4\x67\x64\0\x1f\1\0\4\x68\xee\x3c\x80"
SPECIFIC_CONFIG = b"\x11\x90"  # AAC LC, 48 kHz, stereo
# ES, DecoderConfig and DecoderSpecificInfo descriptors (ISO/IEC 14496-1 7.2.6).
ESDS = full_box(
    b"esds",
    0,
    0,
    bytes((3, 22, 0, 0, 0, 4, 17, 0x40, 0x15)) + bytes(11) + bytes((5, 2)) + SPECIFIC_CONFIG,
)


def avc_track(**given: Any) -> Track:
    """``video_track`` with an avcC."""
    track = video_track(**given)
    return replace(
        track,
        sample_entry_box=visual_entry(b"avc1", box(b"avcC", AVCC)),
        facts=replace(track.facts, codec_private_data=b"\0\0\0\1\x67"),
    )


def aac_track(**given: Any) -> Track:
    """``audio_track`` with an AudioSpecificConfig."""
    track = audio_track(**given)
    return replace(
        track,
        sample_entry_box=sound_entry(b"mp4a", ESDS),
        facts=replace(track.facts, codec_private_data=SPECIFIC_CONFIG),
    )


def muxable(*, video: Track | None, audio: Track | None) -> Presentation:
    """``audio=64000`` and ``video=2000000``, or one of them."""
    found = [rendition(track, bitrate=2_000_000) for track in (video,) if track]
    found += [rendition(track, bitrate=64_000) for track in (audio,) if track]
    return presentation(*found)


def zeros(_: SourceIdentity, __: int, length: int) -> bytes:
    """Reads of synthetic tracks: there is no file."""
    return bytes(length)
