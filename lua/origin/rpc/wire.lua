-- Protobuf's wire format, read by field tables (written by encode.lua). Pure:
-- no ngx.
--
-- A message is a list of fields { number, name, kind, ... }; kinds are those
-- of the .proto file, or the name of another message. Values in Lua:
--   string, bytes     Lua strings
--   uint32, enum      numbers
--   uint64, int64     numbers, refused beyond 2^53; cdata with exact = true
--   fixed64           repeated only: { n = count, values = uint64_t[n] }
--   messages          tables; repeated fields are lists, present when filled

local ffi = require "ffi"
local bit = require "bit"


local band = bit.band
local cast = ffi.cast
local copy = ffi.copy
local floor = math.floor
local str_sub = string.sub
local tonumber = tonumber


local EXACT = 2 ^ 53
local bytes_t = ffi.typeof("const uint8_t *")
local fixed64_t = ffi.typeof("uint64_t[?]")
local int64_t = ffi.typeof("int64_t")
local uint64_t = ffi.typeof("uint64_t")

local VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5

local WIRE_TYPES = {
    uint32 = VARINT,
    uint64 = VARINT,
    int64 = VARINT,
    enum = VARINT,
    fixed64 = FIXED64,
    string = DELIMITED,
    bytes = DELIMITED,
}


local _M = {}


local function read_long_varint(p, i, stop)
    local value, scale = 0, 1

    for at = i, i + 9 do
        if at >= stop then
            return nil
        end

        local b = p[at]
        value = value + band(b, 127) * scale
        if b < 128 then
            if value >= EXACT then
                return nil
            end

            return value, at + 1
        end

        scale = scale * 128
    end

    return nil
end


-- Reads a varint that fits a Lua number. Returns value and next position, or
-- nil when it runs over stop or beyond 2^53. Short ones without a loop: a
-- loop inside the callers' loops would keep those from being compiled.
local function read_varint(p, i, stop)
    if i + 3 > stop then
        return read_long_varint(p, i, stop)
    end

    local a = p[i]
    if a < 128 then
        return a, i + 1
    end

    local b = p[i + 1]
    if b < 128 then
        return a - 128 + b * 128, i + 2
    end

    local c = p[i + 2]
    if c < 128 then
        return a - 128 + (b - 128) * 128 + c * 16384, i + 3
    end

    return read_long_varint(p, i, stop)
end


-- The same with all 64 bits, as uint64_t.
local function read_varint64(p, i, stop)
    local value, scale = uint64_t(0), uint64_t(1)

    for at = i, i + 9 do
        if at >= stop then
            return nil
        end

        local b = p[at]
        value = value + scale * band(b, 127)
        if b < 128 then
            return value, at + 1
        end

        scale = scale * 128
    end

    return nil
end


-- Returns the position after a field's value, or nil.
local function skip_field(p, i, stop, wire_type)
    local size

    if wire_type == VARINT then
        local _, after = read_varint64(p, i, stop)
        return after
    end

    if wire_type == FIXED64 then
        size = 8

    elseif wire_type == FIXED32 then
        size = 4

    elseif wire_type == DELIMITED then
        size, i = read_varint(p, i, stop)
        if not size then
            return nil
        end

    else
        return nil
    end

    if size > stop - i then
        return nil
    end

    return i + size
end


_M.read_varint = read_varint
_M.skip_field = skip_field


-- Adds to messages what reading them looks up.
function _M.compile(messages)
    for _, message in pairs(messages) do
        message.by_number = {}
        for _, field in ipairs(message) do
            field.message = messages[field[3]]
            field.wire_type = WIRE_TYPES[field[3]] or DELIMITED
            -- packed numbers are kept in one value
            field.is_list = field.repeated and field[3] ~= "fixed64"
            message.by_number[field[1]] = field
            field.rivals = {}
            for _, other in ipairs(field.oneof and message or {}) do
                if other ~= field and other.oneof == field.oneof then
                    field.rivals[#field.rivals + 1] = other[2]
                end
            end
        end
    end

    return messages
end


local function read_scalar(field, p, i, stop)
    local kind = field[3]

    if kind == "int64" then
        local value, after = read_varint64(p, i, stop)
        if not value then
            return nil
        end

        value = cast(int64_t, value)
        if field.exact then
            return value, after
        end

        value = tonumber(value)
        if value >= EXACT or value <= -EXACT then
            return nil
        end

        return value, after
    end

    if field.exact then
        return read_varint64(p, i, stop)
    end

    return read_varint(p, i, stop)
end


-- Appends packed numbers of one run to those read before.
local function read_fixed64(before, p, i, size)
    local count = size / 8
    if count ~= floor(count) then
        return nil
    end

    local had = before and before.n or 0
    local values = fixed64_t(had + count)

    if had > 0 then
        copy(values, before.values, had * 8)
    end

    -- little-endian in the message and on every machine this runs on
    copy(values + had, p + i, size)
    return { n = had + count, values = values }
end


-- Reads a message's fields one after the other: read(field, wire_type, text, p,
-- i, after, before) returns the value at [i, after), nil to leave it out, or
-- false when it is damaged; before: the one that was read before it.
local function walk(message, text, p, i, stop, read)
    local value = {}

    while i < stop do
        local key
        key, i = read_varint(p, i, stop)
        if not key then
            return nil, "a field's key is damaged"
        end

        local wire_type = band(key, 7)
        local field = message.by_number[(key - wire_type) / 8]
        local after = skip_field(p, i, stop, wire_type)
        if not after then
            return nil, "a field runs over the end"
        end

        if field then
            local name = field[2]
            local before = value[name]
            local got = read(field, wire_type, text, p, i, after, before)

            if got == false then
                return nil, "field " .. name .. " is damaged"
            end

            if got and not field.is_list then
                value[name] = got

                -- the last one of a group wins
                for other = 1, #field.rivals do
                    value[field.rivals[other]] = nil
                end

            elseif got and before then
                before[#before + 1] = got

            elseif got then
                value[name] = { got }
            end
        end

        i = after
    end

    return value
end


local function read_value(field, wire_type, text, p, i, after, before)
    local kind, _ = field[3]

    if kind == "fixed64" then
        if wire_type == DELIMITED then
            _, i = read_varint(p, i, after)

        elseif wire_type ~= FIXED64 then
            return nil
        end

        return read_fixed64(before, p, i, after - i) or false
    end

    if wire_type ~= field.wire_type then
        return nil
    end

    if wire_type == VARINT then
        return read_scalar(field, p, i, after) or false
    end

    _, i = read_varint(p, i, after)
    if field.message then
        return walk(field.message, text, p, i, after, read_value) or false
    end

    return str_sub(text, i + 1, after)
end


local function read_span(field, wire_type, text, p, i, after)
    if wire_type ~= DELIMITED then
        return nil
    end

    local _, start = read_varint(p, i, after)
    if field.message then
        return { start, after }
    end

    return str_sub(text, start + 1, after)
end


-- Decodes text[from, to) (0-based, half-open; the whole text by default).
-- Absent fields are absent from the table.
function _M.decode(message, text, from, to)
    return walk(message, text, cast(bytes_t, text), from or 0, to or #text,
                read_value)
end


-- Reads only where a message's fields lie: strings are read, messages are
-- given as { from, to } (0-based, half-open), lists of those when repeated.
-- Fields of other kinds are left out.
function _M.spans(message, text, from, to)
    return walk(message, text, cast(bytes_t, text), from or 0, to or #text,
                read_span)
end


return _M
