"""The real stack, nginx and sidecar, started and stopped through the launcher."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sidecar.cli.instance import admin_port_of
from tests.support.http import Client
from tests.support.media import ROOT
from tests.support.ports import free_port

__all__ = ["Stack", "children", "end_process", "eventually", "free_port", "is_alive",
           "nginx_workers", "origin", "start"]  # fmt: skip

# How long a test waits for what must happen. It costs nothing where that happens at once, and a
# loaded machine may take its time.
PATIENCE = 60.0


def origin(*arguments: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Runs the ``origin`` command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "sidecar", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A running instance. ``base``: its URL; ``run``: its directory; ``media``: what it serves."""

    base: str
    run: Path
    media: Path

    @property
    def admin(self) -> Client:
        """A connection to where metrics and health are answered."""
        port = admin_port_of(int(self.base.rpartition(":")[2]))
        return Client(f"http://127.0.0.1:{port}")

    def client(self, *, timeout: float = PATIENCE) -> Client:
        return Client(self.base, timeout=timeout)

    def log(self) -> str:
        """All that nginx and the sidecar have logged, but for nginx's access log."""
        logs = sorted((self.run / "logs").glob("*"))
        return "".join(
            path.read_text(errors="replace") for path in logs if "access" not in path.name
        )

    def access_log(self) -> str:
        """nginx's access log."""
        return "".join(path.read_text() for path in (self.run / "logs").glob("*access*"))

    def pid(self, name: str) -> int:
        """The process ``sidecar`` (its supervisor) or ``nginx`` (its master)."""
        recorded: dict[str, dict[str, int]] = json.loads((self.run / "stack.json").read_text())
        return recorded[name]["pid"]

    def stop(self) -> None:
        done = origin("stop", "--run", self.run)
        assert done.returncode == 0, done.stdout + done.stderr


def children(pid: int) -> list[int]:
    """The living children of the process ``pid``."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed]


def nginx_workers(master: int) -> list[int]:
    """The workers of nginx, without those of its children that look after the cache."""
    return [pid for pid in children(master) if _is_worker(pid)]


def _is_worker(pid: int) -> bool:
    try:
        return b"worker process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_alive(pid: int) -> bool:
    """Whether ``pid`` runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(condition: Callable[[], bool], what: str, *, seconds: float = PATIENCE) -> None:
    """Waits until ``condition``; raises ``AssertionError`` after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def end_process(pid: int, number: int) -> None:
    """Sends signal ``number`` to ``pid`` and waits until it has ended."""
    os.kill(pid, number)
    eventually(lambda: not is_alive(pid), f"end of process {pid}")


def start(
    run: Path,
    media: Path,
    *,
    workers: int = 2,
    directives: str = "",
    locations: Mapping[str, str] | None = None,
) -> Stack:
    """Starts an instance on a free port; returns when it can answer.

    ``directives``: further ones of the location that streams. ``locations``: the directives of
    further ones that do, by name: all that is below ``/name/``. Raises ``RuntimeError`` with the
    launcher's words when it cannot start.
    """
    port = free_port()
    done = origin(
        *("start", "--run", run, "--port", str(port)),
        *("--media", media, "--workers", str(workers)),
        *(("--conf", _configured(run, directives, locations or {}))
          if directives or locations else ()),
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"origin start: {done.returncode}\n{done.stdout}{done.stderr}")
    return Stack(base=f"http://127.0.0.1:{port}", run=run, media=media)


def _configured(run: Path, directives: str, locations: Mapping[str, str]) -> Path:
    """A copy of the project's configuration with more ``directives`` and ``locations``, beside
    ``run``."""
    folder = run.with_name(f"{run.name}-conf")
    folder.mkdir()
    (folder / "lua").symlink_to(ROOT / "lua")
    text = (ROOT / "openresty.conf").read_text()
    given, place = "[[ usp_handle_ism on; ]]", "        # Nothing in a folder, and no presentation"
    for wanted in (given, place):
        assert text.count(wanted) == 1, f"in the configuration, once: {wanted}"
    made = "".join(
        f"\n        {name} = origin.location [[ usp_handle_ism on; {lines} ]]"
        for name, lines in locations.items()
    )
    blocks = "".join(
        f"        location ^~ /{name}/ {{ content_by_lua_block {{ {name}:content() }} }}\n"
        for name in locations
    )
    text = text.replace(place, blocks + place)
    conf = folder / "openresty.conf"
    conf.write_text(text.replace(given, f"[[ usp_handle_ism on; {directives} ]]{made}"))
    return conf
