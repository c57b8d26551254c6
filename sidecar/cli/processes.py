"""Processes that were started here, told from strangers that have inherited their number."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from sidecar.clock import monotonic_ns


@dataclass(frozen=True, slots=True)
class Process:
    """``started``: start time as the kernel counts it (clock ticks since boot)."""

    pid: int
    started: int

    @property
    def is_alive(self) -> bool:
        seen = _look(self.pid)
        return seen is not None and seen.started == self.started

    def left_behind(self, folder: Path) -> list[Process]:
        """The living others of its session that work in ``folder`` or below.

        It must have been started as the leader of a session. A killed leader leaves children that
        hold its sockets; their session keeps its number as long as one of them lives.
        """
        found = []
        for entry in Path("/proc").iterdir():
            pid = int(entry.name) if entry.name.isdecimal() else self.pid
            seen = _look(pid) if pid != self.pid else None
            if seen is None or seen.session != self.pid:
                continue
            with contextlib.suppress(OSError):
                if (entry / "cwd").resolve().is_relative_to(folder):
                    found.append(Process(pid, seen.started))
        return found

    def stop(self, signals: tuple[tuple[signal.Signals, float], ...]) -> None:
        """Sends each signal and waits its seconds for the end, then kills."""
        for number, seconds in (*signals, (signal.SIGKILL, 5.0)):
            if not self.is_alive:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
            deadline = monotonic_ns() + int(seconds * 1e9)
            while self.is_alive and monotonic_ns() < deadline:
                pause()


def pause(seconds: float = 0.02) -> None:
    """The time between two looks at something that will come (soon)."""
    threading.Event().wait(seconds)


def identify(pid: int) -> Process:
    """The process ``pid``, which may be a child that has ended already and was not waited for;
    raises ``ProcessLookupError``."""
    seen = _look(pid, ended=True)
    if seen is None:
        raise ProcessLookupError(pid)
    return Process(pid, seen.started)


@dataclass(frozen=True, slots=True)
class _Seen:
    session: int
    started: int


def _look(pid: int, *, ended: bool = False) -> _Seen | None:
    """What the kernel says of ``pid``, or None when it has ended: zombies count with ``ended``."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name may hold spaces and parentheses: fields count from its last one.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" and not ended else _Seen(int(fields[3]), int(fields[19]))


def write_state(path: Path, processes: Mapping[str, Process]) -> None:
    """Records who runs, in one step."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps({name: asdict(process) for name, process in processes.items()}))
    new.replace(path)


def read_state(path: Path) -> dict[str, Process]:
    """Those recorded at ``path``, dead or alive; empty when nothing sensible is recorded."""
    try:
        recorded = json.loads(path.read_text())
        return {
            name: Process(int(fields["pid"]), int(fields["started"]))
            for name, fields in recorded.items()
        }
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds ``path`` against another start or stop; raises ``click.ClickException`` when held."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise click.ClickException(f"another command works on {path.parent}") from None
        yield
    finally:
        os.close(descriptor)
