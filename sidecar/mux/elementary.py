"""Tracks as elementary streams: what a transport stream says of them, and their PES packets."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from sidecar.codecs.adts import HEADER_BYTES, adts_headers, adts_template
from sidecar.codecs.facts import AudioFacts, VideoFacts
from sidecar.codecs.nal import has_nal_units, nal_format
from sidecar.errors import InvalidMedia, MediaError, UnsupportedMedia
from sidecar.media.track import Kind, Track
from sidecar.mux.annexb import access_units
from sidecar.mux.mpegts import AUDIO_PID, VIDEO_PID
from sidecar.mux.pes import Buffer, PesStream
from sidecar.mux.psi import StreamInfo, language, registration
from sidecar.mux.samples import SampleBytes
from sidecar.mux.timestamps import unwrapped

# Stream types (ISO/IEC 13818-1 table 2-34, ATSC A/53 part 3 for AC-3).
_H264, _H265, _ADTS, _MPEG1_AUDIO, _MPEG2_AUDIO, _AC3, _EAC3 = (
    0x1B, 0x24, 0x0F, 0x03, 0x04, 0x81, 0x87,
)  # fmt: skip
_VIDEO_ID, _AUDIO_ID, _PRIVATE_ID = 0xE0, 0xC0, 0xBD
_MP3_CODEC = "mp4a.40.34"
_MPEG1_RATES = (32_000, 44_100, 48_000)

# Frames are gathered until a PES packet has about so many bytes, or so much sound (seconds): each
# packet costs a header, and half a transport packet of stuffing.
_AUDIO_BYTES = 2_900
_AUDIO_SECONDS = 0.2
# How far audio is sent ahead of the pictures with which it is heard, 90 kHz.
_AUDIO_LEAD = 9_000


def can_carry(track: Track) -> bool:
    """Whether a transport stream (video) or a file of packed audio can hold ``track``."""
    if track.kind is Kind.TEXT:
        return False
    try:
        stream_info(track, None)
    except MediaError:
        return False
    return True


def stream_info(track: Track, spoken: str | None) -> StreamInfo:
    """What the PMT says of ``track``; ``spoken``: language of audio.

    Raises ``UnsupportedMedia`` for codecs that have no place in transport streams,
    ``InvalidMedia`` for a damaged configuration.
    """
    facts = track.facts
    if isinstance(facts, VideoFacts) and has_nal_units(facts.sample_entry):
        if facts.sample_entry.startswith("avc"):
            return StreamInfo(stream_type=_H264, stream_id=_VIDEO_ID)
        return StreamInfo(stream_type=_H265, stream_id=_VIDEO_ID, descriptors=registration(b"HEVC"))
    said = language(spoken) if spoken and len(spoken) == 3 and spoken.isascii() else b""
    if isinstance(facts, AudioFacts):
        if facts.sample_entry == "ac-3":
            return StreamInfo(
                stream_type=_AC3,
                stream_id=_PRIVATE_ID,
                descriptors=registration(b"AC-3") + said,
                extension="ac3",
            )
        if facts.sample_entry == "ec-3":
            return StreamInfo(
                stream_type=_EAC3,
                stream_id=_PRIVATE_ID,
                descriptors=registration(b"EAC3") + said,
                extension="ec3",
            )
        if facts.codec == _MP3_CODEC:
            first = facts.sampling_rate in _MPEG1_RATES
            return StreamInfo(
                stream_type=_MPEG1_AUDIO if first else _MPEG2_AUDIO,
                stream_id=_AUDIO_ID,
                descriptors=said,
                extension="mp3",
            )
        if facts.sample_entry == "mp4a":
            adts_template(facts.codec_private_data)
            return StreamInfo(
                stream_type=_ADTS, stream_id=_AUDIO_ID, descriptors=said, extension="aac"
            )
    raise UnsupportedMedia(f"{facts.codec} has no place in a transport stream")


def video_stream(
    track: Track,
    info: StreamInfo,
    first: int,
    samples: SampleBytes,
    size: NDArray[np.int64],
    *,
    alone_at: int | None = None,
) -> PesStream | None:
    """The samples from ``first`` on (``size``: int64[n]), one access unit in each PES packet.

    Decoding times are those of the track, early enough that no picture is presented before it is
    decoded. ``alone_at``: ticks at which a single sample is decoded and presented instead. None
    when no sample has a byte. Raises ``InvalidMedia`` as ``access_units`` does.
    """
    columns, last = track.samples, first + len(size)
    sync = np.ones(len(size), np.bool_) if columns.sync is None else columns.sync[first:last]
    if alone_at is not None:
        dts = pts = np.array([alone_at], dtype=np.int64)
    else:
        dts = columns.decode_time[first:last] - track.edit_media_time
        pts = dts
        if columns.composition_offset is not None:
            pts = dts + columns.composition_offset[first:last]
            dts = dts - columns.composition_delay
    held = size > 0
    if np.count_nonzero(held) != len(size):
        if not held.any():
            return None
        size, sync, dts, pts = size[held], sync[held], dts[held], pts[held]
        samples = SampleBytes(samples.data, samples.position[held])
    entry = sync.copy()
    entry[0] = True  # whatever begins a segment must be decodable as far as the source allows
    assert isinstance(track.facts, VideoFacts)
    nal = nal_format(track.facts.sample_entry, track.sample_entry_box)
    try:
        units = access_units(nal, track.facts.codec_private_data, samples, size, entry)
    except InvalidMedia as error:
        error.path = track.source.path
        error.offset = int(columns.offset[first])
        raise
    view = memoryview(units.data)
    pieces: list[list[Buffer]] = [
        [prefix, view[begin:end]]
        for prefix, begin, end in zip(
            units.prefix, units.begin.tolist(), units.end.tolist(), strict=True
        )
    ]
    decoding = unwrapped(dts, track.timescale)
    return PesStream(
        pid=VIDEO_PID,
        info=info,
        pts=decoding if pts is dts else unwrapped(pts, track.timescale),
        dts=decoding,
        order=decoding,
        size=units.size,
        pieces=pieces,
        random_access=sync,
        has_pcr=True,
    )


def audio_frames(track: Track, samples: SampleBytes, size: NDArray[np.int64]) -> list[Buffer]:
    """The frames of AAC with their ADTS headers, or of other codecs as they are: an entry or two
    for each of ``size`` (int64[n], bytes of the samples)."""
    view = memoryview(samples.data)
    frames: list[Buffer] = [
        view[begin : begin + length]
        for begin, length in zip(samples.position.tolist(), size.tolist(), strict=True)
    ]
    if not needs_adts(track):
        return frames
    assert isinstance(track.facts, AudioFacts)
    try:
        headers = adts_headers(adts_template(track.facts.codec_private_data), size)
    except InvalidMedia as error:
        error.path = track.source.path
        raise
    paired: list[Buffer] = [b""] * (2 * len(frames))
    paired[::2] = [headers[at : at + HEADER_BYTES] for at in range(0, len(headers), HEADER_BYTES)]
    paired[1::2] = frames
    return paired


def needs_adts(track: Track) -> bool:
    """Whether the frames of an audio track stand behind ADTS headers outside of MP4."""
    return track.facts.sample_entry == "mp4a" and track.facts.codec != _MP3_CODEC


def audio_stream(
    track: Track,
    info: StreamInfo,
    first: int,
    samples: SampleBytes,
    size: NDArray[np.int64],
    *,
    not_before: int | None,
) -> PesStream | None:
    """The samples from ``first`` on (``size``: int64[n]), several frames in each PES packet.

    ``not_before``: 90 kHz, when the first picture is sent, which begins the segment. None when no
    sample has a byte.
    """
    time = track.samples.decode_time[first : first + len(size)] - track.edit_media_time
    held = size > 0
    if np.count_nonzero(held) != len(size):
        if not held.any():
            return None
        size, time = size[held], time[held]
        samples = SampleBytes(samples.data, samples.position[held])
    frames = audio_frames(track, samples, size)
    each = len(frames) // len(size)
    length = size + (HEADER_BYTES if each == 2 else 0)
    begin = _groups(track, time, int(length.sum()))
    bounds = [*begin.tolist(), len(size)]
    pts = unwrapped(time[begin], track.timescale)
    order = pts - _AUDIO_LEAD
    if not_before is not None:
        order = np.maximum(order, not_before)
    return PesStream(
        pid=AUDIO_PID,
        info=info,
        pts=pts,
        dts=pts,
        order=order,
        size=np.add.reduceat(length, begin),
        pieces=[frames[each * a : each * b] for a, b in itertools.pairwise(bounds)],
    )


def _groups(track: Track, time: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Indices of the frames (at ``time``, ticks) that begin a PES packet: ascending, 0 first.

    Only the first frame of a packet has a timestamp, so none goes over a gap.
    """
    count = len(time)
    if count == 1:
        return np.zeros(1, dtype=np.int64)
    duration = np.diff(time)
    usual = int(duration[count // 2 - 1])
    most = min(
        _AUDIO_BYTES * count // length, int(_AUDIO_SECONDS * track.timescale / max(usual, 1))
    )
    begins = np.arange(count) % max(1, most) == 0
    begins[1:] |= np.abs(duration - usual) > 1
    return np.flatnonzero(begins)


def end_time(track: Track, last: int) -> int:
    """When sample ``last`` is decoded, or when the one before it has been: 90 kHz."""
    ticks = int(track.samples.decode_time[last]) - track.edit_media_time
    ticks -= track.samples.composition_delay
    return int(unwrapped(np.array([ticks]), track.timescale)[0])
