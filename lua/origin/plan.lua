-- Plans: from the sidecar's bytes to what answering needs. No ngx.
--
-- A plan's body is a list of pieces; piece i ends at pieces[i].stop and lies
-- in source pieces[i].source at offset, or (source < 0) in inline string
-- number -source.

local ffi = require "ffi"
local date = require "origin.http.date"
local messages = require "origin.rpc.messages"
local results = require "origin.results"
local wire = require "origin.rpc.wire"


local decode_message = wire.decode
local ffi_new = ffi.new
local format_date = date.format
local str_find = string.find
local str_format = string.format
local tonumber = tonumber


ffi.cdef [[
struct origin_piece {
    double start;
    double stop;
    double offset;
    int32_t source;
};
]]

local pieces_t = ffi.typeof("struct origin_piece[?]")
local int64_t = ffi.typeof("int64_t")
local uint64_t = ffi.typeof("uint64_t")

local SECOND = int64_t(1000000000)

-- What a decoded plan costs beside its bytes: tables, strings, list nodes.
local OVERHEAD = 2048
local BYTES_PER_PIECE = ffi.sizeof("struct origin_piece")


local _M = {
    CACHE_NONE = 0,
    CACHE_MANIFEST = 1,
    CACHE_MEDIA = 2,
}


local function decode_source(source)
    local ns = source.mtime_ns or int64_t(0)
    local nsec = ns % SECOND

    if nsec < 0 then
        nsec = nsec + SECOND
    end

    return {
        path = source.path or "",
        size = source.size or 0,
        inode = source.inode or uint64_t(0),
        sec = tonumber((ns - nsec) / SECOND),
        nsec = tonumber(nsec),
    }
end


local function count_pieces(parts)
    local n = 0

    for i = 1, #parts do
        local file = parts[i].file
        if file then
            local offsets = file.offset and file.offset.n or 0
            local lengths = file.length and file.length.n or 0
            if offsets ~= lengths then
                return nil
            end

            n = n + offsets
        else
            n = n + 1
        end
    end

    return n
end


-- Appends the ranges of one file. Returns the next index and position, or
-- nil when a range is empty or lies outside the file.
local function add_ranges(pieces, n, position, file, index, size)
    local offsets, lengths = file.offset.values, file.length.values

    for i = 0, file.offset.n - 1 do
        local offset, length = tonumber(offsets[i]), tonumber(lengths[i])
        if length == 0 or offset + length > size then
            return nil
        end

        local piece = pieces[n]
        piece.start = position
        position = position + length
        piece.stop = position
        piece.offset = offset
        piece.source = index
        n = n + 1
    end

    return n, position
end


-- Fills plan.pieces, .count and .inlines. Returns the body's length and the
-- bytes of its inline parts, or nil, err.
local function lay_out(plan, parts)
    local count = count_pieces(parts)
    if not count then
        return nil, "a part's offsets and lengths differ in number"
    end

    local pieces = ffi_new(pieces_t, count)
    local inlines = {}
    local n, position, inline_bytes = 0, 0, 0

    for i = 1, #parts do
        local file, inline = parts[i].file, parts[i].inline
        if inline and inline ~= "" then
            local piece = pieces[n]
            inlines[#inlines + 1] = inline
            piece.start = position
            position = position + #inline
            piece.stop = position
            piece.offset = 0
            piece.source = -#inlines
            inline_bytes = inline_bytes + #inline
            n = n + 1

        elseif not file and not inline then
            return nil, "a part is neither inline nor of a file"

        elseif file and file.offset then
            local index = (file.source or 0) + 1
            local source = plan.sources[index]
            if not source then
                return nil, "a part names a source that is not listed"
            end

            n, position = add_ranges(pieces, n, position, file, index,
                                     source.size)
            if not n then
                return nil, "a range lies outside its file: " .. source.path
            end
        end
    end

    plan.pieces = pieces
    plan.count = n
    plan.inlines = inlines
    plan.in_memory = n == #inlines
    return position, inline_bytes
end


-- A header's value goes to nginx as it is.
local function decode_headers(headers)
    local flat = {}

    for i = 1, #headers do
        local name, value = headers[i].name or "", headers[i].value or ""
        if str_find(name, "[^%w%-]") or name == ""
           or str_find(value, "[%z\r\n]")
        then
            return nil
        end

        flat[#flat + 1] = name
        flat[#flat + 1] = value
    end

    return flat
end


-- Makes a plan of text[from, to), an encoded Plan. Returns nil, err when it
-- contradicts itself. cost: bytes of memory that it takes, about.
function _M.decode(text, from, to)
    local message, err = decode_message(messages.Plan, text, from, to)
    if not message then
        return nil, err
    end

    local result = message.result or 0
    local status = message.status or 0
    if not results.names[result] or status < 200 or status > 599 then
        return nil, "no such result or status"
    end

    local headers = decode_headers(message.headers or {})
    if not headers then
        return nil, "a header is not one line"
    end

    local plan = {
        context = results.contexts[result],
        status = status,
        content_type = message.content_type or "application/octet-stream",
        headers = headers,
        sources = message.sources or {},
        cache_class = message.cache_class or _M.CACHE_NONE,
        ttl = (message.ttl_ms or 0) / 1000,
        uses = 0,
    }

    for i = 1, #plan.sources do
        plan.sources[i] = decode_source(plan.sources[i])
    end

    local length, inline_bytes = lay_out(plan, message.parts or {})
    if not length then
        return nil, inline_bytes
    end

    if length ~= (message.length or 0) then
        return nil, "the parts do not add up to the length"
    end

    plan.length = length
    plan.content_length = str_format("%d", length)
    plan.cost = OVERHEAD + inline_bytes + plan.count * BYTES_PER_PIECE

    if message.etag and str_find(message.etag, '^"[^"%c]*"$') then
        plan.etag = message.etag
    end

    if message.last_modified and message.last_modified > 0 then
        plan.last_modified = message.last_modified
        plan.last_modified_text = format_date(message.last_modified)
    end

    -- A refusal that names neither a source nor a time to live would be kept
    -- for ever.
    plan.may_keep = plan.cache_class ~= _M.CACHE_NONE
                    and (plan.ttl > 0 or #plan.sources > 0)
    return plan
end


-- Makes the plan of an answer that needs no sidecar: one sentence.
function _M.refuse(result_name, status, sentence, headers)
    local body = sentence .. "\n"
    local pieces = ffi_new(pieces_t, 1)

    pieces[0].stop = #body
    pieces[0].source = -1
    return {
        context = results.contexts[results.numbers[result_name]],
        status = status,
        content_type = "text/plain",
        headers = headers or {},
        sources = {},
        cache_class = _M.CACHE_NONE,
        ttl = 0,
        uses = 0,
        pieces = pieces,
        count = 1,
        inlines = { body },
        in_memory = true,
        length = #body,
        content_length = str_format("%d", #body),
        cost = OVERHEAD,
        may_keep = false,
    }
end


return _M
