"""Plans: decoding, and reading their bodies from files, whole and in slices."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.rpc import origin_pb2 as pb
from tests.support.lua import Lua, plain

LUA = Lua()
PLAN = LUA.require("plan")
READER = LUA.require("reader")
FILES = LUA.require("files")

READ_ALL = LUA.run(
    """
    local reader = require "origin.reader"
    return function(plan, from, to, want)
        local handles, path = reader.open(plan)
        if not handles then return nil, path end
        local parts, piece, skip, left = {}, nil, nil, to - from
        if left > 0 then piece, skip = reader.seek(plan, from) end
        local err
        while left > 0 do
            local text
            text, piece, skip = reader.read(plan, handles, piece, skip, math.min(left, want))
            if not text then err = piece break end
            assert(#text > 0 and #text <= left)
            parts[#parts + 1] = text
            left = left - #text
        end
        reader.close(handles)
        if err then return nil, err end
        return table.concat(parts)
    end
    """
)
SOURCE = LUA.run(
    """
    local plan = require "origin.plan"
    return function(p, i) local s = p.sources[i]
        return s.path, s.size, tostring(s.inode), s.sec, s.nsec end
    """
)


def source_of(path: Path) -> pb.Source:
    stat = path.stat()
    return pb.Source(
        path=str(path), size=stat.st_size, mtime_ns=stat.st_mtime_ns, inode=stat.st_ino
    )


@dataclass(frozen=True)
class Files:
    paths: list[Path]
    contents: list[bytes]

    @property
    def sources(self) -> list[pb.Source]:
        return [source_of(path) for path in self.paths]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("sources")
    contents = [os.urandom(300_000), os.urandom(7), bytes(range(256)) * 600]
    paths = [folder / f"source{index}" for index in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return Files(paths, contents)


# In place of a source: ranges of all sources, and of bytes of the part's own, in turns.
MIXED = 3
OWN = 3
OWN_BYTES = bytes(range(255, -1, -1)) * 40
OF_INLINE = 2**64 - 1


@st.composite
def bodies(draw: st.DrawFn) -> list[tuple[int, Any]]:
    """(-1, inline bytes), (source, [(offset, length)]) and (MIXED, [(source, offset, length)]) in
    any order."""
    parts: list[tuple[int, Any]] = []
    sizes = (300_000, 7, 153_600, len(OWN_BYTES))
    for _ in range(draw(st.integers(0, 5))):
        source = draw(st.integers(-1, MIXED))
        if source < 0:
            size = draw(st.sampled_from([0, 1, 100, 8191, 8192, 130_000]))
            parts.append((-1, bytes([65 + len(parts)]) * size))
            continue
        if source == MIXED:
            which = draw(st.lists(st.integers(0, OWN), max_size=60))
            offsets = [draw(st.integers(0, sizes[one] - 1)) for one in which]
            ends = [
                draw(st.integers(at, sizes[one])) for one, at in zip(which, offsets, strict=True)
            ]
            lengths = [max(1, min(3000, end - at)) for at, end in zip(offsets, ends, strict=True)]
            parts.append((MIXED, list(zip(which, offsets, lengths, strict=True))))
            continue
        ranges = []
        if draw(st.booleans()):
            # interleaved: small gaps or large ones, forward
            step = draw(st.integers(1, 9000))
            take = draw(st.integers(1, step))
            count = draw(st.integers(1, 60))
            offsets = range(0, sizes[source] - take, step)[:count]
            ranges = [(offset, take) for offset in offsets]
        for _ in range(draw(st.integers(0, 3))):
            offset = draw(st.integers(0, sizes[source] - 1))
            ranges.append((offset, draw(st.integers(1, sizes[source] - offset))))
        parts.append((source, ranges))
    return parts


def build(files: Files, body: list[tuple[int, Any]]) -> tuple[pb.Plan, bytes]:
    plan = pb.Plan(status=200, content_type="video/mp4", sources=files.sources, cache_class=2)
    whole = b""
    for source, value in body:
        if source < 0:
            plan.parts.add().inline = value
            whole += value
            continue
        ranges = plan.parts.add().file
        if source == MIXED:
            ranges.SetInParent()
            for which, offset, length in value:
                own = which == OWN
                ranges.sources.append(OF_INLINE if own else which)
                ranges.offset.append(offset)
                ranges.length.append(length)
                if own:
                    ranges.inline = OWN_BYTES
                content = OWN_BYTES if own else files.contents[which]
                whole += content[offset : offset + length]
            continue
        ranges.source = source
        for offset, length in value:
            ranges.offset.append(offset)
            ranges.length.append(length)
            whole += files.contents[source][offset : offset + length]
    plan.length = len(whole)
    return plan, whole


@given(body=bodies(), data=st.data())
@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_slice_of_the_plan_is_the_slice_of_the_whole(
    files: Files, body: list[tuple[int, Any]], data: st.DataObject
) -> None:
    message, whole = build(files, body)
    plan = PLAN.decode(message.SerializeToString())
    assert not isinstance(plan, tuple), plan
    assert plan[b"length"] == len(whole)
    assert plan[b"content_length"] == b"%d" % len(whole)
    assert READ_ALL(plan, 0, len(whole), len(whole) + 1) == whole
    begin = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(begin, len(whole)))
    want = data.draw(st.sampled_from([1 << 30, 122_880, 1000, max(1, (end - begin) // 7)]))
    assert READ_ALL(plan, begin, end, want) == whole[begin:end]


@given(
    begin=st.integers(0, 5000),
    steps=st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 3000)), max_size=40),
    unusual=st.booleans(),
)
@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_ranges_as_steps_are_those_ranges(
    files: Files, begin: int, steps: list[tuple[int, int]], unusual: bool
) -> None:
    whole, at = b"", begin
    for gap, size in steps:
        whole += files.contents[0][at + gap : at + gap + size]
        at += gap + size
    packed = b"".join(struct.pack("<II", *step) for step in steps)
    body = pb.FileRanges(source=0, steps=packed, begin=begin).SerializeToString()
    # A field that this decoder does not know.
    body += b"\x78\x01" if unusual else b""
    message = pb.Plan(status=200, sources=files.sources, length=len(whole))
    message.parts.add().file.MergeFromString(body)
    plan = PLAN.decode(message.SerializeToString())
    assert not isinstance(plan, tuple), plan
    assert READ_ALL(plan, 0, len(whole), len(whole) + 1) == whole


def test_steps_and_other_lists_contradict_each_other(files: Files) -> None:
    for field in (
        pb.FileRanges(steps=bytes(8), offset=[1], length=[1]),
        pb.FileRanges(steps=bytes(8), inline=b"x"),
        pb.FileRanges(steps=bytes(8), sources=[0]),
        pb.FileRanges(steps=bytes(12)),
    ):
        message = pb.Plan(status=200, sources=files.sources, parts=[pb.Part(file=field)])
        assert b"a part has steps and other lists, or half a step" in refused(message)


def test_thousands_of_parts_are_one_body(files: Files) -> None:
    message, whole = build(files, [(-1, b"head"), (0, [(1000, 50), (9000, 70)])] * 3000)
    plan = PLAN.decode(message.SerializeToString())
    assert READ_ALL(plan, 0, len(whole), len(whole)) == whole
    assert plan[b"cost"] < 40 * 9000 * 2.1 + 9000 * 100


def test_heads_between_samples_are_one_string(files: Files) -> None:
    turns = [turn for at in range(500) for turn in ((OWN, 20 * at, 20), (at % 3, 0, 7))]
    message, whole = build(files, [(MIXED, turns)])
    plan = PLAN.decode(message.SerializeToString())
    assert READ_ALL(plan, 0, len(whole), len(whole)) == whole
    assert len(plain(plan[b"inlines"])) == 1
    assert len(OWN_BYTES) < plan[b"cost"] < len(OWN_BYTES) + 40 * 2000 + 4096


def test_every_field_is_read(files: Files) -> None:
    message, _ = build(files, [(-1, b"abc"), (0, [(5, 6)])])
    message.result = pb.FMP4_FRAGMENT_MISSING
    message.status = 412
    message.headers.add(name="Link", value='<next>; rel="next"')
    message.headers.add(name="X-Empty", value="")
    message.etag = '"tag"'
    message.last_modified = 784111777
    message.ttl_ms = 1500
    message.kind = "smooth.fragment"
    plan = PLAN.decode(b"junk" + message.SerializeToString() + b"more", 4, 4 + message.ByteSize())
    assert plain(plan[b"context"]) == {
        "result": b"FMP4_FRAGMENT_MISSING",
        "number": 8,
        "kind": b"smooth.fragment",
    }
    assert plan[b"status"] == 412
    assert plan[b"content_type"] == b"video/mp4"
    assert plain(plan[b"headers"]) == [b"Link", b'<next>; rel="next"', b"X-Empty", b""]
    assert plan[b"etag"] == b'"tag"'
    assert plan[b"last_modified"] == 784111777
    assert plan[b"last_modified_text"] == b"Sun, 06 Nov 1994 08:49:37 GMT"
    assert plan[b"ttl"] == 1.5
    assert plan[b"may_keep"] is True
    assert plan[b"in_memory"] is False
    stat = files.paths[0].stat()
    seconds, nanoseconds = divmod(stat.st_mtime_ns, 10**9)
    assert SOURCE(plan, 1) == (
        str(files.paths[0]).encode(), stat.st_size, b"%dULL" % stat.st_ino, seconds, nanoseconds
    )  # fmt: skip


def refused(message: pb.Plan) -> bytes:
    nothing, reason = PLAN.decode(message.SerializeToString())
    assert nothing is None
    assert isinstance(reason, bytes)
    return reason


def test_plans_that_contradict_themselves_are_refused(files: Files) -> None:
    def changed(**values: Any) -> pb.Plan:
        message, _ = build(files, [(-1, b"abc"), (0, [(5, 6)])])
        for name, value in values.items():
            setattr(message, name, value)
        return message

    assert b"add up" in refused(changed(length=8))
    assert b"status" in refused(changed(status=99))
    assert b"status" in refused(changed(status=600))
    assert b"result" in refused(changed(result=99))
    beyond = changed()
    beyond.parts[1].file.offset[0] = 299_995
    assert b"outside" in refused(beyond)
    empty = changed(length=3)
    empty.parts[1].file.length[0] = 0
    assert b"outside" in refused(empty)
    huge = changed()
    huge.parts[1].file.offset[0] = 2**64 - 1
    assert b"outside" in refused(huge)
    uneven = changed()
    uneven.parts[1].file.offset.append(9)
    assert b"differ" in refused(uneven)
    unlisted = changed()
    unlisted.parts[1].file.source = 3
    assert b"not listed" in refused(unlisted)
    for sources, reason in (
        ([0, 0], b"differ"),
        ([3], b"not listed"),
        ([OF_INLINE - 1], b"not listed"),
        ([OF_INLINE], b"bytes of its part"),
    ):
        mixed = changed()
        mixed.parts[1].file.sources.extend(sources)
        assert reason in refused(mixed)
    for offset, length in ((5, 6), (10, 1), (OF_INLINE, 1), (0, 11), (3, 0)):
        own = changed(length=3 + length)
        file = own.parts[1].file
        file.inline = b"ten bytes."
        file.sources.append(OF_INLINE)
        file.offset[0], file.length[0] = offset, length
        assert b"bytes of its part" in refused(own)
    nothing = changed()
    nothing.parts.add()
    assert b"neither" in refused(nothing)
    for name, value in (("X-A", "a\r\nX-B: b"), ("X A", "a"), ("", "a")):
        header = changed()
        header.headers.add(name=name, value=value)
        assert b"header" in refused(header)


def test_an_etag_that_is_none_is_left_out(files: Files) -> None:
    for etag in ("bare", '"open', 'W/"weak"', '"a"b"', '"a\nb"'):
        message, _ = build(files, [])
        message.etag = etag
        assert PLAN.decode(message.SerializeToString())[b"etag"] is None


def test_a_file_from_before_1970_has_no_date_but_is_served(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"0123456789")
    os.utime(path, ns=(0, -1_500_000_001))
    message = pb.Plan(status=200, sources=[source_of(path)], length=4, last_modified=-2)
    message.parts.add().file.MergeFrom(pb.FileRanges(offset=[3], length=[4]))
    plan = PLAN.decode(message.SerializeToString())
    assert plan[b"last_modified_text"] is None
    assert READ_ALL(plan, 0, 4, 100) == b"3456"


def test_what_may_be_kept(files: Files) -> None:
    def may_keep(**values: Any) -> Any:
        return PLAN.decode(pb.Plan(status=404, **values).SerializeToString())[b"may_keep"]

    assert may_keep(cache_class=0, sources=files.sources) is False
    assert may_keep(cache_class=1) is False
    assert may_keep(cache_class=1, sources=files.sources) is True
    assert may_keep(cache_class=1, ttl_ms=1) is True


def change_size(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def change_time(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def replace(path: Path) -> None:
    stat = path.stat()
    other = path.with_name("other")
    other.write_bytes(b"y" * stat.st_size)
    os.utime(other, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    other.rename(path)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("change", [change_size, change_time, replace, fifo, Path.unlink])
def test_a_source_that_changed_is_noticed(tmp_path: Path, change: Any) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"z" * 1000)
    message = pb.Plan(status=200, sources=[source_of(path)], length=10)
    message.parts.add().file.MergeFrom(pb.FileRanges(offset=[0], length=[10]))
    plan = PLAN.decode(message.SerializeToString())
    assert FILES.unchanged(plan[b"sources"][1]) is True
    assert READ_ALL(plan, 0, 10, 100) == b"z" * 10
    change(path)
    assert FILES.unchanged(plan[b"sources"][1]) is False
    assert READ_ALL(plan, 0, 10, 100) == (None, str(path).encode())


@pytest.mark.parametrize("left", [0, 4999, 5001, 9999])
def test_a_file_that_shrinks_while_it_is_read_is_never_taken_for_whole(
    tmp_path: Path, left: int
) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"z" * 10_000)
    message = pb.Plan(status=200, sources=[source_of(path)])
    ranges = message.parts.add().file
    for offset in range(0, 10_000, 1000):
        ranges.offset.append(offset)
        ranges.length.append(1000 - offset // 1000)
    ranges.offset.append(0)
    ranges.length.append(10_000)
    message.length = sum(ranges.length)
    plan = PLAN.decode(message.SerializeToString())
    handles = READER.open(plan)
    os.truncate(path, left)
    text, reason = LUA.run(
        """
        local reader = require "origin.reader"
        local plan, handles = ...
        local piece, skip, left = 0, 0, plan.length
        while left > 0 do
            local text
            text, piece, skip = reader.read(plan, handles, piece, skip, left)
            if not text then return nil, piece end
            left = left - #text
        end
        """,
        plan,
        handles,
    )
    assert text is None
    assert reason == str(path).encode() + b" is shorter than its plan"
    assert READER.unchanged(plan, handles) is False
    READER.close(handles)


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_files_are_closed_even_when_forgotten(files: Files) -> None:
    message, _ = build(files, [(0, [(0, 5)]), (2, [(0, 5)])])
    plan = PLAN.decode(message.SerializeToString())
    before = open_descriptors()
    for _ in range(50):
        READER.open(plan)
    LUA.run("collectgarbage() collectgarbage()")
    assert open_descriptors() == before


def test_the_system_call_without_the_library_does_the_same(files: Files) -> None:
    by_number = LUA.run(
        """
        local ffi = require "ffi"
        local files = require "origin.files"
        local call = files.statx_by_number()
        return function(path)
            local s = ffi.new("struct origin_statx")
            local status = call(-100, path, 0, 0x341, s)
            return status, tonumber(s.size), tonumber(s.mtime.sec), tonumber(s.mtime.nsec),
                   tonumber(s.ino)
        end
        """
    )
    stat = files.paths[0].stat()
    assert by_number(str(files.paths[0]).encode()) == (
        0, stat.st_size, *divmod(stat.st_mtime_ns, 10**9), stat.st_ino
    )  # fmt: skip
    assert by_number(b"/does/not/exist")[0] == -1


def test_relative_roots_are_below_the_working_directory() -> None:
    absolute = FILES.absolute
    here = str(Path.cwd()).encode()
    assert absolute[b"/var/media"] == b"/var/media"
    assert absolute[b"/var/media//"] == b"/var/media"
    assert absolute[b"./media"] == here + b"/media"
    assert absolute[b"media/"] == here + b"/media"


def test_a_refusal_is_one_sentence() -> None:
    plan = PLAN.refuse(b"FMP4_NOT_FOUND", 404, b"There is nothing.", None)
    assert READ_ALL(plan, 0, int(plan[b"length"]), 100) == b"There is nothing.\n"
    assert plan[b"may_keep"] is False
