"""What a decoder configuration says, in the terms that manifests need."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFacts:
    """Facts of a video sample entry.

    ``codec``: RFC 6381 string (``avc1.64001F``). ``sample_entry``: its four-character type
    (``avc1``). ``fourcc``: as server manifests spell it (``AVC1``). ``width``/``height``: coded
    picture as cropped for display, pixels. ``pixel_aspect``: horizontal, vertical spacing (pasp or
    VUI; ``(1, 1)`` when unknown). ``video_range``: ``SDR``, ``PQ``, ``HLG`` or None when unknown.
    ``reordered``: how many pictures at the most are decoded before one and presented behind it;
    None when unknown.
    """

    codec: str
    sample_entry: str
    fourcc: str
    width: int
    height: int
    pixel_aspect: tuple[int, int] = (1, 1)
    video_range: str | None = None
    codec_private_data: bytes = b""
    reordered: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFacts:
    """Facts of an audio sample entry.

    ``sampling_rate``: Hz as played (HE-AAC: after SBR). ``channels``: as played (HE-AACv2: 2).
    ``samples_per_frame``: PCM samples per access unit at ``sampling_rate`` or None when it varies.
    ``channel_configuration``: (schemeIdUri, value) for DASH AudioChannelConfiguration.
    ``hls_channels``: value of the HLS CHANNELS attribute (``2``, ``6``, ``16/JOC``).
    """

    codec: str
    sample_entry: str
    fourcc: str
    sampling_rate: int
    channels: int
    samples_per_frame: int | None
    channel_configuration: tuple[str, str]
    hls_channels: str
    audio_tag: int = 255
    bits_per_sample: int = 16
    codec_private_data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFacts:
    """Facts of a text sample entry (``stpp``, ``wvtt``)."""

    codec: str
    sample_entry: str
    fourcc: str


Facts = VideoFacts | AudioFacts | TextFacts
