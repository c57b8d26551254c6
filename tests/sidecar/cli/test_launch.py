"""Which ports of a configuration give way to a server that has them."""

from __future__ import annotations

import socket
from pathlib import Path

import click
import pytest

from sidecar.cli.instance import Instance
from sidecar.cli.launch import Settings
from tests.support.ports import free_port


def settings(folder: Path, *listens: str, port: int, beside: bool = True) -> Settings:
    conf = folder / "own.conf"
    conf.write_text("".join(f"listen {line};\n" for line in listens))
    return Settings(
        instance=Instance(folder / "run"),
        conf=conf,
        media=folder,
        port=port,
        workers=1,
        index_budget=1,
        spool_budget=0,
        log_format="json",
        log_level="info",
        beside=beside,
    )


def test_privileged_ports_and_those_in_use_give_way(tmp_path: Path) -> None:
    port, kept = free_port(), free_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        listens = ("80", "[::]:443 ssl", "443 ssl", f"{taken}", f"{kept}")
        made = settings(tmp_path, *listens, port=port).moves()
        assert settings(tmp_path, *listens, port=port, beside=False).moves() == {}
    assert set(made) == {443, taken}
    assert len({*made.values(), port, kept, taken}) == 5
    assert all(new >= 1024 for new in made.values())


def test_a_port_of_the_configuration_may_be_asked_for(tmp_path: Path) -> None:
    port = free_port()
    assert set(settings(tmp_path, "80", f"{port}", "8080", port=port).moves()) >= {80}
    assert port not in settings(tmp_path, "80", f"{port}", port=port).moves()


def test_the_port_of_metrics_is_left_to_it(tmp_path: Path) -> None:
    port = free_port()
    listens = ("80", "127.0.0.1:18080", f"{port + 10000}")
    assert set(settings(tmp_path, *listens, port=port).moves()) == {port + 10000}


def test_it_must_be_clear_which_port_is_replaced(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="listens on 81, 443: --port cannot"):
        settings(tmp_path, "81", "443 ssl", port=9000).moves()
