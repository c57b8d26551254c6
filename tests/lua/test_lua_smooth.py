"""Directives that concern Smooth Streaming and files beside manifests."""

from __future__ import annotations

from typing import Any

import pytest
from lupa import luajit20

from tests.support.media import ROOT

FLAGS = ("usp_iss_pass_through", "usp_prefer_static")


@pytest.fixture(scope="module")
def directives() -> Any:
    runtime = luajit20.LuaRuntime(unpack_returned_tuples=True, encoding=None)
    runtime.execute(f'package.path = "{ROOT}/lua/?.lua;{ROOT}/lua/?/init.lua"')
    return runtime.eval('require "origin.directives"')


def resolved(directives: Any, location: bytes, parent: bytes = b"") -> tuple[Any, Any, Any]:
    blocks = []
    for text, context in ((b"", b"http"), (parent, b"location"), (location, b"location")):
        found = directives.read(text, context)
        assert not isinstance(found, tuple), found
        blocks.append(found)
    http, below, above = blocks
    return directives.resolve(http, directives.overlay(below, above))


@pytest.mark.parametrize("name", [name.encode() for name in FLAGS])
def test_flags_travel_to_the_sidecar_as_they_are_written(directives: Any, name: bytes) -> None:
    values, sent, canonical = resolved(directives, name + b" on;")
    assert values[name] is True
    assert (sent[1][b"name"], list(sent[1][b"args"].values())) == (name, [b"on"])
    assert name in canonical
    values, sent, _ = resolved(directives, name + b";")
    assert values[name] is True and list(sent[1][b"args"].values()) == []


@pytest.mark.parametrize("name", [name.encode() for name in FLAGS])
def test_a_location_overrides_its_parent(directives: Any, name: bytes) -> None:
    values, sent, _ = resolved(directives, name + b" off;", parent=name + b" on;")
    assert values[name] is False
    assert list(sent[1][b"args"].values()) == [b"off"]
    values, sent, canonical = resolved(directives, b"", parent=name + b" on;")
    assert values[name] is True and name in canonical


@pytest.mark.parametrize("name", [name.encode() for name in FLAGS])
def test_off_where_nothing_is_said(directives: Any, name: bytes) -> None:
    values, sent, canonical = resolved(directives, b"")
    assert values[name] is False
    assert len(sent) == 0 and canonical == b""


@pytest.mark.parametrize("arguments", [b"yes", b"on on", b"1"])
@pytest.mark.parametrize("name", [name.encode() for name in FLAGS])
def test_other_words_stop_the_start(directives: Any, name: bytes, arguments: bytes) -> None:
    _, error = directives.read(name + b" " + arguments + b";", b"location")
    assert b'takes "on" or "off"' in error and b"line 1" in error
