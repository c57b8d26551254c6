"""openresty.conf as text: what every build of nginx must find in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import crossplane
import pytest

from sidecar.cli.instance import render

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "openresty.conf"

# Directives and APIs that only one of Debian's 1.22.1 with ngx_lua 0.10.23 and OpenResty has.
ONE_SIDED = re.compile(r"^(echo|more_|set_(escape|unescape|hashed|quote|misc)|proxy_pass_trailers)")


def walk(block: list[dict[str, Any]], path: tuple[str, ...] = ()) -> Iterator[Any]:
    for entry in block:
        yield path, entry
        yield from walk(entry.get("block", []), (*path, entry["directive"]))


@pytest.fixture(scope="module")
def entries() -> list[Any]:
    parsed = crossplane.parse(str(CONF), single=True, comments=False)
    assert parsed["status"] == "ok", parsed["errors"]
    return list(walk(parsed["config"][0]["parsed"]))


def args(entries: list[Any], directive: str) -> list[list[str]]:
    return [entry["args"] for _, entry in entries if entry["directive"] == directive]


def test_modules_are_loaded_first(entries: list[Any]) -> None:
    assert CONF.read_text().startswith("include modules.d/*.conf;")
    assert entries[0][1]["directive"] == "include"
    assert not args(entries, "load_module")


def test_lua_blocks_hold_no_logic(entries: list[Any]) -> None:
    blocks = [entry for _, entry in entries if entry["directive"].endswith("_by_lua_block")]
    assert blocks
    for block in blocks:
        lines = [line.strip() for line in block["args"][0].strip().splitlines()]
        if block["directive"] == "init_by_lua_block":
            call = r"\w+ = (require \"origin\"|origin\.location \[\[.*\]\])"
            assert all(re.fullmatch(call, line) for line in lines), lines
        else:
            assert len(lines) == 1
            assert re.fullmatch(r"\w+:content\(\)", lines[0])


def test_nothing_that_only_one_build_has(entries: list[Any]) -> None:
    for _, entry in entries:
        assert not ONE_SIDED.match(entry["directive"]), entry
        assert not (entry["directive"] == "http2" and entry["args"]), "an unknown word in 1.22"
    for source in (ROOT / "lua").rglob("*.lua"):
        text = source.read_text()
        assert not re.search(r"location\.capture|resty\.(lock|string|sha|md5|random)", text), source


def test_every_path_of_nginx_is_below_the_prefix(entries: list[Any]) -> None:
    temp = {entry["directive"] for _, entry in entries if entry["directive"].endswith("_temp_path")}
    assert temp == {
        f"{name}_temp_path" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    }
    for name in (*temp, "pid", "error_log", "access_log", "root"):
        for values in args(entries, name):
            assert not values[0].startswith("/"), (name, values)


def test_sockets_are_relative_and_only_lua_reaches_the_sidecar(entries: list[Any]) -> None:
    listens = args(entries, "listen")
    assert listens == [["unix:sockets/bridge.sock"], ["8080"]]
    (passed,) = [item for item in entries if item[1]["directive"] == "grpc_pass"]
    assert passed[1]["args"] == ["grpc://sidecar"]
    bridge = "unix:sockets/bridge.sock"
    assert bridge in (ROOT / "lua/origin/rpc/client.lua").read_text()
    rpc = ["=", "/origin.v1.Origin/Plan"]
    assert rpc in args(entries, "location")


def test_an_asset_has_one_process_until_that_fails(entries: list[Any]) -> None:
    assert args(entries, "grpc_next_upstream") == [["off"]], "Lua makes it again"
    (server,) = [
        entry
        for path, entry in entries
        if entry["directive"] == "server" and path[-1:] == ("upstream",)
    ]
    assert server["args"] == ["unix:sockets/sidecar-0.sock", "max_fails=1", "fail_timeout=1s"]
    assert args(entries, "hash") == [["$http_x_origin_asset", "consistent"]]


def test_dictionaries_that_lua_needs_are_declared(entries: list[Any]) -> None:
    declared = {values[0] for values in args(entries, "lua_shared_dict")}
    used = set()
    for source in (ROOT / "lua").rglob("*.lua"):
        used |= set(re.findall(r"shared\.(\w+)", source.read_text()))
    assert declared == used == {"origin_plans", "origin_locks"}


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("/a.ism/.m3u8", "virtual"),
        ("/v/a.isml/Manifest", "virtual"),
        ("/a.mp4/dash/x.dash", "virtual"),
        ("/a.ism/x.ism", "virtual"),
        ("/a.ism/.hidden", "virtual"),
        ("/a.ism", "denied"),
        ("/a.isml", "denied"),
        ("/a.ismv", "denied"),
        ("/a.isma", "denied"),
        ("/a.ismt", "denied"),
        ("/a.cmfv", "denied"),
        ("/ch.db3", "denied"),
        ("/.git/config", "denied"),
        ("/a.mp4", "virtual"),
        ("/a.ism/a.mp4", "virtual"),
        ("/a.ism/.mp4", "virtual"),
        ("/.a.mp4", "denied"),
        ("/.git/a.mp4", "denied"),
        ("/index.html", "static"),
        ("/aism/x", "static"),
    ],
)
def test_which_location_answers(entries: list[Any], uri: str, place: str) -> None:
    """nginx takes the first regular expression that matches."""
    for _, entry in entries:
        words = entry["args"]
        if entry["directive"] == "location" and words[0] == "~" and re.search(words[1], uri):
            inner = [one["directive"] for one in entry["block"]]
            found = "virtual" if "content_by_lua_block" in inner else "denied"
            break
    else:
        found = "static"
    assert found == place


def test_the_launcher_can_change_it() -> None:
    text = render(CONF.read_text(), port=9090, workers=3)
    assert re.findall(r"listen 9090", text)
    assert len(re.findall(r"server unix:sockets/sidecar-\d\.sock", text)) == 3


def test_comments_give_reasons() -> None:
    lines = CONF.read_text().splitlines()
    comments = [line for line in lines if line.strip().startswith("#")]
    assert len(comments) > len(lines) / 5
