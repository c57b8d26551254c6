"""Packed audio: frames without a container, behind their timestamp (RFC 8216 3.4)."""

from __future__ import annotations

import numpy as np

from sidecar.media.track import Track
from sidecar.mux.elementary import audio_frames, needs_adts
from sidecar.mux.plan import FileRanges, Inline, Part
from sidecar.mux.ranges import byte_ranges
from sidecar.mux.samples import read_samples
from sidecar.mux.timestamps import timestamp
from sidecar.storage.source import ReadRange

_OWNER = b"com.apple.streaming.transportStreamTimestamp\0"
TAG_BYTES = 10 + 10 + len(_OWNER) + 8


def timestamp_tag(time: int) -> bytes:
    """An ID3v2.4 tag with one PRIV frame: the 33-bit MPEG-2 timestamp of the first frame."""
    body = _OWNER + time.to_bytes(8)
    frame = b"PRIV" + _syncsafe(len(body)) + b"\0\0" + body
    return b"ID3\x04\0\0" + _syncsafe(len(frame)) + frame


def packed_audio(track: Track, first: int, last: int, read: ReadRange) -> tuple[Part, ...]:
    """Samples ``first`` .. ``last``-1 (at least one) as a file of packed audio.

    AAC is read and gets ADTS headers; frames of other codecs are ranges of the source.
    """
    ticks = int(track.samples.decode_time[first]) - track.edit_media_time
    tag = timestamp_tag(timestamp(ticks, track.timescale))
    if not needs_adts(track):
        offset, length = byte_ranges(track.samples, first, last)
        if not len(offset):
            return (Inline(tag),)
        return Inline(tag), FileRanges(track.source, offset, length)
    size = track.samples.size[first:last].astype(np.int64)
    (samples,) = read_samples(read, [(track, first, last)])
    return (Inline(b"".join([tag, *audio_frames(track, samples, size)])),)


def _syncsafe(value: int) -> bytes:
    return bytes(value >> shift & 0x7F for shift in (21, 14, 7, 0))
