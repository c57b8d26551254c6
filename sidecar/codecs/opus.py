"""Opus: dOps (Encapsulation of Opus in ISO Base Media File Format 4.3.2)."""

from __future__ import annotations

from sidecar.codecs.aac import MPEG_CHANNELS
from sidecar.codecs.entry import SoundEntry
from sidecar.codecs.facts import AudioFacts

_SAMPLING_RATE = 48000  # Opus decodes to 48 kHz whatever InputSampleRate was
# Channels of mapping families 0 and 1 (RFC 7845 5.1.1.2) -> ChannelConfiguration of 23003-3.
_CONFIGURATION = {1: 1, 2: 2, 3: 3, 4: 10, 5: 5, 6: 6, 7: 11, 8: 12}


def opus_facts(entry: SoundEntry) -> AudioFacts:
    """Facts of an ``Opus`` sample entry. Raises ``InvalidMedia`` for a damaged dOps."""
    config = entry.require(b"dOps")
    if len(config.body) < 11 or config.body[0] != 0:
        raise config.invalid("dOps is not a version 0 configuration")
    channels = config.body[1]
    if channels == 0:
        raise config.invalid("dOps has no channels")
    return AudioFacts(
        codec="Opus",
        sample_entry=entry.type,
        fourcc="OPUS",
        sampling_rate=_SAMPLING_RATE,
        channels=channels,
        samples_per_frame=None,
        channel_configuration=(MPEG_CHANNELS, str(_CONFIGURATION.get(channels, channels))),
        hls_channels=str(channels),
        codec_private_data=config.body,
    )
