"""Fragmented files of several tracks: a moov, fragments by time, an index of them at the end."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from sidecar.boxes.write import box, full_box
from sidecar.media.presentation import Rendition
from sidecar.mux.cmaf import edit_media_time, movie_fragment
from sidecar.mux.movie import NO_SAMPLES, movie_header, track_box, track_extends
from sidecar.mux.plan import Inline, Part
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
    says where each of them is.
    """
    head = _head(tracks)
    parts: list[Part] = [Inline(head)]
    position = len(head)
    index: list[list[tuple[int, int]]] = [[] for _ in tracks]
    order = sorted(
        (Fraction(int(one.segments.start[at]), one.segments.timescale), number, at)
        for number, one in enumerate(tracks)
        for at in one.which
        if not one.segments.is_gap(at)
    )
    for sequence_number, (_, number, at) in enumerate(order, start=1):
        segments, track = tracks[number].segments, tracks[number].rendition.track
        first, last = segments.first_sample[at : at + 2].tolist()
        fragment = movie_fragment(track, first, last, sequence_number, number + 1)
        index[number].append((int(segments.start[at]) + track.edit_media_time, position))
        position += sum(part.length for part in fragment)
        parts += fragment
    return *parts, Inline(_mfra(index))


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
