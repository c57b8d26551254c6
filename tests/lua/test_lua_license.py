"""The license key as nginx reads it when it starts: whatever lies there, the start goes on."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from sidecar.license.text import MAX_BYTES, TITLE
from sidecar.service.licensing import DIRECTIVE
from tests.support.lua import Lua

KEY = "OpenOrigin license key 1\n\nHolder: Süd\n"

NGX = """
said, kept, timers = {}, {}, {}
ngx = {
    ERR = "error",
    WARN = "warn",
    config = { prefix = function() return prefix end },
    log = function(...) said[#said + 1] = table.concat({ ... }) end,
    shared = {
        origin_locks = {
            add = function(self, name, value, seconds)
                if kept[name] then return nil, "exists" end
                kept[name] = seconds
                return true
            end,
            delete = function(self, name) kept[name] = nil end,
        },
    },
    timer = { at = function(wait, f, ...) timers[#timers + 1] = { wait, f, ... } end },
    worker = { id = function() return worker end },
}
worker = 0
"""


@pytest.fixture
def lua(tmp_path: Path) -> Lua:
    lua = Lua()
    lua.runtime.execute(NGX.encode())
    lua.runtime.globals()[b"prefix"] = f"{tmp_path}/".encode()
    return lua


def read(lua: Lua, argument: str | bytes, prefix: str | Path = "/none") -> tuple[Any, Any]:
    """The text and the reason why there is none."""
    if isinstance(argument, str):
        argument = argument.encode()
    found = lua.require("license")[b"read"](argument, f"{prefix}/".encode())
    return found if isinstance(found, tuple) else (found, None)


def test_a_file_is_found_below_the_prefix(lua: Lua, tmp_path: Path) -> None:
    (tmp_path / "license").mkdir()
    file = tmp_path / "license" / "my.key"
    file.write_text(KEY)
    assert read(lua, "license/my.key", tmp_path) == (KEY.encode(), None)
    assert read(lua, str(file)) == (KEY.encode(), None)
    file.write_bytes(KEY.replace("\n", " \t\r\n").encode())
    assert read(lua, str(file))[0] == file.read_bytes()
    assert read(lua, "other.key", tmp_path) == (None, b"No such file or directory")


@pytest.mark.parametrize(
    "text", [KEY, "\ufeff" + KEY, " \t" + KEY, "OpenOrigin license key 1", "\n/"]
)
def test_a_text_is_taken_as_it_is(lua: Lua, text: str) -> None:
    assert read(lua, text) == (text.encode(), None)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", b"empty"),
        (b" \r\n\t\n", b"empty"),
        (b"x" * 4096, None),
        (b"x" * 4097, b"longer than 4096 bytes"),
        (b"x" * 10_000_000, b"longer than 4096 bytes"),
        (KEY.encode() + b"\0", b"not a text"),
        (bytes(range(256)), b"not a text"),
        ("Süd".encode("latin-1"), b"not a text"),
        ("Süd".encode("utf-16"), b"not a text"),
    ],
    ids=range(9),
)
def test_what_lies_in_a_file(lua: Lua, tmp_path: Path, data: bytes, reason: bytes | None) -> None:
    (tmp_path / "key").write_bytes(data)
    assert read(lua, "key", tmp_path) == (None if reason else data, reason)


def test_what_is_no_file(lua: Lua, tmp_path: Path) -> None:
    begun = time.monotonic()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    assert read(lua, "fifo", tmp_path) == (None, b"Illegal seek")
    assert read(lua, "folder", tmp_path) == (None, b"Is a directory")
    assert read(lua, "loop", tmp_path) == (None, b"Too many levels of symbolic links")
    assert read(lua, "/dev/zero") == (None, b"longer than 4096 bytes")
    assert read(lua, "/dev/null") == (None, b"empty")
    assert read(lua, "/" + "x" * 300) == (None, b"File name too long")
    assert read(lua, b"a\0b") == (None, b"not the name of a file")
    assert time.monotonic() - begun < 30, "nothing waits"


def load(lua: Lua, argument: str | None) -> Any:
    """The arguments for the sidecar of an http block with the directive."""
    given = {} if argument is None else {"usp_license_key": argument.encode()}
    words = {} if argument is None else {"usp_license_key": lua.list([argument.encode()])}
    block = lua.table(values=lua.table(**given), words=lua.table(**words))
    loaded = lua.require("license")[b"load"](block)
    sent = loaded[b"words"][b"usp_license_key"]
    return None if sent is None else list(sent.values())


def test_the_text_replaces_the_name(lua: Lua, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    assert load(lua, "key") == [KEY.encode()]
    assert load(lua, KEY) == [KEY.encode()]
    assert load(lua, "absent") == []
    assert load(lua, None) is None


REPORT = """
    require("origin.license").report({ inlines = { "streaming needs it: why\\n" } })
    return said[#said]
"""


@pytest.mark.parametrize(
    ("argument", "where"),
    [
        (None, "usp_license_key is not given"),
        ("key", "usp_license_key key"),
        ("absent", "usp_license_key absent: No such file or directory"),
        (KEY, "the text in usp_license_key"),
    ],
)
def test_one_line_a_minute_says_why(
    lua: Lua, tmp_path: Path, argument: str | None, where: str
) -> None:
    (tmp_path / "key").write_text(KEY)
    load(lua, argument)
    for _ in range(3):
        said = lua.run(REPORT)
    assert said.decode() == f"errororigin: streaming needs it: why ({where})"
    assert lua.run("return #said") == 1
    assert lua.run("return kept.usp_license_key") == 60
    lua.run("kept = {}")
    lua.run(REPORT)
    assert lua.run("return #said") == 2


START = """
    local results = { ... }
    local asked = {}
    local license = require "origin.license"
    license.start(function(question, read_ahead)
        assert(read_ahead == 0)
        asked[#asked + 1] = question
        local result = table.remove(results, 1)
        if result == "fault" then error("fault") end
        return { context = { result = result }, inlines = {} }
    end)
    local waits = {}
    while #timers > 0 do
        local timer = table.remove(timers, 1)
        waits[#waits + 1] = timer[1]
        timer[2](false, unpack(timer, 3))
    end
    return waits, asked, said
"""


def start(lua: Lua, *results: str) -> tuple[list[Any], list[Any], list[Any]]:
    waits, asked, said = lua.run(START, *(result.encode() for result in results))
    return list(waits.values()), list(asked.values()), list(said.values())


def test_the_key_is_verified_at_the_start(lua: Lua) -> None:
    load(lua, KEY)
    waits, (question,), said = start(lua, "FMP4_METHOD_NOT_ALLOWED")
    assert waits == [0] and said == []
    (directive,) = question[b"directives"].values()
    assert directive[b"name"] == b"usp_license_key"
    assert list(directive[b"args"].values()) == [KEY.encode()]
    assert question[b"method"] == b"OPTIONS"


def test_a_sidecar_that_starts_is_waited_for(lua: Lua) -> None:
    results = ["FMP4_UNAVAILABLE"] * 4 + ["fault"] * 4 + ["FMP4_NO_LICENSE"]
    waits, _, _ = start(lua, *results)
    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60]


def test_the_sidecars_own_key_is_told_of(lua: Lua) -> None:
    load(lua, "absent")
    _, _, said = start(lua, "FMP4_METHOD_NOT_ALLOWED")
    assert said == [
        b"warnorigin: the sidecar's own license key is used "
        b"(usp_license_key absent: No such file or directory)"
    ]


def test_one_worker_is_enough(lua: Lua) -> None:
    lua.run("worker = 1")
    assert start(lua) == ([], [], [])
    lua.run("worker = nil")  # a helper process of nginx
    assert start(lua) == ([], [], [])


def test_the_sidecar_has_the_same_limits(lua: Lua) -> None:
    license = lua.require("license")
    assert (license[b"TITLE"].decode(), license[b"MAX_BYTES"]) == (TITLE, MAX_BYTES)
    rows = lua.require("directives")[b"rows"].values()
    (row,) = [row for row in rows if row[b"name"] == DIRECTIVE.encode()]
    assert row[b"sidecar"] and row[b"max"] == MAX_BYTES
    assert set(row[b"contexts"]) == {b"http"}
