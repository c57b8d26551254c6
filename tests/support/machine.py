"""Who of the suite's processes uses the machine: all of them, or one alone.

Where players are watched in real time, a stall is to be the origin's fault, not want of a
processor that another test uses.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO


class Machine:
    """Shared by the processes that name the same ``folder``, which exists. One of them takes it
    alone when the others have given it back; those that come after it wait until it has."""

    def __init__(self, folder: Path) -> None:
        self._turn = (folder / "turn.lock").open("w")
        self._machine = (folder / "machine.lock").open("w")
        self.is_taken = False

    def take(self, *, alone: bool) -> None:
        """Waits for its turn, and until the machine is free for it. Does nothing when it is taken
        already."""
        if self.is_taken:
            return
        with _Locked(self._turn):
            fcntl.flock(self._machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        self.is_taken = True

    def give_back(self) -> None:
        fcntl.flock(self._machine, fcntl.LOCK_UN)
        self.is_taken = False


class _Locked:
    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)
