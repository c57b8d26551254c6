-- Byte ranges (RFC 9110 14). Pure: no ngx.
--
-- Inside, ranges are half-open: { from, to }. HTTP's inclusive ends exist
-- only in header texts.

local concat = table.concat
local str_find = string.find
local str_format = string.format
local str_gmatch = string.gmatch
local str_lower = string.lower
local str_match = string.match
local str_sub = string.sub
local tonumber = tonumber


-- More ranges than any player sends: the header is ignored then, so that a
-- small request can not cause a large multipart answer.
local MAX_RANGES = 32

-- About what a part's header costs: ranges nearer than that are one range.
local PART_OVERHEAD = 80

-- 2^53 has 16 digits: longer numbers are beyond any file.
local MAX_DIGITS = 15


local _M = {}


local function parse_number(digits)
    digits = str_match(digits, "^0*(%d*)$")
    return #digits > MAX_DIGITS and 1e15 or tonumber(digits) or 0
end


-- Returns from, to; or nil, true for a valid spec that names no byte of the
-- representation; or nil when spec is not valid.
local function parse_spec(spec, length)
    local first, last = str_match(spec, "^%s*(%d*)%s*%-%s*(%d*)%s*$")
    if not first or (first == "" and last == "") then
        return nil
    end

    if first == "" then
        local count = parse_number(last)
        if count == 0 or length == 0 then
            return nil, true
        end

        return count < length and length - count or 0, length
    end

    local from = parse_number(first)
    local to = length

    if last ~= "" then
        last = parse_number(last)
        if last < from then
            return nil
        end

        if last + 1 < length then
            to = last + 1
        end
    end

    if from >= length then
        return nil, true
    end

    return from, to
end


local function by_start(a, b)
    return a[1] < b[1]
end


-- Joins ranges that overlap or nearly touch. When none do, the order of the
-- request is kept.
local function coalesce(ranges)
    local sorted = {}
    for i, range in ipairs(ranges) do
        sorted[i] = range
    end

    table.sort(sorted, by_start)

    local joined = { { sorted[1][1], sorted[1][2] } }
    for i = 2, #sorted do
        local last = joined[#joined]
        if sorted[i][1] <= last[2] + PART_OVERHEAD then
            if sorted[i][2] > last[2] then
                last[2] = sorted[i][2]
            end

        else
            joined[#joined + 1] = { sorted[i][1], sorted[i][2] }
        end
    end

    return #joined == #ranges and ranges or joined
end


-- Returns a list of { from, to }, at least one; or an empty list when no
-- range can be satisfied (416); or nil when the header is to be ignored.
function _M.parse(header, length)
    local at = str_find(header, "=", 1, true)
    if not at or str_lower(str_sub(header, 1, at - 1)) ~= "bytes" then
        return nil
    end

    local ranges, count = {}, 0
    for spec in str_gmatch(str_sub(header, at + 1), "[^,]+") do
        if str_find(spec, "%S") then
            count = count + 1
            if count > MAX_RANGES then
                return nil
            end

            local from, to = parse_spec(spec, length)
            if from then
                ranges[#ranges + 1] = { from, to }
            elseif not to then
                return nil
            end
        end
    end

    if count == 0 then
        return nil
    end

    if #ranges > 1 then
        return coalesce(ranges)
    end

    return ranges
end


-- Returns the value of Content-Range for one range.
function _M.content_range(range, length)
    return str_format("bytes %d-%d/%d", range[1], range[2] - 1, length)
end


-- Returns the value of Content-Range for 416.
function _M.unsatisfied(length)
    return str_format("bytes */%d", length)
end


-- Lays out a multipart/byteranges body: returns the text before each range,
-- the text after the last one, and the length of the whole body.
function _M.multipart(ranges, length, content_type, boundary)
    local heads, total = {}, 0

    for i, range in ipairs(ranges) do
        heads[i] = concat({
            "\r\n--", boundary,
            "\r\nContent-Type: ", content_type,
            "\r\nContent-Range: ", _M.content_range(range, length),
            "\r\n\r\n",
        })
        total = total + #heads[i] + range[2] - range[1]
    end

    local tail = "\r\n--" .. boundary .. "--\r\n"
    return heads, tail, total + #tail
end


return _M
