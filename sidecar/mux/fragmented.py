"""Fragmented files of several tracks: a moov, fragments by time, an index of them at the end."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sidecar.boxes.write import box, full_box
from sidecar.media.presentation import Rendition
from sidecar.mux.cmaf import edit_media_time
from sidecar.mux.fragments import SEQUENCE_NUMBER, fragment_table
from sidecar.mux.movie import NO_SAMPLES, movie_header, track_box, track_extends
from sidecar.mux.plan import OF_INLINE, MixedRanges, Part
from sidecar.timeline.segments import SegmentList
from sidecar.units import rescale

_FILE_TYPE = box(b"ftyp", b"iso6", bytes(4), b"iso6isommp42")
_MOVIE_TIMESCALE = 10_000_000  # that of Smooth Streaming, whose files these are
_U32 = struct.Struct(">I")
_TFRA_ROW = struct.Struct(">QQBBB")
_ONES = (1, 1, 1)  # traf_number, trun_number, sample_number


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Fragments:
    """The segments of ``rendition`` that a file holds: ``which`` of ``segments``."""

    rendition: Rendition
    segments: SegmentList
    which: range


def fragmented_file(tracks: Sequence[Fragments]) -> tuple[Part, ...]:
    """One file with a fragment of its own for every segment of ``tracks`` (at least one).

    Fragments follow each other by time; they say the times of the segments. ``mfra`` at the end
    says where each of them is. The cost is that of a few passes over the sample columns.
    """
    tables = [
        fragment_table(
            one.rendition.track,
            one.segments.first_sample[one.which.start : one.which.stop + 1].astype(np.int64),
            track_id,
        )
        for track_id, one in enumerate(tracks, start=1)
    ]
    order = _order(tracks)
    before = _head(tracks)
    inline = [before]
    for sequence_number, (track, at) in enumerate(order, start=1):
        head = tables[track].heads[at]
        _U32.pack_into(head, SEQUENCE_NUMBER, sequence_number)
        inline.append(bytes(head))

    # Behind the head of the file: for each fragment a range of the inline bytes, then those of
    # the source; mfra at the end.
    number = [np.array([at for track, at in order if track == one]) for one in range(len(tracks))]
    place = np.array([track for track, _ in order])
    heads = np.fromiter(map(len, inline[1:]), dtype=np.int64, count=len(order))
    payload, ranges = np.empty_like(heads), np.empty_like(heads)
    for one, table in enumerate(tables):
        payload[place == one] = table.payload[number[one]]
        ranges[place == one] = np.diff(table.first_range)[number[one]]
    position = len(before) + np.cumsum(heads + payload) - heads - payload
    entries = [_entries(one, number[at], position[place == at]) for at, one in enumerate(tracks)]
    inline.append(_mfra(entries))
    entry = 1 + np.cumsum(ranges + 1) - ranges - 1
    total = len(order) + int(ranges.sum()) + 2
    offset, length = np.empty(total, dtype=np.int64), np.empty(total, dtype=np.int64)
    which = np.full(total, OF_INLINE, dtype=np.int64)
    own = np.concatenate(([0], entry, [total - 1]))
    length[own] = np.fromiter(map(len, inline), dtype=np.int64, count=len(inline))
    offset[own] = np.cumsum(length[own]) - length[own]
    sources = tuple(dict.fromkeys(one.rendition.track.source for one in tracks))
    for one, table in enumerate(tables):
        first = np.full(len(table.payload), -1, dtype=np.int64)
        first[number[one]] = entry[place == one] + 1
        counts = np.diff(table.first_range)
        target = np.arange(len(table.offset)) + np.repeat(first - table.first_range[:-1], counts)
        there = np.repeat(first >= 0, counts)
        target = target[there]
        offset[target], length[target] = table.offset[there], table.length[there]
        which[target] = sources.index(tracks[one].rendition.track.source)
    return (MixedRanges(sources, which, offset, length, b"".join(inline)),)


def _order(tracks: Sequence[Fragments]) -> list[tuple[int, int]]:
    """(track, which of its fragments) by the times at which they begin; not those that were never
    received."""
    common = math.lcm(*(one.segments.timescale for one in tracks))
    starts = [
        (start * (common // one.segments.timescale), track, at)
        for track, one in enumerate(tracks)
        for at, start in enumerate(one.segments.start[one.which.start : one.which.stop].tolist())
        if not one.segments.is_gap(one.which.start + at)
    ]
    return [(track, at) for _, track, at in sorted(starts)]


def _entries(
    one: Fragments, number: NDArray[np.int64], position: NDArray[np.int64]
) -> list[tuple[int, int]]:
    """(time, position of the moof) of the fragments ``number`` of a track."""
    start = one.segments.start[one.which.start + number]
    times = start + one.rendition.track.edit_media_time
    return list(zip(times.tolist(), position.tolist(), strict=True))


def _head(tracks: Sequence[Fragments]) -> bytes:
    duration = max(
        rescale(int(one.segments.start[one.which.stop]), one.segments.timescale, _MOVIE_TIMESCALE)
        for one in tracks
    )
    traks: list[bytes | memoryview] = []
    extends = [full_box(b"mehd", 1, 0, struct.pack(">Q", duration))]
    for track_id, one in enumerate(tracks, start=1):
        media_time = edit_media_time(one.rendition.track)
        edits = [(0, media_time)] if media_time else []
        traks += track_box(one.rendition, track_id=track_id, tables=NO_SAMPLES, edits=edits)
        extends.append(track_extends(track_id))
    movie = movie_header(_MOVIE_TIMESCALE, 0, len(tracks) + 1)
    return _FILE_TYPE + box(b"moov", movie, *traks, box(b"mvex", *extends))


def _mfra(index: Sequence[Sequence[tuple[int, int]]]) -> bytes:
    """Movie fragment random access (14496-12 8.8.9): (time, position of the moof) by track."""
    tables = [
        full_box(
            b"tfra",
            1,
            0,
            struct.pack(">III", track_id, 0, len(rows)),
            b"".join(_TFRA_ROW.pack(time, moof, *_ONES) for time, moof in rows),
        )
        for track_id, rows in enumerate(index, start=1)
    ]
    size = 8 + sum(map(len, tables)) + 16
    return box(b"mfra", *tables, full_box(b"mfro", 0, 0, _U32.pack(size)))
