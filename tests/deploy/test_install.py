"""make install and make uninstall, in a folder that stands for the machine."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def make(target: str, *variables: str) -> str:
    done = subprocess.run(
        ["make", "-s", target, *variables],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Installed:
    """An installation whose prefix is where it runs, so that its commands work."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prefix = folder / "usr"
        self.etc = folder / "etc"
        self.lib = self.prefix / "lib" / "openorigin"
        self.conf = self.etc / "openorigin" / "openresty.conf"
        self.variables = (f"PREFIX={self.prefix}", f"SYSCONFDIR={self.etc}")

    def make(self, target: str) -> str:
        return make(target, *self.variables)

    def origin(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command, far from the project, as the user of a service would have it."""
        return subprocess.run(
            [self.prefix / "bin" / "origin", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        )

    def files(self) -> set[str]:
        return {
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and self.lib not in path.parents
        }


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    made = Installed(tmp_path_factory.mktemp("machine"))
    made.make("install")
    yield made


OUTSIDE = {
    "etc/logrotate.d/openorigin",
    "etc/openorigin/openresty.conf",
    "usr/bin/origin",
    "usr/lib/systemd/system/openresty.service.d/10-origin.conf",
    "usr/lib/systemd/system/origin-nginx.service",
    "usr/lib/systemd/system/origin-prepare.service",
    "usr/lib/systemd/system/origin-sidecar.service",
    "usr/lib/sysusers.d/openorigin.conf",
    "usr/lib/tmpfiles.d/openorigin.conf",
}


def test_everything_is_in_its_place(installed: Installed) -> None:
    assert installed.files() == OUTSIDE
    assert {path.name for path in installed.lib.iterdir()} == {
        *("sidecar", "lua", "docs", "venv"),
        *("openresty.conf", "README.md", "LICENSE", "installed.json", "sidecar-network.conf"),
    }
    assert installed.conf.read_bytes() == (ROOT / "openresty.conf").read_bytes()


def test_the_command_runs_what_is_installed(installed: Installed) -> None:
    shown = installed.origin("--version")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("origin, version ")
    where = "import sidecar, numpy, grpc; print(sidecar.__file__, numpy.__file__, grpc.__file__)"
    python = installed.lib / "venv" / "bin" / "python"
    done = subprocess.run(
        [python, "-P", "-c", where],
        cwd=installed.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(path.startswith(str(installed.lib)) for path in done.stdout.split())
    libraries = next((installed.lib / "venv/lib").iterdir()) / "site-packages"
    assert not [name for name in ("pytest", "mypy", "yt_dlp") if (libraries / name).exists()]


def test_the_sidecar_of_it_starts(installed: Installed, tmp_path: Path) -> None:
    with subprocess.Popen(
        [installed.prefix / "bin" / "origin", "serve", "--sockets", tmp_path / "s"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        assert any("serving" in line for line in lines), "it says so"
        command = Path(f"/proc/{process.pid}/cmdline").read_text()
        assert command.startswith(str(installed.lib)), "the command becomes the sidecar"
        process.terminate()
    assert process.returncode == 0


def test_nothing_of_it_is_the_users(installed: Installed) -> None:
    """Files that everybody may read, and nobody else write."""
    for path in installed.lib.rglob("*"):
        if not path.is_symlink():
            mode = path.stat().st_mode & 0o777
            assert mode in (0o755, 0o644), path


def test_units_name_the_prefix(installed: Installed) -> None:
    for path in (installed.prefix / "lib/systemd/system").rglob("*.*"):
        if path.is_file():
            assert "/usr/local" not in path.read_text()
    unit = (installed.prefix / "lib/systemd/system/origin-sidecar.service").read_text()
    assert f"ExecStart={installed.prefix}/bin/origin serve" in unit


def test_again_and_away(installed: Installed) -> None:
    """An upgrade, then the removal: what the administrator has changed stays in both."""
    installed.conf.write_text("# mine\n")
    rotation = installed.etc / "logrotate.d" / "openorigin"
    (installed.lib / "sidecar" / "gone.py").write_text("")
    key = installed.etc / "openorigin" / "sidecar.env"
    key.write_text("ORIGIN_OPTIONS=--workers 4\n")
    assert "openresty.conf was changed, and stays" in installed.make("install")
    assert installed.conf.read_text() == "# mine\n"
    assert not (installed.lib / "sidecar" / "gone.py").exists(), "what is no longer there goes"
    assert installed.origin("--version").returncode == 0

    said = installed.make("uninstall")
    assert "openresty.conf was changed, and stays" in said
    assert not rotation.exists()
    left = {path for path in installed.folder.rglob("*") if path.is_file()}
    assert left == {installed.conf, key}
    assert not installed.lib.exists()
    assert "and stays" not in installed.make("uninstall"), "nothing is noted any more"
    assert installed.conf.exists()


def test_a_package_is_made_below_its_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As DESTDIR says; without the packages, which are copied as above."""
    specification = importlib.util.spec_from_file_location("install", ROOT / "deploy/install.py")
    assert specification is not None and specification.loader is not None
    script = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "install", script)
    specification.loader.exec_module(script)
    monkeypatch.setattr(script, "copy_distribution", lambda *_: None)
    places = script.Places(root=tmp_path, prefix=Path("/usr"), etc=Path("/etc"))

    script.install(places)
    assert "on the machine: systemd-sysusers" in capsys.readouterr().out
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {name for name in found if "lib/openorigin/" not in name} == OUTSIDE
    assert (tmp_path / "usr/bin/origin").read_text().split()[2].startswith("/usr/lib/openorigin/")
    for path in tmp_path.rglob("*"):
        if path.suffix in (".service", ".conf", ".cfg", ".pth", ".json") and path.is_file():
            assert str(tmp_path) not in path.read_text(), path

    script.uninstall(places)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
