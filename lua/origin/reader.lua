-- The bytes of a plan's body, piece by piece. No ngx.

local ffi = require "ffi"
local files = require "origin.files"


local cast = ffi.cast
local copy = ffi.copy
local ffi_new = ffi.new
local ffi_str = ffi.string
local floor = math.floor
local min = math.min
local open_file = files.open
local str_sub = string.sub


-- One string of output. Larger ones fall out of the processor's cache
-- between reading and sending, and from 128 KB on LuaJIT maps each anew.
local CHUNK = 65536

-- A gap between two ranges up to this size is read and thrown away: cheaper
-- than another system call.
local MAX_GAP = 2048

-- IOV_MAX of Linux is 1024.
local MAX_VECTOR = 512

-- Longer inline parts are handed on without copying.
local MIN_DIRECT = 8192

local char_p = ffi.typeof("const char *")
local buffer = ffi_new("uint8_t[?]", CHUNK)
local scrap = ffi_new("uint8_t[?]", MAX_GAP)
local vector = ffi_new("struct origin_iovec[?]", MAX_VECTOR)


local _M = {}


-- Opens the files of a plan's pieces: a table of open files by source, or
-- nil, path when one is not (any more) the file that the plan was made from.
function _M.open(plan)
    local handles = {}
    local last = 0

    for i = 0, plan.count - 1 do
        local index = plan.pieces[i].source
        if index > 0 and index ~= last and not handles[index] then
            local source = plan.sources[index]
            local file = open_file(source.path)
            handles[index] = file

            if not file or not file:is(source) then
                _M.close(handles)
                return nil, source.path
            end
        end

        last = index
    end

    return handles
end


-- Tells whether the open files are still those of the plan.
function _M.unchanged(plan, handles)
    for index, file in pairs(handles) do
        if not file:is(plan.sources[index]) then
            return false
        end
    end

    return true
end


function _M.close(handles)
    for _, file in pairs(handles) do
        file:close()
    end
end


-- Returns the piece that holds the byte at position, and how far into it.
function _M.seek(plan, position)
    local pieces = plan.pieces
    local low, high = 0, plan.count - 1

    while low < high do
        local middle = floor((low + high) / 2)
        if pieces[middle].stop <= position then
            low = middle + 1
        else
            high = middle
        end
    end

    return low, position - pieces[low].start
end


-- Reads ranges of one file into buffer[n ...], as many as follow each other
-- with small gaps. Returns n, piece and skip behind them, or nil.
local function read_group(pieces, count, file, piece, skip, n, want)
    local source = pieces[piece].source
    local from = pieces[piece].offset + skip
    local at, start = from, n
    local first, first_skip = piece, skip
    local used = 0

    while n < want and piece < count and used < MAX_VECTOR - 1 do
        local this = pieces[piece]
        local offset = this.offset + skip
        local gap = offset - at
        if this.source ~= source or gap < 0 or gap > MAX_GAP then
            break
        end

        if gap > 0 then
            vector[used].base = scrap
            vector[used].length = gap
            used = used + 1
        end

        local left = this.stop - this.start - skip
        local take = min(left, want - n)
        vector[used].base = buffer + n
        vector[used].length = take
        used = used + 1
        n = n + take
        at = offset + take

        if take < left then
            skip = skip + take
            break
        end

        piece = piece + 1
        skip = 0
    end

    if used == 1 then
        if not file:read_fully(buffer + start, n - start, from) then
            return nil
        end

    elseif file:read_vector(vector, used, from) ~= at - from then
        -- A short read is the end of the file, or a file system that splits
        -- reads: then each range by itself.
        local to = start
        local each, each_skip = first, first_skip
        while to < n do
            local this = pieces[each]
            local take = min(this.stop - this.start - each_skip, n - to)
            if not file:read_fully(buffer + to, take,
                                   this.offset + each_skip)
            then
                return nil
            end

            to = to + take
            each = each + 1
            each_skip = 0
        end
    end

    return n, piece, skip
end


-- Returns the next bytes of the body from a piece on (skip: how far into
-- it), at least one and at most want; and the piece and skip that follow.
-- Returns nil, err when a file is shorter than its plan.
function _M.read(plan, handles, piece, skip, want)
    local pieces, count = plan.pieces, plan.count
    local n = 0

    local index = pieces[piece].source
    local inline = index < 0 and plan.inlines[-index]
    if inline and (#inline - skip >= MIN_DIRECT or #inline - skip >= want) then
        if #inline - skip <= want then
            return skip == 0 and inline or str_sub(inline, skip + 1),
                   piece + 1, 0
        end

        return str_sub(inline, skip + 1, skip + want), piece, skip + want
    end

    if want > CHUNK then
        want = CHUNK
    end

    while n < want and piece < count do
        index = pieces[piece].source
        if index > 0 then
            local before = piece
            n, piece, skip = read_group(pieces, count, handles[index], piece,
                                        skip, n, want)
            if not n then
                return nil, plan.sources[pieces[before].source].path
                            .. " is shorter than its plan"
            end

        else
            inline = plan.inlines[-index]
            local left = #inline - skip
            local take = min(left, want - n)
            copy(buffer + n, cast(char_p, inline) + skip, take)
            n = n + take

            if take < left then
                skip = skip + take
            else
                piece = piece + 1
                skip = 0
            end
        end
    end

    return ffi_str(buffer, n), piece, skip
end


return _M
