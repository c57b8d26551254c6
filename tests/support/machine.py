"""Who of the suite's processes uses the machine: all of them, or one alone.

Where players are watched in real time, a stall is to be the origin's fault, not want of a
processor that another test uses.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


class Machine:
    """Shared by the processes that name the same ``folder``, which exists. One of them takes it
    alone when the others have given it back; those that come after it wait until it has."""

    def __init__(self, folder: Path) -> None:
        self._turn = (folder / "turn.lock").open("w")
        self._machine = (folder / "machine.lock").open("w")

    @contextmanager
    def shared(self) -> Iterator[None]:
        """One of those who use it; waits while one has it alone, or waits for that."""
        self._take(fcntl.LOCK_SH)
        try:
            yield
        finally:
            self._give_back()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within ``shared``: the others wait. First they come to the end of what they are at."""
        # Two that kept their share while they wait would wait for each other.
        self._give_back()
        self._take(fcntl.LOCK_EX)
        try:
            yield
        finally:
            self._give_back()
            self._take(fcntl.LOCK_SH)

    def _take(self, how: int) -> None:
        with _Locked(self._turn):
            fcntl.flock(self._machine, how)

    def _give_back(self) -> None:
        fcntl.flock(self._machine, fcntl.LOCK_UN)


class _Locked:
    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)
