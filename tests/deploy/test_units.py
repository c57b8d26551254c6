"""The units and their company: verified by systemd's own tools, and tried as far as that goes
without a service manager."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from sidecar.rpc import origin_pb2, origin_pb2_grpc
from tests.support.media import generated
from tests.support.remote_http import serve
from tests.support.sandbox import settings
from tests.support.stack import children, eventually

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
SIDECAR = DEPLOY / "origin-sidecar.service"
NGINX = DEPLOY / "origin-nginx.service"
PREPARE = DEPLOY / "origin-prepare.service"
UNITS = (SIDECAR, NGINX, PREPARE)
NETWORK = DEPLOY / "sidecar-network.conf"

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed"
)


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as installed, with commands that exist."""
    command = tmp_path / "bin" / "origin"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    folder = tmp_path / "units"
    shutil.copytree(DEPLOY / "openresty.service.d", folder / "openresty.service.d")
    (folder / "openresty.service").write_text("[Service]\nExecStart=/bin/true\n")
    for unit in UNITS:
        text = unit.read_text().replace("/usr/local", str(tmp_path))
        (folder / unit.name).write_text(text.replace("/usr/sbin/nginx", "/bin/true"))
    return folder


@pytest.mark.parametrize("name", [*(unit.name for unit in UNITS), "openresty.service"])
def test_systemd_finds_nothing_wrong(units: Path, name: str) -> None:
    done = run("systemd-analyze", "verify", units / name, SYSTEMD_UNIT_PATH=f"{units}:")
    about_ours = [line for line in done.stderr.splitlines() if re.search(r"origin|openresty", line)]
    assert about_ours == []
    assert done.returncode == 0, done.stderr


def test_systemd_does_find_what_is_wrong(units: Path) -> None:
    text = (units / "origin-sidecar.service").read_text()
    (units / "origin-sidecar.service").write_text(text.replace("WatchdogSec", "WatchdogSek"))
    done = run("systemd-analyze", "verify", units / "origin-sidecar.service")
    assert "WatchdogSek" in done.stderr


@pytest.mark.parametrize(("unit", "tenths"), [(SIDECAR, 5), (NGINX, 15), (PREPARE, 5)])
def test_the_exposure_is_low(unit: Path, tenths: int) -> None:
    """Of 100, where less is better; a usual service has 90."""
    done = run("systemd-analyze", "security", "--offline=true", f"--threshold={tenths}", unit)
    assert done.returncode == 0, done.stdout.splitlines()[-1]
    tighter = run("systemd-analyze", "security", "--offline=true", "--threshold=1", unit)
    assert tighter.returncode != 0, "the threshold is what decides"


class Confined:
    """A sidecar under the filters of its unit."""

    def __init__(self, folder: Path, unit: Path = SIDECAR) -> None:
        self.folder = folder
        shutil.copyfile(generated("bframes_closed.mp4"), folder / "clip.mp4")
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, ROOT / "tests/support/sandbox.py", unit),
                    *(sys.executable, "-P", "-m", "sidecar", "serve"),
                    *("--sockets", folder / "sockets", "--spool", folder / "spool"),
                ],
                cwd=ROOT,
                stderr=log,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "UspLicenseKey": str(ROOT / "license" / "license.key"),
                },
            )
        eventually(lambda: self.socket.exists() or self.process.poll() is not None, "no socket")
        assert self.process.poll() is None, self.log()

    @property
    def socket(self) -> Path:
        return self.folder / "sockets" / "sidecar-0.sock"

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def ask(self, virtual_path: str, **directives: str) -> origin_pb2.Plan:
        """What is planned for ``virtual_path`` of the clip in a location with ``directives``."""
        request = origin_pb2.PlanRequest(
            document_root=str(self.folder),
            path="/clip.mp4",
            virtual_path=virtual_path,
            method="GET",
            read_ahead=8,
            directives=[
                origin_pb2.Directive(name=name, args=[value]) for name, value in directives.items()
            ],
        )
        with grpc.insecure_channel(f"unix:{self.socket}") as channel:
            return origin_pb2_grpc.OriginStub(channel).Plan(request, timeout=20).plan

    def plan(self, virtual_path: str) -> origin_pb2.Plan:
        """The same, which must be an answer."""
        plan = self.ask(virtual_path)
        assert plan.result == origin_pb2.FMP4_OK, (virtual_path, plan, self.log())
        return plan

    def first(self, virtual_path: str) -> str:
        """The first URI of the playlist ``virtual_path``."""
        lines = self.plan(virtual_path).parts[0].inline.decode().splitlines()
        return next(line for line in lines if line and not line.startswith("#"))


@pytest.fixture(scope="module")
def confined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Confined]:
    made = Confined(tmp_path_factory.mktemp("confined"))
    yield made
    made.stop()


def test_the_sidecar_works_under_the_filters_of_its_unit(confined: Confined) -> None:
    for pid in (confined.process.pid, *children(confined.process.pid)):
        assert "Seccomp:\t2" in Path(f"/proc/{pid}/status").read_text(), "filtered"
    for virtual_path in (".mpd", "Manifest"):
        confined.plan(virtual_path)
    segment = confined.plan(confined.first(confined.first(".m3u8")))
    assert segment.content_type == "video/mp2t"
    laid_down = {str(Path(source.path).parent.parent) for source in segment.sources}
    assert str(confined.folder / "spool") in laid_down, "rewritten"
    assert "error" not in confined.log()


def test_what_the_filters_forbid() -> None:
    """That the sandbox of these tests is one."""
    tried = (
        "import mmap, socket, os\n"
        "socket.socket(socket.AF_UNIX)\n"
        "for what in (lambda: socket.socket(socket.AF_INET), lambda: mmap.mmap(-1, 4096, prot=7),\n"
        "             lambda: os.chroot('/')):\n"
        "    try:\n"
        "        what()\n"
        "        print('allowed')\n"
        "    except OSError as error:\n"
        "        print(error.errno)\n"
    )
    done = run(
        sys.executable, ROOT / "tests/support/sandbox.py", SIDECAR, sys.executable, "-c", tried
    )
    assert done.stdout.split() == ["97", "1", "1"], done.stderr


def test_the_drop_in_opens_the_network(units: Path, tmp_path: Path, confined: Confined) -> None:
    """Content on another server, with signed requests, is out of reach without it."""
    drop_in = units / "origin-sidecar.service.d" / "network.conf"
    drop_in.parent.mkdir()
    shutil.copyfile(NETWORK, drop_in)
    done = run("systemd-analyze", "verify", units / SIDECAR.name, SYSTEMD_UNIT_PATH=f"{units}:")
    assert [line for line in done.stderr.splitlines() if re.search(r"origin|network", line)] == []
    assert done.returncode == 0, done.stderr
    added = settings(NETWORK)
    assert added["PrivateNetwork"] == ["no"] and added["IPAddressDeny"] == [""]

    both = units / "both.service"
    both.write_text(SIDECAR.read_text() + NETWORK.read_text())
    with serve(confined.folder) as storage:
        given = {
            "ism_proxy_pass": storage.base.replace("127.0.0.1", "localhost") + "/",
            "s3_access_key": "k",
            "s3_secret_key": "s",
            "s3_region": "eu-test-1",
        }
        assert confined.ask(".mpd", **given).result == origin_pb2.FMP4_STORAGE_ERROR
        assert storage.asked() == []
        opened = Confined(tmp_path, both)
        try:
            plan = opened.ask(".mpd", **given)
            assert plan.result == origin_pb2.FMP4_OK, opened.log()
        finally:
            opened.stop()
        assert all("X-Amz-Signature" in one.target for one in storage.asked())


def test_folders_and_keys_are_made_under_the_filters(tmp_path: Path) -> None:
    done = run(
        *(sys.executable, ROOT / "tests/support/sandbox.py", PREPARE),
        *(sys.executable, "-m", "sidecar", "prepare", tmp_path),
        PYTHONPATH=str(ROOT),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "modules.d" / "origin.conf").exists()
    assert (tmp_path / "license" / "license.key").exists()


def test_units_are_one_group_in_one_place() -> None:
    sidecar, nginx, prepare = map(settings, UNITS)
    for name in ("User", "Group", "ProtectSystem", "NoNewPrivileges", "CapabilityBoundingSet"):
        assert sidecar[name] == nginx[name] == prepare[name]
    assert sidecar["WorkingDirectory"] == nginx["WorkingDirectory"]
    assert sidecar["Type"] == ["notify"]
    assert "StateDirectory" not in sidecar, "DynamicUser would move it out of nginx's reach"
    assert "MemoryDenyWriteExecute" not in nginx, "LuaJIT could not compile"
    assert "origin-sidecar.service" in nginx["After"][0].split()
    assert "origin-prepare.service" in sidecar["After"][0].split()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes folders of others")
def test_users_and_folders_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for name in ("sysusers.d", "tmpfiles.d"):
        folder = tmp_path / "usr/lib" / name
        folder.mkdir(parents=True)
        shutil.copy(DEPLOY / name / "openorigin.conf", folder)
    made = run("systemd-sysusers", f"--root={tmp_path}", "openorigin.conf")
    assert made.returncode == 0, made.stderr
    assert "openorigin" in (tmp_path / "etc/passwd").read_text()
    for _ in range(2):
        made = run("systemd-tmpfiles", f"--root={tmp_path}", "--create", "openorigin.conf")
        assert made.returncode == 0, made.stderr
    state = tmp_path / "var/lib/openorigin"
    assert state.stat().st_mode & 0o777 == 0o750
    assert state.stat().st_uid != 0
    links = {path.name: str(path.readlink()) for path in state.iterdir() if path.is_symlink()}
    assert links == {
        "openresty.conf": "/etc/openorigin/openresty.conf",
        "lua": "/usr/local/lib/openorigin/lua",
        "logs": "/var/log/openorigin",
        "sockets": "/run/openorigin",
    }


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="logrotate is not installed")
def test_logs_are_rotated(tmp_path: Path) -> None:
    text = (DEPLOY / "logrotate.d" / "openorigin").read_text()
    text = text.replace("/var/log/openorigin", str(tmp_path / "log"))
    text = re.sub(r"openorigin openorigin", "root root", text)
    log = tmp_path / "log" / "access.log"
    log.parent.mkdir(mode=0o750)
    log.write_text("a line\n")
    conf = tmp_path / "rotate"
    conf.write_text(text)
    conf.chmod(0o644)
    done = run("logrotate", "--force", "--state", tmp_path / "state", conf)
    assert done.returncode == 0, done.stderr
    assert log.read_text() == ""
    assert (tmp_path / "log" / "access.log.1").read_text() == "a line\n"
