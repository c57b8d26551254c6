"""One running stack with one nginx worker, whose nginx also serves static files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HTTP_SETTINGS = (
    "sendfile", "tcp_nopush", "tcp_nodelay", "aio", "directio", "output_buffers",
    "open_file_cache", "keepalive_requests", "gzip", "access_log",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """``origin start`` with openresty.conf changed to one worker and with a static server.

    ``scratch``: folder for the run. ``port``: of the stack; ``port + 1``: of the static server,
    whose settings are those of http{}. ``nopush``: tcp_nopush of the static server, when it shall
    differ: with it, answers of some 100 KB wait on loopback, now and then, for a delayed
    acknowledgement (40 ms); without it, answers of megabytes are slower.
    """

    scratch: Path
    media: Path
    static: Path
    port: int
    nopush: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def static_url(self) -> str:
        return f"http://127.0.0.1:{self.port + 1}"

    @property
    def configuration(self) -> Path:
        return self.scratch / "conf" / "openresty.conf"

    @property
    def settings(self) -> list[str]:
        """The settings of http{} that decide about speed; those not named are nginx's defaults."""
        # At the depth of http{}; a parser of nginx's grammar stops at the blocks of Lua.
        lines = re.findall(r"(?m)^ {4}(\w+)\s+([^;{}]+);", self.configuration.read_text())
        settings = [f"{name} {value}" for name, value in lines if name in HTTP_SETTINGS]
        if self.nopush:
            settings.append(f"but tcp_nopush {self.nopush} for static")
        return settings

    def start(self) -> None:
        """Returns when a manifest can be fetched. Raises RuntimeError with the reason."""
        self._configure()
        _origin(
            *("start", "--run", self.scratch / "run", "--conf", self.configuration),
            *("--media", self.media, "--port", self.port),
        )

    def stop(self) -> None:
        _origin("stop", "--run", self.scratch / "run")

    @property
    def worker(self) -> int:
        """Process id of nginx's worker."""
        # Others of its children look after the cache.
        (pid,) = filter(_is_worker, _children(self._process("nginx")))
        return pid

    @property
    def sidecars(self) -> list[int]:
        """Process ids: the supervisor and every process below it."""
        return _tree(self._process("sidecar"))

    def _process(self, name: str) -> int:
        state = json.loads((self.scratch / "run" / "stack.json").read_text())
        pid: int = state[name]["pid"]
        return pid

    def _configure(self) -> None:
        text = (ROOT / "openresty.conf").read_text()
        text, workers = re.subn(r"(?m)^worker_processes\s+\w+;", "worker_processes 1;", text)
        listen = f"listen 127.0.0.1:{self.port + 1};"
        nopush = f"tcp_nopush {self.nopush}; " if self.nopush else ""
        server = f"    server {{ {listen} root {self.static}; {nopush}location / {{ }} }}\n"
        text, servers = re.subn(r"(?m)^http\s*\{\n", lambda match: match[0] + server, text)
        if (workers, servers) != (1, 1):
            raise RuntimeError("openresty.conf: worker_processes or http{} not found once")
        self.configuration.parent.mkdir(exist_ok=True)
        self.configuration.write_text(text)
        lua = self.configuration.with_name("lua")
        if not lua.is_symlink():
            lua.symlink_to(ROOT / "lua")


def resident(pid: int) -> tuple[int, int]:
    """Resident bytes of a process: all, and those that are its own (anonymous)."""
    status = Path(f"/proc/{pid}/status").read_text()
    kilobytes = dict(re.findall(r"(?m)^(VmRSS|RssAnon):\s+(\d+) kB", status))
    return int(kilobytes["VmRSS"]) * 1024, int(kilobytes["RssAnon"]) * 1024


def _origin(*arguments: object) -> None:
    command = [sys.executable, "-m", "sidecar", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"origin {arguments[0]}: {done.stdout}{done.stderr}")


def _is_worker(pid: int) -> bool:
    return b"worker process" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _tree(pid: int) -> list[int]:
    return [pid] + [below for child in _children(pid) for below in _tree(child)]
