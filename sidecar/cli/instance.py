"""A prefix directory in which openresty.conf can run: its folders, links and copy of the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from sidecar.cli import listens, probe
from sidecar.cli.nginx import Nginx
from sidecar.cli.trust import trust
from sidecar.service.key_files import FOLDER

PROJECT = Path(__file__).resolve().parent.parent.parent

_ADMIN = re.compile(r"^(\s*listen\s+127\.0\.0\.1:)18080(?=[\s;])", re.MULTILINE)
_SERVER = r"^([ \t]*server unix:sockets/%s-)0(\.sock[^\n]*\n)"
_SIDECAR = re.compile(_SERVER % "sidecar", re.MULTILINE)
_INGEST = re.compile(_SERVER % "ingest", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Instance:
    """The prefix directory ``root`` (absolute)."""

    root: Path

    @property
    def conf(self) -> Path:
        return self.root / "openresty.conf"

    @property
    def sockets(self) -> Path:
        return self.root / "sockets"

    @property
    def media(self) -> Path:
        return self.root / "media"

    @property
    def license(self) -> Path:
        """Where the license key and the public key of its issuer are (key_files.py)."""
        return self.root / FOLDER

    @property
    def state(self) -> Path:
        """Who runs here (processes.py)."""
        return self.root / "stack.json"

    @property
    def pid(self) -> Path:
        """The pid file of nginx, there as soon as it listens."""
        return self.root / listens.PID

    @property
    def lock(self) -> Path:
        return self.root / "stack.lock"

    def log(self, name: str) -> Path:
        return self.root / "logs" / name

    def make_folders(self, nginx: Nginx) -> None:
        """Makes what openresty.conf expects: folders, ``modules.d`` for this ``nginx``, and whom
        it trusts."""
        for name in ("logs", "tmp", "cache", "modules.d"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        # The root of live channels; it may as well be a link to a disk with more room.
        (self.root / "live" / "channels").mkdir(parents=True, exist_ok=True)
        self.sockets.mkdir(mode=0o750, exist_ok=True)
        (self.root / "modules.d" / "origin.conf").write_text(nginx.main_context())
        trust(self.root / "cert" / "ca.pem")

    def make(
        self,
        nginx: Nginx,
        *,
        conf: Path,
        media: Path,
        port: int,
        workers: int,
        admin_port: int | None = None,
        moves: Mapping[int, int] | None = None,
        isolated: bool = False,
    ) -> None:
        """Makes everything, anew where it exists. Raises ``click.ClickException``.

        ``moves``: other ports of ``conf``, and those in their place.
        ``isolated``: it listens on free ports of this machine only, whatever ``conf`` says.
        """
        if self.root in (PROJECT, conf.parent):
            raise click.ClickException(f"{self.root} holds the sources: name another run folder")
        if not media.is_dir():
            raise click.ClickException(f"the media folder {media} does not exist")
        self.make_folders(nginx)
        lua = conf.parent / "lua"
        self._link("lua", lua if lua.is_dir() else PROJECT / "lua")
        self._link("media", media)
        # An instance with a folder of its own keeps it.
        if self.license.is_symlink() or not self.license.is_dir():
            own = conf.parent / FOLDER
            self._link(FOLDER.name, own if own.is_dir() else PROJECT / FOLDER)
        text = conf.read_text()
        if isolated:
            ports: dict[int, int] = {}
            text = listens.isolated(text, lambda old: ports.setdefault(old, probe.free_port()))
        else:
            text = with_ports(text, port=port, admin_port=admin_port, moves=moves)
        self.conf.write_text(with_workers(listens.settled(text), workers))

    def _link(self, name: str, target: Path) -> None:
        link = self.root / name
        if link.is_symlink():
            link.unlink()
        elif link.exists():
            raise click.ClickException(f"{link} is in the way of a link to {target}")
        link.symlink_to(target)


def admin_port_of(port: int) -> int:
    """Where metrics and health are found unless somebody says: as far from ``port`` in every
    instance, so that those on neighbouring ports do not meet."""
    return port + 10000 if port + 10000 <= 65535 else port - 10000


def has_admin(text: str) -> bool:
    """Whether a configuration has the server of metrics and health; it may be taken out."""
    return _ADMIN.search(text) is not None


def replaced_port(text: str, port: int) -> int:
    """The port of the configuration ``text`` that ``--port`` replaces.

    Raises ``click.ClickException`` when that is not clear.
    """
    old = listens.replaced_port(text, port)
    if old is None:
        ports = ", ".join(map(str, listens.public_ports(text))) or "no port that is said in it"
        raise click.ClickException(
            f"the configuration listens on {ports}: --port cannot replace one, change the file"
        )
    return old


def with_ports(
    text: str,
    *,
    port: int,
    admin_port: int | None = None,
    moves: Mapping[int, int] | None = None,
) -> str:
    """A configuration that listens on ``port``, on ``admin_port`` for metrics and health, and on
    ``moves[p]`` in place of other ports p.

    Raises ``click.ClickException`` when it is not clear which of its ports ``port`` replaces.
    """
    admin = admin_port_of(port) if admin_port is None else admin_port
    made = listens.moved(text, {**(moves or {}), replaced_port(text, port): port})
    return _ADMIN.sub(lambda match: f"{match[1]}{admin}", made, count=1)


def with_workers(text: str, workers: int) -> str:
    """A configuration with upstream servers for each sidecar process.

    Raises ``click.ClickException`` unless it has one to repeat, as in openresty.conf, and one for
    ingest at the most: where it has none, no encoders are expected.
    """
    for name, server, expected in (("sidecar", _SIDECAR, (1,)), ("ingest", _INGEST, (0, 1))):
        text, servers = server.subn(
            lambda match: "".join(f"{match[1]}{n}{match[2]}" for n in range(workers)), text
        )
        if servers not in expected:
            raise click.ClickException(
                f"the configuration has {servers} lines 'server unix:sockets/{name}-0.sock', "
                "not one"
            )
    return text


def render(text: str, *, port: int, workers: int, admin_port: int | None = None) -> str:
    """``text`` with these ports and processes. Raises ``click.ClickException``."""
    return with_workers(with_ports(text, port=port, admin_port=admin_port), workers)
