"""The body of one box, together with where it stands: what box readers are given."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sidecar.boxes.header import walk
from sidecar.errors import InvalidMedia


@dataclass(frozen=True, slots=True)
class Leaf:
    """A box without its header.

    ``type``: four bytes. ``body``: everything after the header. ``box_path``: for errors.
    ``offset``: byte offset of ``body`` in the file.
    """

    type: bytes
    body: memoryview
    box_path: str
    offset: int

    def damaged(self, sentence: str, at: int = 0) -> InvalidMedia:
        """The error to raise about byte ``at`` of the body."""
        return InvalidMedia(sentence, box_path=self.box_path, offset=self.offset + at)

    def unpack(self, layout: struct.Struct, at: int) -> tuple[Any, ...]:
        """``layout`` at byte ``at`` of the body. Raises ``InvalidMedia`` when it is shorter."""
        if at + layout.size > len(self.body):
            raise self.damaged(
                f"the box ends after {len(self.body)} bytes, {at + layout.size} are needed", at
            )
        return layout.unpack_from(self.body, at)

    def version_and_flags(self) -> tuple[int, int]:
        """Version (8 bits) and flags (24 bits) of a full box."""
        (word,) = self.unpack(_WORD, 0)
        return word >> 24, word & 0xFFFFFF

    def children(self, at: int = 0) -> Iterator[Leaf]:
        """The boxes inside, from byte ``at`` of the body on.

        Equal types are told apart in paths by their position: ``moov/trak[1]``.
        """
        seen: dict[bytes, int] = {}
        body = self.body
        headers = walk(body, at, len(body), box_path=self.box_path, base=self.offset)
        for header in headers:
            index = seen.get(header.type, 0)
            seen[header.type] = index + 1
            suffix = f"[{index}]" if header.type in _NUMBERED or index else ""
            yield Leaf(
                header.type,
                body[header.body : header.end],
                f"{self.box_path}/{header.name}{suffix}",
                self.offset + header.body,
            )


_WORD = struct.Struct(">I")
_NUMBERED = frozenset((b"trak", b"traf"))
