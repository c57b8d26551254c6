"""Files that others read while they are written anew."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_MODE = 0o666  # less the umask


def write_whole(path: Path, data: bytes) -> None:
    """Writes ``path`` as a whole or not at all: readers never see a part of it.

    Raises ``OSError``.
    """
    with _beside(path, data) as temporary:
        temporary.replace(path)


def create_whole(path: Path, data: bytes) -> bool:
    """As ``write_whole``, but what is there stays as it is. Returns whether nothing was."""
    with _beside(path, data) as temporary:
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return False
        return True


@contextmanager
def _beside(path: Path, data: bytes) -> Iterator[Path]:
    """A file with ``data`` in the folder of ``path``, on disk, and gone again afterwards."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(_MODE & ~umask)
        yield temporary
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
