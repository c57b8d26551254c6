"""What the layers above may know of stored content: an identity and a way to read ranges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """A file at one moment. Equal identities mean unchanged content.

    ``path`` is absolute with symlinks resolved, or the URL of a file on another server: without
    query and user, percent-encoded; ``size`` in bytes; ``mtime_ns`` nanoseconds since the Unix
    epoch, 0 where a server does not say; ``inode`` is 0 there. ``growing``: the file is written at
    its end only, so that its first ``size`` bytes stay as they are; ``mtime_ns`` is 0 then.
    ``etag``: the strong entity tag with its quotes that a server gives the file, "" when none.
    """

    path: str
    size: int
    mtime_ns: int
    inode: int
    growing: bool = False
    etag: str = ""

    @property
    def is_remote(self) -> bool:
        return self.path.startswith(("http://", "https://"))


# ``read(identity, offset, length)``: exactly that many bytes of that file, for rows that rewrite
# media. Raises ``StorageError`` when the file is no longer what the identity says.
ReadRange = Callable[[SourceIdentity, int, int], bytes]


class Source(Protocol):
    """An opened piece of content. Reads are synchronous; the service decides in which thread."""

    @property
    def identity(self) -> SourceIdentity: ...

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes at ``offset``.

        Raises ``InvalidMedia`` (path, offset) when the content ends before, ``StorageError``
        when reading fails.
        """
        ...

    def expect(self, spans: Sequence[tuple[int, int]]) -> None:
        """Says what will be read soon, in its order: pieces by their first byte and the one after
        their last. What is near does nothing about it."""
        ...

    def close(self) -> None: ...
