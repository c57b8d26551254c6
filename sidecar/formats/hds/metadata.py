"""onMetaData, as scripts of FLV have it, in AMF0 (Action Message Format 0, 2.5, 2.10)."""

from __future__ import annotations

import struct
from fractions import Fraction

from sidecar.formats.hds.streams import Stream
from sidecar.mux.movie import display_size
from sidecar.mux.rates import frame_rate

_NUMBER, _STRING, _ECMA_ARRAY = b"\0", b"\2", b"\x08"
_OBJECT_END = b"\0\0\x09"
# Codec numbers of FLV (E.4.3.1, E.4.2.1): AVC, AAC.
_AVC, _AAC = 7, 10


def on_metadata(stream: Stream, duration: Fraction) -> bytes:
    """The data of a script tag: ``onMetaData`` and what ``stream`` is; ``duration`` in seconds."""
    facts: dict[str, Fraction | int] = {"duration": duration}
    if stream.video is not None:
        width, height = display_size(stream.video.video)
        facts |= {
            "width": width,
            "height": height,
            "framerate": frame_rate(stream.video.track),
            "videodatarate": Fraction(stream.video.bitrate, 1000),
            "videocodecid": _AVC,
        }
    if stream.audio is not None:
        facts |= {
            "audiodatarate": Fraction(stream.audio.bitrate, 1000),
            "audiosamplerate": stream.audio.audio.sampling_rate,
            "audiosamplesize": stream.audio.audio.bits_per_sample,
            "audiochannels": stream.audio.audio.channels,
            "audiocodecid": _AAC,
        }
    members = (
        _text(name) + _NUMBER + struct.pack(">d", float(value)) for name, value in facts.items()
    )
    return b"".join(
        (
            _STRING,
            _text("onMetaData"),
            _ECMA_ARRAY,
            struct.pack(">I", len(facts)),
            *members,
            _OBJECT_END,
        )
    )


def _text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack(">H", len(encoded)) + encoded
