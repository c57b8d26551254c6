"""Keeps N sidecar processes on N sockets alive, and the service manager informed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from sidecar.clock import monotonic_ns
from sidecar.service.child import Child
from sidecar.service.logging import LogFormat, configure_logging
from sidecar.service.notify import Notifier

# Seconds between two looks at what the processes say: while one is awaited, and otherwise.
_IMPATIENT = 0.05
_PATIENT = 1.0
# How long a reload waits for processes that start.
_START_NS = 10_000_000_000
# Indexing allocates tens of megabytes for milliseconds: from one heap of huge pages this costs a
# quarter of what it costs in fresh mappings, whose 4 KB pages fault one by one. One arena and the
# fixed threshold keep the resident size near the index budget. Making segments takes and frees a
# dozen megabytes again and again: what was given back would be cleared each time, so 32 MB are
# kept. (glibc 2.35; others ignore it.)
MALLOC = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=67108864"
    ":glibc.malloc.arena_max=1:glibc.malloc.trim_threshold=33554432"
}

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class AlreadyServed(Exception):
    """Another supervisor holds the sockets of this directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorSettings:
    """What to run. ``sockets``: directory of ``sidecar-0.sock`` .., and ``ingest-0.sock`` ..;
    ``index_budget``: bytes of
    track indexes that all processes keep together; ``grace``: seconds for calls in flight;
    ``issuers``: files of the public keys whose license keys count;
    ``spool``: folder for large bodies, ``spool_budget`` bytes for all processes together."""

    sockets: Path
    workers: int
    index_budget: int
    issuers: tuple[Path, ...]
    grace: float = 10.0
    log_format: LogFormat = "console"
    log_level: str = "info"
    spool: Path | None = None
    spool_budget: int = 0


def supervise(settings: SupervisorSettings) -> None:
    """Runs the processes until SIGTERM or SIGINT, restarting those that die or hang.

    SIGHUP replaces them one after the other, by processes of the code that lies here now. Each
    process reads a pipe whose other end is here, so none outlives this one, however it ends.
    Raises ``AlreadyServed``, or ``OSError`` when the directory cannot be made.
    """
    configure_logging(settings.log_format, settings.log_level)
    notifier = Notifier.from_environment(os.environ)
    sockets = settings.sockets.absolute()
    sockets.mkdir(mode=0o750, parents=True, exist_ok=True)
    with _locked(sockets / "sidecar.lock"):
        # Blocked here and waited for in run: nothing can arrive between a look and a sleep.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, Supervisor.SIGNALS)
        try:
            for pattern in ("sidecar-*.sock", "ingest-*.sock"):
                for stale in sockets.glob(pattern):
                    stale.unlink(missing_ok=True)
            if settings.spool is not None:
                _clear_spool(settings)
            Supervisor(settings, sockets, notifier).run()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Supervisor:
    """The processes of ``sockets`` (absolute) and what is under way with them."""

    SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP})

    def __init__(self, settings: SupervisorSettings, sockets: Path, notifier: Notifier) -> None:
        self._settings = settings
        self._notifier = notifier
        self._stopping = False
        # Who is still to be replaced; the first one is on its way when _replacing.
        self._reload: deque[Child] = deque()
        self._replacing = False
        self._patient_until_ns = 0
        # What the service manager has been told, and when it last heard that all is well.
        self._ready = False
        self._reloading = False
        self._status = ""
        self._watched_ns = 0
        self._children = [
            Child(number=number, socket=sockets / f"sidecar-{number}.sock")
            for number in range(settings.workers)
        ]

    def run(self) -> None:
        """Returns when a signal has ended them all; SIGNALS must be blocked."""
        while True:
            for child in self._children:
                child.listen()
                if child.process is None and not self._stopping and child.due_ns <= monotonic_ns():
                    child.start(self._spawn)
            self._replace_next()
            self._tell()
            if self._stopping and all(child.process is None for child in self._children):
                return
            received = signal.sigtimedwait(self.SIGNALS, self._wait_seconds())
            if received is not None and received.si_signo in (signal.SIGTERM, signal.SIGINT):
                self._stop()
            elif received is not None and received.si_signo == signal.SIGHUP:
                self._replace_all()
            self._reap()

    def _stop(self) -> None:
        if not self._stopping:
            log.info("stopping", workers=len(self._children))
            self._notifier.send("STOPPING=1", "STATUS=finishing the calls in flight")
        self._stopping = True
        self._reload.clear()
        for child in self._children:
            child.retire()

    def _replace_all(self) -> None:
        # Two rounds at most: who asks again while one goes on wants the newest code in all.
        if self._stopping or len(self._reload) > len(self._children):
            return
        log.info("replacing all processes", workers=len(self._children))
        if not self._reloading:
            self._reloading = True
            self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={monotonic_ns() // 1000}")
        self._reload.extend(self._children)
        self._patient_until_ns = monotonic_ns() + _START_NS

    def _replace_next(self) -> None:
        """Goes on with a reload: one at a time, when the others can take its calls."""
        while self._reload:
            if not self._replacing:
                if self._others_start():
                    return
                self._replacing = True
                self._reload[0].retire()
            if not self._reload[0].serves:
                return
            self._replacing = False
            self._reload.popleft()

    def _others_start(self) -> bool:
        """Whether others than the next one to be replaced are about to serve. Those that do not in
        time are not waited for: what replaces them may be their cure."""
        return monotonic_ns() < self._patient_until_ns and not all(
            child.serves for child in self._children if child is not self._reload[0]
        )

    def _tell(self) -> None:
        """Tells the service manager what is new, and that all is well as often as it wants."""
        if self._stopping:
            return
        serving = sum(child.serves for child in self._children)
        status = f"{serving} of {len(self._children)} processes serve"
        news = []
        # For the first time, or at the end of a reload, however that went.
        started = not self._ready and serving == len(self._children)
        if started or (self._reloading and not self._reload):
            self._ready, self._reloading = True, False
            news.append("READY=1")
        if status != self._status:
            self._status = status
            news.append(f"STATUS={status}")
        interval, now = self._notifier.watchdog_ns, monotonic_ns()
        if interval is not None and now - self._watched_ns >= interval // 3 and self._is_well():
            self._watched_ns = now
            news.append("WATCHDOG=1")
        if news:
            self._notifier.send(*news)

    def _is_well(self) -> bool:
        """Whether calls are answered: by every process that is not just starting or ending, and
        by one at least. One that died is being replaced here; nobody else need do anything."""
        serving = [child for child in self._children if child.serves]
        return bool(serving) and all(child.is_well for child in serving)

    def _wait_seconds(self) -> float:
        if self._stopping:
            return 60.0
        waits = [_PATIENT]
        if self._notifier.watchdog_ns is not None:
            waits.append(self._notifier.watchdog_ns / 4e9)
        now = monotonic_ns()
        for child in self._children:
            if child.process is None:
                waits.append(max(0.0, (child.due_ns - now) / 1e9))
            elif not child.serves:
                waits.append(_IMPATIENT)
        return min(waits)

    def _reap(self) -> None:
        for child in self._children:
            died = child.reap() is not None and not child.retired
            if died and self._replacing and child is self._reload[0]:
                # Whatever keeps the successor from serving would do so to the others' too.
                log.error("the reload is given up", worker=child.number)
                self._reload.clear()
                self._replacing = False

    def _spawn(self, child: Child, beats: int) -> subprocess.Popen[bytes]:
        settings = self._settings
        arguments = {
            "socket": str(child.socket),
            "index_budget": settings.index_budget // settings.workers,
            "issuers": [str(path) for path in settings.issuers],
            "grace": settings.grace,
            "spool": str(settings.spool / str(child.number)) if settings.spool else None,
            "spool_budget": settings.spool_budget // settings.workers,
            "log_format": settings.log_format,
            "log_level": settings.log_level,
            "beats": beats,
        }
        # -P: the working directory is not where modules come from.
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "sidecar.service.worker", json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=sys.stderr,
            env={**MALLOC, **os.environ, "PYTHONPATH": os.pathsep.join(_import_path())},
            pass_fds=(beats,),
            preexec_fn=_unblock_signals,
        )


def _clear_spool(settings: SupervisorSettings) -> None:
    """Removes what processes have left that do not come again; the others clear their own."""
    assert settings.spool is not None
    settings.spool.mkdir(mode=0o750, parents=True, exist_ok=True)
    for folder in settings.spool.iterdir():
        if folder.name.isdecimal() and int(folder.name) >= settings.workers:
            shutil.rmtree(folder, ignore_errors=True)


def _import_path() -> Iterator[str]:
    """The project first, so that workers run the code of their supervisor."""
    yield str(Path(__file__).resolve().parent.parent.parent)
    if inherited := os.environ.get("PYTHONPATH"):
        yield inherited


def _unblock_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


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
