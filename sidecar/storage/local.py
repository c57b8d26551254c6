"""Local files as sources: read, never mapped into memory.

A file that becomes shorter under a mapping ends the process that looks at it (SIGBUS), and all
requests in it; nothing in Python can prevent that. There is nothing to gain either: indexing reads
little, in few calls, and parses it for much longer (docs/directives.md has figures).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from sidecar.errors import InvalidMedia, NotFound, StorageError
from sidecar.storage.source import SourceIdentity


class LocalSource:
    """An open regular file. Implements ``storage.source.Source``; use as a context manager or
    call ``close``. Reads do not share a file position, so threads may read at once.
    """

    def __init__(self, descriptor: int, identity: SourceIdentity) -> None:
        self._descriptor = descriptor
        self._identity = identity

    @property
    def identity(self) -> SourceIdentity:
        return self._identity

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes at ``offset``.

        Raises ``InvalidMedia`` (path, offset) when the file ends before, ``StorageError`` when
        reading fails.
        """
        path = self._identity.path
        # The check comes first: a length that a damaged file claims must not be allocated.
        if offset < 0 or length < 0 or offset + length > self._identity.size:
            raise InvalidMedia(
                f"the file ends before byte {offset + length}: it has {self._identity.size}",
                path=path,
                offset=max(0, min(offset, self._identity.size)),
            )
        pieces = []
        position, left = offset, length
        while left:
            try:
                piece = os.pread(self._descriptor, left, position)
            except OSError as error:
                raise StorageError(f"cannot read: {error.strerror}", path=path) from error
            if not piece:
                raise InvalidMedia(
                    f"the file ends before byte {offset + length}: it became shorter",
                    path=path,
                    offset=position,
                )
            if len(piece) == length:
                return piece
            pieces.append(piece)
            position += len(piece)
            left -= len(piece)
        return b"".join(pieces)

    def expect(self, spans: Sequence[tuple[int, int]]) -> None:
        """Does nothing: the kernel reads ahead."""

    def close(self) -> None:
        """Closes the file; further reads raise ``StorageError``. Closing twice is allowed."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> LocalSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_local(path: str) -> LocalSource:
    """The regular file at ``path``, opened for reading.

    The identity is taken from the opened file, so that it describes what is read even when the
    path is replaced in the meantime; ``identity.path`` has its symlinks resolved.

    Raises ``NotFound`` when nothing or a folder is there, ``StorageError`` when it cannot be opened
    or is not a regular file.
    """
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound("the media file does not exist") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise StorageError(f"cannot open: {reason}", path=path) from error
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise NotFound("the media file does not exist")
        if not stat.S_ISREG(status.st_mode):
            raise StorageError("not a regular file", path=path)
        identity = SourceIdentity(
            path=os.path.realpath(path),
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            inode=status.st_ino,
        )
    except BaseException:
        os.close(descriptor)
        raise
    return LocalSource(descriptor, identity)
