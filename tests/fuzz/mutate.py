"""Mutations of MP4 files: what real damage and hostile files look like."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

# Containers whose children are looked at when a box is chosen.
_CONTAINERS = frozenset((b"moov", b"trak", b"edts", b"mdia", b"minf", b"dinf", b"stbl", b"mvex",
                         b"moof", b"traf"))  # fmt: skip
# Where counts and sizes live: chosen more often than others.
_COUNTED = frozenset((b"stts", b"ctts", b"stss", b"stsz", b"stz2", b"stsc", b"stco", b"co64",
                      b"stsd", b"elst", b"trun", b"tfhd", b"tfdt", b"dref", b"mdhd", b"mvhd",
                      b"tkhd", b"hdlr", b"trex", b"uuid"))  # fmt: skip
_TELLING = (0, 1, 2, 4, 7, 8, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0xFFFFFF,
            0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFE, 0xFFFFFFFF)  # fmt: skip

Box = tuple[bytes, int, int]


def boxes_of(data: bytes) -> list[Box]:
    """(type, start, end) of every box in the known containers, outermost first."""
    found: list[Box] = []
    pending = [(0, len(data))]
    while pending:
        start, end = pending.pop()
        while start + 8 <= end:
            size, box_type = struct.unpack_from(">I4s", data, start)
            if size < 8 or start + size > end:
                break
            found.append((box_type, start, start + size))
            if box_type in _CONTAINERS:
                pending.append((start + 8, start + size))
            start += size
    return found


def _pick(data: bytearray, rng: random.Random) -> Box:
    boxes = boxes_of(bytes(data))
    if not boxes:
        return b"none", 0, len(data)
    counted = [box for box in boxes if box[0] in _COUNTED]
    return rng.choice(counted if counted and rng.random() < 0.7 else boxes)


def flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 16)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def flip_bits_of_a_box(data: bytearray, rng: random.Random) -> None:
    _, start, end = _pick(data, rng)
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(start, end)] ^= 1 << rng.randrange(8)


def truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(1, len(data)) :]


def lie_about_a_size(data: bytearray, rng: random.Random) -> None:
    _, start, end = _pick(data, rng)
    size = rng.choice((*_TELLING, end - start + rng.choice((-1, 1, 4, -4, 8, -8, 100))))
    struct.pack_into(">I", data, start, size & 0xFFFFFFFF)


def claim_a_huge_count(data: bytearray, rng: random.Random) -> None:
    _, start, end = _pick(data, rng)
    places = [start + at for at in (12, 16, 20) if start + at + 4 <= end]
    if places:
        value = rng.choice((0xFFFFFFFF, 0x7FFFFFFF, 0x10000000, 1 << rng.randrange(32)))
        struct.pack_into(">I", data, rng.choice(places), value)


def put_a_telling_word(data: bytearray, rng: random.Random) -> None:
    _, start, end = _pick(data, rng)
    if end - start >= 12:
        at = start + 8 + 4 * rng.randrange((end - start - 8) // 4)
        struct.pack_into(">I", data, at, rng.choice(_TELLING))


def repeat_a_box(data: bytearray, rng: random.Random) -> None:
    """The box many times over; the containers around it grow, so that it is all well-formed."""
    _, start, end = _pick(data, rng)
    copies = bytes(data[start:end]) * rng.choice((1, 1, 2, 50))
    if len(copies) < 1 << 20:
        _grow_around(data, start, len(copies))
        data[end:end] = copies


def remove_a_box(data: bytearray, rng: random.Random) -> None:
    _, start, end = _pick(data, rng)
    if end - start < len(data):
        _grow_around(data, start, start - end)
        del data[start:end]


def swap_types(data: bytearray, rng: random.Random) -> None:
    a, b = _pick(data, rng), _pick(data, rng)
    data[a[1] + 4 : a[1] + 8], data[b[1] + 4 : b[1] + 8] = b[0][:4], a[0][:4]


def overwrite_with_noise(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    length = min(rng.choice((4, 16, 64, 1024)), len(data) - start)
    data[start : start + length] = rng.randbytes(length)


def _grow_around(data: bytearray, inner: int, by: int) -> None:
    for box_type, start, end in boxes_of(bytes(data)):
        if box_type in _CONTAINERS and start < inner < end:
            struct.pack_into(">I", data, start, (end - start + by) & 0xFFFFFFFF)


MUTATIONS: Sequence[Callable[[bytearray, random.Random], None]] = (
    flip_bits,
    flip_bits_of_a_box,
    truncate,
    lie_about_a_size,
    claim_a_huge_count,
    put_a_telling_word,
    repeat_a_box,
    remove_a_box,
    swap_types,
    overwrite_with_noise,
)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """``data`` with one to four mutations, mostly one."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        if len(changed) < 16:
            break
        rng.choice(MUTATIONS)(changed, rng)
    return bytes(changed)
