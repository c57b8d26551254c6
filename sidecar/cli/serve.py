"""``origin serve``: the sidecar."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import click

from sidecar.license.problems import InvalidIssuer
from sidecar.service.key_files import FOLDER, ISSUER, public_key
from sidecar.service.logging import LogFormat
from sidecar.service.supervisor import AlreadyServed, SupervisorSettings, supervise

DEFAULT_INDEX_BUDGET = 128 << 20
DEFAULT_SPOOL_BUDGET = 256 << 20
LOG_LEVELS = ("debug", "info", "warning", "error")

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def size(value: str | int) -> int:
    """Bytes of ``value``: a number, with ``K``, ``M`` or ``G`` for powers of 1024."""
    match = re.fullmatch(r"(\d+)([KMG]?)", str(value).strip().upper())
    if match is None:
        raise click.BadParameter(f"{value!r} is not a size such as 134217728 or 128M")
    return int(match[1]) * _UNITS[match[2]]


@click.command()
@click.option(
    "--sockets",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("sockets"),
    show_default=True,
    help="Directory of the Unix sockets sidecar-0.sock, sidecar-1.sock ...",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes; openresty.conf names one socket for each.",
)
@click.option(
    "--index-budget",
    type=size,
    default=DEFAULT_INDEX_BUDGET,
    show_default="128M",
    help="Memory for track indexes, all processes together.",
)
@click.option(
    "--spool",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("spool"),
    show_default=True,
    help="Folder for segments that are rewritten; memory (tmpfs) serves best.",
)
@click.option(
    "--spool-budget",
    type=size,
    default=DEFAULT_SPOOL_BUDGET,
    show_default="256M",
    help="Bytes in that folder, all processes together; 0 = none.",
)
@click.option(
    "--issuer",
    "issuers",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Public key of an issuer of license keys; may be repeated, to change from one to the next."
    f"  [default: {FOLDER / ISSUER}]",
)
@click.option(
    "--grace",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="Seconds that calls in flight have to finish after a stop.",
)
@click.option(
    "--log-format", type=click.Choice(["json", "console"]), default="console", show_default=True
)
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default="info", show_default=True)
def serve(
    sockets: Path,
    workers: int,
    index_budget: int,
    spool: Path,
    spool_budget: int,
    issuers: tuple[Path, ...],
    grace: float,
    log_format: str,
    log_level: str,
) -> None:
    """Serve plans to nginx over gRPC until SIGTERM or SIGINT."""
    try:
        for path in issuers:
            public_key(path)
        supervise(
            SupervisorSettings(
                sockets=sockets,
                workers=workers,
                index_budget=index_budget,
                issuers=issuers or (FOLDER / ISSUER,),
                spool=spool.absolute() if spool_budget else None,
                spool_budget=spool_budget,
                grace=grace,
                log_format=cast(LogFormat, log_format),
                log_level=log_level,
            )
        )
    except (AlreadyServed, InvalidIssuer, OSError) as error:
        raise click.ClickException(str(error)) from error
