"""Box headers and the walk over sibling boxes (ISO/IEC 14496-12 4.2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from sidecar.errors import InvalidMedia

Buffer = bytes | memoryview

_COMPACT = struct.Struct(">I4s")
_LARGE = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class BoxHeader:
    """A box in a buffer: it starts at ``start``, its body is ``body`` .. ``end`` (half-open).

    ``type`` is the four bytes as written; for ``uuid`` boxes ``extended_type`` holds the 16 bytes
    and ``body`` begins after them.
    """

    type: bytes
    start: int
    body: int
    end: int
    extended_type: bytes = b""

    @property
    def name(self) -> str:
        """The type for messages: printable, at most 4 characters."""
        return self.type.decode("ascii", "replace") if self.type.isascii() else self.type.hex()


def read_header(
    buffer: Buffer, start: int, limit: int, *, box_path: str = "", base: int = 0
) -> BoxHeader:
    """The header of the box at ``start`` of ``buffer``; its container ends at ``limit``.

    ``base`` is the file offset of ``buffer[0]`` and ``box_path`` the container's path: both are
    only evidence for the error. Size 1 (64-bit) and 0 (to the end) are understood.

    Raises ``InvalidMedia`` when the header or the box does not fit.
    """
    if limit - start < 8:
        raise InvalidMedia(
            f"{limit - start} bytes are left, too few for a box header",
            box_path=box_path,
            offset=base + start,
        )
    size, box_type = _COMPACT.unpack_from(buffer, start)
    body = start + 8
    if size == 1:
        if limit - start < 16:
            raise InvalidMedia("no room for largesize", box_path=box_path, offset=base + start)
        size = _LARGE.unpack_from(buffer, body)[0]
        body += 8
    elif size == 0:
        size = limit - start
    extended_type = b""
    if box_type == b"uuid" and limit - body >= 16:
        extended_type = bytes(buffer[body : body + 16])
        body += 16
    end = start + size
    if end < body or end > limit:
        name = BoxHeader(box_type, start, body, end).name
        raise InvalidMedia(
            f"box {name} claims {size} bytes, {limit - start} are there",
            box_path=f"{box_path}/{name}" if box_path else name,
            offset=base + start,
        )
    return BoxHeader(box_type, start, body, end, extended_type)


def walk(
    buffer: Buffer, start: int, end: int, *, box_path: str = "", base: int = 0
) -> Iterator[BoxHeader]:
    """The boxes that fill ``start`` .. ``end`` of ``buffer``, one after the other.

    Raises ``InvalidMedia`` as ``read_header`` does. Four zero bytes at the very end (the
    terminator that QuickTime allows after the children of some boxes) end the walk.
    """
    position = start
    while position < end:
        if end - position == 4 and bytes(buffer[position:end]) == b"\0\0\0\0":
            return
        header = read_header(buffer, position, end, box_path=box_path, base=base)
        yield header
        position = header.end
