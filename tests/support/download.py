"""An independent reader of whole MP4 files: where each sample is and when it is presented.

It shares no code with the sidecar on purpose, but for the types of plans.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from sidecar.mux.plan import OF_INLINE, FileRanges, Inline, MixedRanges, Plan
from tests.support.isobmff import boxes, find


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """``position``: byte in the file. Times are ticks of the track."""

    position: int
    size: int
    decode_time: int
    composition_time: int
    sync: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackTables:
    """``edits``: (segment_duration, media_time), the first in ticks of ``movie_timescale``.

    ``chunks``: positions; ``wide``: they have 64 bits.
    """

    handler: str
    enabled: bool
    alternate_group: int
    timescale: int
    movie_timescale: int
    edits: list[tuple[int, int]]
    samples: list[Sample]
    chunks: list[int]
    wide: bool


def read_tracks(data: bytes) -> list[TrackTables]:
    """The tracks of a file that begins with ``data``, which holds all of its moov."""
    moov = find(data, "moov", 0, _end_of_moov(data))
    assert moov is not None
    mvhd = find(data, "mvhd", *moov)
    assert mvhd is not None
    movie_timescale = _word(data, mvhd[0] + (20 if data[mvhd[0]] else 12))
    traks = [(body, end) for name, body, end in boxes(data, *moov) if name == "trak"]
    return [_track(data, body, end, movie_timescale) for body, end in traks]


def _end_of_moov(data: bytes) -> int:
    at = 0
    while True:
        size, name = struct.unpack_from(">I4s", data, at)
        assert size >= 8, name
        at += size
        if name == b"moov":
            return at


def _track(data: bytes, start: int, end: int, movie_timescale: int) -> TrackTables:
    def body(path: str) -> int:
        found = find(data, path, start, end)
        assert found is not None, path
        return found[0]

    def table(name: str, width: str) -> list[tuple[int, ...]]:
        found = find(data, f"mdia/minf/stbl/{name}", start, end)
        if found is None:
            return []
        layout = struct.Struct(f">{width}")
        count = _word(data, found[0] + 4)
        first = found[0] + 8
        assert first + count * layout.size == found[1], f"{name} is as long as it says"
        return list(layout.iter_unpack(data[first : found[1]]))

    tkhd, mdhd, hdlr = body("tkhd"), body("mdia/mdhd"), body("mdia/hdlr")
    stsz = find(data, "mdia/minf/stbl/stsz", start, end)
    assert stsz is not None
    common, count = struct.unpack_from(">II", data, stsz[0] + 4)
    assert stsz[1] == stsz[0] + 12 + (0 if common else 4 * count)
    sizes = [common] * count if common else list(
        struct.unpack_from(f">{count}I", data, stsz[0] + 12))  # fmt: skip
    wide = find(data, "mdia/minf/stbl/co64", start, end) is not None
    chunks = [row[0] for row in (table("co64", "Q") if wide else table("stco", "I"))]
    durations = [delta for n, delta in table("stts", "II") for _ in range(n)]
    offsets = [offset for n, offset in table("ctts", "II") for _ in range(n)] or [0] * count
    assert len(durations) == len(offsets) == count
    has_stss = find(data, "mdia/minf/stbl/stss", start, end) is not None
    numbers = {row[0] for row in table("stss", "I")}
    positions = list(_positions(sizes, chunks, table("stsc", "III")))
    times = list(accumulate(durations, initial=0))[:-1]
    return TrackTables(
        handler=data[hdlr + 8 : hdlr + 12].decode(),
        enabled=bool(_word(data, tkhd) & 1),
        alternate_group=struct.unpack_from(">H", data, tkhd + (46 if data[tkhd] else 34))[0],
        timescale=_word(data, mdhd + (20 if data[mdhd] else 12)),
        movie_timescale=movie_timescale,
        edits=_edits(data, find(data, "edts/elst", start, end)),
        samples=[
            Sample(
                position=position,
                size=size,
                decode_time=time,
                composition_time=time + offset,
                sync=not has_stss or number in numbers,
            )
            for number, (position, size, time, offset) in enumerate(
                zip(positions, sizes, times, offsets, strict=True), start=1
            )
        ],
        chunks=chunks,
        wide=wide,
    )


def _positions(sizes: list[int], chunks: list[int], rows: list[tuple[int, ...]]) -> Iterator[int]:
    starts = [row[0] for row in rows]
    sample = 0
    for number, position in enumerate(chunks, start=1):
        _, per_chunk, description = rows[bisect_right(starts, number) - 1]
        assert description == 1
        for _ in range(per_chunk):
            yield position
            position += sizes[sample]
            sample += 1
    assert sample == len(sizes)


def _edits(data: bytes, elst: tuple[int, int] | None) -> list[tuple[int, int]]:
    if elst is None:
        return []
    layout = struct.Struct(">QqI" if data[elst[0]] else ">IiI")
    rows = layout.iter_unpack(data[elst[0] + 8 : elst[1]])
    return [(duration, media_time) for duration, media_time, _ in rows]


def _word(data: bytes, at: int) -> int:
    value: int = struct.unpack_from(">I", data, at)[0]
    return value


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Bytes of a body from ``start`` on: of a file from ``offset`` on, or ``data``."""

    start: int
    length: int
    path: str
    offset: int
    data: bytes


class Body:
    """The body of a plan, byte by byte."""

    def __init__(self, plan: Plan) -> None:
        self.stretches: list[_Stretch] = []
        at = 0
        for path, offset, length, data in _stretches(plan):
            self.stretches.append(_Stretch(at, length, path, offset, data))
            at += length
        assert at == plan.length
        self._starts = [one.start for one in self.stretches]

    @property
    def ranges(self) -> int:
        """How many of its stretches are ranges of files."""
        return sum(1 for one in self.stretches if one.path)

    @property
    def head(self) -> bytes:
        """The inline bytes in front."""
        assert not self.stretches[0].path
        return self.stretches[0].data

    def source_of(self, position: int, length: int) -> tuple[str, int]:
        """(path, offset) of ``length`` bytes at ``position``, which lie together in a file."""
        one = self.stretches[bisect_right(self._starts, position) - 1]
        assert one.path and position + length <= one.start + one.length
        return one.path, one.offset + position - one.start

    def read(self) -> bytes:
        """All of it."""
        pieces = []
        for one in self.stretches:
            if not one.path:
                pieces.append(one.data)
                continue
            with open(one.path, "rb") as file:
                file.seek(one.offset)
                pieces.append(file.read(one.length))
                assert len(pieces[-1]) == one.length
        return b"".join(pieces)


def _stretches(plan: Plan) -> Iterator[tuple[str, int, int, bytes]]:
    for part in plan.parts:
        if isinstance(part, Inline):
            yield "", 0, len(part.data), bytes(part.data)
            continue
        assert isinstance(part, FileRanges | MixedRanges)
        count = len(part.offset)
        assert count and (part.lengths > 0).all()
        which = part.which.tolist() if isinstance(part, MixedRanges) else [0] * count
        sources = part.sources if isinstance(part, MixedRanges) else (part.source,)
        for at, offset, length in zip(
            which, part.offset.tolist(), part.lengths.tolist(), strict=True
        ):
            if at == OF_INLINE:
                assert isinstance(part, MixedRanges) and offset + length <= len(part.inline)
                yield "", 0, length, part.inline[offset : offset + length]
            else:
                yield sources[at].path, offset, length, b""
