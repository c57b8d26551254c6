-- gRPC's framing of one message, and its status line. Pure: no ngx.

local bit = require "bit"


local band = bit.band
local rshift = bit.rshift
local str_byte = string.byte
local str_char = string.char
local str_gsub = string.gsub
local str_sub = string.sub
local tonumber = tonumber


local PREFIX = 5


local _M = {
    -- google.rpc.Code
    OK = 0,
    CANCELLED = 1,
    DEADLINE_EXCEEDED = 4,
    RESOURCE_EXHAUSTED = 8,
    UNAVAILABLE = 14,
}


-- Returns message with its 5-byte prefix (uncompressed).
function _M.wrap(message)
    local n = #message
    return str_char(0, band(rshift(n, 24), 255), band(rshift(n, 16), 255),
                    band(rshift(n, 8), 255), band(n, 255)) .. message
end


-- Returns the one message of a unary reply's body, or nil, err.
function _M.unwrap(body)
    if #body < PREFIX then
        return nil, "the reply is shorter than a frame"
    end

    local flags, a, b, c, d = str_byte(body, 1, PREFIX)
    if flags ~= 0 then
        return nil, "the reply is compressed"
    end

    if a * 16777216 + b * 65536 + c * 256 + d ~= #body - PREFIX then
        return nil, "the reply is not one whole frame"
    end

    return str_sub(body, PREFIX + 1)
end


local function unescape(hex)
    return str_char(tonumber(hex, 16))
end


-- Returns the text of a grpc-message header. Only %XX is decoded: "+" is
-- itself there, unlike in a query string.
function _M.unescape_message(text)
    return (str_gsub(text, "%%(%x%x)", unescape))
end


return _M
