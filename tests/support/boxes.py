"""A factory for ISO BMFF input: tests build boxes, feed them, and assert.

No byte here is written by the sidecar, so that writing and reading cannot share a mistake. Defaults
make a file that is sound; a test names what is special about it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sidecar.boxes.leaf import Leaf

Rows = Iterable[Sequence[int]]

VIDEO, AUDIO = b"vide", b"soun"


def box(box_type: bytes, *payload: bytes, size: int | None = None, large: bool = False) -> bytes:
    """A box; ``size`` overrides what its header claims, ``large`` writes a 64-bit size."""
    body = b"".join(payload)
    if large:
        claimed = 16 + len(body) if size is None else size
        return struct.pack(">I4sQ", 1, box_type, claimed) + body
    return struct.pack(">I4s", 8 + len(body) if size is None else size, box_type) + body


def full(box_type: bytes, *payload: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(box_type, struct.pack(">I", version << 24 | flags), *payload)


def words(*values: int) -> bytes:
    """32-bit values; negative ones in two's complement."""
    return struct.pack(f">{len(values)}I", *(value & 0xFFFFFFFF for value in values))


def table(
    box_type: bytes, rows: Rows, *, count: int | None = None, version: int = 0, head: bytes = b""
) -> bytes:
    """A full box with a 32-bit count (``count`` makes it lie) and rows of 32-bit values."""
    flat = [tuple(row) for row in rows]
    body = b"".join(words(*row) for row in flat)
    return full(box_type, head, words(len(flat) if count is None else count), body, version=version)


def stts(*rows: Sequence[int], count: int | None = None) -> bytes:
    return table(b"stts", rows, count=count)


def ctts(*rows: Sequence[int], version: int = 0, count: int | None = None) -> bytes:
    return table(b"ctts", rows, version=version, count=count)


def stss(*numbers: int, count: int | None = None) -> bytes:
    return table(b"stss", [(number,) for number in numbers], count=count)


def stsc(*rows: Sequence[int], count: int | None = None) -> bytes:
    return table(b"stsc", rows, count=count)


def stco(*offsets: int, count: int | None = None) -> bytes:
    return table(b"stco", [(offset,) for offset in offsets], count=count)


def co64(*offsets: int) -> bytes:
    return full(b"co64", words(len(offsets)), struct.pack(f">{len(offsets)}Q", *offsets))


def stsz(*sizes: int, common: int = 0, count: int | None = None) -> bytes:
    return table(b"stsz", [(size,) for size in sizes], count=count, head=words(common))


def stz2(field_size: int, *sizes: int) -> bytes:
    if field_size == 4:
        padded = [*sizes, 0][: len(sizes) + len(sizes) % 2]
        data = bytes(a << 4 | b for a, b in zip(padded[::2], padded[1::2], strict=True))
    else:
        data = struct.pack(f">{len(sizes)}{'B' if field_size == 8 else 'H'}", *sizes)
    return full(b"stz2", words(field_size, len(sizes)), data)


def elst(*edits: tuple[int, int], version: int = 0, rate: int = 0x10000) -> bytes:
    """Edits of (segment_duration, media_time); media_time -1 is an empty edit."""
    layout = ">Qqi" if version else ">Iii"
    rows = b"".join(struct.pack(layout, *edit, rate) for edit in edits)
    return full(b"elst", words(len(edits)), rows, version=version)


def mvhd(timescale: int = 1000, duration: int = 0, *, version: int = 0) -> bytes:
    times = struct.pack(">QQIQ" if version else ">IIII", 0, 0, timescale, duration)
    matrix = words(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    rest = struct.pack(">IHHII", 0x10000, 0x100, 0, 0, 0) + matrix + bytes(24) + words(99)
    return full(b"mvhd", times, rest, version=version)


def tkhd(track_id: int = 1, *, version: int = 0) -> bytes:
    times = struct.pack(">QQIIQ" if version else ">IIIII", 0, 0, track_id, 0, 0)
    matrix = words(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    return full(b"tkhd", times, bytes(16), matrix, words(0, 0), version=version, flags=3)


def mdhd(timescale: int = 1000, language: str | int = "und", *, version: int = 0) -> bytes:
    if isinstance(language, str):
        a, b, c = (ord(letter) - 0x60 for letter in language)
        language = a << 10 | b << 5 | c
    times = struct.pack(">QQIQ" if version else ">IIII", 0, 0, timescale, 0)
    return full(b"mdhd", times, struct.pack(">HH", language, 0), version=version)


def hdlr(handler_type: bytes = VIDEO, name: bytes = b"handler\0") -> bytes:
    return full(b"hdlr", bytes(4), handler_type, bytes(12), name)


def visual_entry(
    box_type: bytes = b"tst1", *children: bytes, width: int = 64, height: int = 36
) -> bytes:
    head = bytes(6) + struct.pack(">H", 1) + bytes(16) + struct.pack(">HH", width, height)
    return box(box_type, head, words(0x480000, 0x480000, 0), struct.pack(">H", 1), bytes(32),
               struct.pack(">Hh", 24, -1), *children)  # fmt: skip


def audio_entry(box_type: bytes = b"tst2", *children: bytes, rate: int = 48000) -> bytes:
    head = bytes(6) + struct.pack(">H", 1) + bytes(8) + struct.pack(">HHHH", 2, 16, 0, 0)
    return box(box_type, head, words(rate << 16), *children)


def stsd(*entries: bytes, count: int | None = None) -> bytes:
    return full(b"stsd", words(len(entries) if count is None else count), *entries)


def dref(*, self_contained: bool = True) -> bytes:
    return full(b"dref", words(1), full(b"url ", flags=int(self_contained)))


@dataclass(frozen=True, kw_only=True)
class Trak:
    """A track of a progressive file: ``sizes`` bytes per sample, one chunk per track unless
    ``tables`` are given whole. ``extra`` goes into mdia (elng), ``edit`` is an elst.
    """

    track_id: int = 1
    handler_type: bytes = VIDEO
    timescale: int = 1000
    language: str | int = "und"
    entry: bytes = b""
    sizes: Sequence[int] = (10, 20, 30, 40)
    delta: int = 40
    offsets: Rows | None = None
    sync: Sequence[int] | None = None
    edit: bytes = b""
    tables: Sequence[bytes] | None = None
    extra: bytes = b""
    external: bool = False

    def build(self, chunk_offset: int) -> bytes:
        entry = self.entry or (visual_entry() if self.handler_type == VIDEO else audio_entry())
        tables = self.tables
        if tables is None:
            n = len(self.sizes)
            tables = [stts((n, self.delta)), stsz(*self.sizes), stsc((1, n, 1))]
            tables.append(stco(chunk_offset) if n else stco())
            if self.offsets is not None:
                tables.append(ctts(*self.offsets))
            if self.sync is not None:
                tables.append(stss(*self.sync))
        stbl = box(b"stbl", stsd(entry), *tables)
        dinf = box(b"dinf", dref(self_contained=not self.external))
        mdia = box(
            b"mdia",
            mdhd(self.timescale, self.language),
            self.extra,
            hdlr(self.handler_type),
            box(b"minf", dinf, stbl),
        )
        edts = box(b"edts", self.edit) if self.edit else b""
        return box(b"trak", tkhd(self.track_id), edts, mdia)


FTYP = box(b"ftyp", b"isom", words(512), b"isom")


def moov(*children: bytes, timescale: int = 1000) -> bytes:
    return box(b"moov", mvhd(timescale), *children)


def progressive(
    *traks: Trak, before: bytes = b"", after: bytes = b"", moov_first: bool = False,
    timescale: int = 1000,
) -> bytes:  # fmt: skip
    """A file in which the data of each track is one chunk; byte k of sample i of track t is
    ``t * 16 + i``.
    """
    payload = [
        b"".join(bytes([16 * number + index & 0xFF]) * size for index, size in enumerate(t.sizes))
        for number, t in enumerate(traks)
    ]
    mdat = box(b"mdat", *payload)

    def built(start: int) -> bytes:
        traks_bytes = []
        for trak, data in zip(traks, payload, strict=True):
            traks_bytes.append(trak.build(start))
            start += len(data)
        return moov(*traks_bytes, timescale=timescale)

    head = FTYP + before
    if moov_first:
        return head + built(len(head) + len(built(0)) + 8) + mdat + after
    return head + mdat + built(len(head) + 8) + after


def trex(track_id: int = 1, duration: int = 0, size: int = 0, flags: int = 0) -> bytes:
    return full(b"trex", words(track_id, 1, duration, size, flags))


@dataclass(frozen=True, kw_only=True)
class Trun:
    """``rows``: per sample the columns that ``flags`` (0x100 .. 0x800) name."""

    flags: int = 0x301
    rows: Rows = ((40, 10), (40, 20))
    count: int | None = None
    data_offset: int = 0
    first_sample_flags: int | None = None
    version: int = 0

    def build(self) -> bytes:
        flags = self.flags | (0 if self.first_sample_flags is None else 4)
        rows = [tuple(row) for row in self.rows]
        parts = [words(len(rows) if self.count is None else self.count)]
        if flags & 1:
            parts.append(words(self.data_offset))
        if self.first_sample_flags is not None:
            parts.append(words(self.first_sample_flags))
        parts += [words(*row) for row in rows]
        return full(b"trun", *parts, version=self.version, flags=flags)


@dataclass(frozen=True, kw_only=True)
class Traf:
    """``defaults``: duration, size, flags of tfhd, None = absent. ``extra``: further boxes."""

    track_id: int = 1
    time: int | None = 0
    time_version: int = 0
    base: int | None = None
    default_base_is_moof: bool = True
    description: bool = False
    defaults: tuple[int | None, int | None, int | None] = (None, None, None)
    empty: bool = False
    truns: Sequence[Trun] = field(default_factory=lambda: (Trun(),))
    extra: bytes = b""

    def build(self) -> bytes:
        flags = 0x20000 * self.default_base_is_moof | 0x10000 * self.empty
        parts = [words(self.track_id)]
        if self.base is not None:
            flags |= 1
            parts.append(struct.pack(">Q", self.base))
        if self.description:
            flags |= 2
            parts.append(words(1))
        for bit, value in zip((8, 0x10, 0x20), self.defaults, strict=True):
            if value is not None:
                flags |= bit
                parts.append(words(value))
        tfhd = full(b"tfhd", *parts, flags=flags)
        tfdt = b""
        if self.time is not None:
            time = struct.pack(">Q" if self.time_version else ">I", self.time)
            tfdt = full(b"tfdt", time, version=self.time_version)
        return box(b"traf", tfhd, tfdt, *(trun.build() for trun in self.truns), self.extra)


def moof(*trafs: Traf, sequence: int = 1) -> bytes:
    return box(b"moof", full(b"mfhd", words(sequence)), *(traf.build() for traf in trafs))


def tfxd(time: int, duration: int = 0) -> bytes:
    """PIFF's fragment time; ``time`` may be negative, as encoders write it."""
    extended_type = bytes.fromhex("6d1d9b0542d544e680e2141daff757b2")
    return box(b"uuid", extended_type, words(1 << 24), struct.pack(">qq", time, duration))


def init(*traks: Trak, defaults: Sequence[bytes] | None = None) -> bytes:
    """ftyp and the moov of a fragmented file: its tracks have no samples."""
    if defaults is None:
        defaults = [trex(trak.track_id) for trak in traks]
    return FTYP + moov(*(trak.build(0) for trak in traks), box(b"mvex", *defaults))


def empty(**fields: object) -> Trak:
    """A track of a fragmented file."""
    tables = (stts(), stsz(), stsc(), stco())
    return Trak(sizes=(), tables=tables, **fields)  # type: ignore[arg-type]


def leaf(data: bytes, *, offset: int = 0, path: str = "") -> Leaf:
    """The one box that ``data`` is, as readers get it; its header may be 8 or 16 bytes."""
    head = 16 if data[:4] == b"\0\0\0\1" else 8
    name = data[4:8]
    return Leaf(name, memoryview(data)[head:], path or name.decode(), offset + head)
