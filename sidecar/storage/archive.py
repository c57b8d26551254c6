"""Several files as one source: the archive of a live stream, which is cut into files by time.

A track names one source and 64-bit offsets into it. For an archive, the upper bits of an offset are
the number of a file and the lower ones an offset in that file; whoever reads or plans bytes
resolves them first.
"""

from __future__ import annotations

# 1 TiB a file, 8 million files.
FILE_BITS = 40
OFFSET_MASK = (1 << FILE_BITS) - 1


def archive_offset(file: int, offset: int) -> int:
    """The offset in the archive of byte ``offset`` of file number ``file``."""
    return file << FILE_BITS | offset
