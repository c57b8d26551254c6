"""The archive files of a publishing point as sources of media."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from sidecar.errors import FragmentNotFound
from sidecar.live.index import PointIndex
from sidecar.storage.archive import FILE_BITS, OFFSET_MASK
from sidecar.storage.source import SourceIdentity

# Paths of files that are remembered: there is a new one each minute of each stream, forever.
_KNOWN = 1024


class ArchiveFolder:
    """The archive files of a point, and the one identity that they have as a source."""

    def __init__(self, index: PointIndex) -> None:
        self._index = index
        self._paths: dict[int, str] = {}
        path = index.path
        name = str(path.with_name(f"{path.stem}-*"))
        # Not a size, but it tells archives apart where contents are told apart by it.
        self.source = SourceIdentity(name, crc32(name.encode()), 0, 0)

    def identity(self, file: int) -> SourceIdentity:
        """File number ``file`` as it is now. Raises ``FragmentNotFound`` when it was removed."""
        path = self._paths.get(file)
        if path is None:
            found = self._index.files(file)
            if not found:
                raise FragmentNotFound("the segment has left the archive")
            if len(self._paths) >= _KNOWN:
                self._paths.clear()
            path = self._paths[file] = str(self._index.path.with_name(found[0].name))
        try:
            status = Path(path).stat()
        except FileNotFoundError:
            raise FragmentNotFound("the segment has left the archive") from None
        return SourceIdentity(path, status.st_size, 0, status.st_ino, growing=True)

    def split(
        self, offset: NDArray[np.int64]
    ) -> tuple[tuple[SourceIdentity, ...], NDArray[np.int64], NDArray[np.int64]]:
        """(files, index into them int64[n], offset in them int64[n]) of offsets in the archive."""
        numbers, which = np.unique(offset >> FILE_BITS, return_inverse=True)
        files = tuple(self.identity(int(number)) for number in numbers)
        return files, which.astype(np.int64), offset & OFFSET_MASK
