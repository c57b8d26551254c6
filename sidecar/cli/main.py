"""The ``origin`` command."""

from __future__ import annotations

import importlib

import click

# Command -> module that defines it under the same name. Imported when used: the supervisor of
# ``origin serve`` should not carry numpy and lxml for as long as it lives.
_COMMANDS = {
    "check-conf": ("sidecar.cli.stack", "check_conf"),
    "create": ("sidecar.cli.create", "create"),
    "license": ("sidecar.cli.license", "license"),
    "migrate": ("sidecar.cli.migrate", "migrate"),
    "prepare": ("sidecar.cli.stack", "prepare"),
    "run": ("sidecar.cli.stack", "run"),
    "serve": ("sidecar.cli.serve", "serve"),
    "start": ("sidecar.cli.stack", "start"),
    "stop": ("sidecar.cli.stack", "stop"),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="openorigin", prog_name="origin")
def main() -> None:
    """OpenOrigin: a just-in-time streaming origin."""
