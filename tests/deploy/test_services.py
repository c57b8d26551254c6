"""The commands of the units, in folders as they are installed, under the filters of the units."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.cli.instance import render
from tests.support.http import Client
from tests.support.media import generated
from tests.support.ports import free_port
from tests.support.sandbox import settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PATIENCE = 60.0

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") is None
        or shutil.which("systemd-analyze") is None
        or subprocess.run(["unshare", "--user", "true"], check=False).returncode != 0,
        reason="nginx or systemd is not installed, or there are no user namespaces",
    ),
]


def nobody() -> list[str]:
    """A prefix for commands, which without rights of root are not asked to give them up: nginx
    would change its user, which the filters forbid and a unit has done already."""
    return ["unshare", "--user"] if os.geteuid() == 0 else []


class Machine:
    """Folders as tmpfiles.d makes them, below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = free_port()
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        conf = root / "etc/openorigin/openresty.conf"
        conf.parent.mkdir(parents=True)
        conf.write_text(render((ROOT / "openresty.conf").read_text(), port=self.port, workers=1))
        for line in (DEPLOY / "tmpfiles.d/openorigin.conf").read_text().splitlines():
            if line.startswith("d "):
                self.path(line.split()[1]).mkdir(mode=0o750, parents=True)
            elif line.startswith("L "):
                _, link, *_, target = line.split()
                place = self.path(target)
                self.path(link).symlink_to(ROOT / "lua" if place.name == "lua" else place)
        self.state = self.path("/var/lib/openorigin")
        shutil.copyfile(generated("bframes_closed.mp4"), self.state / "media" / "clip.mp4")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(root / "notify"))
        self.notify.settimeout(PATIENCE)

    def path(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def command(self, line: str) -> list[str]:
        """A command of a unit, here."""
        words: list[str] = []
        for word in shlex.split(line):
            if word == "/usr/local/bin/origin":
                words += [sys.executable, "-P", "-m", "sidecar"]
            elif word.startswith(("/var/", "/run/")):
                words.append(f"{self.root}{word}")
            elif not word.startswith("$"):
                words.append(word)
        return words

    def start(self, name: str) -> None:
        """Starts the unit ``name``: what it does before, then its command."""
        unit = DEPLOY / f"{name}.service"
        asked = settings(unit)
        before = asked.get("ExecStartPre", [])
        with (self.root / f"{name}.log").open("ab") as log:
            for number, line in enumerate([*before, *asked["ExecStart"]]):
                process = subprocess.Popen(
                    [
                        *nobody(),
                        *(sys.executable, ROOT / "tests/support/sandbox.py", unit),
                        *self.command(line),
                    ],
                    cwd=self.path(asked.get("WorkingDirectory", ["/"])[0]),
                    stdout=log,
                    stderr=log,
                    env={
                        **os.environ,
                        "PYTHONPATH": str(ROOT),
                        "NOTIFY_SOCKET": str(self.root / "notify"),
                    },
                )
                if number < len(before) or asked["Type"] == ["oneshot"]:
                    assert process.wait(PATIENCE) == 0, self.log(name)
        self.running[name] = process

    def stop(self, name: str) -> int:
        unit = settings(DEPLOY / f"{name}.service")
        process = self.running.pop(name)
        process.send_signal(signal.Signals[unit.get("KillSignal", ["SIGTERM"])[0]])
        return process.wait(PATIENCE)

    def log(self, name: str) -> str:
        return (self.root / f"{name}.log").read_text()

    def heard(self, assignment: str) -> None:
        while assignment not in self.notify.recv(4096).decode().splitlines():
            pass


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    made = Machine(tmp_path_factory.mktemp("m"))
    yield made
    for process in made.running.values():
        process.kill()
        process.wait()
    made.notify.close()


def test_both_services(machine: Machine) -> None:
    machine.start("origin-prepare")
    machine.start("origin-sidecar")
    machine.heard("READY=1")
    machine.start("origin-nginx")
    client = Client(f"http://127.0.0.1:{machine.port}", timeout=20)
    for _ in range(600):
        try:
            answer = client.request("/clip.mp4/.m3u8")
            break
        except ConnectionRefusedError:
            assert machine.running["origin-nginx"].poll() is None, machine.log("origin-nginx")
            client.close()
            signal.sigtimedwait([], 0.1)
    assert answer.status == 200, answer.text
    assert client.request("/clip.mp4/.mpd").status == 200
    assert (machine.path("/var/log/openorigin") / "access.log").exists()
    assert (machine.path("/run/openorigin") / "bridge.sock").is_socket()

    # A reload of each, as the units do it.
    machine.running["origin-sidecar"].send_signal(signal.SIGHUP)
    machine.heard("RELOADING=1")
    machine.heard("READY=1")
    machine.running["origin-nginx"].send_signal(signal.SIGHUP)
    assert client.request("/clip.mp4/.mpd?mpd_minimum_fragment_length=4").status == 200
    client.close()

    assert machine.stop("origin-nginx") == 0
    assert machine.stop("origin-sidecar") == 0
    machine.heard("STOPPING=1")
    assert "Traceback" not in machine.log("origin-sidecar")
