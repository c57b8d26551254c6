"""A second nginx in front of the sidecar of a stack, with another configuration."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sidecar.cli.nginx import find_nginx
from tests.support.http import Client
from tests.support.stack import PATIENCE, Stack, eventually, free_port


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """``base``: its URL; ``root``: its prefix directory."""

    base: str
    root: Path

    @property
    def port(self) -> int:
        return int(self.base.rpartition(":")[2])


@contextmanager
def front(stack: Stack, root: Path, edit: Callable[[str], str]) -> Iterator[Front]:
    """Runs nginx in the empty folder ``root`` with what ``edit`` makes of openresty.conf."""
    for name in ("logs", "tmp", "sockets"):
        (root / name).mkdir()
    for name in ("lua", "media", "modules.d", "license", "live", "cert"):
        if (stack.run / name).exists():
            (root / name).symlink_to((stack.run / name).resolve())
    for socket in (stack.run / "sockets").glob("sidecar-*.sock"):
        (root / "sockets" / socket.name).symlink_to(socket)
    port = free_port()
    text = (stack.run / "openresty.conf").read_text()
    text, count = re.subn(r"^(\s*listen\s+)\d+;", rf"\g<1>{port};", text, flags=re.MULTILINE)
    assert count == 1, "the listen line for clients"
    text = re.sub(r"(listen 127\.0\.0\.1:)\d+;", lambda match: f"{match[1]}{free_port()};", text)
    (root / "openresty.conf").write_text(edit(text))
    with (root / "logs" / "start.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(find_nginx().binary, "-p", f"{root}/", "-c", f"{root}/openresty.conf"),
                *("-e", "logs/error.log", "-g", "daemon off;"),
            ],
            cwd=root,
            stdout=log,
            stderr=log,
        )
    running = Front(base=f"http://127.0.0.1:{port}", root=root)
    try:
        eventually(lambda: _answers(running, process), "nginx answers")
        yield running
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _answers(running: Front, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, (running.root / "logs" / "start.log").read_text()
    client = Client(running.base)
    try:
        return client.request("/none").status == 404
    except OSError:
        return False
    finally:
        client.close()
