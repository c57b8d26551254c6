"""ADTS: the header that makes an AAC frame decodable by itself (ISO/IEC 14496-3 1.A.2.2)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sidecar.codecs.aac import parse_audio_specific_config
from sidecar.codecs.bits import BitReader
from sidecar.errors import InvalidMedia, UnsupportedMedia

HEADER_BYTES = 7
MAX_FRAME = (1 << 13) - 1  # aac_frame_length, header included

_LC = 2
_SBR, _PS = 5, 29
_ESCAPED_TYPE, _ESCAPED_FREQUENCY = 31, 15


@lru_cache(maxsize=512)
def adts_template(specific: bytes) -> bytes:
    """The ADTS header of frames configured by the AudioSpecificConfig ``specific``, length 0.

    HE-AAC is announced as its AAC LC core at the core's rate, as decoders of ADTS expect: they find
    SBR and PS in the frames. Raises ``UnsupportedMedia`` for what ADTS cannot say: object types
    other than Main, LC, SSR and LTP, rates without an index, frames of 960 samples, channel layouts
    without a number below 8; ``InvalidMedia`` for a damaged configuration.
    """
    config = parse_audio_specific_config(specific)
    reader = BitReader(specific, box_path="esds", offset=None)
    if reader.bits(5) == _ESCAPED_TYPE:
        raise UnsupportedMedia("ADTS cannot carry this MPEG-4 audio object type")
    frequency_index = reader.bits(4)
    if frequency_index == _ESCAPED_FREQUENCY:
        raise UnsupportedMedia(f"ADTS has no index for a sampling rate of {config.core_rate} Hz")
    channel_configuration = reader.bits(4)
    if not 1 <= channel_configuration <= 7:
        raise UnsupportedMedia("ADTS has no number for this channel layout")
    object_type = _LC if config.object_type in (_SBR, _PS) else config.object_type
    if not 1 <= object_type <= 4:
        raise UnsupportedMedia(f"ADTS cannot carry MPEG-4 audio object type {object_type}")
    if config.frame_length * config.core_rate != 1024 * config.sampling_rate:
        raise UnsupportedMedia("ADTS cannot carry AAC frames of 960 samples")
    return bytes(
        (
            0xFF,
            0xF1,  # MPEG-4, no CRC
            (object_type - 1) << 6 | frequency_index << 2 | channel_configuration >> 2,
            (channel_configuration & 3) << 6,
            0,
            0x1F,  # buffer fullness: variable rate
            0xFC,
        )
    )


def adts_headers(template: bytes, size: NDArray[np.int64]) -> bytes:
    """``HEADER_BYTES`` for each frame of ``size`` bytes (int64[n]), one after the other.

    Raises ``InvalidMedia`` for a frame that is longer than ADTS can say.
    """
    length = size + HEADER_BYTES
    if len(length) and int(length.max()) > MAX_FRAME:
        raise InvalidMedia(f"an AAC frame has {int(size.max())} bytes, ADTS allows {MAX_FRAME - 7}")
    header = np.empty((len(length), HEADER_BYTES), dtype=np.uint8)
    header[:] = np.frombuffer(template, dtype=np.uint8)
    header[:, 3] |= (length >> 11).astype(np.uint8)
    header[:, 4] = length >> 3 & 0xFF
    header[:, 5] |= ((length & 7) << 5).astype(np.uint8)
    return header.tobytes()
