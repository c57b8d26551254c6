"""The real stack, nginx and sidecar, started and stopped through the launcher."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.http import Client
from tests.support.media import ROOT


def free_port() -> int:
    """A TCP port of loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def origin(*arguments: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
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

    def client(self, *, timeout: float = 20) -> Client:
        return Client(self.base, timeout=timeout)

    def log(self) -> str:
        """All that nginx and the sidecar have logged, but for nginx's access log."""
        logs = sorted((self.run / "logs").glob("*"))
        return "".join(
            path.read_text(errors="replace") for path in logs if "access" not in path.name
        )

    def stop(self) -> None:
        done = origin("stop", "--run", self.run)
        assert done.returncode == 0, done.stdout + done.stderr


def start(run: Path, media: Path, *, workers: int = 2) -> Stack:
    """Starts an instance on a free port; returns when it can answer.

    Raises ``RuntimeError`` with the launcher's words when it cannot start.
    """
    port = free_port()
    done = origin(
        *("start", "--run", run, "--port", str(port)),
        *("--media", media, "--workers", str(workers)),
    )
    if done.returncode:
        raise RuntimeError(f"origin start: {done.returncode}\n{done.stdout}{done.stderr}")
    return Stack(base=f"http://127.0.0.1:{port}", run=run, media=media)
