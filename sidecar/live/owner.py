"""Which of the processes that write to a publishing point still live, and which are fed.

Each takes a number and locks the byte of that number in the point's stamp file, and another one as
long as encoders are connected to it. The kernel gives the locks back when the process ends, however
it does, and none of it needs room on a disk.
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path

from sidecar.errors import StorageError

# struct flock: l_type, l_whence, l_start, l_len, l_pid and padding; l_pid is 0 for locks that
# belong to an open file rather than to a process.
_LOCK = struct.Struct("hhqqixxxx")
# Of an owner's number: the byte that says that it is fed.
_FED = 1 << 40


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
            self._set(fcntl.F_WRLCK, number)
        except OSError as error:
            os.close(self._descriptor)
            raise StorageError(f"cannot lock: {error.strerror}", path=str(stamp)) from error

    def is_alive(self, number: int) -> bool:
        """Whether the writer ``number`` has not ended."""
        if number == self.number:
            return True
        found = fcntl.fcntl(self._descriptor, fcntl.F_OFD_GETLK, _lock(number))
        return bool(_LOCK.unpack(found)[0] != fcntl.F_UNLCK)

    def tell_fed(self, fed: bool) -> None:
        """Says whether encoders are connected to this process."""
        with suppress(OSError):  # of a file system that has just locked: out of memory
            self._set(fcntl.F_WRLCK if fed else fcntl.F_UNLCK, _FED + self.number)

    def others_are_fed(self) -> bool:
        """Whether encoders are connected to other processes."""
        return _any_fed(self._descriptor)

    def release(self) -> None:
        """Ends it. May be called once."""
        os.close(self._descriptor)

    def _set(self, kind: int, byte: int) -> None:
        fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _lock(byte, kind=kind))


def is_fed(stamp: Path) -> bool:
    """Whether encoders are connected to the point whose stamp file is ``stamp``. Writes nothing.

    Raises ``StorageError``.
    """
    try:
        descriptor = os.open(stamp, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageError(f"cannot open: {error.strerror}", path=str(stamp)) from error
    try:
        return _any_fed(descriptor)
    finally:
        os.close(descriptor)


def _any_fed(descriptor: int) -> bool:
    found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _lock(_FED, length=0))
    return bool(_LOCK.unpack(found)[0] != fcntl.F_UNLCK)


def _lock(byte: int, *, kind: int = fcntl.F_WRLCK, length: int = 1) -> bytes:
    """``length`` 0: all bytes from ``byte`` on."""
    return _LOCK.pack(kind, os.SEEK_SET, byte, length, 0)
