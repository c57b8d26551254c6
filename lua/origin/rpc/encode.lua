-- Writes protobuf messages from the field tables of wire.lua. Pure: no ngx.

local ffi = require "ffi"


local cast = ffi.cast
local concat = table.concat
local ffi_str = ffi.string
local floor = math.floor
local ipairs = ipairs
local str_char = string.char
local tonumber = tonumber
local type = type


local VARINT, DELIMITED = 0, 2

local int64_t = ffi.typeof("int64_t")
local uint64_t = ffi.typeof("uint64_t")


local function varint_bytes(value)
    local out, n = {}, 0

    if type(value) == "number" and value >= 0 then
        while value >= 128 do
            n = n + 1
            out[n] = str_char(value % 128 + 128)
            value = floor(value / 128)
        end

        out[n + 1] = str_char(value)
        return concat(out)
    end

    value = cast(uint64_t, cast(int64_t, value))
    while value >= 128 do
        n = n + 1
        out[n] = str_char(tonumber(value % 128) + 128)
        value = value / 128
    end

    out[n + 1] = str_char(tonumber(value))
    return concat(out)
end


local function field_key(field, wire_type)
    return varint_bytes(field[1] * 8 + wire_type)
end


local encode


local function encode_value(field, value)
    if field.message then
        value = encode(field.message, value)
    end

    if field.wire_type == VARINT then
        return field_key(field, VARINT) .. varint_bytes(value)
    end

    return field_key(field, DELIMITED) .. varint_bytes(#value) .. value
end


local function encode_field(out, field, value)
    if field[3] == "fixed64" then
        if value.n > 0 then
            local packed = ffi_str(value.values, value.n * 8)
            out[#out + 1] = field_key(field, DELIMITED)
                            .. varint_bytes(#packed) .. packed
        end

    elseif field.repeated then
        for _, item in ipairs(value) do
            out[#out + 1] = encode_value(field, item)
        end

    elseif field.oneof or field.message or not (value == "" or value == 0) then
        out[#out + 1] = encode_value(field, value)
    end
end


-- Encodes a table; fields with proto3's default value are left out, except
-- those that belong to a oneof.
function encode(message, value)
    local out = {}

    for _, field in ipairs(message) do
        if value[field[2]] ~= nil then
            encode_field(out, field, value[field[2]])
        end
    end

    return concat(out)
end


return encode
