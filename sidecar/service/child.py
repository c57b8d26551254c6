"""One sidecar process as its supervisor sees it: started, heard of, replaced."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from sidecar.clock import monotonic_ns

# A process asks itself over its own socket every BEAT_SECONDS and says when it was answered.
BEAT_SECONDS = 2.0

_SECOND = 1_000_000_000
# Heard of so lately, it is well.
_WELL_NS = 4 * int(BEAT_SECONDS * _SECOND)
# Not heard of for so long, it will not be again. Its start reads some hundred files.
_HUNG_NS = 20 * _SECOND
_HUNG_START_NS = 60 * _SECOND
# A process that lived this long did not die of its start: its successor starts at once.
_STABLE_NS = 10 * _SECOND
_FIRST_DELAY = 0.2
_LONGEST_DELAY = 10.0

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Child:
    """The process of number ``number``, alive or to be started at ``due_ns`` (monotonic).

    ``answered_ns``: when it was last known to answer, 0 = never since its start. ``beats``: where
    it says so. ``retired``: it was told to end, for a successor or for good.
    """

    number: int
    socket: Path
    process: subprocess.Popen[bytes] | None = None
    started_ns: int = 0
    answered_ns: int = 0
    beats: int | None = None
    retired: bool = False
    delay: float = 0.0
    due_ns: int = 0

    def start(self, spawn: Callable[[Child, int], subprocess.Popen[bytes]]) -> None:
        """Starts it by ``spawn(self, descriptor to which the process shall write its beats)``."""
        self.beats, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self.process = spawn(self, theirs)
        except BaseException:
            os.close(self.beats)
            self.beats = None
            raise
        finally:
            os.close(theirs)
        self.started_ns = monotonic_ns()
        self.answered_ns = 0
        self.retired = False

    def retire(self) -> None:
        """Tells it to end after the calls in flight."""
        self.retired = True
        self.due_ns = 0
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)

    def listen(self) -> None:
        """Takes note of what it has said; kills it when it has been silent for too long."""
        if self.process is None or self.beats is None:
            return
        now = monotonic_ns()
        with contextlib.suppress(BlockingIOError):
            if os.read(self.beats, 4096):
                self.answered_ns = now
        limit = _HUNG_NS if self.answered_ns else _HUNG_START_NS
        silent = now - max(self.answered_ns, self.started_ns)
        if silent > limit and not self.retired:
            log.error("a sidecar process hangs", worker=self.number, pid=self.process.pid)
            self.process.kill()
            self.answered_ns, self.started_ns = 0, now  # once, until the kernel has ended it

    @property
    def serves(self) -> bool:
        """Whether it has answered since its start and was not told to end."""
        return self.process is not None and self.answered_ns > 0 and not self.retired

    @property
    def is_well(self) -> bool:
        """Whether it has answered lately."""
        return self.serves and monotonic_ns() - self.answered_ns <= _WELL_NS

    def reap(self) -> int | None:
        """The status of a process that has ended, and sets when its successor is due; else None."""
        if self.process is None or self.process.poll() is None:
            return None
        code: int = self.process.returncode
        if self.process.stdin is not None:
            self.process.stdin.close()
        if self.beats is not None:
            os.close(self.beats)
            self.beats = None
        pid, self.process = self.process.pid, None
        if self.retired:
            return code
        now = monotonic_ns()
        stable = now - self.started_ns >= _STABLE_NS
        self.delay = 0.0 if stable else min(_LONGEST_DELAY, max(_FIRST_DELAY, 2 * self.delay))
        # The first death is answered at once; only a process that dies again soon waits.
        wait = 0.0 if self.delay <= _FIRST_DELAY else self.delay
        self.due_ns = now + int(wait * _SECOND)
        log.error(
            "a sidecar process died",
            worker=self.number,
            pid=pid,
            code=code,
            restart_in_seconds=wait,
        )
        return code
