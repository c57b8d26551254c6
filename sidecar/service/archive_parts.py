"""Parts and reads of an archive as those of its real files."""

from __future__ import annotations

import threading
from dataclasses import replace

from sidecar.live.archive_folder import ArchiveFolder
from sidecar.mux.plan import OF_INLINE, FileRanges, HeadedRanges, MixedRanges, Part
from sidecar.storage.archive import FILE_BITS, OFFSET_MASK
from sidecar.storage.source import ReadRange, SourceIdentity


def resolved(parts: tuple[Part, ...], archive: ArchiveFolder) -> tuple[Part, ...]:
    """``parts`` with every range of ``archive`` in the file in which it is.

    Raises ``FragmentNotFound`` when that has been removed.
    """
    return tuple(_resolved(part, archive) for part in parts)


def _resolved(part: Part, archive: ArchiveFolder) -> Part:
    if isinstance(part, FileRanges) and part.source == archive.source:
        files, which, offset = archive.split(part.offset)
        if len(files) == 1:
            return FileRanges(files[0], offset, part.lengths)
        return MixedRanges(files, which, offset, part.lengths)
    if isinstance(part, MixedRanges | HeadedRanges) and archive.source in part.sources:
        # Tracks of one point are all of its archive.
        stored = part.which != OF_INLINE
        which, offset = part.which.copy(), part.offset.copy()
        files, which[stored], offset[stored] = archive.split(part.offset[stored])
        return replace(part, sources=files, which=which, offset=offset)
    return part


def archive_reader(read: ReadRange, archive: ArchiveFolder, lock: threading.Lock) -> ReadRange:
    """``read`` that knows the archive too."""

    def reader(identity: SourceIdentity, offset: int, length: int) -> bytes:
        if identity != archive.source:
            return read(identity, offset, length)
        with lock:
            file = archive.identity(offset >> FILE_BITS)
        return read(file, offset & OFFSET_MASK, length)

    return reader
