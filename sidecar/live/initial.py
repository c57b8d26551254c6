"""Headers whose moov has the samples of the first fragment, as some muxers write them.

They become a movie fragment like all others, so that the header can stand in front of any.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sidecar.boxes.header import walk
from sidecar.boxes.movie import Movie, TrackBoxes
from sidecar.boxes.write import box, full_box
from sidecar.errors import InvalidMedia, UnsupportedMedia
from sidecar.live.rows import MAX_SAMPLES
from sidecar.live.topbox import TopBox, top_box
from sidecar.media.columns import Columns
from sidecar.media.playable import Playable
from sidecar.media.progressive import moov_columns
from sidecar.mux.runs import MFHD, Run, mdat_header, run_boxes

_WORD = struct.Struct(">I")
_LONG = struct.Struct(">Q")
_DEFAULT_BASE_IS_MOOF = 0x020000

_CONTAINERS = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl"))
_EMPTY_TABLES = (
    full_box(b"stts", 0, 0, bytes(4))
    + full_box(b"stsc", 0, 0, bytes(4))
    + full_box(b"stsz", 0, 0, bytes(8))
    + full_box(b"stco", 0, 0, bytes(4))
)


@dataclass(frozen=True, slots=True, eq=False)
class InitialSamples:
    """The samples that a moov describes: of each served track that has some, its track_ID and its
    columns, with offsets in the stream. ``moov_offset``: evidence."""

    tracks: tuple[tuple[int, Columns], ...]
    moov_offset: int


def initial_samples(
    movie: Movie, playable: Sequence[Playable], moov_offset: int, limit: int
) -> InitialSamples | None:
    """The samples of ``movie``, None when no track has any.

    ``limit``: bytes that they may have. Raises ``InvalidMedia`` for damaged tables,
    ``UnsupportedMedia`` for more than ``MAX_SAMPLES`` samples.
    """
    if not any(map(_count, movie.tracks)):
        return None
    left = MAX_SAMPLES
    tracks = []
    for track in playable:
        count = _count(track.boxes)
        left -= count
        if left < 0:
            raise UnsupportedMedia(
                f"the moov has more than {MAX_SAMPLES} samples",
                box_path="moov",
                offset=moov_offset,
            )
        if count:
            tracks.append((track.track_id, moov_columns(track.boxes, limit)))
    return InitialSamples(tuple(tracks), moov_offset)


def _count(track: TrackBoxes) -> int:
    sizes = track.leaves.get(b"stsz") or track.leaves.get(b"stz2")
    return 0 if sizes is None else int(sizes.unpack(_WORD, 8)[0])


def without_samples(moov: TopBox) -> bytes:
    """The bytes of ``moov`` with empty sample tables."""
    head = moov.header
    return _emptied(memoryview(moov.data), head.type, head.body, head.end)


def _emptied(data: memoryview, box_type: bytes, start: int, end: int) -> bytes:
    pieces: list[bytes | memoryview] = []
    for child in walk(data, start, end):
        if child.type in _CONTAINERS:
            pieces.append(_emptied(data, child.type, child.body, child.end))
        elif box_type != b"stbl" or child.type == b"stsd":
            pieces.append(data[child.start : child.end])
    if box_type == b"stbl":
        pieces.append(_EMPTY_TABLES)
    return box(box_type, *pieces)


def as_fragment(samples: InitialSamples, mdat: TopBox) -> tuple[TopBox, TopBox]:
    """A moof and an mdat of ``samples``, whose bytes are in ``mdat``; one run per track.

    Raises ``InvalidMedia`` when a sample does not lie in ``mdat``.
    """
    data = memoryview(mdat.data)
    payload: list[memoryview] = []
    runs = []
    for track_id, columns in samples.tracks:
        where = columns.offset - mdat.offset
        end = where + columns.size
        if int(where.min()) < mdat.header.body or int(end.max()) > len(data):
            raise InvalidMedia(
                "a sample of the moov does not lie in the mdat behind it",
                box_path="moov",
                offset=samples.moov_offset,
            )
        cut = np.flatnonzero(where[1:] != end[:-1])
        first = where[np.append(0, cut + 1)].tolist()
        last = end[np.append(cut, len(end) - 1)].tolist()
        payload += (data[a:b] for a, b in zip(first, last, strict=True))
        run = Run(
            base_time=int(columns.decode_time[0]),
            duration=np.diff(columns.decode_time),
            size=columns.size,
            composition=columns.composition_offset,
            sync=columns.sync,
        )
        tfhd, trun = run_boxes(run, version=1, tfhd_flags=_DEFAULT_BASE_IS_MOOF, track_id=track_id)
        tfdt = full_box(b"tfdt", 1, 0, _LONG.pack(run.base_time))
        runs.append((tfhd + tfdt, trun, int(columns.size.sum(dtype=np.int64))))
    length = sum(size for _, _, size in runs)
    head = mdat_header(length)
    moof_size = 8 + MFHD.size + sum(8 + len(before) + trun.size for before, trun, _ in runs)
    position = moof_size + len(head)
    trafs = []
    for before, trun, size in runs:
        trafs.append(box(b"traf", before, trun.box(position)))
        position += size
    moof = top_box(box(b"moof", MFHD.pack(MFHD.size, b"mfhd", 0, 0), *trafs), mdat.offset)
    return moof, top_box(b"".join((head, *payload)), moof.end)
