"""Segments of tracks as transport streams."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from sidecar.media.track import Track
from sidecar.mux.elementary import audio_stream, end_time, stream_info, video_stream
from sidecar.mux.mpegts import AUDIO_PID, TAG_PID, VIDEO_PID, transport_streams
from sidecar.mux.pes import PesStream
from sidecar.mux.plan import Body
from sidecar.mux.psi import METADATA, METADATA_DESCRIPTOR, StreamInfo
from sidecar.mux.samples import read_samples
from sidecar.storage.source import ReadRange

_TAGS = StreamInfo(stream_type=METADATA, stream_id=0xBD, descriptors=METADATA_DESCRIPTOR)
# Goes up whenever the same samples make other bytes than before.
_EDITION = b"ts 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackSpan:
    """Samples of ``track`` in consecutive segments, maybe none: those that begin with the samples
    ``first``, whose last entry is the one behind them. ``language``: of audio."""

    track: Track
    first: Sequence[int]
    language: str | None = None

    @property
    def nbytes(self) -> list[int]:
        """Bytes of each segment's samples."""
        size = self.track.samples.size
        return [
            int(np.add.reduce(size[first:last], dtype=np.int64))
            for first, last in itertools.pairwise(self.first)
        ]


# An ID3 tag: when it counts, 90 kHz, not reduced to 33 bits, and its bytes.
Tag = tuple[int, bytes]


def ts_segments(
    read: ReadRange,
    video: TrackSpan,
    audio: TrackSpan | None,
    index: int,
    tags: Sequence[Sequence[Tag]] | None = None,
    *,
    grows: bool = False,
) -> list[Body]:
    """Segment ``index`` (from 0) of a program of ``video`` and maybe ``audio``, and those after it.

    ``tags``: of each segment; None when the program has no stream of them at all. ``grows``:
    whether more may come of the tracks; their last picture is not the last one then.

    What each says depends on its samples and its index alone; made together they cost less. Raises
    ``UnsupportedMedia`` for codecs without a place in transport streams and for segments that are
    too long, ``InvalidMedia`` for damaged samples, and what ``read`` raises.
    """
    spans = [span for span in (video, audio) if span is not None and span.first[-1] > span.first[0]]
    found = read_samples(read, [(span.track, span.first[0], span.first[-1]) for span in spans])
    samples = dict(zip([span.track for span in spans], found, strict=True))
    program = [(VIDEO_PID, stream_info(video.track, None))]
    streams: list[PesStream] = []
    ends = [end_time(video.track, last) for last in video.first[1:]]
    pictures: list[int | None] = [None] * len(ends)
    if video.track in samples:
        stream = video_stream(video.track, program[0][1], video.first, samples[video.track])
        if stream is not None:
            streams.append(stream)
            pictures = [
                int(stream.order[at]) if end > at else None
                for at, end in itertools.pairwise(stream.first)
            ]
    if audio is not None:
        info = stream_info(audio.track, audio.language)
        program.append((AUDIO_PID, info))
        if audio.track in samples:
            stream = audio_stream(
                audio.track, info, audio.first, samples[audio.track], not_before=pictures
            )
            streams += [stream] if stream else []
        # Sound goes on when there are no more pictures.
        over = len(video.track.samples)
        ends = [
            max(end, end_time(audio.track, heard)) if seen == (begun if grows else over) else end
            for end, (begun, seen), heard in zip(
                ends, itertools.pairwise(video.first), audio.first[1:], strict=True
            )
        ]
    if tags is not None:
        program.append((TAG_PID, _TAGS))
        stream = _tag_stream([sorted(of_segment) for of_segment in tags])
        streams += [stream] if stream else []
    return transport_streams(program, streams, index=index, ends=ends)


def _tag_stream(tags: Sequence[Sequence[Tag]]) -> PesStream | None:
    every = [tag for of_segment in tags for tag in of_segment]
    if not every:
        return None
    times = np.array([time for time, _ in every], dtype=np.int64)
    return PesStream(
        pid=TAG_PID,
        info=_TAGS,
        first=[0, *itertools.accumulate(map(len, tags))],
        pts=times,
        dts=times,
        order=times,
        size=np.array([len(data) for _, data in every], dtype=np.int64),
        pieces=[(data,) for _, data in every],
    )


def made_from(
    spans: Sequence[TrackSpan],
    at: int,
    index: int,
    *,
    key_frame: bool = False,
    tags: Sequence[Sequence[Tag]] | None = None,
) -> bytes:
    """16 bytes that identify what segment ``at`` (from 0) of those of ``spans`` is made from, as
    segment ``index`` of the program: the same for the same segment of equal files, whatever they
    are called. ``tags``: as of ``ts_segments``."""
    digest = blake2b(b"%s %d %d" % (_EDITION, index, key_frame), digest_size=16)
    if tags is not None:
        digest.update(repr(sorted(tags[at])).encode())
    for span in spans:
        track, samples = span.track, span.track.samples
        first, last = span.first[at : at + 2]
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


def ts_key_frame(read: ReadRange, track: Track, sample: int, start: int, index: int) -> Body:
    """Sync sample ``sample`` alone, presented at ``start`` (ticks), as segment ``index`` of an
    I-frame playlist (RFC 8216 4.3.3.6). Raises what ``ts_segment`` raises."""
    first = (sample, sample + 1)
    (samples,) = read_samples(read, [(track, *first)])
    info = stream_info(track, None)
    stream = video_stream(track, info, first, samples, alone_at=start)
    streams = [stream] if stream else []
    (made,) = transport_streams([(VIDEO_PID, info)], streams, index=index, ends=[0])
    return made
