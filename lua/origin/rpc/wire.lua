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


-- Adds lookup tables to messages: by_number and the messages of fields.
function _M.compile(messages)
    for _, message in pairs(messages) do
        message.by_number = {}
        for _, field in ipairs(message) do
            field.message = messages[field[3]]
            field.wire_type = WIRE_TYPES[field[3]] or DELIMITED
            message.by_number[field[1]] = field
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


local decode_at


local function read_delimited(field, text, p, i, stop)
    local size
    size, i = read_varint(p, i, stop)
    if not size or size > stop - i then
        return nil
    end

    local after = i + size
    if field.message then
        local value, err = decode_at(field.message, text, p, i, after)
        return value, value and after or err
    end

    return str_sub(text, i + 1, after), after
end


function decode_at(message, text, p, i, stop)
    local value = {}

    while i < stop do
        local key
        key, i = read_varint(p, i, stop)
        if not key then
            return nil, "a field's key is damaged"
        end

        local wire_type = band(key, 7)
        local field = message.by_number[(key - wire_type) / 8]
        local start = i
        local got

        if field and field[3] == "fixed64" then
            local size = 8
            if wire_type == DELIMITED then
                size, i = read_varint(p, i, stop)
            end

            if wire_type == DELIMITED or wire_type == FIXED64 then
                if size and size <= stop - i then
                    got = read_fixed64(value[field[2]], p, i, size)
                    i = i + size
                end

                if not got then
                    return nil, "field " .. field[2] .. " is damaged"
                end

                value[field[2]] = got
            else
                i = skip_field(p, start, stop, wire_type)
            end

        elseif field and field.wire_type == wire_type then
            local after
            if wire_type == VARINT then
                got, after = read_scalar(field, p, i, stop)
            else
                got, after = read_delimited(field, text, p, i, stop)
            end

            if got == nil then
                return nil, "field " .. field[2] .. " is damaged"
            end

            i = after
            if field.repeated then
                local list = value[field[2]]
                if list then
                    list[#list + 1] = got
                else
                    value[field[2]] = { got }
                end

            else
                value[field[2]] = got
                if field.oneof then
                    -- the last one of a group wins
                    for _, other in ipairs(message) do
                        if other ~= field and other.oneof == field.oneof then
                            value[other[2]] = nil
                        end
                    end
                end
            end

        else
            i = skip_field(p, i, stop, wire_type)
        end

        if not i then
            return nil, "a field runs over the end"
        end
    end

    return value
end


-- Decodes text[from, to) (0-based, half-open; the whole text by default).
-- Absent fields are absent from the table.
function _M.decode(message, text, from, to)
    return decode_at(message, text, cast(bytes_t, text), from or 0,
                     to or #text)
end


-- Reads only where a message's fields lie: strings are read, messages are
-- given as { from, to } (0-based, half-open), lists of those when repeated.
-- Fields of other kinds are left out.
function _M.spans(message, text, from, to)
    local p = cast(bytes_t, text)
    local i, stop = from or 0, to or #text
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

        if field and wire_type == DELIMITED then
            local size, start = read_varint(p, i, stop)
            local got

            if field.message then
                got = { start, start + size }
            else
                got = str_sub(text, start + 1, start + size)
            end

            if field.repeated then
                local list = value[field[2]]
                if list then
                    list[#list + 1] = got
                else
                    value[field[2]] = { got }
                end

            else
                value[field[2]] = got
            end
        end

        i = after
    end

    return value
end


return _M
