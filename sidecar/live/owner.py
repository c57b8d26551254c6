"""Which of the processes that write to a publishing point still live.

Each takes a number and locks the byte of that number in the point's stamp file. The kernel gives
the lock back when the process ends, however it does.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from sidecar.errors import StorageError

# struct flock: l_type, l_whence, l_start, l_len, l_pid and padding; l_pid is 0 for locks that
# belong to an open file rather than to a process.
_LOCK = struct.Struct("hhqqixxxx")


class Owner:
    """One writer of the point whose stamp file is ``stamp``, alive until ``release``.

    Raises ``StorageError`` when the file cannot be opened or locked.
    """

    def __init__(self, stamp: Path, number: int) -> None:
        self.number = number
        try:
            self._descriptor = os.open(stamp, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageError(f"cannot open: {error.strerror}", path=str(stamp)) from error
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _lock(number))
        except OSError as error:
            os.close(self._descriptor)
            raise StorageError(f"cannot lock: {error.strerror}", path=str(stamp)) from error

    def is_alive(self, number: int) -> bool:
        """Whether the writer ``number`` has not ended."""
        if number == self.number:
            return True
        found = fcntl.fcntl(self._descriptor, fcntl.F_OFD_GETLK, _lock(number))
        return bool(_LOCK.unpack(found)[0] != fcntl.F_UNLCK)

    def release(self) -> None:
        """Ends it. May be called once."""
        os.close(self._descriptor)


def _lock(byte: int) -> bytes:
    return _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
