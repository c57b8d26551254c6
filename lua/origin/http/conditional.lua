-- Conditional requests (RFC 9110 13). Pure: no ngx.

local date = require "origin.http.date"


local parse_date = date.parse
local str_find = string.find
local str_match = string.match
local str_sub = string.sub


local _M = {}


-- Tells whether a list of entity tags names etag (with its quotes). Weak
-- comparison ignores W/ on both sides; with strong, a weak tag never matches.
local function lists(list, etag, strong)
    local at = 1
    local opaque = str_match(etag, '^W/(".*")$') or etag

    if strong and opaque ~= etag then
        return false
    end

    while true do
        local _, after, weak, tag = str_find(list,
                                             '^[%s,]*(W?/?)("[^"]*")', at)
        if not after then
            return false
        end

        if tag == opaque and (weak == "" or (weak == "W/" and not strong)) then
            return true
        end

        at = after + 1
    end
end


-- Returns 304 or 412 when a precondition decides the answer, else nil.
-- etag and last_modified (Unix seconds) are those of the representation, or
-- nil; the others are the request's header values, or nil. In the order of
-- RFC 9110 13.2.2, for GET and HEAD.
function _M.evaluate(etag, last_modified, if_match, if_unmodified_since,
                     if_none_match, if_modified_since)
    if if_match then
        if if_match ~= "*" and not (etag and lists(if_match, etag, true)) then
            return 412
        end

    elseif if_unmodified_since and last_modified then
        local since = parse_date(if_unmodified_since)
        if since and last_modified > since then
            return 412
        end
    end

    if if_none_match then
        if if_none_match == "*" or (etag and lists(if_none_match, etag)) then
            return 304
        end

    elseif if_modified_since and last_modified then
        local since = parse_date(if_modified_since)
        if since and last_modified <= since then
            return 304
        end
    end

    return nil
end


-- Tells whether If-Range lets a range be answered: the tag must be the same
-- and strong, a date must be exactly the last modification (13.1.5).
function _M.range_holds(if_range, etag, last_modified)
    if str_sub(if_range, 1, 1) == '"' or str_sub(if_range, 1, 2) == "W/" then
        return etag == if_range and str_sub(if_range, 1, 1) == '"'
    end

    return last_modified ~= nil and parse_date(if_range) == last_modified
end


return _M
