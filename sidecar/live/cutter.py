"""Bytes as they arrive, cut into the boxes of the top level (ISO/IEC 14496-12 4.2)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sidecar.boxes.header import BoxHeader
from sidecar.errors import InvalidMedia, UnsupportedMedia
from sidecar.live.topbox import TopBox
from sidecar.media.playable import printable

_COMPACT = struct.Struct(">I4s")
_LARGE = struct.Struct(">Q")
_WORD = struct.Struct(">I")
_LARGEST = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class BoxStart:
    """The header of a box that arrives. ``offset``: where it begins in the stream, bytes;
    ``size``: of all of it, None when it ends where the stream does; ``extended_type``: 16 bytes
    for ``uuid``, else none; ``head``: bytes of the header."""

    type: bytes
    extended_type: bytes
    offset: int
    size: int | None
    head: int

    @property
    def is_empty(self) -> bool:
        return self.size == self.head

    def damaged(self, sentence: str) -> InvalidMedia:
        """The error to raise about it."""
        return InvalidMedia(sentence, box_path=printable(self.type), offset=self.offset)

    def too_large(self, size: int, most: int) -> UnsupportedMedia:
        """The error to raise when ``most`` bytes may be taken, and it has ``size``."""
        return UnsupportedMedia(
            f"the box has {size} bytes, at most {most} are taken here",
            box_path=printable(self.type),
            offset=self.offset,
        )


# Called with each box that begins: how many bytes it may have to be kept, None = pass it over.
Admit = Callable[[BoxStart], int | None]


class BoxCutter:
    """Cuts one stream; at most one box is in memory, and only as much of it as has come.

    A box that ends where the stream does is given a size, so that it can stand elsewhere.
    """

    def __init__(self) -> None:
        self._offset = 0
        self._begin = 0
        self._head = bytearray()
        self._start: BoxStart | None = None
        self._kept: bytearray | None = None
        self._room = 0
        # Bytes that are missing; None for a box without a size.
        self._left: int | None = 0

    @property
    def offset(self) -> int:
        """Bytes that have been taken; while a box is yielded, those up to its end."""
        return self._offset

    def feed(self, data: memoryview, admit: Admit) -> Iterator[tuple[BoxStart, TopBox | None]]:
        """The boxes that end in ``data``; None where one was passed over.

        Raises ``InvalidMedia`` for a header that contradicts itself, ``UnsupportedMedia`` for a
        box that is larger than it may be, and what ``admit`` raises.
        """
        at = 0
        while at < len(data):
            if self._start is None:
                taken = data[at : at + self._head_length() - len(self._head)]
                self._head += taken
                if len(self._head) == self._head_length():
                    self._open(admit)
            else:
                taken = data[at:] if self._left is None else data[at : at + self._left]
                self._continue(taken)
            at += len(taken)
            self._offset += len(taken)
            if self._start is not None and self._left == 0:
                yield self._close()

    def finish(self) -> tuple[BoxStart, TopBox | None] | None:
        """At the end of the stream: the box that ends only there, if there is one.

        Raises ``InvalidMedia`` when bytes of a box are missing.
        """
        start = self._start
        if start is not None:
            if self._left is not None:
                raise start.damaged(f"the stream ends inside the box, {self._left} bytes early")
            return self._close()
        if self._head:
            raise InvalidMedia(
                f"the stream ends inside the header of a box, at least "
                f"{self._head_length() - len(self._head)} bytes early",
                offset=self._begin,
            )
        return None

    def forget(self) -> None:
        """Lets go of what has come of a box, as nothing more is taken."""
        self._kept = None

    def _head_length(self) -> int:
        """Bytes of the header, as far as what has come of it tells."""
        head = self._head
        if len(head) < 8:
            return 8
        length = 16 if head.startswith(b"\0\0\0\1") else 8
        return length + 16 if head[4:8] == b"uuid" else length

    def _open(self, admit: Admit) -> None:
        head = self._head
        size, box_type = _COMPACT.unpack_from(head)
        large = size == 1
        if large:
            (size,) = _LARGE.unpack_from(head, 8)
        extended_type = bytes(head[-16:]) if box_type == b"uuid" else b""
        sized = large or size > 0
        start = BoxStart(box_type, extended_type, self._begin, size if sized else None, len(head))
        if sized and size < len(head):
            raise start.damaged(f"the box claims {size} bytes, its header has {len(head)}")
        room = admit(start)
        if room is not None and size > room:
            raise start.too_large(size, room)
        self._start = start
        self._kept = None if room is None else head
        # One without a size is given one, of 32 bits.
        self._room = min(room or 0, size if sized else _LARGEST)
        self._left = size - len(head) if sized else None
        self._head = bytearray()

    def _continue(self, data: memoryview) -> None:
        if self._kept is not None:
            if len(self._kept) + len(data) > self._room:
                assert self._start is not None
                raise self._start.too_large(len(self._kept) + len(data), self._room)
            self._kept += data
        if self._left is not None:
            self._left -= len(data)

    def _close(self) -> tuple[BoxStart, TopBox | None]:
        start, kept = self._start, self._kept
        assert start is not None
        self._start = self._kept = None
        self._begin = self._offset
        if kept is None:
            return start, None
        if start.size is None:
            _WORD.pack_into(kept, 0, len(kept))
        header = BoxHeader(start.type, 0, start.head, len(kept), start.extended_type)
        return start, TopBox(kept, start.offset, header)
