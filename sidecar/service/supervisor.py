"""Keeps N sidecar processes on N sockets alive."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from sidecar.clock import monotonic_ns
from sidecar.service.logging import LogFormat, configure_logging

# A process that lived this long did not die of its start: its successor starts at once.
_STABLE_NS = 10_000_000_000
_FIRST_DELAY = 0.2
_LONGEST_DELAY = 10.0
# Indexing allocates tens of megabytes for milliseconds: from one heap of huge pages this costs a
# quarter of what it costs in fresh mappings, whose 4 KB pages fault one by one. One arena and the
# fixed threshold keep the resident size near the index budget. (glibc 2.35; others ignore it.)
_MALLOC = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=67108864"
    ":glibc.malloc.arena_max=1"
}

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class AlreadyServed(Exception):
    """Another supervisor holds the sockets of this directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorSettings:
    """What to run. ``sockets``: directory of ``sidecar-0.sock`` ..; ``index_budget``: bytes of
    track indexes that all processes keep together; ``grace``: seconds for calls in flight;
    ``spool``: folder for large bodies, ``spool_budget`` bytes for all processes together."""

    sockets: Path
    workers: int
    index_budget: int
    grace: float = 10.0
    log_format: LogFormat = "console"
    log_level: str = "info"
    spool: Path | None = None
    spool_budget: int = 0


@dataclass(slots=True, kw_only=True)
class _Worker:
    number: int
    socket: Path
    process: subprocess.Popen[bytes] | None = None
    started_ns: int = 0
    delay: float = 0.0
    due_ns: int = 0


@dataclass(slots=True)
class _State:
    stopping: bool = False
    workers: list[_Worker] = field(default_factory=list)


def supervise(settings: SupervisorSettings) -> None:
    """Runs the processes until SIGTERM or SIGINT, restarting those that die.

    Each process reads a pipe whose other end is here, so none outlives this one, however it ends.
    Raises ``AlreadyServed``, or ``OSError`` when the directory cannot be made.
    """
    configure_logging(settings.log_format, settings.log_level)
    sockets = settings.sockets.absolute()
    sockets.mkdir(mode=0o750, parents=True, exist_ok=True)
    signals = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP}
    with _locked(sockets / "sidecar.lock"):
        # Blocked here and waited for below: nothing can arrive between a look and a sleep.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        try:
            _run(settings, sockets, signals)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run(settings: SupervisorSettings, sockets: Path, signals: set[signal.Signals]) -> None:
    for stale in sockets.glob("sidecar-*.sock"):
        stale.unlink(missing_ok=True)
    if settings.spool is not None:
        _clear_spool(settings)
    state = _State()
    for number in range(settings.workers):
        state.workers.append(_Worker(number=number, socket=sockets / f"sidecar-{number}.sock"))
    while True:
        for worker in state.workers:
            if worker.process is None and not state.stopping and worker.due_ns <= monotonic_ns():
                _start(worker, settings)
        if state.stopping and all(worker.process is None for worker in state.workers):
            return
        received = signal.sigtimedwait(signals, _wait_seconds(state))
        if received is not None and received.si_signo in (signal.SIGTERM, signal.SIGINT):
            if not state.stopping:
                log.info("stopping", workers=settings.workers)
            state.stopping = True
            for worker in state.workers:
                if worker.process is not None:
                    worker.process.send_signal(signal.SIGTERM)
        _reap(state)


def _clear_spool(settings: SupervisorSettings) -> None:
    """Removes what processes have left that do not come again; the others clear their own."""
    assert settings.spool is not None
    settings.spool.mkdir(mode=0o750, parents=True, exist_ok=True)
    for folder in settings.spool.iterdir():
        if folder.name.isdecimal() and int(folder.name) >= settings.workers:
            shutil.rmtree(folder, ignore_errors=True)


def _start(worker: _Worker, settings: SupervisorSettings) -> None:
    arguments = {
        "socket": str(worker.socket),
        "index_budget": settings.index_budget // settings.workers,
        "grace": settings.grace,
        "spool": str(settings.spool / str(worker.number)) if settings.spool else None,
        "spool_budget": settings.spool_budget // settings.workers,
        "log_format": settings.log_format,
        "log_level": settings.log_level,
    }
    # -P: the working directory is not where modules come from.
    worker.process = subprocess.Popen(
        [sys.executable, "-P", "-m", "sidecar.service.worker", json.dumps(arguments)],
        stdin=subprocess.PIPE,
        stdout=sys.stderr,
        env={**_MALLOC, **os.environ, "PYTHONPATH": os.pathsep.join(_import_path())},
        preexec_fn=_unblock_signals,
    )
    worker.started_ns = monotonic_ns()


def _import_path() -> Iterator[str]:
    """The project first, so that workers run the code of their supervisor."""
    yield str(Path(__file__).resolve().parent.parent.parent)
    if inherited := os.environ.get("PYTHONPATH"):
        yield inherited


def _unblock_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def _reap(state: _State) -> None:
    for worker in state.workers:
        if worker.process is None or worker.process.poll() is None:
            continue
        code = worker.process.returncode
        if worker.process.stdin is not None:
            worker.process.stdin.close()
        pid, worker.process = worker.process.pid, None
        if state.stopping:
            continue
        now = monotonic_ns()
        stable = now - worker.started_ns >= _STABLE_NS
        worker.delay = 0.0 if stable else min(_LONGEST_DELAY, max(_FIRST_DELAY, 2 * worker.delay))
        # The first death is answered at once; only a process that dies again soon waits.
        wait = 0.0 if worker.delay <= _FIRST_DELAY else worker.delay
        worker.due_ns = now + int(wait * 1e9)
        log.error(
            "a sidecar process died",
            worker=worker.number,
            pid=pid,
            code=code,
            restart_in_seconds=wait,
        )


def _wait_seconds(state: _State) -> float:
    now = monotonic_ns()
    due = [worker.due_ns for worker in state.workers if worker.process is None]
    if state.stopping or not due:
        return 60.0
    return max(0.0, (min(due) - now) / 1e9)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two servers on one Unix socket take it from each other silently: one supervisor only."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyServed(f"another sidecar serves {path.parent}") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(descriptor)
