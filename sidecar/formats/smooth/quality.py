"""QualityLevel: what a client must know to decode a rendition ([MS-SSTR] 2.2.2.5)."""

from __future__ import annotations

import struct

from sidecar.codecs.facts import AudioFacts, VideoFacts
from sidecar.media.presentation import Rendition
from sidecar.mux.movie import display_size

# sample entry -> FourCC. H.265 is written as its sample entry is called (Microsoft's amendment to
# [MS-SSTR] for HEVC); clients upper-case it.
_FOUR_CC = {
    "avc1": "AVC1",
    "avc3": "AVC1",
    "hvc1": "hvc1",
    "hev1": "hev1",
    "ac-3": "AC-3",
    "ec-3": "EC-3",
    # Text of any kind is made TTML.
    "stpp": "TTML",
    "wvtt": "TTML",
}
_AAC = ("AACL", "AACH")
# What WAVEFORMATEXTENSIBLE adds to WAVEFORMATEX: wSamplesPerBlock, dwChannelMask, SubFormat.
_EXTENSIBLE = struct.Struct("<HI16s")
_DOLBY_SAMPLES = 1536
_SUB_FORMAT = {
    "ac-3": bytes.fromhex("2c806de046dbcf11b4d100805f6cbbea"),
    "ec-3": bytes.fromhex("af87fba7022dfb42a4d405cd93843bdd"),
}
# dwChannelMask of KSMEDIA for the usual layouts of so many channels.
_CHANNEL_MASK = {1: 0x4, 2: 0x3, 3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x13F, 8: 0x63F}


def four_cc(rendition: Rendition) -> str | None:
    """FourCC of ``rendition``; None when Smooth Streaming has none for its codec."""
    facts = rendition.track.facts
    if isinstance(facts, AudioFacts) and facts.fourcc in _AAC:
        return facts.fourcc
    return _FOUR_CC.get(facts.sample_entry)


def quality_level(rendition: Rendition, index: int, *, version: int) -> dict[str, str]:
    """The attributes of a QualityLevel element, in order; ``version`` of the manifest: 20 or 22."""
    attributes = {
        "Index": str(index),
        "Bitrate": str(rendition.bitrate),
        "FourCC": four_cc(rendition) or "",
    }
    facts = rendition.track.facts
    if isinstance(facts, VideoFacts):
        attributes |= {"MaxWidth": str(facts.width), "MaxHeight": str(facts.height)}
        width, height = display_size(facts)
        if version >= 22 and (width, height) != (facts.width, facts.height):
            attributes |= {"DisplayWidth": str(width), "DisplayHeight": str(height)}
    elif isinstance(facts, AudioFacts):
        attributes |= {
            "SamplingRate": str(facts.sampling_rate),
            "Channels": str(facts.channels),
            "BitsPerSample": str(facts.bits_per_sample),
            "PacketSize": "4",
            "AudioTag": str(facts.audio_tag),
        }
    attributes["CodecPrivateData"] = _codec_private_data(rendition)
    return attributes


def _codec_private_data(rendition: Rendition) -> str:
    """Parameter sets with start codes, AudioSpecificConfig, or the end of a wave format; hex."""
    facts = rendition.track.facts
    if isinstance(facts, VideoFacts):
        return facts.codec_private_data.hex().upper()
    if not isinstance(facts, AudioFacts):
        return ""
    data = facts.codec_private_data
    sub_format = _SUB_FORMAT.get(facts.sample_entry)
    if sub_format is not None:
        mask = _CHANNEL_MASK.get(facts.channels, 0)
        data = _EXTENSIBLE.pack(_DOLBY_SAMPLES, mask, sub_format) + data
    return data.hex().upper()
