"""Tracks as elementary streams: what a transport stream says of them, and their PES packets."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sidecar.codecs.adts import HEADER_BYTES, adts_headers, adts_template
from sidecar.codecs.facts import AudioFacts, VideoFacts
from sidecar.codecs.nal import has_nal_units, nal_format
from sidecar.errors import InvalidMedia, MediaError, UnsupportedMedia
from sidecar.media.track import Kind, Track
from sidecar.mux.annexb import access_units
from sidecar.mux.decoding import decoding
from sidecar.mux.mpegts import AUDIO_PID, VIDEO_PID
from sidecar.mux.pes import PesStream, Stored
from sidecar.mux.psi import StreamInfo, language, registration
from sidecar.mux.samples import SampleBytes
from sidecar.mux.timestamps import unwrapped, unwrapped_time

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
    first: Sequence[int],
    samples: SampleBytes,
    *,
    alone_at: int | None = None,
) -> PesStream | None:
    """The samples from ``first[0]`` to ``first[-1]``, one access unit in each PES packet.

    ``first``: sample numbers with which segments begin, and the one behind the last. Decoding times
    are those of the track, early enough that no picture is presented before it is decoded.
    ``alone_at``: ticks at which a single sample is decoded and presented instead. None when no
    sample has a byte. Raises ``InvalidMedia`` as ``access_units`` does.
    """
    columns, begin, last = track.samples, first[0], first[-1]
    size = columns.size[begin:last].astype(np.int64)
    sync = np.ones(len(size), np.bool_) if columns.sync is None else columns.sync[begin:last]
    if alone_at is not None:
        dts = pts = np.array([alone_at], dtype=np.int64)
    else:
        dts = columns.decode_time[begin:last] - track.edit_media_time
        pts = dts
        if columns.composition_offset is not None:
            pts = dts + columns.composition_offset[begin:last]
        if columns.composition_delay:
            dts = _decoded(track, first)
    held = size > 0
    bounds = _bounds(first, held)
    if bounds[-1] != len(size):
        if not bounds[-1]:
            return None
        size, sync, dts, pts = size[held], sync[held], dts[held], pts[held]
        samples = SampleBytes(samples.data, samples.position[held])
    entry = sync.copy()
    # Whatever begins a segment must be decodable as far as the source allows.
    entry[[at for at, end in itertools.pairwise(bounds) if end > at]] = True
    assert isinstance(track.facts, VideoFacts)
    nal = nal_format(track.facts.sample_entry, track.sample_entry_box)
    try:
        units = access_units(nal, track.facts.codec_private_data, samples, size, entry)
    except InvalidMedia as error:
        error.path = track.source.path
        error.offset = int(columns.offset[begin])
        raise
    decoding = unwrapped(dts, track.timescale)
    return PesStream(
        pid=VIDEO_PID,
        info=info,
        first=bounds,
        pts=decoding if pts is dts else unwrapped(pts, track.timescale),
        dts=decoding,
        order=decoding,
        size=units.size,
        pieces=[(prefix,) for prefix in units.prefix],
        stored=Stored(units.data, units.begin, units.end, units.coded, units.code),
        random_access=sync,
        has_pcr=True,
    )


def _decoded(track: Track, first: Sequence[int]) -> NDArray[np.int64]:
    """int64[first[-1] - first[0]], ticks. Each segment is timed by itself, whatever it is made
    along with."""
    spans = [(begin, end) for begin, end in itertools.pairwise(first) if end > begin]
    times = np.concatenate([decoding(track, begin, end)[0][:-1] for begin, end in spans])
    decoded: NDArray[np.int64] = times - track.edit_media_time - track.samples.composition_delay
    return decoded


def _bounds(first: Sequence[int], held: NDArray[np.bool_]) -> list[int]:
    """Where segments that begin with the samples ``first`` begin among those that are ``held``."""
    if np.count_nonzero(held) == len(held):
        return [at - first[0] for at in first]
    before = np.concatenate(([0], np.cumsum(held)))
    return [int(before[at - first[0]]) for at in first]


def audio_frames(track: Track, samples: SampleBytes, size: NDArray[np.int64]) -> list[bytes]:
    """The frames of AAC with their ADTS headers, or of other codecs as they are: an entry or two
    for each of ``size`` (int64[n], bytes of the samples)."""
    data, begin = samples.data, samples.position
    frames = [data[at:end] for at, end in zip(begin.tolist(), (begin + size).tolist(), strict=True)]
    if not needs_adts(track):
        return frames
    assert isinstance(track.facts, AudioFacts)
    try:
        headers = adts_headers(adts_template(track.facts.codec_private_data), size)
    except InvalidMedia as error:
        error.path = track.source.path
        raise
    paired = [b""] * (2 * len(frames))
    paired[::2] = [headers[at : at + HEADER_BYTES] for at in range(0, len(headers), HEADER_BYTES)]
    paired[1::2] = frames
    return paired


def needs_adts(track: Track) -> bool:
    """Whether the frames of an audio track stand behind ADTS headers outside of MP4."""
    return track.facts.sample_entry == "mp4a" and track.facts.codec != _MP3_CODEC


def audio_stream(
    track: Track,
    info: StreamInfo,
    first: Sequence[int],
    samples: SampleBytes,
    *,
    not_before: Sequence[int | None],
) -> PesStream | None:
    """The samples from ``first[0]`` to ``first[-1]``, several frames in each PES packet.

    ``first``: as in ``video_stream``. ``not_before``: 90 kHz, when the first picture of each
    segment is sent, which begins it; None = it has none. None when no sample has a byte.
    """
    begin, last = first[0], first[-1]
    size = track.samples.size[begin:last].astype(np.int64)
    time = track.samples.decode_time[begin:last] - track.edit_media_time
    held = size > 0
    bounds = _bounds(first, held)
    if bounds[-1] != len(size):
        if not bounds[-1]:
            return None
        size, time = size[held], time[held]
        samples = SampleBytes(samples.data, samples.position[held])
    frames = audio_frames(track, samples, size)
    each = len(frames) // len(size)
    length = size + (HEADER_BYTES if each == 2 else 0)
    starts: list[int] = []
    packets = [0]
    for at, end in itertools.pairwise(bounds):
        if end > at:
            starts += [at + one for one in _groups(track, time[at:end], length[at:end])]
        packets.append(len(starts))
    pts = unwrapped(time[starts], track.timescale)
    order = pts - _AUDIO_LEAD
    for picture, (at, end) in zip(not_before, itertools.pairwise(packets), strict=True):
        if picture is not None:
            np.maximum(order[at:end], picture, out=order[at:end])
    return PesStream(
        pid=AUDIO_PID,
        info=info,
        first=packets,
        pts=pts,
        dts=pts,
        order=order,
        size=np.add.reduceat(length, starts),
        pieces=[frames[each * a : each * b] for a, b in itertools.pairwise([*starts, len(size)])],
    )


def _groups(track: Track, time: NDArray[np.int64], length: NDArray[np.int64]) -> Sequence[int]:
    """Indices of the frames (at ``time``, ticks; ``length``, bytes) that begin a PES packet:
    ascending, 0 first.

    Only the first frame of a packet has a timestamp, so none goes over a gap.
    """
    count = len(time)
    if count == 1:
        return (0,)
    duration = np.diff(time)
    usual = int(duration[count // 2 - 1])
    most = min(
        _AUDIO_BYTES * count // int(np.add.reduce(length)),
        int(_AUDIO_SECONDS * track.timescale / max(usual, 1)),
    )
    gaps = np.abs(duration - usual) > 1
    if not np.count_nonzero(gaps):
        return range(0, count, max(1, most))
    begins = np.arange(count) % max(1, most) == 0
    begins[1:] |= gaps
    found: list[int] = np.flatnonzero(begins).tolist()
    return found


def end_time(track: Track, last: int) -> int:
    """When sample ``last`` is decoded, or when the one before it has been: 90 kHz."""
    ticks = int(track.samples.decode_time[last]) - track.edit_media_time
    return unwrapped_time(ticks - track.samples.composition_delay, track.timescale)
