"""Migrations: what becomes of each directive, and what stays as it was."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sidecar.migrate.rewrite import Migration, migrate
from sidecar.migrate.shipped import read_shipped
from sidecar.migrate.tree import ConfigurationError, Statement, read

ROOT = Path(__file__).resolve().parents[3]
CONFIGURATIONS = Path(__file__).parent / "configurations"
SHIPPED = read_shipped(ROOT / "openresty.conf")


def migrated(folder: Path, http: str, main: str = "") -> Migration:
    (folder / "nginx.conf").write_text(f"{main}events {{ }}\nhttp {{\n{http}\n}}\n")
    return migrate(folder / "nginx.conf", SHIPPED, None)


def location(body: str, name: str = "/", server: str = "") -> str:
    return f"server {{\nlisten 80;\n{server}\nlocation {name} {{\n{body}\n}}\n}}"


def flat(statements: tuple[Statement, ...], path: str = "") -> list[str]:
    found: list[str] = []
    for one in statements:
        if one.comment is None:
            text = f"{path}{one.directive} {' '.join(one.args)}".strip()
            found += [text, *flat(one.block or (), f"{text} > ")]
    return found


def directives(folder: Path, text: str) -> list[str]:
    """All of a configuration, each with the blocks that it is in."""
    (folder / "made.conf").write_text(text)
    return flat(read(folder / "made.conf"))


def objects(text: str) -> list[str]:
    """The lines that define objects."""
    return [line.strip() for line in text.splitlines() if " = origin.location" in line]


@pytest.mark.parametrize("name", ["documented/conf", "distribution", "ancestor/conf"])
def test_all_else_stays(name: str, tmp_path: Path) -> None:
    """Whatever is not of the original module is in the result, at the same place."""
    file = CONFIGURATIONS / name / "nginx.conf"
    made = migrate(file, SHIPPED, tmp_path)
    after = directives(tmp_path, made.text)
    ours = re.compile(
        r"(^|> )((usp|ism|s3|fmp4)_|ism\b|mp4\b|alias|include|root html|load_module"
        r"|lua_package_path|init_by|log_by)"
    )
    before = [line for line in flat(read(file)) if not ours.search(line)]
    assert len(before) > 10
    assert [line for line in before if line not in after] == []
    comments = re.findall(r"^\s*# .*", file.read_text(), re.MULTILINE)
    assert all(comment.strip() in made.text for comment in comments)


def test_parts_of_the_shipped_file_are_there(tmp_path: Path) -> None:
    text = migrated(tmp_path, location("usp_handle_ism;")).text
    after = directives(tmp_path, text)
    shipped = flat(read(ROOT / "openresty.conf"))
    needed = [
        line
        for line in shipped
        if re.match(
            r"include|http > (lua_|upstream|map|log_format|proxy_cache_path|\w+_temp_path)", line
        )
    ]
    assert len(needed) > 15
    assert [line for line in needed if line not in after] == []
    assert "http > server > listen unix:sockets/bridge.sock" in after
    assert "http > server > listen unix:sockets/fetch.sock" in after
    assert "http > server > listen 127.0.0.1:18080" in after
    assert "http > server > listen 8080" not in after
    assert text.startswith("include modules.d/*.conf;")
    assert 'origin = require "origin"' in text
    assert "usp_license_key license/license.key;" in text


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("usp_handle_ism;", "vod = origin.location [[ usp_handle_ism on; ]]"),
        ("usp_handle_ism on;", "vod = origin.location [[ usp_handle_ism on; ]]"),
        ("usp_handle_f4f;", "hds = origin.location [[ usp_handle_f4f on; ]]"),
        ("ism;", "vod = origin.location [[ usp_handle_ism on; ]]"),
        ("mp4;", "vod = origin.location [[ usp_handle_ism on; ]]"),
        (
            "usp_handle_ism; usp_iss_pass_through;",
            "vod_pass_through = origin.location [[ usp_handle_ism on; usp_iss_pass_through on; ]]",
        ),
        (
            "usp_handle_ism; usp_prefer_static on; usp_skip_rewrite off; usp_disable_mmap;",
            "vod_static_unmapped = origin.location "
            "[[ usp_handle_ism on; usp_prefer_static on; usp_disable_mmap on; ]]",
        ),
        (
            "usp_handle_ism; usp_dynamic_time_shift_buffer_depth on;",
            "live = origin.location "
            "[[ usp_handle_ism on; usp_dynamic_time_shift_buffer_depth on; ]]",
        ),
        (
            "s3_region 'eu-central-1'; s3_use_headers; usp_handle_ism; s3_secret_key 'h+/=';"
            'ism_proxy_pass /vod/ https://b.s3.example.com/; s3_access_key "AKIA";',
            "vod_remote = origin.location [[ usp_handle_ism on; s3_use_headers on; ism_proxy_pass "
            "/vod/ https://b.s3.example.com/; s3_access_key AKIA; s3_secret_key h+/=; s3_region "
            "eu-central-1; ]]",
        ),
    ],
)
def test_directives_become_an_object(body: str, expected: str, tmp_path: Path) -> None:
    text = migrated(tmp_path, location(body)).text
    assert objects(text) == [expected]
    name = expected.split()[0]
    assert f"content_by_lua_block {{ {name}:content() }}" in text
    assert not re.search(r"^\s*(usp_(?!license)|ism|mp4)\w*( on)?;", text, re.MULTILINE)


def test_equal_locations_share_and_others_derive(tmp_path: Path) -> None:
    http = "server {\nlisten 80;\n" + "".join(
        f"location /{n}/ {{ usp_handle_ism; {more} }}\n"
        for n, more in enumerate(
            [
                "usp_prefer_static; usp_disable_mmap;",
                "",
                "usp_prefer_static;",
                "",
                "usp_disable_mmap off;",
            ]
        )
    )
    text = migrated(tmp_path, f"{http}}}").text
    assert objects(text) == [
        "vod = origin.location [[ usp_handle_ism on; ]]",
        "vod_static = origin.location(vod, [[ usp_prefer_static on; ]])",
        "vod_static_unmapped = origin.location(vod_static, [[ usp_disable_mmap on; ]])",
    ]
    called = re.findall(r"(\w+):content", text)
    assert called == ["vod_static_unmapped", "vod", "vod_static", "vod", "vod"]


def test_directives_of_outer_blocks_hold_in_locations(tmp_path: Path) -> None:
    text = migrated(
        tmp_path,
        "usp_disable_mmap;\n"
        + location(
            "usp_handle_ism; location ~ /b/ { usp_prefer_static off; }", server="usp_prefer_static;"
        ),
    ).text
    after = directives(tmp_path, text)
    inner = "location / > location ~ /b/ > content_by_lua_block  vod_unmapped:content()"
    assert any(line.endswith(inner) for line in after)
    outer = "server > location / > content_by_lua_block  vod_static_unmapped:content()"
    assert any(line.endswith(outer) for line in after)


@pytest.mark.parametrize(
    ("name", "body", "streams"),
    [
        (r"~ \.[is]sml?/.*$", "", True),
        (r"~ /vod/.*\.ism/", "add_header X y;", True),
        ("/", "", False),
        (r"~ \.ism/", "return 204;", False),
        (r"~ \.ism/", "proxy_pass http://127.0.0.1:1;", False),
        (r"~ \.ism/", "usp_handle_ism off;", False),
    ],
)
def test_a_handler_of_the_server_reaches_locations_for_manifests(
    name: str, body: str, streams: bool, tmp_path: Path
) -> None:
    made = migrated(tmp_path, location(body, name, server="usp_handle_ism;"))
    after = directives(tmp_path, made.text)
    inside = [line for line in after if f"location {name} > content_by_lua_block" in line]
    assert bool(inside) is streams
    # A server in which no location would stream gets one.
    own = [line for line in after if r"location ~ \.[is]sml?/ > content_by_lua" in line]
    assert bool(own) is not streams
    assert made.streaming == 1


@pytest.mark.parametrize(
    ("before", "rewrite", "root"),
    [
        ("/vod/", r"^/vod/(.*)$ /$1 break", "/srv/video/"),
        ("/vod", r"^/vod(.*)$ $1 break", "/srv/video/"),
        ("^~ /a.b/", r"^/a\.b/(.*)$ /$1 break", "/srv/video/"),
    ],
)
def test_an_alias_is_a_root_and_a_rewrite(
    before: str, rewrite: str, root: str, tmp_path: Path
) -> None:
    text = migrated(tmp_path, location("alias /srv/video/;\nusp_handle_ism;", before)).text
    after = directives(tmp_path, text)
    assert any(line.endswith(f"> rewrite {rewrite}") for line in after)
    assert any(line.endswith(f"> root {root}") for line in after)
    assert not any("alias" in line for line in after)


@pytest.mark.parametrize(
    ("http", "message"),
    [
        (
            location("usp_handle_ism; ism_proxy_pass balancer://a/;"),
            r"nginx.conf:7: ism_proxy_pass is left out",
        ),
        (location("usp_handle_ism; ism_proxy_pass http://a;"), "ism_proxy_pass is left out"),
        (
            location("usp_handle_ism; s3_access_key A; s3_secret_key hush;"),
            "the keys are left out: s3_access_key",
        ),
        (location("usp_handle_ism; s3_secret_key $hush;"), "s3_secret_key is left out"),
        (location("usp_handle_ism; usp_prefer_statik;"), 'did you mean "usp_prefer_static"'),
        (
            location("usp_handle_ism; usp_entirely_else 1;"),
            "usp_entirely_else is left out: it is u",
        ),
        (location("usp_handle_ism; usp_prefer_static maybe;"), 'it takes "on" or "off"'),
        (location("usp_handle_ism; limit_except GET { usp_handle_ism; }"), "does nothing in"),
        (location("usp_handle_ism; alias /a/;", "~ ^/(.*)"), "alias is left out"),
        ("lua_code_cache off;\n" + location("usp_handle_ism;"), "lua_code_cache is left out"),
        (location("usp_handle_ism;", server="if ($a) { usp_prefer_static; }"), "does nothing in"),
    ],
)
def test_what_is_left_out_is_said(http: str, message: str, tmp_path: Path) -> None:
    made = migrated(tmp_path, http)
    assert any(re.search(message, note) for note in made.notes), made.notes
    assert made.lost >= 1
    assert all(note.startswith(str(tmp_path)) for note in made.notes)
    assert not any("hush" in note for note in made.notes), "no secret is shown"
    assert not re.search(r"^\s*(ism_|s3_|usp_entirely|usp_prefer_statik)", made.text, re.MULTILINE)


@pytest.mark.parametrize(
    ("http", "message"),
    [
        ("usp_license_key /etc/x;\n" + location("usp_handle_ism;"), "license/license.key takes"),
        (location("usp_handle_ism; rewrite ^ /a.ism?bitrate=1 break;"), "URLs with bitrate="),
        (location("usp_handle_ism;\nroot html;"), "name that by --prefix"),
        ("limit_req zone=a;\n" + location("usp_handle_ism;"), "limit the calls to the sidecar"),
        (location("alias /a/; location ~ x { usp_handle_ism; }", "/v/"), "alias of the outer"),
        (location("mp4;"), "downloads come from the origin"),
        (location("usp_handle_ism;\nusp_handle_api;"), "what streams needs another one"),
        ("server { listen 18080; }\n" + location("usp_handle_ism;"), "port 18080 is in use"),
    ],
)
def test_what_to_look_at_is_said(http: str, message: str, tmp_path: Path) -> None:
    made = migrated(tmp_path, http)
    assert any(re.search(message, note) for note in made.notes), made.notes
    assert made.lost == 0


def test_the_api_has_an_object_of_its_own(tmp_path: Path) -> None:
    http = location(
        "", server=r"usp_handle_ism; location ~ \.isml { usp_handle_api on; } location /vod { }"
    )
    text = migrated(tmp_path, http).text
    lines = "\n".join(directives(tmp_path, text))
    assert r"location ~ \.isml > content_by_lua_block  api:content()" in lines
    assert "api = origin.location [[ usp_handle_api on; ]]" in text


def test_what_encoders_post_has_its_location(tmp_path: Path) -> None:
    text = migrated(
        tmp_path, "upstream ingest { server 127.0.0.1:1; }\n" + location("usp_handle_ism;")
    ).text
    lines = directives(tmp_path, text)
    assert "http > upstream origin_ingest" in lines
    inside = [line.rpartition("location @ingest > ")[2] for line in lines if "@ingest >" in line]
    assert "proxy_pass http://origin_ingest" in inside
    assert "proxy_request_buffering off" in inside


def test_lua_at_the_start_is_merged(tmp_path: Path) -> None:
    text = migrated(
        tmp_path,
        'init_by_lua "vod = 1\\nif vod then x = \\"}\\" end";\n'
        "init_worker_by_lua_file lua/worker.lua;\n"
        "log_by_lua_block { count() }\n" + location("usp_handle_ism;"),
    ).text
    after = directives(tmp_path, text)
    for phase in ("init", "init_worker"):
        assert sum(f"http > {phase}_by_lua" in line for line in after) == 1
    init = text[text.index("init_by_lua_block") : text.index("init_worker")]
    assert init.index("origin.location") < init.index("vod = 1")
    assert 'if vod then x = "}" end' in init
    assert "origin_vod = origin.location" in init, "a global of theirs keeps its name"
    assert 'dofile("lua/worker.lua")' in text
    (logged,) = [line for line in after if "server > log_by_lua_block" in line and "count" in line]
    assert logged.index("origin.log()") < logged.index("do count() end")


def test_servers_inside_do_not_inherit_what_is_for_clients(tmp_path: Path) -> None:
    text = migrated(
        tmp_path,
        "allow 10.0.0.0/8; deny all; auth_basic a; error_page 502 /sorry.html;\n"
        "access_by_lua_block { ngx.exit(403) }\n"
        "upstream sidecar { server 127.0.0.1:1; }\n" + location("usp_handle_ism;"),
    ).text
    bridge = text[text.index("listen unix:sockets/bridge.sock") : text.index("listen 127.0.0.1:18")]
    for line in ("allow all;", "auth_basic off;", "error_page 599 /;", "access_by_lua_block { }"):
        assert line in bridge
    assert "upstream origin_sidecar" in text and "grpc://$origin_process" in bridge
    (chosen,) = re.findall(r"map \$http_x_origin_worker \$origin_process \{\s+(.*);", text)
    assert chosen.split() == ['""', "origin_sidecar"]
    admin = text[text.index("listen 127.0.0.1:18") :]
    assert "allow all" not in admin


def test_includes_are_followed_where_they_must_change(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "a").write_text("# A\n" + location("usp_handle_ism;") + "\n")
    (tmp_path / "sites" / "b").write_text("server { listen 81; }\n")
    (tmp_path / "types").write_text("types { }\n")
    made = migrated(tmp_path, "include types;\ninclude sites/*;\ninclude absent;")
    after = directives(tmp_path, made.text)
    assert f"http > include {tmp_path}/types" in after
    assert f"http > include {tmp_path}/sites/b" in after
    assert f"# {tmp_path}/sites/a" in made.text and "# A\n" in made.text
    assert f"http > include {tmp_path}/sites/a" not in after
    assert made.streaming == 1
    assert any("stays as it is" in note and "absent" in note for note in made.notes)


def test_files_that_include_each_other(tmp_path: Path) -> None:
    (tmp_path / "loop").write_text("include loop;\n")
    with pytest.raises(ConfigurationError, match="includes are too deep"):
        migrated(tmp_path, "include loop;")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("events { }\nhttp { server { listen 80; } }\n", "no directive of the original module"),
        ("events { }\nhttp { server { usp_prefer_static; } }\n", "no location streams"),
        ("server { usp_handle_ism; }\n", "no http block"),
        ("http {\n", "unexpected end of file"),
    ],
)
def test_where_nothing_can_be_done(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        migrate(tmp_path / "nginx.conf", SHIPPED, None)


def test_what_is_made_is_not_migrated_again(tmp_path: Path) -> None:
    (tmp_path / "again.conf").write_text(migrated(tmp_path, location("usp_handle_ism;")).text)
    with pytest.raises(ConfigurationError, match="no directive of the original module"):
        migrate(tmp_path / "again.conf", SHIPPED, None)


def test_relative_paths_stay_what_they_were(tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_text(
        "load_module modules/a.so;\nload_module modules/ngx_http_smooth_streaming_module.so;\n"
        "error_log logs/e.log;\nhttp {\nserver {\nlisten 443 ssl;\nssl_certificate a.pem;\n"
        "ssl_certificate_key $key;\nauth_basic_user_file users;\nroot html/$host;\n"
        "location ~ ism { usp_handle_ism; access_by_lua_file lua/a.lua; } } }\n"
    )
    made = migrate(tmp_path / "nginx.conf", SHIPPED, Path("/opt/old"))
    after = "\n".join(directives(tmp_path, made.text))
    for expected in (
        "load_module /opt/old/modules/a.so",
        f"ssl_certificate {tmp_path}/a.pem",
        "ssl_certificate_key $key",
        f"auth_basic_user_file {tmp_path}/users",
        "root /opt/old/html/$host",
        "access_by_lua_file /opt/old/lua/a.lua",
        "error_log logs/e.log",
    ):
        assert expected in after
    assert "smooth_streaming" not in after
    assert made.notes == ()
