"""Packed audio: frames without a container, behind their timestamp (RFC 8216 3.4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sidecar.codecs.adts import HEADER_BYTES, adts_headers, adts_template
from sidecar.codecs.facts import AudioFacts
from sidecar.errors import InvalidMedia
from sidecar.media.track import Track
from sidecar.mux.elementary import needs_adts
from sidecar.mux.plan import FileRanges, HeadedRanges, Inline, Part
from sidecar.mux.ranges import byte_ranges
from sidecar.mux.timestamps import timestamp

_OWNER = b"com.apple.streaming.transportStreamTimestamp\0"
TAG_BYTES = 10 + 10 + len(_OWNER) + 8


def timestamp_tag(time: int) -> bytes:
    """An ID3v2.4 tag with one PRIV frame: the 33-bit MPEG-2 timestamp of the first frame."""
    body = _OWNER + time.to_bytes(8)
    frame = b"PRIV" + _syncsafe(len(body)) + b"\0\0" + body
    return b"ID3\x04\0\0" + _syncsafe(len(frame)) + frame


def packed_audio(track: Track, first: int, last: int) -> tuple[Part, ...]:
    """Samples ``first`` .. ``last``-1 (at least one) as a file of packed audio.

    The frames stay in their file; those of AAC get an ADTS header each. There is one timestamp
    only: where there are gaps between frames, it is right for most of them. Raises
    ``InvalidMedia`` for an AAC frame that is too long, ``UnsupportedMedia`` where ADTS does not do.
    """
    ticks = _origin(track.samples.decode_time[first:last]) - track.edit_media_time
    tag = Inline(timestamp_tag(timestamp(ticks, track.timescale)))
    if not needs_adts(track):
        offset, length = byte_ranges(track.samples, first, last)
        return (tag, FileRanges(track.source, offset, length)) if len(offset) else (tag,)
    length = track.samples.size[first:last].astype(np.int64)
    held = np.flatnonzero(length)
    if not len(held):
        return (tag,)
    length = length[held]
    assert isinstance(track.facts, AudioFacts)
    try:
        headers = adts_headers(adts_template(track.facts.codec_private_data), length)
    except InvalidMedia as error:
        error.path = track.source.path
        raise
    frames = HeadedRanges(
        (track.source,),
        np.zeros(len(held), dtype=np.int64),
        track.samples.offset[first:last][held],
        length,
        tuple(headers[at : at + HEADER_BYTES] for at in range(0, len(headers), HEADER_BYTES)),
    )
    return tag, frames


def _origin(time: NDArray[np.int64]) -> int:
    """When the first of the frames at ``time`` (int64[n], ticks) is heard, by the longest run of
    them without a gap: a player lets each frame follow the one before."""
    steps = np.diff(time)
    if not len(steps):
        return int(time[0])
    usual = int(np.median(steps))
    gaps = np.flatnonzero(np.abs(steps - usual) > 1)
    if not len(gaps):
        return int(time[0])
    bounds = np.concatenate(([0], gaps + 1, [len(time)]))
    longest = int(bounds[np.argmax(np.diff(bounds))])
    return int(time[longest]) - longest * usual


def _syncsafe(value: int) -> bytes:
    return bytes(value >> shift & 0x7F for shift in (21, 14, 7, 0))
