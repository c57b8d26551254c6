"""The command as a whole."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from sidecar.cli.main import _COMMANDS, main
from sidecar.cli.serve import size


def test_help_names_every_command() -> None:
    shown = CliRunner().invoke(main, ["--help"])
    assert shown.exit_code == 0
    for name in _COMMANDS:
        assert f"\n  {name} " in shown.output


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_every_command_explains_itself(name: str) -> None:
    assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0


def test_an_unknown_command_is_an_error() -> None:
    assert CliRunner().invoke(main, ["fly"]).exit_code == 2


def test_the_supervisor_stays_small() -> None:
    """It lives as long as the service: what only workers need is not loaded."""
    code = "import sys, sidecar.cli.serve; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"numpy", "grpc", "lxml", "google.protobuf"} & set(loaded)


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("128M", 128 << 20), ("1g", 1 << 30), (" 4k ", 4096)]
)
def test_sizes(text: str, value: int) -> None:
    assert size(text) == value


@pytest.mark.parametrize("text", ["", "-1", "1T", "M", "1.5M", "1 M x"])
def test_sizes_that_are_none(text: str) -> None:
    shown = CliRunner().invoke(main, ["serve", f"--index-budget={text}"])
    assert shown.exit_code == 2
