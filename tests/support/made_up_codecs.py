"""Sample entries without a configuration, where codecs are not of interest."""

from __future__ import annotations

from sidecar.codecs.facts import AudioFacts, Facts, TextFacts, VideoFacts
from sidecar.errors import UnsupportedMedia


def describe(entry: bytes, handler: bytes, *, box_path: str, offset: int) -> Facts:
    """In place of ``codecs.describe``: ``tst1`` is pictures, ``tst2`` sound, ``tst3`` text."""
    kind = entry[4:8].decode()
    if kind == "tst1":
        return VideoFacts(codec=kind, sample_entry=kind, fourcc=kind, width=64, height=36)
    if kind == "tst2":
        return AudioFacts(
            codec=kind, sample_entry=kind, fourcc=kind, sampling_rate=48000, channels=2,
            samples_per_frame=1024, channel_configuration=("", ""), hls_channels="2",
        )  # fmt: skip
    if kind == "tst3":
        return TextFacts(codec=kind, sample_entry=kind, fourcc=kind)
    raise UnsupportedMedia(f"the codec {kind} is not known", box_path=box_path, offset=offset)
