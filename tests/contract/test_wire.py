"""lua/origin/rpc/wire.lua, encode.lua and google.protobuf read each other's messages."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.rpc import origin_pb2 as pb
from tests.support.lua import Lua, plain

LUA = Lua()
WIRE = LUA.require("rpc.wire")
ENCODE = LUA.require("rpc.encode")
MESSAGES = LUA.require("rpc.messages")
NAMES = [message.name for message in pb.DESCRIPTOR.message_types_by_name.values()]

KINDS = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_FIXED64: "fixed64",
    FieldDescriptor.TYPE_ENUM: "enum",
}
EXACT = 2**53

TO_LUA = LUA.run(
    """
    local ffi = require "ffi"
    return {
        join = function(high, low)
            return ffi.new("uint64_t", high) * 4294967296ULL + ffi.new("uint64_t", low)
        end,
        signed = function(high, low)
            return ffi.cast("int64_t", ffi.new("uint64_t", high) * 4294967296ULL
                                       + ffi.new("uint64_t", low))
        end,
        parts = function(value)
            value = ffi.cast("uint64_t", value)
            return tonumber(value / 4294967296ULL), tonumber(value % 4294967296ULL)
        end,
        count = function(list) return list.n end,
        at = function(list, i) return list.values[i] end,
        fixed64 = function(highs, lows)
            local values = ffi.new("uint64_t[?]", #highs)
            for i = 1, #highs do
                values[i - 1] = ffi.new("uint64_t", highs[i]) * 4294967296ULL
                                + ffi.new("uint64_t", lows[i])
            end
            return { n = #highs, values = values }
        end,
    }
    """
)


@cache
def fields(message: str) -> dict[str, dict[str, Any]]:
    """The rows of messages.lua by field name."""
    table = plain(MESSAGES[message.encode()])
    rows = [row for key, row in table.items() if isinstance(key, int)]
    return {row[2].decode(): row for row in rows}


def test_messages_lua_has_every_field_of_the_proto_and_no_other() -> None:
    assert {name.decode() for name in MESSAGES} == set(NAMES)
    for name, descriptor in pb.DESCRIPTOR.message_types_by_name.items():
        rows = fields(name)
        assert set(rows) == {field.name for field in descriptor.fields}
        for field in descriptor.fields:
            row = rows[field.name]
            kind = field.message_type.name if field.message_type else KINDS[field.type]
            assert (row[1], row[3].decode()) == (field.number, kind), field.full_name
            oneof = field.containing_oneof
            assert row.get("oneof") == (oneof.name.encode() if oneof else None)
            assert bool(row.get("repeated") or kind == "fixed64") == field.is_repeated


def test_results_lua_and_plan_lua_have_the_enums_of_the_proto() -> None:
    names = plain(LUA.require("results").names)
    listed = {number: name.decode() for number, name in names.items()}
    assert listed == {value.number: value.name for value in pb.Result.DESCRIPTOR.values}
    plan = LUA.require("plan")
    for value in pb.CacheClass.DESCRIPTOR.values:
        assert plan[value.name.encode()] == value.number


def test_plan_lua_reads_every_field_of_a_plan() -> None:
    read = LUA.require("plan").fields
    numbers = set(read[b"numbers"]) | set(read[b"delimited"])
    assert numbers == {field.number for field in pb.Plan.DESCRIPTOR.fields}
    for field in pb.Plan.DESCRIPTOR.fields:
        delimited = field.type in (
            FieldDescriptor.TYPE_STRING,
            FieldDescriptor.TYPE_BYTES,
            FieldDescriptor.TYPE_MESSAGE,
        )
        assert (field.number in read[b"delimited"]) == delimited


@cache
def values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """Values of one field, weighted towards the ends of their ranges."""
    exact = fields(field.containing_type.name)[field.name].get("exact")
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return st.text(max_size=20) | st.text(min_size=130, max_size=140)
        case FieldDescriptor.TYPE_BYTES:
            # Of long ones it is the length that is written in another way.
            return st.binary(max_size=20) | st.builds(
                lambda piece, length: (piece * length)[:length],
                st.binary(min_size=1, max_size=20),
                st.integers(16384, 16390),
            )
        case FieldDescriptor.TYPE_UINT32:
            return numbers(0, 2**32 - 1)
        case FieldDescriptor.TYPE_UINT64:
            return numbers(0, 2**64 - 1 if exact else EXACT - 1)
        case FieldDescriptor.TYPE_INT64:
            return numbers(-(2**63), 2**63 - 1) if exact else numbers(1 - EXACT, EXACT - 1)
        case FieldDescriptor.TYPE_FIXED64:
            return numbers(0, 2**64 - 1)
        case FieldDescriptor.TYPE_ENUM:
            assert field.enum_type is not None
            return st.sampled_from([value.number for value in field.enum_type.values])
        case _:
            assert field.message_type is not None
            return messages(field.message_type)


def numbers(low: int, high: int) -> st.SearchStrategy[int]:
    edges = [edge for edge in (low, 0, 127, 128, 16383, 16384, 2**21, 2**32, high) if edge <= high]
    return st.sampled_from(edges) | st.integers(low, high)


@cache
def messages(descriptor: Descriptor) -> st.SearchStrategy[Message]:
    @st.composite
    def build(draw: st.DrawFn) -> Message:
        message = getattr(pb, descriptor.name)()
        for field in descriptor.fields:
            if field.containing_oneof and message.WhichOneof(field.containing_oneof.name):
                continue
            if not draw(st.booleans()):
                continue
            if field.is_repeated:
                listed = draw(st.lists(values(field), max_size=3))
                getattr(message, field.name).extend(listed)
            elif field.message_type:
                getattr(message, field.name).CopyFrom(draw(values(field)))
            else:
                setattr(message, field.name, draw(values(field)))
        return message

    return build()


def from_lua(descriptor: Descriptor, table: Any) -> Message:
    """The message that a decoded table means."""
    message = getattr(pb, descriptor.name)()
    known = {field.name.encode(): field for field in descriptor.fields}
    for name, value in table.items():
        field = known[name]
        target = getattr(message, field.name)
        if field.type == FieldDescriptor.TYPE_FIXED64:
            for index in range(int(TO_LUA.count(value))):
                target.append(_integer(field, TO_LUA.at(value, index)))
        elif field.is_repeated:
            target.extend(_value(field, value[i + 1]) for i in range(len(value)))
        elif field.message_type:
            target.CopyFrom(_value(field, value))
        else:
            setattr(message, field.name, _value(field, value))
    return message


def _value(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type:
        return from_lua(field.message_type, value)
    if field.type == FieldDescriptor.TYPE_STRING:
        return value.decode()
    return value if isinstance(value, bytes) else _integer(field, value)


def _integer(field: FieldDescriptor, value: Any) -> int:
    if isinstance(value, int | float):
        assert value == int(value)
        return int(value)
    high, low = TO_LUA.parts(value)
    joined = int(high) << 32 | int(low)
    signed = field.type == FieldDescriptor.TYPE_INT64 and joined >= 1 << 63
    return joined - (1 << 64) if signed else joined


def to_lua(message: Message) -> Any:
    """The table that wire.lua encodes into this message."""
    table = {}
    rows = fields(message.DESCRIPTOR.name)
    for field, value in message.ListFields():
        row = rows[field.name]
        if field.type == FieldDescriptor.TYPE_FIXED64:
            highs, lows = zip(*(divmod(item, 1 << 32) for item in value), strict=True)
            table[field.name] = TO_LUA.fixed64(LUA.list(highs), LUA.list(lows))
        elif field.is_repeated:
            table[field.name] = LUA.list(_lua_value(row, item) for item in value)
        else:
            table[field.name] = _lua_value(row, value)
    return LUA.table(**table)


def _lua_value(row: dict[str, Any], value: Any) -> Any:
    if isinstance(value, Message):
        return to_lua(value)
    if isinstance(value, str):
        return value.encode()
    if row.get("exact"):
        join = TO_LUA.signed if row[3] == b"int64" else TO_LUA.join
        return join(*divmod(value % (1 << 64), 1 << 32))
    return value


EVERY = pytest.mark.parametrize("name", NAMES)


@EVERY
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_lua_reads_what_protobuf_writes(name: str, data: st.DataObject) -> None:
    descriptor = getattr(pb, name).DESCRIPTOR
    message = data.draw(messages(descriptor))
    decoded = WIRE.decode(MESSAGES[name.encode()], message.SerializeToString())
    assert not isinstance(decoded, tuple), decoded
    assert from_lua(descriptor, decoded) == message


@EVERY
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_protobuf_reads_what_lua_writes(name: str, data: st.DataObject) -> None:
    message = data.draw(messages(getattr(pb, name).DESCRIPTOR))
    encoded = ENCODE(MESSAGES[name.encode()], to_lua(message))
    assert getattr(pb, name).FromString(encoded) == message


@EVERY
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_damaged_messages_are_read_or_refused(name: str, data: st.DataObject) -> None:
    encoded = bytearray(data.draw(messages(getattr(pb, name).DESCRIPTOR)).SerializeToString())
    for _ in range(data.draw(st.integers(0, 4))):
        if encoded:
            encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    encoded = encoded[: data.draw(st.integers(0, len(encoded)))]
    for read in (WIRE.decode, WIRE.spans):
        found = read(MESSAGES[name.encode()], bytes(encoded))
        assert found is not None
        if isinstance(found, tuple):
            assert found[0] is None
            assert isinstance(found[1], bytes)


def test_unknown_fields_and_unpacked_numbers_are_read_past() -> None:
    # 15: varint, 16: delimited, 17: fixed32, 18: fixed64; then offset, one by one
    unknown = b"\x78\x96\x01" + b"\x82\x01\x03abc" + b"\x8d\x01abcd" + b"\x91\x01abcdefgh"
    unpacked = b"\x11" + (7).to_bytes(8, "little") + b"\x11" + (8).to_bytes(8, "little")
    decoded = WIRE.decode(MESSAGES[b"FileRanges"], unknown + b"\x08\x05" + unpacked)
    assert from_lua(pb.FileRanges.DESCRIPTOR, decoded) == pb.FileRanges(source=5, offset=[7, 8])


def test_numbers_beyond_what_lua_counts_are_refused() -> None:
    found = WIRE.decode(MESSAGES[b"Plan"], pb.Plan(length=EXACT).SerializeToString())
    assert found == (None, b"field length is damaged")


@given(st.lists(st.tuples(st.text(max_size=9), st.binary(max_size=40)), max_size=4))
def test_spans_tell_where_messages_lie(ahead: list[tuple[str, bytes]]) -> None:
    plans = [pb.Plan(parts=[pb.Part(inline=data)]) for _, data in ahead]
    reply = pb.PlanReply(
        plan=pb.Plan(status=200),
        ahead=[
            pb.AheadPlan(virtual_path=path, plan=plan)
            for (path, _), plan in zip(ahead, plans, strict=True)
        ],
    ).SerializeToString()
    spans = plain(WIRE.spans(MESSAGES[b"PlanReply"], reply))
    begin, end = (int(edge) for edge in spans["plan"])
    assert pb.Plan.FromString(reply[begin:end]).status == 200
    listed = spans.get("ahead", [])
    assert len(listed) == len(ahead)
    for (path, _), plan, span in zip(ahead, plans, listed, strict=True):
        inner = plain(WIRE.spans(MESSAGES[b"AheadPlan"], reply, int(span[0]), int(span[1])))
        assert inner.get("virtual_path", b"").decode() == path
        begin, end = (int(edge) for edge in inner["plan"])
        assert pb.Plan.FromString(reply[begin:end]) == plan


def test_query_options_are_those_of_the_sidecar() -> None:
    from sidecar.media.options import QUERY_OPTIONS

    assert {name.decode() for name in LUA.require("args").options} == QUERY_OPTIONS


@given(st.binary(max_size=300))
def test_frames_there_and_back(message: bytes) -> None:
    frame = LUA.require("rpc.frame")
    wrapped = frame.wrap(message)
    assert wrapped == b"\0" + len(message).to_bytes(4, "big") + message
    assert frame.unwrap(wrapped) == message
    assert frame.unwrap(wrapped + b"x")[0] is None
    assert frame.unwrap(wrapped[:-1])[0] is None
    assert frame.unwrap(b"\1" + wrapped[1:])[0] is None


def test_grpc_messages_are_unescaped_without_plus() -> None:
    unescape = LUA.require("rpc.frame").unescape_message
    assert unescape(b"c%25d %C3%A9 1+1 %zz") == "c%d é 1+1 %zz".encode()
