"""``origin migrate``: from a configuration of the original module to one of ours."""

from __future__ import annotations

from pathlib import Path

import click

from sidecar.cli.instance import PROJECT
from sidecar.migrate import rewrite
from sidecar.migrate.paths import default_prefix
from sidecar.migrate.shipped import read_shipped
from sidecar.migrate.tree import ConfigurationError


@click.command()
@click.argument("conf", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--prefix",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that relative paths of the former nginx are relative to (its -p); the one above "
    "conf/ otherwise.",
)
def migrate(conf: Path, prefix: Path | None) -> None:
    """Print what nginx.conf (CONF) of the original module is as an openresty.conf.

    Directives of the module become objects of Lua that the locations call; all else stays as it
    is. What cannot be carried over, and what to look at, is listed on standard error.

    \b
    origin migrate /usr/local/nginx/conf/nginx.conf > openresty.conf
    origin check-conf --conf openresty.conf
    """
    prefix = default_prefix(conf.absolute()) if prefix is None else prefix.absolute()
    try:
        made = rewrite.migrate(conf, read_shipped(PROJECT / "openresty.conf"), prefix)
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None
    click.echo(made.text, nl=False)
    for note in made.notes:
        click.echo(note, err=True)
    click.echo(
        f"{_count(made.streaming, 'location streams', 'locations stream')}; "
        f"{_count(made.lost, 'directive is', 'directives are')} left out",
        err=True,
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
