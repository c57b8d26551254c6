"""Installs OpenOrigin below a prefix, or removes it: "make install" and "make uninstall".

Needs no network: Python packages are copied from the virtual environment that runs this. What is
put outside of PREFIX/lib/openorigin is noted there with its digest, so that an upgrade replaces and
a removal removes what nobody has changed since, and nothing else.
"""

from __future__ import annotations

import argparse
import compileall
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = "openorigin"
# In PREFIX/lib/openorigin, each replaced as a whole: folders, and files by where they come from.
TREES = ("sidecar", "lua", "docs", "venv")
FILES = {
    **{name: name for name in ("openresty.conf", "README.md", "LICENSE")},
    "sidecar-network.conf": "deploy/sidecar-network.conf",
}
NOTES = "installed.json"
DEFAULT_PREFIX = "/usr/local"
# Where systemd looks.
PREFIXES = (Path("/usr"), Path(DEFAULT_PREFIX))
# Of deploy/, in PREFIX/lib; their paths follow the prefix.
UNITS = {
    "origin-prepare.service": "systemd/system/origin-prepare.service",
    "origin-sidecar.service": "systemd/system/origin-sidecar.service",
    "origin-nginx.service": "systemd/system/origin-nginx.service",
    "openresty.service.d/10-origin.conf": "systemd/system/openresty.service.d/10-origin.conf",
    "sysusers.d/openorigin.conf": "sysusers.d/openorigin.conf",
    "tmpfiles.d/openorigin.conf": "tmpfiles.d/openorigin.conf",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things go: ``prefix`` and ``etc`` as they are known when it runs, below ``root``
    ("/" but for packages)."""

    root: Path
    prefix: Path
    etc: Path

    @property
    def lib(self) -> Path:
        return self.prefix / "lib" / PACKAGE

    def real(self, path: Path) -> Path:
        """Where ``path`` lies now."""
        return self.root / path.relative_to("/")


def main() -> int:
    """0 when it is done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=("install", "uninstall"))
    parser.add_argument("--destdir", default="")
    parser.add_argument("--prefix", default=DEFAULT_PREFIX)
    parser.add_argument("--sysconfdir", default="/etc")
    given = parser.parse_args()
    places = Places(
        root=Path(given.destdir or "/").absolute(),
        prefix=Path(given.prefix),
        etc=Path(given.sysconfdir),
    )
    if not (places.prefix.is_absolute() and places.etc.is_absolute()):
        parser.error("PREFIX and SYSCONFDIR are absolute paths")
    try:
        if given.command == "install":
            install(places)
        else:
            uninstall(places)
    except OSError as error:
        say(f"{error.filename}: {error.strerror}", sys.stderr)
        return 1
    return 0


def say(text: str, output: object = None) -> None:
    """A line on standard output, or on ``output``."""
    (output or sys.stdout).write(f"{text}\n")  # type: ignore[attr-defined]


def install(places: Places) -> None:
    """Puts everything in its place; what was there and is not ours to replace is named."""
    lib = places.real(places.lib)
    lib.mkdir(parents=True, exist_ok=True)
    before = read_notes(places)
    # Beside the old ones, for as long as it takes: processes that run go on with theirs.
    with tempfile.TemporaryDirectory(dir=lib, prefix=".new-") as folder:
        new = Path(folder)
        for name in ("sidecar", "lua", "docs"):
            shutil.copytree(PROJECT / name, new / name, symlinks=True)
        for name, source in FILES.items():
            shutil.copy2(PROJECT / source, new / name)
        make_environment(new / "venv", places)
        settle(new)
        compileall.compile_dir(
            new / "sidecar", quiet=2, stripdir=str(new), prependdir=str(places.lib)
        )
        for name in (*TREES, *FILES):
            swap(new / name, lib / name)
    notes = {}
    for path, (content, mode) in outside(places).items():
        notes[str(path)] = put(places.real(path), content, mode, before.get(str(path)))
    (lib / NOTES).write_text(json.dumps(notes, indent=1))
    say(f"installed in {places.real(places.prefix)}")
    activate(places)


def uninstall(places: Places) -> None:
    """Removes what ``install`` has put there and nobody has changed since."""
    lib = places.real(places.lib)
    folders = {lib, places.real(places.etc / PACKAGE)}
    for name, digest in read_notes(places).items():
        path = places.real(Path(name))
        folders.add(path.parent)
        if not path.exists():
            continue
        if digest == digest_of(path.read_bytes()):
            path.unlink()
        else:
            say(f"{path} was changed, and stays")
    for name in TREES:
        shutil.rmtree(lib / name, ignore_errors=True)
    for name in (*FILES, NOTES):
        (lib / name).unlink(missing_ok=True)
    for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    say("uninstalled; license keys, logs and what was changed are left")


def make_environment(folder: Path, places: Places) -> None:
    """A virtual environment in ``folder`` with what the sidecar needs, for its final place."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    for script in (folder / "bin").iterdir():
        if not script.name.startswith("python"):
            script.unlink()
    settings = folder / "pyvenv.cfg"
    lines = settings.read_text().splitlines()
    kept = [line for line in lines if not line.startswith("command")]
    settings.write_text("".join(f"{line}\n" for line in kept))
    libraries = folder / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    for distribution in needed(PACKAGE):
        copy_distribution(distribution, libraries)
    (libraries / f"{PACKAGE}.pth").write_text(f"{places.lib}\n")


def needed(name: str) -> list[importlib.metadata.Distribution]:
    """The distribution ``name`` and those that it needs to run, and so on; each once."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [name]
    while waiting:
        one = waiting.pop()
        key = re.sub(r"[-_.]+", "-", one).lower()
        if key in found:
            continue
        found[key] = importlib.metadata.distribution(one)
        waiting += required(found[key])
    return list(found.values())


def required(distribution: importlib.metadata.Distribution) -> Iterator[str]:
    """Names of what ``distribution`` needs here, without its extras."""
    for line in distribution.requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name


def copy_distribution(distribution: importlib.metadata.Distribution, libraries: Path) -> None:
    """Copies its files with their times, which its compiled files go by. An editable one has none
    but its facts."""
    is_editable = distribution.read_text("direct_url.json") is not None
    for file in distribution.files or ():
        if ".." in file.parts or file.parts[0].startswith("__editable__"):
            continue
        if is_editable and file.name != "METADATA":
            continue
        source = Path(str(distribution.locate_file(file)))
        if source.is_file():
            target = libraries / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def settle(folder: Path) -> None:
    """Everything readable for everybody, whatever the umask of who has checked it out."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)


def swap(new: Path, old: Path) -> None:
    """Puts ``new`` in the place of ``old``."""
    if old.is_dir() and not old.is_symlink():
        old.rename(new.with_name(f"{new.name}.old"))
    new.rename(old)


def outside(places: Places) -> dict[Path, tuple[bytes, int]]:
    """Content and mode of the files outside of PREFIX/lib/openorigin, by path."""
    python = places.lib / "venv" / "bin" / "python"
    found = {
        places.prefix / "bin" / "origin": (
            f'#!/bin/sh\nexec {python} -P -m sidecar "$@"\n'.encode(),
            0o755,
        ),
        places.etc / PACKAGE / "openresty.conf": ((PROJECT / "openresty.conf").read_bytes(), 0o644),
        places.etc / "logrotate.d" / PACKAGE: (
            (PROJECT / "deploy/logrotate.d" / PACKAGE).read_bytes(),
            0o644,
        ),
    }
    for source, target in UNITS.items():
        text = (PROJECT / "deploy" / source).read_text()
        text = text.replace(f"{DEFAULT_PREFIX}/", f"{places.prefix}/".replace("//", "/"))
        text = text.replace("/etc/", f"{places.etc}/")
        found[places.prefix / "lib" / target] = (text.encode(), 0o644)
    return found


def put(path: Path, content: bytes, mode: int, noted: str | None) -> str:
    """Writes ``path``, unless it is there and is not what was noted of it; the digest to note."""
    digest = digest_of(content)
    if path.exists():
        there = digest_of(path.read_bytes())
        if there not in (digest, noted):
            say(f"{path} was changed, and stays; the new one is in PREFIX/lib/{PACKAGE} or deploy/")
            return noted or ""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(content)
    new.chmod(mode)
    new.replace(path)
    return digest


def digest_of(content: bytes) -> str:
    """What content is recognised by."""
    return hashlib.sha256(content).hexdigest()


def read_notes(places: Places) -> dict[str, str]:
    """Digests of what an earlier installation has put outside, by path; empty when there was
    none."""
    try:
        notes: dict[str, str] = json.loads((places.real(places.lib) / NOTES).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return notes


def activate(places: Places) -> None:
    """Makes the user and the folders, where this is the machine that it will run on."""
    interpreter = Path(sys.executable).resolve()
    if interpreter.is_relative_to("/root") or interpreter.is_relative_to("/home"):
        say(
            f"warning: services may not reach {interpreter}: set it up with PYTHON=/usr/bin/python3"
        )
    is_here = places.root == Path("/") and places.prefix in PREFIXES and os.geteuid() == 0
    if is_here and Path("/run/systemd/system").is_dir():
        for command in ("systemd-sysusers", "systemd-tmpfiles --create", "systemctl daemon-reload"):
            subprocess.run(command.split(), check=False)
    else:
        say("on the machine: systemd-sysusers && systemd-tmpfiles --create")
    say("then: systemctl enable --now origin-sidecar origin-nginx")


if __name__ == "__main__":
    sys.exit(main())
