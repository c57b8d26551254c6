"""Bit rates of transport streams, before any of their segments is made."""

from __future__ import annotations

import numpy as np

from sidecar.codecs.facts import VideoFacts
from sidecar.media.track import Track
from sidecar.mux.pes import BLOCK
from sidecar.mux.psi import PACKET
from sidecar.mux.rates import BitRates, measured
from sidecar.timeline.segments import SegmentList

# Clock, PES header, delimiter; PAT, PMT and what makes the number of packets a multiple of 16.
_PICTURE_BYTES = 8 + 19 + 6
_SEGMENT_PACKETS = 2 + 16
# PES header and the rest of its last packet, and the ADTS headers, in parts of the sound itself.
_SOUND_BYTES, _SOUND_PARTS = 1.10, 7


def ts_bit_rates(track: Track, segments: SegmentList) -> BitRates:
    """Bit rates of ``segments`` of ``track`` in transport streams: what they need at the most, by
    a few percent for sound, less for video."""
    samples = track.samples
    first = segments.first_sample
    if isinstance(track.facts, VideoFacts):
        size = samples.size.astype(np.int64) + _PICTURE_BYTES
        entries = slice(None) if samples.sync is None else samples.sync
        size[entries] += len(track.facts.codec_private_data)
        packets = np.add.reduceat(-(-size // BLOCK), first[:-1]) + _SEGMENT_PACKETS
    else:
        size = np.add.reduceat(samples.size, first[:-1], dtype=np.int64)
        whole = (size + _SOUND_PARTS * np.diff(first)) * _SOUND_BYTES
        packets = np.ceil(whole / BLOCK).astype(np.int64) + _SEGMENT_PACKETS
    return measured(packets * PACKET, segments)


def ts_key_frame_rates(track: Track, key_frames: SegmentList) -> BitRates:
    """Bit rates of the one-sample segments of an I-frame playlist of ``track``."""
    size = track.samples.size[key_frames.first_sample[:-1]].astype(np.int64) + _PICTURE_BYTES
    if isinstance(track.facts, VideoFacts):
        size += len(track.facts.codec_private_data)
    return measured((-(-size // BLOCK) + _SEGMENT_PACKETS) * PACKET, key_frames)
