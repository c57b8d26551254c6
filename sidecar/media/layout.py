"""The top level of a file: its moov, and its moofs with their runs."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from sidecar.boxes.header import BoxHeader, read_header
from sidecar.boxes.leaf import Leaf
from sidecar.errors import InvalidMedia, UnsupportedMedia
from sidecar.media.far import expect_fragments
from sidecar.storage.source import Source

# A 24-hour moov of a film with many tracks is 60 MB.
MAX_MOOV = 256 << 20
MAX_MOOF = 16 << 20
# Three tracks in fragments of 1 s for 24 h are 520 000 boxes; each costs 1.6 us.
MAX_BOXES = 1 << 20

# Of the moofs in a file, so many and one more for each MOOF_BYTES of it: 24 h of subtitles in
# fragments of 1 s are 86 400 in 12 MB. Each costs 6 us.
MAX_MOOFS = 1 << 16
MOOF_BYTES = 512

# Holds a usual moof and the header of its mdat, so that a fragment costs one read.
_WINDOW = 4096
_HEADER = struct.Struct(">I4s")
_READ = (b"moov", b"moof")


@dataclass(frozen=True, slots=True)
class Moof:
    """A movie fragment box: its bytes, where its body begins in them, where it is in the file."""

    data: memoryview
    body: int
    offset: int

    @property
    def end(self) -> int:
        """Where what follows it begins in the file."""
        return self.offset + len(self.data)


@dataclass(frozen=True, slots=True)
class Layout:
    """``moov``: the first one. ``moofs``: in order. ``mdat_end``: by the offset of a moof, the end
    of the mdat that stands right behind it. ``cut_at``: byte offset of the first top-level box that
    is not all there (or is no box; or is missing, after a last moof), None when the file is whole;
    ``cut_type``: its type.
    """

    moov: Leaf
    moofs: tuple[Moof, ...]
    mdat_end: Mapping[int, int]
    cut_at: int | None
    cut_type: bytes


def read_layout(source: Source) -> Layout:
    """Walks the top level; reads the bodies of moov and moof, skips all others.

    A last box that claims more than the file holds ends the walk: the file was cut, or the size is
    wrong, and whether that matters depends on where the samples are.

    Raises ``InvalidMedia`` when there is no complete moov.
    """
    size = source.identity.size
    moov: Leaf | None = None
    moofs: list[Moof] = []
    mdat_end: dict[int, int] = {}
    moof_bytes = 0
    error: InvalidMedia | None = None
    cut_at: int | None = None
    cut_type = b""
    most_moofs = MAX_MOOFS + size // MOOF_BYTES
    position = 0
    window, window_at = b"", 0
    for _ in range(MAX_BOXES):
        if position >= size:
            break
        at = position - window_at
        if at + 32 > len(window) and window_at + len(window) < size:
            window, window_at, at = (
                source.read(position, min(_WINDOW, size - position)),
                position,
                0,
            )
        # What is not read is stepped over here, in no time, unless its size is something special.
        if at + 8 <= len(window):
            box_size, box_type = _HEADER.unpack_from(window, at)
            unread = box_type not in _READ or (moov is not None and box_type == b"moov")
            if unread and 8 <= box_size <= size - position:
                if box_type == b"mdat" and moofs and moofs[-1].end == position:
                    mdat_end[moofs[-1].offset] = position + box_size
                position += box_size
                continue
        try:
            # The container of a top-level box is the file: its end, seen from the window.
            header = read_header(window, at, size - window_at, base=window_at)
        except InvalidMedia as unfit:
            error = unfit
            cut_at, cut_type = position, window[at + 4 : at + 8]
            break
        length = header.end - header.start
        if header.type == b"moov" and moov is None:
            moov = _moov(_whole(source, window, header, window_at, MAX_MOOV), header, position)
        elif header.type == b"moof":
            if not moofs and source.identity.is_remote:
                expect_fragments(source, position)
            moof_bytes += length
            if len(moofs) == most_moofs:
                raise UnsupportedMedia(
                    f"there are more than {most_moofs} moofs", box_path="moof", offset=position
                )
            if moof_bytes > MAX_MOOV:
                raise UnsupportedMedia("the moofs are too large", box_path="moof", offset=position)
            data = _whole(source, window, header, window_at, MAX_MOOF)
            moofs.append(Moof(memoryview(data), header.body - header.start, position))
        elif header.type == b"mdat" and moofs and moofs[-1].end == position:
            mdat_end[moofs[-1].offset] = position + length
        position += length
    else:
        raise UnsupportedMedia(f"there are more than {MAX_BOXES} boxes", offset=position)
    if moov is None:
        if error is not None:
            raise error
        raise InvalidMedia("the file has no moov")
    if cut_at is None and moofs and moofs[-1].offset + len(moofs[-1].data) == size:
        cut_at, cut_type = size, b"mdat"
    return Layout(moov, tuple(moofs), mdat_end, cut_at, cut_type)


def _whole(source: Source, window: bytes, header: BoxHeader, window_at: int, limit: int) -> bytes:
    """All bytes of a box."""
    length = header.end - header.start
    if length > limit:
        raise UnsupportedMedia(
            f"the box has {length} bytes, at most {limit} are read",
            box_path=header.name,
            offset=window_at + header.start,
        )
    if header.end <= len(window):
        return window[header.start : header.end]
    return source.read(window_at + header.start, length)


def _moov(data: bytes, header: BoxHeader, position: int) -> Leaf:
    body = header.body - header.start
    return Leaf(header.type, memoryview(data)[body:], "moov", position + body)
