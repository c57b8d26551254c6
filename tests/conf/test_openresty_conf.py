"""openresty.conf as text: what every build of nginx must find in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import crossplane
import pytest

from sidecar.cli.instance import render
from tests.support.lua import Lua, plain

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
        lines = [line.strip() for line in block["args"][-1].strip().splitlines()]
        if block["directive"] == "init_by_lua_block":
            call = r"\w+ = (require \"origin\"|origin\.location \[\[.*\]\])"
            call += r"|origin\.http \[\[.*\]\]"
            assert all(re.fullmatch(call, line) for line in lines), lines
        else:
            assert len(lines) == 1
            call = r"\w+:content\(\)|(return )?origin\.(log|metrics|alive|ready|passed|start_worker"
            call += r"|upstream|connect)\(\)"
            assert re.fullmatch(call, lines[0])


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
    fetch, bridge = "unix:sockets/fetch.sock", "unix:sockets/bridge.sock"
    assert listens == [[fetch], [bridge], ["127.0.0.1:18080"], ["8080"]]
    assert f'"{fetch}"' in (ROOT / "lua/origin/remote/fetch.lua").read_text()
    passed = args(entries, "grpc_pass")
    one = ["grpc://unix:sockets/sidecar-$http_x_origin_worker.sock"]
    assert passed == [["grpc://$origin_process"], one]
    assert ["$http_x_origin_worker", "$origin_process"] in args(entries, "map")
    (chosen,) = (
        {row["directive"]: row["args"] for row in entry["block"]}
        for _, entry in entries
        if entry["directive"] == "map" and "$origin_process" in entry["args"]
    )
    assert chosen == {"": ["sidecar"], "default": [one[0].removeprefix("grpc://")]}
    assert bridge in (ROOT / "lua/origin/rpc/client.lua").read_text()
    rpc = ["=", "/origin.v1.Origin/Plan"]
    assert rpc in args(entries, "location")


def test_an_asset_has_one_process_until_that_fails(entries: list[Any]) -> None:
    assert args(entries, "grpc_next_upstream") == [["off"]], "Lua makes it again"
    servers = [
        entry["args"]
        for path, entry in entries
        if entry["directive"] == "server" and path[-1:] == ("upstream",)
    ]
    assert servers == [
        ["unix:sockets/sidecar-0.sock", "max_fails=1", "fail_timeout=1s"],
        ["unix:sockets/ingest-0.sock", "max_fails=0"],
        ["0.0.0.1"],
    ]
    assert args(entries, "hash") == [["$http_x_origin_asset", "consistent"]] * 2


def test_dictionaries_that_lua_needs_are_declared(entries: list[Any]) -> None:
    declared = {values[0] for values in args(entries, "lua_shared_dict")}
    used = set()
    for source in (ROOT / "lua").rglob("*.lua"):
        used |= set(re.findall(r"shared\.(\w+)", source.read_text()))
    assert declared == used == {"origin_plans", "origin_locks", "origin_metrics"}


def test_metrics_and_health_are_for_this_machine_only(entries: list[Any]) -> None:
    (server,) = [
        entry["block"]
        for _, entry in entries
        if entry["directive"] == "server"
        and {"directive": "listen", "args": ["127.0.0.1:18080"]}
        in [{key: one[key] for key in ("directive", "args")} for one in entry.get("block", [])]
    ]
    rules = [one["args"] for one in server if one["directive"] in ("allow", "deny")]
    assert rules == [["127.0.0.1"], ["all"]]
    answered = [one["args"] for one in server if one["directive"] == "location"]
    assert answered == [["=", "/metrics"], ["=", "/healthz"], ["=", "/readyz"], ["/"]]


def fetch_server(entries: list[Any]) -> list[Any]:
    """All directives of the server that gets slices from other servers."""
    (server,) = [
        entry["block"]
        for _, entry in entries
        if entry["directive"] == "server"
        and any(one["args"] == ["unix:sockets/fetch.sock"] for one in entry.get("block", []))
    ]
    return [one for _, one in walk(server)]


def test_what_is_fetched_lies_where_lua_reads_it(entries: list[Any]) -> None:
    (cache,) = args(entries, "proxy_cache_path")
    assert cache[0] == "cache"
    assert {"levels=1:2", "use_temp_path=off"} <= set(cache[1:])
    assert any(word.startswith("max_size=") for word in cache)
    slices = (ROOT / "lua/origin/remote/slices.lua").read_text()
    assert 'prefix() .. "cache/"' in slices
    server = {one["directive"]: one["args"] for one in fetch_server(entries)}
    assert server["proxy_cache_key"] == ["$http_x_origin_key"]
    (silence,) = server["proxy_read_timeout"]
    assert (
        f"SILENCE = {silence.removesuffix('s')}\n"
        in (ROOT / "lua/origin/remote/fetch.lua").read_text()
    )


def test_nothing_of_a_signature_is_logged_or_handed_on(entries: list[Any]) -> None:
    server = fetch_server(entries)
    words = {one["directive"]: one["args"] for one in server}
    assert words["access_log"] == ["off"]
    assert words["error_log"] == ["logs/error.log", "emerg"]
    assert words["proxy_ssl_verify"] == ["on"]
    taken = {
        one["args"][0]: one["args"][1] for one in server if one["directive"] == "proxy_set_header"
    }
    lua = (ROOT / "lua/origin/remote/fetch.lua").read_text()
    named = set(re.findall(r'"(X-Origin-\w+): ', lua))
    assert named
    assert named == {name for name in taken if name.startswith("X-Origin-")}
    assert all(taken[name] == "" for name in named)


def test_every_variable_of_the_log_has_a_value(entries: list[Any]) -> None:
    formats = [" ".join(words) for words in args(entries, "log_format")]
    used = set(re.findall(r"\$(origin_\w+)", " ".join(formats)))
    declared = {values[1][1:] for values in args(entries, "map")}
    assert {"origin_result", "origin_plan", "origin_parts", "origin_asset"} == used <= declared


def locations(entries: list[Any]) -> list[Any]:
    """Those of the server for clients, in order."""
    servers = [entry.get("block") for _, entry in entries if entry["directive"] == "server"]
    blocks = [block for block in servers if block and any(is_root(one) for one in block)]
    assert len(blocks) == 1
    return [entry for entry in blocks[0] if entry["directive"] == "location"]


def is_root(entry: Any) -> bool:
    return bool(entry["directive"] == "root")


def matching(entries: list[Any], uri: str) -> Any:
    """The location of ``uri``: nginx takes the first regular expression that matches."""
    for entry in locations(entries):
        kind, pattern = entry["args"] if len(entry["args"]) == 2 else ("", "")
        if kind in ("~", "~*") and re.search(pattern, uri, re.I if kind == "~*" else 0):
            return entry
    (plain,) = [entry for entry in locations(entries) if entry["args"] == ["/"]]
    return plain


def inside(entry: Any, directive: str) -> list[list[str]]:
    return [one["args"] for one in entry["block"] if one["directive"] == directive]


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("/a.ism/.m3u8", "vod"),
        ("/v/a.isml/Manifest", "vod"),
        ("/a.mp4/dash/x.dash", "vod"),
        ("/a.ism/x.ism", "vod"),
        ("/a.ism/.hidden", "vod"),
        ("/a.ism/x\ny", "vod"),
        ("/a.ism", "vod"),
        ("/A.ISML", "vod"),
        ("/channels/one/one.isml/.mpd", "live"),
        ("/channels/one/one.isml/Streams(1)", "live"),
        ("/channels/one/one.isml", "live"),
        ("/channels/one/one.ISML", "live"),
        ("/channels/films/a.ism/.mpd", "live"),
        ("/other/channels/one.isml/.mpd", "vod"),
        ("/a.ismv", "403"),
        ("/a.isma", "403"),
        ("/a.ismt", "403"),
        ("/a.cmfv", "403"),
        ("/a.cmfa", "403"),
        ("/a.cmft", "403"),
        ("/A.ISMV", "403"),
        ("/a.CmfV", "403"),
        ("/channels/one/a.ismv", "403"),
        ("/a.cmfm", "404"),
        ("/ch.db3", "404"),
        ("/ch.db3-wal", "404"),
        ("/CH.DB3-SHM", "404"),
        ("/a.CMFM", "404"),
        ("/.git/config", "404"),
        ("/.git/a.ism", "404"),
        ("/a.mp4", "vod"),
        ("/a.ism/a.mp4", "vod"),
        ("/a.ism/.mp4", "vod"),
        ("/.a.mp4", "404"),
        ("/.git/a.mp4", "404"),
        ("/.git/a.mp4/.m3u8", "404"),
        ("/films/.a.ism/.m3u8", "404"),
        ("/channels/.old/one.isml/.mpd", "404"),
        ("/index.html", "static"),
        ("/aism/x", "static"),
        ("/channels/poster.jpg", "static"),
    ],
)
def test_which_location_answers(entries: list[Any], uri: str, place: str) -> None:
    found = matching(entries, uri)
    assert (inside(found, "deny") == [["all"]]) == (place == "403")
    assert inside(found, "return") == ([["404"]] if place == "404" else [])
    handlers = [args[0].strip() for args in inside(found, "content_by_lua_block")]
    assert handlers == ([f"{place}:content()"] if place in ("vod", "live") else [])


def test_methods_that_locations_refuse(entries: list[Any]) -> None:
    """Lua knows more of the others: 405 with Allow, and preflights."""
    limits = {
        location["args"][-1]: (limit["args"], inside(limit, "deny"))
        for location in locations(entries)
        for limit in location["block"]
        if limit["directive"] == "limit_except"
    }
    everyone = [["all"]]
    assert limits == {
        r"^/channels/.*\.[is]sml?$": (["POST", "PUT"], everyone),
        r"\.[is]sml?$": (["GET", "OPTIONS"], everyone),
        "/": (["GET", "OPTIONS"], everyone),
    }


def test_only_ingest_takes_bodies_of_any_size(entries: list[Any]) -> None:
    unlimited = [
        location["args"][-1]
        for location in locations(entries)
        if inside(location, "client_max_body_size") == [["0"]]
    ]
    assert unlimited == [
        r"^/channels/.*\.[is]sml?/",
        r"^/channels/.*\.[is]sml?$",
        "@ingest",
        r"\.isml(/|$)",
    ]
    assert len(args(entries, "client_max_body_size")) == 5, "and the limit of all others"
    for uri in ("/channels/one/one.isml/Streams(1)", "/channels/one/one.isml"):
        assert inside(matching(entries, uri), "root") == [["live"]]


def test_bodies_of_encoders_go_on_as_they_come(entries: list[Any]) -> None:
    (ingest,) = [one for one in locations(entries) if one["args"] == ["@ingest"]]
    assert inside(ingest, "proxy_pass") == [["http://ingest"]]
    assert inside(ingest, "proxy_request_buffering") == [["off"]]
    assert inside(ingest, "proxy_http_version") == [["1.1"]], "or bodies in chunks need a length"
    assert inside(ingest, "proxy_ignore_client_abort") == [["on"]], "or the last bytes may be lost"
    hidden = {name for (name,) in inside(ingest, "proxy_hide_header")}
    assert hidden == {"X-Origin-Result", "X-Origin-Kind"}


def test_what_is_made_is_compressed_where_it_is_text(entries: list[Any]) -> None:
    (types,) = args(entries, "gzip_types")
    text = r"mpegurl|dash\+xml|sstr\+xml|f4m\+xml|ttml\+xml|text/vtt|video/abst"
    known = {entry["directive"] for path, entry in entries if path[-1:] == ("types",)}
    assert {one for one in known if re.search(text, one)} <= set(types)
    media = {one for one in types if re.match("(video|audio|image)/", one)}
    assert media == {"video/abst", "image/svg+xml"}, "others are compressed already"


def test_plain_files_have_the_cors_headers_of_made_ones(entries: list[Any]) -> None:
    listed = plain(Lua().require("http.cors"))
    names, values = listed["headers"][::2], listed["headers"][1::2]
    expected = dict(zip(names, values, strict=True)) | {
        b"Access-Control-Max-Age": listed["max_age"]
    }
    found = inside(matching(entries, "/poster.jpg"), "add_header")
    assert {name.encode(): value.encode() for name, value, _ in found} == expected
    assert {always for *_, always in found} == {"always"}


def test_examples_are_there_as_comments() -> None:
    text = CONF.read_text()
    for example in (
        r"# location ~* \.mp4$ {",
        "# disable_symlinks if_not_owner from=$document_root;",
        "# location ~ Seg[0-9]+-Frag[0-9]+$ {",
        "# location = /crossdomain.xml {",
        "# location = /clientaccesspolicy.xml {",
        "# listen 8443 ssl http2;",
        "# map $sent_http_content_type $origin_expires {",
    ):
        assert re.search(rf"^ +{re.escape(example)}$", text, re.MULTILINE), example


def test_the_launcher_can_change_it() -> None:
    text = render(CONF.read_text(), port=9090, workers=3)
    assert re.findall(r"listen 9090", text)
    assert len(re.findall(r"server unix:sockets/sidecar-\d\.sock", text)) == 3


def test_comments_give_reasons() -> None:
    """Every limit and time-out, and every location for clients."""
    text = CONF.read_text()
    begin = text.index("listen 8080;")
    limits = r"^\s*(client_(\w+_timeout|max_body_size)|send_timeout|keepalive_|grpc_\w+_timeout)\b"
    for part, told in ((text[begin:], r"^\s*location"), (text, limits)):
        for paragraph in re.split(r"\n\s*\n", part):
            if re.search(told, paragraph, re.MULTILINE):
                assert "# " in paragraph, paragraph
