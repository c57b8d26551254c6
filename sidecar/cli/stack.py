"""``origin run``, ``start``, ``stop``: sidecar and nginx together."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import click

from sidecar.cli import launch, probe
from sidecar.cli.instance import PROJECT, Instance
from sidecar.cli.listens import public_ports
from sidecar.cli.nginx import find_nginx
from sidecar.cli.processes import locked, pause
from sidecar.cli.serve import DEFAULT_INDEX_BUDGET, DEFAULT_SPOOL_BUDGET, LOG_LEVELS, size

_Command = TypeVar("_Command", bound=Callable[..., Any])

_RUN = click.option(
    "--run",
    "root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("run"),
    show_default=True,
    help="Folder of this instance: sockets, logs, its copy of the configuration.",
)
_CONF = click.option(
    "--conf",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=PROJECT / "openresty.conf",
    show_default="openresty.conf of the project",
    help="Configuration, of which a copy is used.",
)


def _instance_options(command: _Command) -> _Command:
    options = [
        _RUN,
        click.option(
            "--port",
            type=click.IntRange(1, 65535),
            show_default="that of the configuration",
            help="Where to listen for clients, in place of 8080, 80 or the only port of the "
            "configuration; its other ports give way where they are below 1024 or in use.",
        ),
        click.option(
            "--admin-port",
            type=click.IntRange(1, 65535),
            show_default="port + 10000",
            help="Where to answer /metrics, /healthz and /readyz, on this machine only.",
        ),
        click.option(
            "--media",
            type=click.Path(path_type=Path),
            default=PROJECT / "media",
            show_default="media of the project",
            help="Document root: server manifests and media files.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(1, 256),
            default=2,
            show_default=True,
            help="Sidecar processes.",
        ),
        _CONF,
        click.option(
            "--index-budget",
            type=size,
            default=DEFAULT_INDEX_BUDGET,
            show_default="128M",
            help="Memory for track indexes, all sidecar processes together.",
        ),
        click.option(
            "--spool-budget",
            type=size,
            default=DEFAULT_SPOOL_BUDGET,
            show_default="256M",
            help="Bytes of rewritten segments kept in the run folder; 0 = none.",
        ),
        click.option("--log-format", type=click.Choice(["json", "console"]), default="console"),
        click.option("--log-level", type=click.Choice(LOG_LEVELS), default="info"),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _settings(
    root: Path, conf: Path, media: Path, port: int | None, **rest: Any
) -> launch.Settings:
    root.mkdir(parents=True, exist_ok=True)
    beside = port is not None
    if port is None:
        ports = public_ports(conf.read_text())
        if not ports:
            raise click.ClickException(f"{conf} itself listens on no port")
        port = ports[0]
    return launch.Settings(
        instance=Instance(root.absolute()),
        conf=conf.absolute(),
        media=media.absolute(),
        port=port,
        beside=beside,
        **rest,
    )


@click.command()
@_instance_options
def run(**options: Any) -> None:
    """Serve in the foreground until Ctrl-C or SIGTERM."""
    settings = _settings(**options)
    with (
        contextlib.suppress(KeyboardInterrupt),
        _terminated_as_interrupt(),
        locked(settings.instance.lock),
        launch.running(settings) as processes,
    ):
        _announce(settings)
        while all(process.is_alive for process in processes.values()):
            pause(0.5)
        raise click.ClickException(launch.obituary(settings, processes))
    click.echo("stopped")


@click.command()
@_instance_options
def start(**options: Any) -> None:
    """Serve in the background; returns when the first manifest can be fetched."""
    settings = _settings(**options)
    log = settings.instance.log("sidecar.log")
    log.parent.mkdir(exist_ok=True)
    with log.open("ab") as output, _terminated_as_interrupt(), locked(settings.instance.lock):
        launch.start(settings, output)
    _announce(settings)


@click.command()
@_RUN
def stop(root: Path) -> None:
    """Stop what start or run has started."""
    stopped = launch.stop(Instance(root.absolute()))
    click.echo("stopped" if stopped else f"nothing runs in {root}")


@click.command()
@click.argument(
    "root", type=click.Path(file_okay=False, exists=True, path_type=Path), default=Path()
)
def prepare(root: Path) -> None:
    """Make what "openresty -p ROOT -c openresty.conf" needs: folders, and a license key."""
    instance = Instance(root.absolute())
    instance.make_folders(find_nginx())
    instance.media.mkdir(exist_ok=True)
    # Not above: "origin run" need not carry the cryptography for as long as it lives.
    from sidecar.cli.license import make_keys

    for line in make_keys(instance.license):
        click.echo(f"made {line}")


@click.command("check-conf")
@_CONF
def check_conf(conf: Path) -> None:
    """Start nginx once with the configuration, then stop it.

    "nginx -t" does not run init_by_lua, where directives are checked. Its "listen" lines get free
    ports of this machine, those of included files do not. No request is made: what only a request
    would show (a root that does not exist, an upstream that is away) stays unseen.
    """
    with _terminated_as_interrupt():
        printed = launch.try_conf(conf.absolute())
    click.echo(printed, nl=False, err=True)
    click.echo(f"{conf} is good")


def _announce(settings: launch.Settings) -> None:
    paths = probe.playable(settings.media, launch.LISTED) if settings.serves_media else []
    what = settings.media if settings.serves_media else f"what {settings.conf} says"
    click.echo(f"OpenOrigin serves {what} on port {settings.port}")
    for path in paths:
        click.echo(f"  HLS     http://localhost:{settings.port}{path}/.m3u8")
        click.echo(f"  DASH    http://localhost:{settings.port}{path}/.mpd")
        click.echo(f"  Smooth  http://localhost:{settings.port}{path}/Manifest")
    if len(paths) == launch.LISTED:
        click.echo("  ...")
    for port in settings.ports[1:]:
        click.echo(f"Metrics and health: http://localhost:{port}/metrics, /healthz, /readyz")
    click.echo(f"Logs are in {settings.instance.log('')}")


@contextlib.contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP raise ``KeyboardInterrupt`` as SIGINT does, so that all is undone."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
