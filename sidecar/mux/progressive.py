"""Progressive files: a moov with all samples, then the media (ISO/IEC 14496-12)."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sidecar.boxes.write import box, boxed, full_box
from sidecar.codecs.facts import AudioFacts
from sidecar.errors import UnsupportedMedia
from sidecar.media.track import Kind, Samples
from sidecar.mux.decoding import delayed_offsets
from sidecar.mux.interleave import Interleaved, interleave
from sidecar.mux.movie import Pieces, movie_header, track_box
from sidecar.mux.plan import Inline, Part
from sidecar.mux.runs import mdat_header
from sidecar.timeline.cuts import Cut
from sidecar.units import rescale

VIDEO_FILE = box(b"ftyp", b"iso2", bytes(4), b"isomiso2mp41")
AUDIO_FILE = box(b"ftyp", b"M4A ", bytes(4), b"M4A isommp42")

_UINT32_MAX = 0xFFFFFFFF
_LATEST = 1 << 61  # twice a time in ticks of the sampling rate, within 64 bits
_COUNT = struct.Struct(">I")
_GROUPS = {Kind.AUDIO: 1, Kind.VIDEO: 2, Kind.TEXT: 3}


def progressive_file(cuts: Sequence[Cut], *, file_type: bytes) -> tuple[Part, ...]:
    """One file of ``cuts`` (at least one; those of a kind by preference) with its moov in front.

    The parts are ``file_type``, ``moov`` and the header of ``mdat`` as one inline part, then the
    samples as ranges of their sources. Offsets and sizes have 64 bits where 32 do not hold them.
    Edit lists hide what precedes the origins of the cuts and keep tracks in step that begin late.

    Raises ``UnsupportedMedia`` when a sample lasts longer than a table can say.
    """
    cuts = [_in_samples(one) for one in cuts]
    payload = interleave(cuts)
    mdat = mdat_header(payload.length)
    times = [_Times.of(one) for one in cuts]
    tables = [_tables(one, n) for one, n in zip(cuts, payload.chunk_samples, strict=True)]
    head = _head(cuts, times, tables, payload, file_type, large=False)
    if head.size + len(mdat) + payload.length > _UINT32_MAX:
        head = _head(cuts, times, tables, payload, file_type, large=True)
    for offsets, position in zip(head.chunk_offsets, payload.chunk_position, strict=True):
        np.add(position, head.size + len(mdat), out=offsets, casting="unsafe")
    return Inline(b"".join([*head.pieces, mdat])), *payload.parts


def _in_samples(cut: Cut) -> Cut:
    """Sound whose timescale is finer than its sampling rate (Smooth: 10 MHz), in samples.

    libavformat takes the ticks of priming that an edit list hides for samples.
    """
    track, samples = cut.track, cut.track.samples
    if not isinstance(track.facts, AudioFacts) or samples.composition_offset is not None:
        return cut
    rate, timescale = track.facts.sampling_rate, track.timescale
    if timescale <= rate or int(samples.decode_time[-1]) > _LATEST // rate:
        return cut
    decode_time = (2 * rate * samples.decode_time + timescale) // (2 * timescale)
    retimed = replace(
        track,
        timescale=rate,
        edit_media_time=rescale(track.edit_media_time, timescale, rate),
        samples=replace(samples, decode_time=decode_time),
    )
    return replace(
        cut,
        rendition=replace(cut.rendition, track=retimed),
        origin=rescale(cut.origin, timescale, rate),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Head:
    """``chunk_offsets``: the arrays inside ``pieces`` that are filled in when its size is known."""

    pieces: Pieces
    chunk_offsets: list[NDArray[Any]]

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Times:
    """Of a cut, ticks of its track: ``start`` and ``end`` of what it presents, from 0 on;
    ``media_time``: composition time in the output that is presented at ``start``."""

    timescale: int
    start: int
    end: int
    media_time: int
    media_duration: int

    @classmethod
    def of(cls, cut: Cut) -> _Times:
        track, samples = cut.track, cut.track.samples
        decode_time = samples.decode_time[cut.first : cut.last + 1]
        base = int(decode_time[0])
        moved = track.edit_media_time + cut.origin
        if samples.composition_offset is None:
            first, end = base, int(decode_time[-1])
        else:
            composed = decode_time[:-1] + samples.composition_offset[cut.first : cut.last]
            first = int(composed.min())
            end = int((composed + np.diff(decode_time)).max())
        start = max(0, first - moved)
        return cls(
            timescale=track.timescale,
            start=start,
            end=max(start + 1, end - moved),
            media_time=start + moved - base + samples.composition_delay,
            media_duration=int(decode_time[-1]) - base,
        )

    def edits(self, movie_timescale: int) -> list[tuple[int, int]]:
        """For ``track_box``; none when media time 0 is presented at 0."""
        if not self.start and not self.media_time:
            return []
        before = rescale(self.start, self.timescale, movie_timescale)
        # Rounded up: a part of a tick less would cost the last sample.
        presented = -(-(self.end - self.start) * movie_timescale // self.timescale)
        empty = [(before, -1)] if before else []
        return [*empty, (presented, self.media_time)]


def _head(
    cuts: Sequence[Cut],
    times: Sequence[_Times],
    tables: Sequence[Pieces],
    payload: Interleaved,
    file_type: bytes,
    *,
    large: bool,
) -> _Head:
    timescale = _movie_timescale(times)
    durations = [rescale(one.end, one.timescale, timescale) for one in times]
    kinds = [one.rendition.kind for one in cuts]
    chunk_offsets = []
    traks: Pieces = []
    for at, one in enumerate(cuts):
        offsets = np.zeros(len(payload.chunk_position[at]), dtype=">u8" if large else ">u4")
        chunk_offsets.append(offsets)
        table = _table(b"co64" if large else b"stco", [_COUNT.pack(len(offsets))], offsets)
        kind = kinds[at]
        traks += track_box(
            one.rendition,
            track_id=at + 1,
            tables=[*tables[at], *table],
            edits=times[at].edits(timescale),
            movie_duration=durations[at],
            media_duration=times[at].media_duration,
            alternate_group=_GROUPS[kind] if kinds.count(kind) > 1 else 0,
            # Of alternatives, players take the one that is enabled; nobody asked for text.
            enabled=kind is not Kind.TEXT and kinds.index(kind) == at,
        )
    header = movie_header(timescale, max(durations), len(cuts) + 1)
    return _Head([file_type, *boxed(b"moov", [header, *traks])], chunk_offsets)


def _movie_timescale(times: Sequence[_Times]) -> int:
    """Ticks per second in which edits are exact, or nearly so where 32 bits would overflow."""
    exact = math.lcm(*(one.timescale for one in times))
    finest = max(one.timescale for one in times)
    for timescale in (exact, finest, 90_000, 1000):
        if all((one.end + 1) * timescale < _UINT32_MAX * one.timescale for one in times):
            return timescale
    return finest


def _tables(cut: Cut, chunk_samples: NDArray[np.int64]) -> Pieces:
    """Everything in stbl behind stsd but the chunk offsets."""
    samples = cut.track.samples
    duration = np.diff(samples.decode_time[cut.first : cut.last + 1])
    if int(duration.max()) > _UINT32_MAX:
        raise UnsupportedMedia("a sample lasts too long for a progressive file")
    pieces = _runs(b"stts", duration)
    offsets = delayed_offsets(samples, cut.first, cut.last)
    if offsets is not None:
        pieces += _runs(b"ctts", offsets)
    pieces += _stss(samples, cut.first, cut.last)
    pieces += _stsz(samples.size[cut.first : cut.last])
    count, first_chunk = _run_lengths(chunk_samples)
    rows = np.ones((len(count), 3), dtype=">u4")
    rows[:, 0] = first_chunk + 1
    rows[:, 1] = chunk_samples[first_chunk]
    return pieces + _table(b"stsc", [_COUNT.pack(len(rows))], rows)


def _stss(samples: Samples, first: int, last: int) -> Pieces:
    """Empty when every sample is a sync sample."""
    if samples.sync is None or samples.sync[first:last].all():
        return []
    number = np.flatnonzero(samples.sync[first:last]) + 1
    return _table(b"stss", [_COUNT.pack(len(number))], number.astype(">u4"))


def _stsz(size: NDArray[np.uint32]) -> Pieces:
    common = int(size[0])
    if common and (size == common).all():
        return _table(b"stsz", [struct.pack(">II", common, len(size))], size[:0].astype(">u4"))
    return _table(b"stsz", [struct.pack(">II", 0, len(size))], size.astype(">u4"))


def _runs(box_type: bytes, values: NDArray[Any]) -> Pieces:
    """A table of (sample_count, value)."""
    count, first = _run_lengths(values)
    rows = np.empty((len(count), 2), dtype=">u4")
    rows[:, 0] = count
    rows[:, 1] = values[first]
    return _table(box_type, [_COUNT.pack(len(rows))], rows)


def _run_lengths(values: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(how many values are equal, index of the first of them) for each run of ``values``."""
    begins = np.empty(len(values), dtype=np.bool_)
    begins[0] = True
    np.not_equal(values[:-1], values[1:], out=begins[1:])
    first = np.flatnonzero(begins)
    return np.diff(first, append=len(values)), first


def _table(box_type: bytes, head: Sequence[bytes], rows: NDArray[Any]) -> Pieces:
    body = rows.reshape(-1).view(np.uint8).data
    version = full_box(box_type, 0, 0)[8:]
    return boxed(box_type, [version, *head, body])
