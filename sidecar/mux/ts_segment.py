"""Segments of tracks as transport streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from sidecar.media.track import Track
from sidecar.mux.elementary import audio_stream, end_time, stream_info, video_stream
from sidecar.mux.mpegts import AUDIO_PID, VIDEO_PID, transport_stream
from sidecar.mux.pes import PesStream
from sidecar.mux.samples import read_samples
from sidecar.storage.source import ReadRange

# Goes up whenever the same samples make other bytes than before.
_EDITION = b"ts 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackSpan:
    """Samples ``first`` .. ``last``-1 of ``track``, maybe none. ``language``: of audio."""

    track: Track
    first: int
    last: int
    language: str | None = None

    @property
    def size(self) -> NDArray[np.int64]:
        """int64[n], bytes."""
        return self.track.samples.size[self.first : self.last].astype(np.int64)


def ts_segment(
    read: ReadRange, video: TrackSpan, audio: TrackSpan | None, index: int
) -> memoryview:
    """Segment ``index`` (from 0) of a program of ``video`` and maybe ``audio``.

    What it says depends on these samples and on ``index`` alone. Raises ``UnsupportedMedia`` for
    codecs without a place in transport streams and for segments that are too long,
    ``InvalidMedia`` for damaged samples, and what ``read`` raises.
    """
    spans = [span for span in (video, audio) if span is not None and span.last > span.first]
    found = read_samples(read, [(span.track, span.first, span.last) for span in spans])
    samples = dict(zip([span.track for span in spans], found, strict=True))
    program = [(VIDEO_PID, stream_info(video.track, None))]
    streams: list[PesStream] = []
    end = end_time(video.track, video.last)
    if video.track in samples:
        stream = video_stream(
            video.track, program[0][1], video.first, samples[video.track], video.size
        )
        streams += [stream] if stream else []
    if audio is not None:
        info = stream_info(audio.track, audio.language)
        program.append((AUDIO_PID, info))
        if audio.track in samples:
            stream = audio_stream(
                audio.track,
                info,
                audio.first,
                samples[audio.track],
                audio.size,
                not_before=int(streams[0].order[0]) if streams else None,
            )
            streams += [stream] if stream else []
        if video.last >= len(video.track.samples):
            end = max(end, end_time(audio.track, audio.last))
    return transport_stream(program, streams, index=index, end=end)


def made_from(spans: Sequence[TrackSpan], index: int, *, key_frame: bool = False) -> bytes:
    """16 bytes that identify what a segment of ``spans`` is made from: the same for the same
    segment of equal files, whatever they are called."""
    digest = blake2b(b"%s %d %d" % (_EDITION, index, key_frame), digest_size=16)
    for span in spans:
        track, samples = span.track, span.track.samples
        first, last = span.first, span.last
        digest.update(
            b"%d %d %d %d %d %d "
            % (
                track.source.size,
                track.source.mtime_ns,
                track.timescale,
                track.edit_media_time,
                samples.composition_delay,
                last - first,
            )
        )
        digest.update((span.language or "").encode() + track.sample_entry_box)
        columns = (samples.offset, samples.size, samples.composition_offset, samples.sync)
        for column in columns:
            if column is not None:
                digest.update(column[first:last].tobytes())
        digest.update(samples.decode_time[first : last + 1].tobytes())
    return digest.digest()


def ts_key_frame(read: ReadRange, track: Track, sample: int, start: int, index: int) -> memoryview:
    """Sync sample ``sample`` alone, presented at ``start`` (ticks), as segment ``index`` of an
    I-frame playlist (RFC 8216 4.3.3.6). Raises what ``ts_segment`` raises."""
    size = track.samples.size[sample : sample + 1].astype(np.int64)
    (samples,) = read_samples(read, [(track, sample, sample + 1)])
    info = stream_info(track, None)
    stream = video_stream(track, info, sample, samples, size, alone_at=start)
    streams = [stream] if stream else []
    return transport_stream([(VIDEO_PID, info)], streams, index=index, end=0)
