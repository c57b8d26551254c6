"""A source whose bytes are in memory, so that tests can feed files that were never written."""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.errors import InvalidMedia
from sidecar.storage.source import SourceIdentity


class MemorySource:
    """``reads``: (offset, length) of every read, to see what was touched; ``expected``: what was
    said of that before."""

    def __init__(self, data: bytes, path: str = "/media/memory.mp4") -> None:
        self.data = data
        self.identity = SourceIdentity(path=path, size=len(data), mtime_ns=1, inode=1)
        self.reads: list[tuple[int, int]] = []
        self.expected: list[tuple[int, int]] = []
        self.closed = False

    def read(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        if offset < 0 or offset + length > len(self.data):
            raise InvalidMedia("the file ends before", path=self.identity.path, offset=offset)
        return self.data[offset : offset + length]

    def expect(self, spans: Sequence[tuple[int, int]]) -> None:
        self.expected.extend(spans)

    def close(self) -> None:
        self.closed = True
