"""A box of the top level of a stream."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.boxes.header import BoxHeader, read_header
from sidecar.boxes.leaf import Leaf


@dataclass(frozen=True, slots=True, eq=False)
class TopBox:
    """``data``: all of it; ``offset``: where it begins in the stream, bytes; ``header``: as it
    stands in ``data``."""

    data: bytes | bytearray
    offset: int
    header: BoxHeader

    @property
    def type(self) -> bytes:
        return self.header.type

    @property
    def body_offset(self) -> int:
        """Where its body begins in the stream."""
        return self.offset + self.header.body

    @property
    def end(self) -> int:
        """Where it ends in the stream."""
        return self.offset + len(self.data)

    def leaf(self) -> Leaf:
        """Its body, with offsets in the stream."""
        body = memoryview(self.data)[self.header.body :]
        return Leaf(self.type, body, self.header.name, self.body_offset)


def top_box(data: bytes | bytearray, offset: int) -> TopBox:
    """The box that ``data`` is. Raises ``InvalidMedia`` when it is not one whole box."""
    return TopBox(data, offset, read_header(memoryview(data), 0, len(data), base=offset))
