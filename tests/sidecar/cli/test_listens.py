"""Which lines of a configuration an instance changes."""

from __future__ import annotations

import pytest

from sidecar.cli.instance import PROJECT
from sidecar.cli.listens import isolated, moved, public_ports, replaced_port, settled

CONF = (PROJECT / "openresty.conf").read_text()

OWN = """\
user www-data;
  daemon off;
pid /run/nginx.pid;
worker_processes 2;
events { }
http {
    # listen 81;
    server {
        listen 80 default_server;
        listen [::]:80 ipv6only=on;
        listen 10.0.0.7:80;
        listen unix:/run/edge.sock;
        server_name localhost;
    }
    server { listen *:80; }
    server {
        listen 127.0.0.1:18080;
    }
    server {
        listen unix:sockets/bridge.sock;
    }
}
"""


def test_the_ports_of_clients() -> None:
    assert public_ports(CONF) == [8080]
    assert public_ports(OWN) == [80]
    assert public_ports("server { listen localhost; }\nserver {\n listen [::1];\n}") == [80]
    assert public_ports(" listen 443 ssl;\n listen [::]:443;\n listen 8080;") == [443, 8080]
    assert public_ports("http { }") == []


def test_a_port_is_moved_wherever_it_stands() -> None:
    made = moved(OWN, {80: 9000, 81: 9001, 18080: 9002})
    assert [line.strip() for line in made.splitlines() if "listen" in line] == [
        "# listen 81;",
        "listen 9000 default_server;",
        "listen [::]:9000 ipv6only=on;",
        "listen 10.0.0.7:9000;",
        "listen unix:/run/edge.sock;",
        "server { listen *:9000; }",
        "listen 127.0.0.1:18080;",
        "listen unix:sockets/bridge.sock;",
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (" listen localhost;", " listen localhost:7;"),
        (" listen host80;", " listen host80:7;"),
        (" listen [::1];", " listen [::1]:7;"),
        (" listen 80;\n listen 443 ssl;", " listen 7;\n listen 9443 ssl;"),
        (" listen [::]:443 ssl http2;", " listen [::]:9443 ssl http2;"),
    ],
)
def test_what_else_a_listen_says_stays(before: str, after: str) -> None:
    assert moved(before, {80: 7, 443: 9443}) == after
    assert moved(before, {80: 80, 443: 443}) == before


@pytest.mark.parametrize(
    ("text", "old"),
    [
        (" listen localhost;", 80),
        (" listen 9999;", 9999),
        (" listen 80;\n listen 8080;\n listen 8443 ssl;", 8080),
        (" listen 443 ssl;\n listen 80;", 80),
        (" listen 80;\n listen 7;", 7),
        (" listen 443 ssl;\n listen 81;", None),
        (" listen unix:/run/x;", None),
    ],
)
def test_which_port_is_replaced(text: str, old: int | None) -> None:
    assert replaced_port(text, 7) == old


def test_a_check_reaches_nobody() -> None:
    ports: dict[int, int] = {}
    made = isolated(OWN, lambda port: ports.setdefault(port, 4000 + len(ports)))
    assert [line.strip() for line in made.splitlines() if "listen" in line][1:] == [
        "listen 127.0.0.1:4000 default_server;",
        "listen [::1]:4000 ipv6only=on;",
        "listen 127.0.0.1:4000;",
        "listen unix:sockets/run-edge-sock.sock;",
        "server { listen 127.0.0.1:4000; }",
        "listen 127.0.0.1:4001;",
        "listen unix:sockets/bridge.sock;",
    ]


def test_what_an_instance_decides_itself() -> None:
    made = settled(OWN).splitlines()
    assert made[:4] == [
        "# user www-data;",
        "# daemon off;",
        "pid logs/nginx.pid;",
        "worker_processes 2;",
    ]
    assert made[4:] == OWN.splitlines()[4:]
    assert settled(CONF) == CONF
    lua = "pid logs/nginx.pid;\nhttp {\n    init_by_lua_block {\n        user = 1;\n    }\n}\n"
    assert settled(lua) == lua
    assert settled("events { }\nhttp { }\n").startswith("pid logs/nginx.pid; events { }\n")
