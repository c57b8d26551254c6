"""Stored files with their moov in front."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from sidecar.boxes.write import box, full_box
from sidecar.mux.faststart import stored_file
from sidecar.mux.plan import CacheClass, Inline, Part, Plan
from tests.support.download import Body, read_tracks
from tests.support.frames import decode
from tests.support.isobmff import boxes
from tests.support.media import generated
from tests.support.memory_source import MemorySource


def stored(data: bytes) -> tuple[Part, ...] | None:
    source = MemorySource(data)

    def read(_: object, offset: int, length: int) -> bytes:
        return source.read(offset, length)

    return stored_file(source.identity, read)


def of(parts: tuple[Part, ...] | None, data: bytes, tmp_path: Path) -> bytes:
    """The body, with ``data`` as the file."""
    assert parts is not None
    plan = Plan(parts=parts, content_type="video/mp4", cache_class=CacheClass.MEDIA)
    pieces = [
        one.data if not one.path else data[one.offset : one.offset + one.length]
        for one in Body(plan).stretches
    ]
    return b"".join(pieces)


def is_whole(parts: tuple[Part, ...] | None, data: bytes) -> bool:
    assert parts is not None
    (only,) = Body(
        Plan(parts=parts, content_type="video/mp4", cache_class=CacheClass.MEDIA)
    ).stretches
    return bool(only.path) and (only.offset, only.length) == (0, len(data))


@pytest.mark.parametrize("file", ["bframes_closed.mp4", "two_audio.mp4", "hevc.mp4"])
def test_the_moov_moves_and_every_sample_is_where_it_says(file: str, tmp_path: Path) -> None:
    data = generated(file).read_bytes()
    assert [name for name, _, _ in boxes(data)][-1] == "moov"
    moved = of(stored(data), data, tmp_path)
    assert len(moved) == len(data)
    assert [name for name, _, _ in boxes(moved)][:2] == ["ftyp", "moov"]
    before, after = _tracks(data), read_tracks(moved)
    for old, new in zip(before, after, strict=True):
        assert old.edits == new.edits
        for one, other in zip(old.samples, new.samples, strict=True):
            assert (one.size, one.composition_time) == (other.size, other.composition_time)
            there = moved[other.position : other.position + other.size]
            assert there == data[one.position : one.position + one.size]
    (tmp_path / "moved.mp4").write_bytes(moved)
    shutil.copyfile(generated(file), tmp_path / "stored.mp4")
    maps = ("0:v:0", "0:a:0")
    assert decode(str(tmp_path / "moved.mp4"), *maps) == decode(str(tmp_path / "stored.mp4"), *maps)


def _tracks(data: bytes) -> list[object]:
    """The tracks of a file whose moov is last."""
    (start,) = [body - 8 for name, body, _ in boxes(data) if name == "moov"]
    return read_tracks(data[start:])


def test_what_no_reader_of_ours_knows_stays(tmp_path: Path) -> None:
    """Tracks of unknown kinds, tags, boxes in the file: nothing is rewritten."""
    table = full_box(b"stco", 0, 0, struct.pack(">II", 1, 40))
    stbl = box(b"stbl", full_box(b"stsd", 0, 0, bytes(4)), table)
    trak = box(b"trak", box(b"mdia", box(b"minf", stbl)), box(b"tref", b"what"))
    moov = box(b"moov", trak, box(b"udta", b"tags"))
    data = box(b"ftyp", b"isom", bytes(12)) + box(b"free", bytes(8)) + box(b"mdat", b"sample")
    data += moov + box(b"uuid", bytes(20))
    moved = of(stored(data), data, tmp_path)
    expected = moov.replace(struct.pack(">II", 1, 40), struct.pack(">II", 1, 40 + len(moov)))
    assert moved == data[:24] + expected + data[24 : -len(moov) - 28] + box(b"uuid", bytes(20))


@pytest.mark.parametrize("version", [0, 1])
def test_64_bit_chunk_offsets_and_auxiliary_information_move_too(
    version: int, tmp_path: Path
) -> None:
    width = ">Q" if version else ">I"
    saio = full_box(b"saio", version, 1, b"cenc", bytes(4), struct.pack(">I", 2),
                    struct.pack(width, 8), struct.pack(width, 30))  # fmt: skip
    co64 = full_box(b"co64", 0, 0, struct.pack(">IQ", 1, 24))
    moov = box(b"moov", box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", co64, saio)))))
    data = box(b"ftyp", b"isom", bytes(4)) + box(b"mdat", bytes(40)) + moov
    moved = of(stored(data), data, tmp_path)
    expected = moov.replace(co64, full_box(b"co64", 0, 0, struct.pack(">IQ", 1, 24 + len(moov))))
    expected = expected.replace(struct.pack(width, 30), struct.pack(width, 30 + len(moov)))
    assert moved == data[:16] + expected + data[16 : 16 + 48], "8 lies in front of what moves"


def test_a_file_in_order_is_one_range() -> None:
    data = generated("bframes_open.mp4").read_bytes()
    assert is_whole(stored(data), data)
    fragmented = generated("frag_plain.mp4").read_bytes()
    assert is_whole(stored(fragmented), fragmented)


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b"this is no media file at all, but somebody called it .mp4",
        box(b"ftyp", b"isom", bytes(4)) + box(b"mdat", bytes(40)),
        box(b"mdat", bytes(9)) + box(b"moov", box(b"cmov", b"compressed")),
        box(b"mdat", bytes(9)) + box(b"moov", box(b"trak", box(b"mdia", b"damaged"))),
        box(b"mdat", bytes(9))
        + box(b"moov", box(b"trak", box(b"mdia", box(b"minf", box(
            b"stbl", full_box(b"stco", 0, 0, struct.pack(">II", 9, 8))))))),
    ],
)  # fmt: skip
def test_what_cannot_be_moved_is_sent_as_it_is(data: bytes) -> None:
    assert is_whole(stored(data), data)


def test_offsets_that_would_overflow_stay() -> None:
    table = full_box(b"stco", 0, 0, struct.pack(">II", 1, 0xFFFFFFF0))
    moov = box(b"moov", box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", table)))))
    size = 0xFFFFFFFF + 100
    head = struct.pack(">I4sQ", 1, b"mdat", size - len(moov))

    def read(_: object, offset: int, length: int) -> bytes:
        file = {0: head.ljust(32, b"\0"), size - len(moov): moov}
        return file[offset][:length]

    identity = MemorySource(b"").identity
    identity = type(identity)(path=identity.path, size=size, mtime_ns=1, inode=1)
    parts = stored_file(identity, read)
    assert parts is not None and not any(isinstance(part, Inline) for part in parts)


def test_an_empty_file_has_no_parts() -> None:
    assert stored(b"") == ()


def test_a_file_that_refers_to_another_is_not_enough() -> None:
    dref = full_box(b"dref", 0, 0, struct.pack(">I", 1), full_box(b"url ", 0, 0, b"other.mp4\0"))
    moov = box(b"moov", box(b"trak", box(b"mdia", box(b"minf", box(b"dinf", dref)))))
    assert stored(box(b"ftyp", b"isom", bytes(4)) + moov) is None
    assert stored(box(b"mdat", b"x") + moov) is None
