"""The public API without nginx: mistakes, inheritance, and that objects hold still."""

from __future__ import annotations

import re
from typing import Any

import pytest
from lupa.luajit21 import LuaError

from tests.support.lua import Lua, plain
from tests.support.mistakes import MISTAKES, Mistake

FIRST = 47

# Only what an init_by_lua block does is asked of it; settings are what handlers get.
NGINX = b"""
local nothing = setmetatable({}, { __call = function(self) return self end })
getmetatable(nothing).__index = function() return nothing end
ngx = setmetatable({ shared = {} }, { __index = function() return nothing end,
                                      __newindex = rawset })
ngx.config = { prefix = function() return "/srv/" end }
ngx.md5 = function(text) return "md5 of " .. text end
for _, name in ipairs { "origin_plans", "origin_locks", "origin_metrics" } do
    ngx.shared[name] = nothing
end
table.insert(package.loaders, function(name)
    if name:find("^ngx%.") or name:find("^resty%.") then
        return function() return nothing end
    end
end)
package.loaded["origin.handler"] = {
    content = function(settings) return settings end,
    alive = nothing,
}
"""


@pytest.fixture
def nginx() -> Lua:
    lua = Lua()
    lua.runtime.execute(NGINX)
    return lua


def run(lua: Lua, block: str) -> None:
    """``block`` as nginx runs it, from line 47 of openresty.conf on."""
    chunk = f'origin = require "origin" {block}'.encode()
    load = lua.runtime.eval(b"function(text, name) return assert(loadstring(text, name)) end")
    load(chunk, b"=init_by_lua(openresty.conf:%d)" % FIRST)()


def settings(lua: Lua, name: str) -> Any:
    return plain(lua.runtime.eval(f"{name}:content()".encode()))


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_raises_what_is_wrong_and_where(nginx: Lua, mistake: Mistake) -> None:
    if mistake.dictionary:
        nginx.run(f"ngx.shared.{mistake.dictionary} = nil")
    with pytest.raises(LuaError) as raised:
        run(nginx, mistake.lua)
    line = FIRST + (mistake.lua.count("\n") if mistake.line is None else mistake.line - 1)
    said = raised.value.args[0]
    first = (said.decode() if isinstance(said, bytes) else said).partition("\nstack")[0]
    assert first == f"openresty.conf:{line}: {mistake.says}"


def test_there_are_enough_of_them() -> None:
    kinds = {re.sub(r'"[^"]*"|\d+', "", mistake.says) for mistake in MISTAKES}
    assert len(kinds) >= 25
    assert len({mistake.name for mistake in MISTAKES}) == len(MISTAKES)


def test_a_location_has_its_parents_directives(nginx: Lua) -> None:
    run(
        nginx,
        """
        origin.http [[ origin_read_ahead 4; origin_status FMP4_NOT_FOUND * 410; ]]
        base = origin.location [[ usp_handle_ism on; origin_cors off; ]]
        second = origin.location(base, [[
            origin_read_ahead 8;
            usp_iss_pass_through on;
            origin_status FMP4_FRAGMENT_MISSING * 204;
            origin_status FMP4_FRAGMENT_MISSING iss 412;
        ]])
        third = origin.location(second, [[
            usp_iss_pass_through off;
            origin_cors on;
            origin_status FMP4_FRAGMENT_MISSING hls 404;
            origin_status FMP4_NOT_FOUND mpd 404;
        ]])
        other = origin.location [[ ]]
        """,
    )
    base, second, third, other = (
        settings(nginx, name) for name in ("base", "second", "third", "other")
    )
    assert (base["handle_ism"], base["cors"], base["read_ahead"]) == (True, False, 4)
    assert base["statuses"] == {"FMP4_NOT_FOUND": {"*": 410}}
    assert (second["handle_ism"], second["cors"], second["read_ahead"]) == (True, False, 8)
    assert second["statuses"] == {
        "FMP4_NOT_FOUND": {"*": 410},
        "FMP4_FRAGMENT_MISSING": {"*": 204, "iss": 412},
    }
    assert (third["handle_ism"], third["cors"], third["read_ahead"]) == (True, True, 8)
    assert third["statuses"] == {
        "FMP4_NOT_FOUND": {"*": 410, "mpd": 404},
        "FMP4_FRAGMENT_MISSING": {"*": 204, "iss": 412, "hls": 404},
    }
    assert (other["handle_ism"], other["cors"], other["read_ahead"]) == (False, True, 4)
    sent = [{one["name"]: one["args"] for one in found["directives"]} for found in (second, third)]
    assert sent == [{b"usp_iss_pass_through": [b"on"]}, {b"usp_iss_pass_through": [b"off"]}]
    assert second["digest"] != third["digest"] != base["digest"] == other["digest"] == b""


def test_a_status_for_all_formats_is_over_those_of_the_parent(nginx: Lua) -> None:
    run(
        nginx,
        """
        base = origin.location [[ origin_status FMP4_NOT_FOUND mpd 410; ]]
        child = origin.location(base, [[ origin_status FMP4_NOT_FOUND * 204; ]])
        """,
    )
    assert settings(nginx, "child")["statuses"] == {"FMP4_NOT_FOUND": {"*": 204}}
    assert settings(nginx, "base")["statuses"] == {"FMP4_NOT_FOUND": {"mpd": 410}}


def test_without_statuses_nothing_is_looked_up(nginx: Lua) -> None:
    run(nginx, "vod = origin.location [[ usp_handle_ism; ]]")
    assert "statuses" not in settings(nginx, "vod")


def test_folders_reach_the_sidecar_as_they_are_written(nginx: Lua) -> None:
    run(nginx, "vod = origin.location [[ origin_allow_src /srv/media/ '/mnt/a b'; ]]")
    (sent,) = settings(nginx, "vod")["directives"]
    assert sent == {"name": b"origin_allow_src", "args": [b"/srv/media/", b"/mnt/a b"]}


def test_secrets_are_in_what_the_sidecar_is_asked_and_nowhere_else(nginx: Lua) -> None:
    run(
        nginx,
        "s3 = origin.location [[ s3_access_key AKIA; s3_secret_key hush; s3_region r; ]]\n"
        "vod = origin.location(s3, [[ ism_proxy_pass http://s3.example.com/b/; ]])\n"
        "other = origin.location(s3, [[ s3_secret_key secret; ]])",
    )
    found = settings(nginx, "vod")
    names = [sent["name"] for sent in found["directives"]]
    assert names == [b"ism_proxy_pass", b"s3_access_key", b"s3_region", b"s3_secret_key"]
    shown = [sent["name"] for sent in found["open_directives"]]
    assert shown == [b"ism_proxy_pass", b"s3_region"]
    assert found["digest"].startswith(b"md5 of "), "a digest, and no list"
    assert settings(nginx, "s3")["digest"] != settings(nginx, "other")["digest"]


def test_an_object_shows_nothing_of_itself(nginx: Lua) -> None:
    run(nginx, "vod = origin.location [[ usp_handle_ism on; ]]")
    assert nginx.runtime.eval(b"getmetatable(vod)") is False
    assert nginx.runtime.eval(b"next(vod)") is None


def test_a_call_from_a_file_of_its_own(nginx: Lua) -> None:
    with pytest.raises(LuaError, match=r"conf\.lua:2: directive .gzip. is unknown"):
        text = 'origin = require "origin"\norigin.location [[ gzip on; ]]'
        nginx.run("assert(loadstring(..., '@conf.lua'))()", text.encode())
