"""Ranges of files on other servers become ranges of slices, and nothing else becomes of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.rpc import origin_pb2 as pb
from tests.support.lua import Lua

LUA = Lua()
PLAN = LUA.require("plan")
SLICE = int(LUA.require("remote.source").SLICE)
SIZES = (5 * SLICE + 77, 3 * SLICE, SLICE - 1)
OF_INLINE = 2**64 - 1
OWN = b"0123456789"

PIECES = LUA.run(
    """
    return function(plan)
        local list = {}
        for i = 0, plan.count - 1 do
            local piece = plan.pieces[i]
            local source = plan.sources[piece.source]
            list[#list + 1] = table.concat({
                piece.start, piece.stop, piece.offset, source and source.path or "own",
                source and source.number or -1, source and source.size or -1,
            }, " ")
        end
        return table.concat(list, "\\n"), #plan.files, #plan.remotes, #plan.sources
    end
    """
)


def source(number: int) -> pb.Source:
    """Two on other servers, and a local one."""
    if number == 1:
        return pb.Source(path="/local", size=SIZES[1], inode=7)
    remote = pb.Remote(url=f"http://a/{number}?s", host="a", address="192.0.2.1:80")
    return pb.Source(path=f"http://a/{number}", size=SIZES[number], remote=remote)


def decoded(rows: list[tuple[int, int, int]]) -> Any:
    which, offset, length = zip(*rows, strict=True)
    ranges = pb.FileRanges(sources=which, offset=offset, length=length, inline=OWN)
    plan = pb.Plan(
        status=200,
        sources=[source(number) for number in range(3)],
        parts=[pb.Part(file=ranges)],
        length=sum(length),
    )
    return PLAN.decode(plan.SerializeToString())


@st.composite
def rows(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Ranges: source, offset, length; many of them begin or end where a slice does."""
    found = []
    for _ in range(draw(st.integers(1, 12))):
        which = draw(st.sampled_from([0, 1, 2, OF_INLINE]))
        size = len(OWN) if which == OF_INLINE else SIZES[which]
        edges = [edge for edge in (0, 1, SLICE - 1, SLICE, 2 * SLICE, size - 1) if edge < size]
        at = draw(st.sampled_from(edges) | st.integers(0, size - 1))
        ends = [edge for edge in (*edges, size) if edge > at]
        found.append((which, at, draw(st.sampled_from(ends) | st.integers(at + 1, size)) - at))
    return found


@settings(max_examples=150, deadline=None)
@given(rows())
def test_the_slices_are_the_ranges(rows: list[tuple[int, int, int]]) -> None:
    text, files, remotes, _ = PIECES(decoded(rows))
    assert (files, remotes) == (1, 2)
    position = 0
    joined: list[tuple[int, int, int]] = []
    for line in text.decode().splitlines():
        start, stop, offset, path, number, size = line.split(" ")
        length = int(stop) - int(start)
        assert int(start) == position
        assert length > 0
        position += length
        at = int(offset)
        which = OF_INLINE
        if path == "/local":
            which = 1
        elif path != "own":
            which = int(path[-1])
            assert at + length <= int(size) <= SLICE
            at += int(number) * SLICE
            assert int(size) == min(SLICE, SIZES[which] - int(number) * SLICE)
        if joined and joined[-1][0] == which and sum(joined[-1][1:]) == at:
            joined[-1] = (which, joined[-1][1], joined[-1][2] + length)
        else:
            joined.append((which, at, length))
    expected: list[tuple[int, int, int]] = []
    for which, at, length in rows:
        if expected and expected[-1][0] == which and sum(expected[-1][1:]) == at:
            expected[-1] = (which, expected[-1][1], expected[-1][2] + length)
        else:
            expected.append((which, at, length))
    assert joined == expected


def test_a_slice_is_one_source_however_often_it_is_named() -> None:
    *_, sources = PIECES(decoded([(0, 10, 5), (2, 0, 1), (0, 90, 5), (1, 0, 3), (0, SLICE, 1)]))
    assert sources == 4, "two slices, one of the other, the local file"


@pytest.mark.parametrize(
    "fields",
    [
        *({"url": url} for url in ("", "ftp://a/x", "http://a", "http://a/x y", "http://a/\n")),
        *({"address": address} for address in ("", "a:80", "192.0.2.1", "::1:80", "[::1]")),
        *({"host": host} for host in ("", "a b", "a\n", "a/b")),
        *({"etag": etag} for etag in ("x", 'W/"x"', '"x', '"x\n"', '"a b"')),
        *(
            {"headers": [pb.Header(name=name, value=value)]}
            for name, value in (("", "x"), ("a b", "x"), ("a:", "x"), ("a", "x\ny"), ("a", "\r"))
        ),
    ],
)
def test_what_would_lead_elsewhere_is_no_plan(fields: dict[str, Any]) -> None:
    sound = {"url": "https://a/x?s", "host": "a:1", "address": "[2001:db8::1]:443", "etag": '"x"'}
    for made, is_sound in ((sound, True), (sound | fields, False)):
        remote = pb.Remote(**made)
        plan = pb.Plan(status=200, sources=[pb.Source(path="http://a/x", size=1, remote=remote)])
        found = PLAN.decode(plan.SerializeToString())
        assert isinstance(found, tuple) != is_sound
