-- Files on other servers as sources of a plan. They are fetched and kept in
-- slices of equal length, so ranges of them are made ranges of slices, each a
-- source of its own. No ngx.

local ffi = require "ffi"
require "origin.pieces"


local ffi_new = ffi.new
local floor = math.floor
local min = math.min
local str_find = string.find
local str_match = string.match
local tonumber = tonumber


-- Bytes. Of each that is touched, all is fetched: the shorter, the more
-- requests to the storage.
local SLICE = 1048576

-- What a slice costs in memory, about: a table and its strings.
local BYTES_PER_SLICE = 512

-- Names of headers, and their values: one line each.
local TOKEN = "^[%w!#$%%&'*+.^_`|~-]+$"
local NO_LINE = "[%z\r\n]"

local pieces_t = ffi.typeof("struct origin_piece[?]")


local _M = { SLICE = SLICE }


-- Takes a decoded message Remote. Returns { scheme, host, address, target
-- (path and query), headers (names and values in turn), etag (nil: none),
-- expires (Unix seconds; nil: never) }; or nil, err.
function _M.read(message)
    local scheme, target = str_match(message.url or "",
                                     "^(https?)://[^/%s%c]+(/[^%s%c]*)$")
    if not scheme then
        return nil, "the URL of a source is not one"
    end

    local host, address = message.host or "", message.address or ""
    if not str_find(host, "^[%w._:%[%]-]+$")
       or not (str_find(address, "^%d[%d.]*:%d+$")
               or str_find(address, "^%[[%x:.]+%]:%d+$"))
    then
        return nil, "the server of a source is not one"
    end

    local etag = message.etag or ""
    if etag ~= "" and not str_find(etag, '^"[^"%s%c]*"$') then
        return nil, "the entity tag of a source is not one"
    end

    local headers = {}
    for _, header in ipairs(message.headers or {}) do
        local name, value = header.name or "", header.value or ""
        if not str_find(name, TOKEN) or str_find(value, NO_LINE) then
            return nil, "a header of a source is not one line"
        end

        headers[#headers + 1] = name
        headers[#headers + 1] = value
    end

    local expires = message.expires_ms or 0
    return {
        scheme = scheme,
        host = host,
        address = address,
        target = target,
        headers = headers,
        etag = etag ~= "" and etag or nil,
        expires = expires > 0 and expires / 1000 or nil,
    }
end


-- The number of the first and of the last slice that a piece lies in.
local function slices_of(piece)
    return floor(piece.offset / SLICE),
           floor((piece.offset + piece.stop - piece.start - 1) / SLICE)
end


-- Returns a slice of a source, by its number: a source itself.
function _M.slice(source, number)
    return {
        path = source.path,
        size = min(SLICE, source.size - number * SLICE),
        of = source,
        number = number,
    }
end


-- A list of sources that slices are added to, as they are needed.
local function slice_list(sources)
    local list, numbers = {}, {}

    return list, function(index, number)
        local known = numbers[index]
        if not known then
            known = {}
            numbers[index] = known
        end

        if not known[number] then
            local source = sources[index]
            list[#list + 1] = not source.remote and source
                              or _M.slice(source, number)
            known[number] = #list
        end

        return known[number]
    end
end


-- Makes ranges of files on other servers ranges of slices. plan.sources is then
-- a list of local files and of slices ({ path, size, of: the whole source,
-- number }), plan.files that of local files, which can be looked at, and
-- plan.remotes that of the others.
function _M.split(plan)
    local pieces, sources = plan.pieces, plan.sources
    local files, remotes = {}, {}
    for i = 1, #sources do
        local kind = sources[i].remote and remotes or files
        kind[#kind + 1] = sources[i]
    end

    local count = 0
    for i = 0, plan.count - 1 do
        local source = sources[pieces[i].source]
        local first, last = 0, 0
        if source and source.remote then
            first, last = slices_of(pieces[i])
        end

        count = count + last - first + 1
    end

    local list, index_of = slice_list(sources)
    local into, n = ffi_new(pieces_t, count), 0

    for i = 0, plan.count - 1 do
        local piece = pieces[i]
        local index = piece.source
        local source = sources[index]

        if source and source.remote then
            local first, last = slices_of(piece)
            local position, offset = piece.start, piece.offset

            for number = first, last do
                local stop = min(piece.stop, position
                                 + (number + 1) * SLICE - offset)
                local part = into[n]
                part.start = position
                part.stop = stop
                part.offset = offset - number * SLICE
                part.source = index_of(index, number)
                offset = offset + stop - position
                position = stop
                n = n + 1
            end

        else
            into[n] = piece
            into[n].source = source and index_of(index, 0) or index
            n = n + 1
        end
    end

    plan.pieces = into
    plan.count, plan.room = count, count
    plan.sources, plan.files, plan.remotes = list, files, remotes
    plan.cost = plan.cost + #list * BYTES_PER_SLICE
end


-- The text that a file's slices are known by: another one when the file is.
function _M.identity(source)
    return source.path .. "\n" .. source.size .. "\n"
           .. (source.remote.etag or tonumber(source.sec) .. "."
                                     .. tonumber(source.nsec))
end


return _M
