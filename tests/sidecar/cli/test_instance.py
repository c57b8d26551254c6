"""The prefix directory: what is substituted in openresty.conf, linked, and left alone."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import click
import pytest

from sidecar.cli.instance import PROJECT, Instance, admin_port_of, render
from sidecar.cli.nginx import Nginx

CONF = (PROJECT / "openresty.conf").read_text()
NGINX = Nginx(binary="/usr/sbin/nginx", modules=(Path("/m/a.so"), Path("/m/b.so")))


def test_only_ports_and_sidecar_sockets_change() -> None:
    before, after = CONF.splitlines(), render(CONF, port=18599, workers=3).splitlines()
    removed = [line.split()[:2] for line in before if line not in after]
    added = [line.split()[:2] for line in after if line not in before]
    assert removed == [["listen", "127.0.0.1:18080;"], ["listen", "8080;"]]
    assert added == [
        ["server", "unix:sockets/sidecar-1.sock"],
        ["server", "unix:sockets/sidecar-2.sock"],
        ["server", "unix:sockets/ingest-1.sock"],
        ["server", "unix:sockets/ingest-2.sock"],
        ["listen", "127.0.0.1:28599;"],
        ["listen", "18599;"],
    ]
    servers = re.findall(r"server unix:sockets/sidecar-\d+\.sock(.*)", "\n".join(after))
    assert len(servers) == 3 and len(set(servers)) == 1, "the same parameters for each"


def test_nothing_to_change_changes_nothing() -> None:
    assert render(CONF, port=8080, workers=1) == CONF


def test_metrics_have_a_port_of_their_own() -> None:
    assert "listen 127.0.0.1:7;" in render(CONF, port=9, workers=1, admin_port=7)
    ports = [*range(1, 65536)]
    admin = [admin_port_of(port) for port in ports]
    assert all(
        0 < other < 65536 and other != port for port, other in zip(ports, admin, strict=True)
    )
    assert admin_port_of(8080) == 18080, "as openresty.conf has it"


def test_the_server_of_metrics_may_be_taken_out() -> None:
    without = CONF.replace("listen 127.0.0.1:18080;", "listen unix:sockets/admin.sock;")
    assert without != CONF
    assert "listen 127" not in render(without, port=9, workers=1)


def test_a_configuration_without_a_sidecar_is_refused() -> None:
    for old, new, count in (
        ("sidecar-0.sock", "other.sock", 0),
        ("keepalive 16;", "keepalive 1;\nserver unix:sockets/sidecar-0.sock;\n", 2),
        ("keepalive 16;", "keepalive 1;\nserver unix:sockets/ingest-0.sock;\n", 2),
    ):
        with pytest.raises(click.ClickException, match=f"has {count} lines 'server unix:"):
            render(CONF.replace(old, new), port=1, workers=1)


def test_a_configuration_may_have_no_encoders() -> None:
    without = CONF.replace("unix:sockets/ingest-0.sock", "127.0.0.1:9")
    assert "ingest-" not in render(without, port=1, workers=2)


def test_a_port_that_could_be_any_of_several_is_refused() -> None:
    several = CONF.replace("listen 8080;", "listen 81;\n        listen 443 ssl;")
    with pytest.raises(click.ClickException, match="listens on 81, 443: --port cannot"):
        render(several, port=9000, workers=1)
    assert "listen 443 ssl;" in render(several, port=443, workers=1)


def make(root: Path, media: Path, conf: Path = PROJECT / "openresty.conf") -> Instance:
    instance = Instance(root)
    instance.make(NGINX, conf=conf, media=media, port=18598, workers=2)
    return instance


def test_an_instance_is_made_and_made_again(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        instance = make(tmp_path / "run", tmp_path / name)
        assert (instance.root / "media").resolve() == tmp_path / name
    assert (instance.root / "lua").resolve() == PROJECT / "lua"
    assert instance.conf.read_text() == render(CONF, port=18598, workers=2)
    assert stat.S_IMODE(instance.sockets.stat().st_mode) & 0o007 == 0
    assert instance.log("x").parent.is_dir() and (instance.root / "tmp").is_dir()
    assert (instance.root / "cache").is_dir()
    assert (instance.root / "cert" / "ca.pem").is_file()
    lines = (instance.root / "modules.d" / "origin.conf").read_text().splitlines()
    assert lines[:2] == ["load_module /m/a.so;", "load_module /m/b.so;"]
    assert any(line.startswith("user ") for line in lines) is (os.geteuid() == 0)


def test_media_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="does not exist"):
        make(tmp_path / "run", tmp_path / "absent")


def test_the_sources_are_not_an_instance(tmp_path: Path) -> None:
    before = (PROJECT / "openresty.conf").stat().st_mtime_ns
    with pytest.raises(click.ClickException, match="sources"):
        make(PROJECT, tmp_path)
    assert (PROJECT / "openresty.conf").stat().st_mtime_ns == before


def test_a_folder_in_the_way_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "run" / "media").mkdir(parents=True)
    (tmp_path / "run" / "media" / "film.mp4").write_text("x")
    with pytest.raises(click.ClickException, match="in the way"):
        make(tmp_path / "run", tmp_path)
    assert (tmp_path / "run" / "media" / "film.mp4").exists()
