"""Starting and stopping a sidecar and an nginx as one."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click

from sidecar.cli import probe
from sidecar.cli.instance import PROJECT, Instance, admin_port_of, has_admin, replaced_port
from sidecar.cli.listens import public_ports
from sidecar.cli.nginx import Nginx, find_nginx
from sidecar.cli.processes import Process, identify, pause, read_state, write_state
from sidecar.clock import monotonic_ns
from sidecar.license.terms import NEEDS, VOD
from sidecar.service.key_files import with_absolute_key

START_SECONDS = 30.0
LISTED = 20
# Those below belong to the administrator, and to the server that is in use.
_FIRST_UNPRIVILEGED = 1024

# Lua's own below a message: lines with a tabulator, of no use to who writes configurations.
_TRACEBACK = re.compile(r"^stack traceback:\n(?:\t.*\n?)*", re.MULTILINE)
_ROOT = re.compile(r"^\s*root\s+media;", re.MULTILINE)

# In this order, so that the answers that nginx is making are still planned. A download that goes
# on may take hours: it gets some seconds.
_NGINX_STOP = ((signal.SIGQUIT, 3.0), (signal.SIGTERM, 3.0))
_STOP = {"nginx": _NGINX_STOP, "sidecar": ((signal.SIGTERM, 12.0),)}
_RUN_STOP = ((signal.SIGTERM, 30.0),)
_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})

Output = IO[bytes] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One instance and what it serves; budgets in bytes for all sidecar processes together.

    ``admin_port``: of metrics and health; None = as far from ``port`` as in openresty.conf.
    ``beside``: it shall run beside a server that has the ports of ``conf``, so that those besides
    ``port`` give way.
    """

    instance: Instance
    conf: Path
    media: Path
    port: int
    workers: int
    index_budget: int
    spool_budget: int
    log_format: str
    log_level: str
    admin_port: int | None = None
    beside: bool = False

    @property
    def ports(self) -> list[int]:
        """All that it listens on."""
        if not has_admin(self.conf.read_text()):
            return [self.port]
        return [self.port, admin_port_of(self.port) if self.admin_port is None else self.admin_port]

    def moves(self) -> dict[int, int]:
        """Which other ports of ``conf`` give way now, and to which: the privileged ones and those
        in use. Raises ``click.ClickException`` when it is not clear which one is ``port``."""
        text = self.conf.read_text()
        if not self.beside:
            return {}
        replaced = replaced_port(text, self.port)
        kept = {*self.ports, *public_ports(text)}
        moves: dict[int, int] = {}
        for port in public_ports(text):
            if port == replaced:
                continue
            if port < _FIRST_UNPRIVILEGED or port in self.ports or not probe.port_is_free(port):
                moves[port] = probe.spare_port(kept | set(moves.values()))
        return moves

    @property
    def serves_media(self) -> bool:
        """Whether its document root is ``media``, as in openresty.conf."""
        return _ROOT.search(self.conf.read_text()) is not None


def start(settings: Settings, output: Output) -> dict[str, Process]:
    """Starts the stack; returns its processes by name once a manifest has been fetched.

    ``output``: where the sidecar logs; None = here, and the stack is known as run by this process.
    Raises ``click.ClickException`` with the reason when it cannot be served; nothing is left then.
    """
    instance = settings.instance
    recorded = read_state(instance.state)
    if all(name in recorded and recorded[name].is_alive for name in _STOP):
        raise click.ClickException(f"{instance.root} is running already")
    _stop_processes(instance, recorded)  # what is left when one of them was killed
    nginx = find_nginx()
    moves = settings.moves()
    instance.make(
        nginx,
        conf=settings.conf,
        media=settings.media,
        port=settings.port,
        workers=settings.workers,
        admin_port=settings.admin_port,
        moves=moves,
    )
    for port in settings.ports:
        if not probe.port_is_free(port):
            hint = "" if port == settings.port else ": --admin-port names another for metrics"
            raise click.ClickException(f"port {port} is in use{hint}")
    for old, new in moves.items():
        click.echo(f"port {old} of the configuration is {new} here")
    processes: dict[str, Process] = {}
    owner = {} if output is not None else {"run": identify(os.getpid())}
    try:
        processes["sidecar"] = _spawn_sidecar(settings, output)
        write_state(instance.state, processes | owner)
        _wait_for_sockets(settings, processes)
        processes["nginx"] = _spawn_nginx(nginx, instance)
        write_state(instance.state, processes | owner)
        _wait_until_served(settings, processes)
    except BaseException:
        _stop_processes(instance, processes)
        raise
    return processes


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[dict[str, Process]]:
    """``start`` for the length of a block, with the sidecar's log on standard error."""
    processes = start(settings, output=None)
    try:
        yield processes
    finally:
        _stop_processes(settings.instance, processes)


def stop(instance: Instance) -> bool:
    """Stops what runs in ``instance``; whether anything did."""
    recorded = read_state(instance.state)
    found = any(process.is_alive for process in recorded.values())
    if "run" in recorded:
        recorded["run"].stop(_RUN_STOP)
    return _stop_processes(instance, recorded) or found


def obituary(settings: Settings, processes: dict[str, Process]) -> str:
    """Which processes ended, and the last lines of their logs."""
    dead = [name for name, process in processes.items() if not process.is_alive]
    return "\n".join(f"{name} ended\n{_log(settings.instance, name)}" for name in dead)


def try_conf(conf: Path) -> str:
    """Starts nginx once with ``conf`` in a folder of its own, and stops it.

    Returns what it printed; raises ``click.ClickException`` with that when it does not start.
    """
    nginx = find_nginx()
    with tempfile.TemporaryDirectory(prefix="origin-") as folder:
        media = Path(folder, "media")
        media.mkdir()
        instance = Instance(Path(folder, "run"))
        instance.make(nginx, conf=conf, media=media, port=0, workers=1, isolated=True)
        printed = instance.log("start.log")
        process = _spawn_nginx(nginx, instance)
        try:
            deadline = monotonic_ns() + int(START_SECONDS * 1e9)
            while not instance.pid.exists():
                if not process.is_alive or monotonic_ns() > deadline:
                    # The folder is gone when this is read, so the log has no name.
                    said = _tail(printed) or _tail(instance.log("error.log"))
                    raise click.ClickException(f"{conf} does not start\n{said}")
                pause()
        finally:
            process.stop(_NGINX_STOP)
        return printed.read_text(errors="replace")


def _spawn_sidecar(settings: Settings, output: Output) -> Process:
    search = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return _spawn(
        [
            *(sys.executable, "-P", "-m", "sidecar", "serve"),
            *("--sockets", str(settings.instance.sockets)),
            *("--workers", str(settings.workers)),
            *("--index-budget", str(settings.index_budget)),
            *("--spool", str(settings.instance.root / "spool")),
            *("--spool-budget", str(settings.spool_budget)),
            *("--log-format", settings.log_format),
            *("--log-level", settings.log_level),
        ],
        settings.instance,
        output,
        {**with_absolute_key(os.environ), "PYTHONPATH": os.pathsep.join(search)},
    )


def _spawn_nginx(nginx: Nginx, instance: Instance) -> Process:
    with instance.log("start.log").open("wb") as output:
        return _spawn(
            [
                nginx.binary,
                *("-p", f"{instance.root}/", "-c", str(instance.conf)),
                *("-e", "logs/error.log", "-g", "daemon off;"),
            ],
            instance,
            output,
            dict(os.environ),
        )


def _spawn(
    command: list[str], instance: Instance, output: Output, environment: dict[str, str]
) -> Process:
    # A session of its own: Ctrl-C on the terminal reaches this process only, which then stops
    # nginx before the sidecar.
    child = subprocess.Popen(
        command,
        cwd=instance.root,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environment,
        start_new_session=True,
    )
    return identify(child.pid)


def _wait_for_sockets(settings: Settings, processes: dict[str, Process]) -> None:
    """Returns when every sidecar process listens: nginx would avoid a late one for a while."""
    sockets = [settings.instance.sockets / f"sidecar-{n}.sock" for n in range(settings.workers)]
    deadline = monotonic_ns() + int(START_SECONDS * 1e9)
    while not all(path.exists() for path in sockets):
        if not processes["sidecar"].is_alive:
            raise click.ClickException(obituary(settings, processes))
        if monotonic_ns() > deadline:
            raise click.ClickException(
                f"the sidecar does not start\n{_log(settings.instance, 'sidecar')}"
            )
        pause()


def _wait_until_served(settings: Settings, processes: dict[str, Process]) -> None:
    """Returns when a manifest has been fetched; raises ``click.ClickException`` with the reason.

    Where the document root is another than ``media``, any answer is as good.
    """
    paths = probe.playable(settings.media, LISTED)
    asked = itertools.cycle(paths or [probe.NOTHING])
    refused: dict[str, str] = {}
    deadline = monotonic_ns() + int(START_SECONDS * 1e9)
    last = "no answer"
    while monotonic_ns() < deadline:
        if not all(process.is_alive for process in processes.values()):
            raise click.ClickException(obituary(settings, processes))
        path = next(asked)
        try:
            status, line = probe.get(settings.port, f"{path}/.m3u8", 10.0)
        except OSError as error:
            last = str(error)
            pause()
            continue
        last = f"{path}/.m3u8 answers {status}: {line}"
        if status == 200 or (not paths and status == 404) or not settings.serves_media:
            return
        if status == 403 and line.startswith(NEEDS[VOD]):
            # All that needs no key goes on, and a key comes with a reload.
            click.echo(f"warning: {line}", err=True)
            return
        if 400 <= status < 500:
            refused[path] = last
            if len(refused) >= len(paths):
                raise click.ClickException("\n".join(["nothing can be served", *refused.values()]))
        else:
            pause()
    raise click.ClickException(
        f"not ready after {START_SECONDS:g} seconds: {last}\n{_log(settings.instance, 'sidecar')}"
    )


def _stop_processes(instance: Instance, processes: dict[str, Process]) -> bool:
    """Whether there was anything to stop."""
    found = False
    # A second Ctrl-C must not leave one of them running.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        for name, signals in _STOP.items():
            if name not in processes:
                continue
            found = found or processes[name].is_alive
            processes[name].stop(signals)
            for child in processes[name].left_behind(instance.root):
                found = True
                child.stop(((signal.SIGTERM, 3.0),))
        instance.state.unlink(missing_ok=True)
        for left in instance.sockets.glob("*.sock"):
            left.unlink(missing_ok=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return found


def _log(instance: Instance, name: str) -> str:
    """The end of what ``name`` has logged."""
    # nginx says on standard error why it does not start, and in its log why it ended later.
    for file in ("start.log", "error.log") if name == "nginx" else ("sidecar.log",):
        if tail := _tail(instance.log(file)):
            return f"--- {instance.log(file)}\n{tail}"
    return ""


def _tail(path: Path, lines: int = 40) -> str:
    try:
        text = _TRACEBACK.sub("", path.read_text(errors="replace"))
        return "\n".join(text.splitlines()[-lines:])
    except FileNotFoundError:
        return ""
