"""FMP4_* globals: equal to the status of the response in exactly one case."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.lua import Lua, plain

# A request of ngx_lua, as far as results.lua looks at it.
NGX = """
    ngx = setmetatable({ status = 404 }, { __index = function(_, name)
        if name == "ctx" then
            if not request then error("no request found") end
            return request
        end
    end })
"""


@pytest.fixture
def lua() -> Lua:
    lua = Lua()
    lua.runtime.execute(NGX.encode())
    return lua


def install(lua: Lua) -> None:
    lua.runtime.execute(b"require('origin.results').install(_G)")


def holds(lua: Lua, condition: str) -> Any:
    return lua.run(f"return {condition}")


def test_a_name_equals_the_status_when_the_request_ended_in_it(lua: Lua) -> None:
    install(lua)
    lua.runtime.execute(
        b"request = { origin = require('origin.results').contexts[8] }"
        b"assert(request.origin.result == 'FMP4_FRAGMENT_MISSING')"
    )
    assert holds(lua, "ngx.status == FMP4_FRAGMENT_MISSING")
    assert not holds(lua, "ngx.status == FMP4_FRAGMENT_NOT_FOUND")
    assert not holds(lua, "ngx.status == FMP4_OK")
    lua.runtime.execute(b"ngx.status = 412")
    assert holds(lua, "FMP4_FRAGMENT_MISSING == 412")


@pytest.mark.parametrize("request_table", ["nil", "{}"])
def test_a_name_matches_nothing_in_other_requests_or_outside_of_one(
    lua: Lua, request_table: str
) -> None:
    install(lua)
    lua.runtime.execute(b"request = %s" % request_table.encode())
    for condition in ("ngx.status == FMP4_NOT_FOUND", "FMP4_OK == FMP4_OK", "FMP4_OK == nil"):
        assert not holds(lua, condition)
    assert not holds(lua, "FMP4_OK < 1 or FMP4_OK > 1")


def test_other_globals_are_what_they_were(lua: Lua) -> None:
    lua.runtime.execute(b"""
        writes = {}
        setmetatable(_G, {
            __newindex = function(t, name, value)
                writes[#writes + 1] = name
                rawset(t, name, value)
            end,
            __index = { from_before = 7 },
        })
    """)
    install(lua)
    install(lua)
    assert holds(lua, "from_before") == 7
    assert holds(lua, "FMP4_NO_SUCH_RESULT") is None
    lua.runtime.execute(b"fresh = 1")
    assert holds(lua, "#writes") == 1
    assert holds(lua, "fresh") == 1


def test_a_context_for_each_result_and_kind() -> None:
    context = Lua().require("results").context
    assert plain(context(7, b"hls.segment")) == {
        "result": b"FMP4_FRAGMENT_NOT_FOUND",
        "number": 7,
        "kind": b"hls.segment",
    }
    assert plain(context(0, None))["kind"] == b"other"
    assert context(99, b"hls.segment") is None
    for strange in (b"", b'a"b', b"a b", b"Upper", b"new\nline"):
        assert plain(context(0, strange))["kind"] == b"other"


def test_kinds_do_not_grow_without_end() -> None:
    context = Lua().require("results").context
    named = {plain(context(0, b"kind.%d" % number))["kind"] for number in range(1000)}
    assert 40 < len(named) <= 64
    assert b"other" in named
