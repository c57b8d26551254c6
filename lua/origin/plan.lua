-- Plans: from the sidecar's bytes to what answering needs. No ngx.

local bit = require "bit"
local ffi = require "ffi"
local date = require "origin.http.date"
local messages = require "origin.rpc.messages"
local pieces = require "origin.pieces"
local remote_source = require "origin.remote.source"
local results = require "origin.results"
local wire = require "origin.rpc.wire"


local band = bit.band
local cast = ffi.cast
local format_date = date.format
local read_varint = wire.read_varint
local skip_field = wire.skip_field
local str_find = string.find
local str_format = string.format
local str_sub = string.sub
local tonumber = tonumber


local bytes_t = ffi.typeof("const uint8_t *")
local int64_t = ffi.typeof("int64_t")
local uint64_t = ffi.typeof("uint64_t")

local SECOND = int64_t(1000000000)

-- What a decoded plan costs beside its bytes: tables, strings, list nodes.
local OVERHEAD = 2048


local _M = {
    CACHE_NONE = 0,
    CACHE_MANIFEST = 1,
    CACHE_MEDIA = 2,
}


-- Sources of a presentation are the same in all its plans: decoded once.
-- Emptied when full; a presentation has a handful.
local MAX_KNOWN = 4096
local known_sources, known_count = {}, 0


local function decode_source(text, from, to)
    local encoded = str_sub(text, from + 1, to)
    local known = known_sources[encoded]
    if known then
        return known
    end

    local message, err = wire.decode(messages.Source, encoded)
    if not message then
        return nil, err
    end

    local ns = message.mtime_ns or int64_t(0)
    local nsec = ns % SECOND
    if nsec < 0 then
        nsec = nsec + SECOND
    end

    local remote
    if message.remote then
        remote, err = remote_source.read(message.remote)
        if not remote then
            return nil, err
        end
    end

    local source = {
        path = message.path or "",
        size = message.size or 0,
        inode = message.inode or uint64_t(0),
        sec = tonumber((ns - nsec) / SECOND),
        nsec = tonumber(nsec),
        growing = (message.growing or 0) > 0,
        remote = remote,
    }

    if known_count == MAX_KNOWN then
        known_sources, known_count = {}, 0
    end

    known_sources[encoded] = source
    known_count = known_count + 1
    return source
end


-- Appends a header's name and value, which go to nginx as they are.
local function add_header(headers, text, from, to)
    local header, err = wire.spans(messages.Header, text, from, to)
    if not header then
        return nil, err
    end

    local name, value = header.name or "", header.value or ""
    if name == "" or str_find(name, "[^%w%-]") or str_find(value, "[%z\r\n]")
    then
        return nil, "a header is not one line"
    end

    headers[#headers + 1] = name
    headers[#headers + 1] = value
    return true
end


local number_fields, delimited_fields = {}, {}

-- Each takes the plan and the number.
number_fields[1] = function(plan, value)
    plan.result = value
end

number_fields[2] = function(plan, value)
    plan.status = value
end

number_fields[6] = function(plan, value)
    plan.content_length = str_format("%d", value)
end

number_fields[8] = function(plan, value)
    plan.cache_class = value
end

number_fields[9] = function(plan, value)
    plan.ttl = value / 1000
end

-- The plans of a presentation have one date.
local last_seconds, last_text

number_fields[11] = function(plan, value)
    if value <= 0 then
        return
    end

    if value ~= last_seconds then
        last_seconds, last_text = value, format_date(value)
    end

    plan.last_modified = value
    plan.last_modified_text = last_text
end

number_fields[14] = function(plan, value)
    plan.renew = value > 0 and value / 1000 or nil
end

number_fields[15] = function(plan, value)
    plan.max_age = value > 0 and value or nil
end


-- Each takes the plan and where the value lies in text; returns nil, err.
delimited_fields[3] = function(plan, text, from, to)
    plan.content_type = str_sub(text, from + 1, to)
    return true
end

delimited_fields[4] = function(plan, text, from, to)
    return add_header(plan.headers, text, from, to)
end

delimited_fields[5] = function(plan, text, from, to)
    local part, err = wire.spans(messages.Part, text, from, to)
    if not part then
        return nil, err
    end

    if part.file then
        return pieces.add_ranges(plan, text, part.file[1], part.file[2])
    end

    if not part.inline then
        return nil, "a part is neither inline nor of a file"
    end

    pieces.add_inline(plan, part.inline)
    return true
end

delimited_fields[7] = function(plan, text, from, to)
    local source, err = decode_source(text, from, to)
    if not source then
        return nil, err
    end

    plan.sources[#plan.sources + 1] = source
    plan.has_remotes = plan.has_remotes or source.remote ~= nil
    return true
end

delimited_fields[10] = function(plan, text, from, to)
    local etag = str_sub(text, from + 1, to)
    if str_find(etag, '^"[^"%c]*"$') then
        plan.etag = etag
    end

    return true
end

delimited_fields[12] = function(plan, text, from, to)
    plan.format = str_sub(text, from + 1, to)
    return true
end

delimited_fields[13] = function(plan, text, from, to)
    plan.kind = from < to and str_sub(text, from + 1, to) or nil
    return true
end


-- The field numbers above; compared with the .proto by tests/contract.
_M.fields = { numbers = number_fields, delimited = delimited_fields }


local function read_fields(plan, text, from, to)
    local p = cast(bytes_t, text)
    local i, stop = from or 0, to or #text

    while i < stop do
        local key, value
        key, i = read_varint(p, i, stop)
        if not key then
            return nil, "a field's key is damaged"
        end

        local wire_type = band(key, 7)
        local after = skip_field(p, i, stop, wire_type)
        if not after then
            return nil, "a field runs over the end"
        end

        local number = (key - wire_type) / 8
        if wire_type == 0 and number_fields[number] then
            value = read_varint(p, i, stop)
            if value then
                number_fields[number](plan, value)

            -- a negative number: a file from before 1970 has no date for us
            elseif number ~= 11 then
                return nil, "a number is out of range"
            end

        elseif wire_type == 2 and delimited_fields[number] then
            local _, start = read_varint(p, i, stop)
            local ok, err = delimited_fields[number](plan, text, start, after)
            if not ok then
                return nil, err
            end
        end

        i = after
    end

    return true
end


-- Makes a plan of text[from, to), an encoded Plan (0-based, half-open).
-- Returns nil, err when it contradicts itself. cost: bytes of memory that it
-- takes, about.
function _M.decode(text, from, to)
    local plan = {
        result = 0,
        status = 0,
        content_type = "application/octet-stream",
        content_length = "0",
        headers = {},
        sources = {},
        inlines = {},
        count = 0,
        room = 0,
        length = 0,
        in_memory = true,
        cache_class = _M.CACHE_NONE,
        ttl = 0,
        uses = 0,
        cost = OVERHEAD,
    }

    local ok, err = read_fields(plan, text, from, to)
    if not ok then
        return nil, err
    end

    plan.context = results.context(plan.result, plan.kind)
    if not plan.context or plan.status < 200 or plan.status > 599 then
        return nil, "no such result or status"
    end

    ok, err = pieces.check(plan)
    if not ok then
        return nil, err
    end

    if str_format("%d", plan.length) ~= plan.content_length then
        return nil, "the parts do not add up to the length"
    end

    plan.files = plan.sources
    if plan.has_remotes then
        remote_source.split(plan)
    end

    plan.cost = plan.cost + pieces.cost(plan)

    -- A refusal that names neither a source nor a time to live would be kept
    -- for ever, and files on other servers cannot be looked at.
    plan.may_keep = plan.cache_class ~= _M.CACHE_NONE
                    and (plan.ttl > 0
                         or #plan.files > 0 and not plan.has_remotes)
    return plan
end


-- Makes the plan of an answer that needs no sidecar: one sentence.
function _M.refuse(result_name, status, sentence, headers)
    local plan = {
        context = results.contexts[results.numbers[result_name]],
        status = status,
        content_type = "text/plain; charset=utf-8",
        headers = headers or {},
        sources = {},
        inlines = {},
        count = 0,
        room = 0,
        length = 0,
        in_memory = true,
        cache_class = _M.CACHE_NONE,
        ttl = 0,
        uses = 0,
        cost = OVERHEAD,
        may_keep = false,
    }

    pieces.add_inline(plan, sentence .. "\n")
    plan.content_length = str_format("%d", plan.length)
    return plan
end


-- Makes the answer to a request whose plan met a failure of another server
-- (remote/fetch.lua).
function _M.refuse_remote(plan, failure)
    local refusal = _M.refuse(failure.result, failure.status,
                              failure.sentence)
    refusal.context = results.context(results.numbers[failure.result],
                                      plan.context.kind)
    refusal.format = plan.format
    return refusal
end


-- Returns how a plan has a file requested that another plan has as a source; or
-- nil where it is another version or not in it.
function _M.remote_of(plan, source)
    local remotes = plan.remotes or {}
    for i = 1, #remotes do
        if remote_source.identity(remotes[i]) == remote_source.identity(source)
        then
            return remotes[i].remote
        end
    end

    return nil
end


return _M
