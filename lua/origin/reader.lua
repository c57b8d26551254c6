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
local tonumber = tonumber


-- One string of output: large, since each costs a write to the socket; but from
-- 128 KB on LuaJIT and malloc map memory anew for each. (16 KB: half as fast.)
local CHUNK = 122880

-- A gap between two ranges up to this size is read and thrown away: cheaper
-- than another system call.
local MAX_GAP = 2048

-- IOV_MAX of Linux is 1024.
local MAX_VECTOR = 512

-- Longer inline parts are handed on without copying.
local MIN_DIRECT = 8192

local char_p = ffi.typeof("const char *")

-- The buffer begins at a page, as the files do that the sidecar makes: where it
-- lay a few bytes further in its page than the source in its own, copying would
-- take some processors six times as long.
local PAGE = 4096
local room = ffi_new("uint8_t[?]", CHUNK + PAGE)
local buffer = room + (-tonumber(cast("uintptr_t", room)) % PAGE)

local scrap = ffi_new("uint8_t[?]", MAX_GAP)
local vector = ffi_new("struct origin_iovec[?]", MAX_VECTOR)


local _M = { room = room }  -- or it would be collected


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


-- Reads what stands in the first used entries of vector, which follow each
-- other in the file from an offset to another. Tells whether all came.
local function read_vector(file, used, from, to)
    local got
    if used == 1 then
        got = file:read(vector[0].base, to - from, from)
    else
        got = file:read_vector(vector, used, from)
    end

    if got == to - from then
        return true
    end

    -- A short read is the end of the file, or a file system that splits
    -- reads: then each entry by itself, as often as it takes.
    for i = 0, used - 1 do
        local size = tonumber(vector[i].length)
        if not file:read_fully(vector[i].base, size, from) then
            return false
        end

        from = from + size
    end

    return true
end


local function too_short(plan, index)
    return nil, plan.sources[index].path .. " is shorter than its plan"
end


-- Returns the next bytes of the body from a piece on (skip: how far into
-- it), at least one and at most want; and the piece and skip that follow.
-- Returns nil, err when a file is shorter than its plan.
--
-- One flat loop: a loop within it would keep it from being compiled, and
-- interpreted it costs as much as the reading.
function _M.read(plan, handles, piece, skip, want)
    local pieces, count, inlines = plan.pieces, plan.count, plan.inlines
    local index = pieces[piece].source

    if index < 0 then
        local inline = inlines[-index]
        local left = #inline - skip
        local this = pieces[piece]
        if (left >= MIN_DIRECT or left >= want)
           and this.stop - this.start == #inline
        then
            if left > want then
                return str_sub(inline, skip + 1, skip + want), piece,
                       skip + want
            end

            return skip == 0 and inline or str_sub(inline, skip + 1),
                   piece + 1, 0
        end
    end

    want = min(want, CHUNK)

    -- The ranges collected for one system call: their source, how many
    -- entries, and what they span in the file.
    local group, used, from, to = 0, 0, 0, 0
    local n = 0

    while n < want and piece < count do
        local this = pieces[piece]
        local left = this.stop - this.start - skip
        local take = min(left, want - n)
        index = this.source

        if index < 0 then
            copy(buffer + n,
                 cast(char_p, inlines[-index]) + this.offset + skip, take)
        else
            local offset = this.offset + skip
            local gap = offset - to

            if used > 0 and (index ~= group or gap < 0 or gap > MAX_GAP
                             or used >= MAX_VECTOR - 1)
            then
                if not read_vector(handles[group], used, from, to) then
                    return too_short(plan, group)
                end

                used = 0
            end

            if used == 0 then
                group, from = index, offset
            elseif gap > 0 then
                vector[used].base = scrap
                vector[used].length = gap
                used = used + 1
            end

            vector[used].base = buffer + n
            vector[used].length = take
            used = used + 1
            to = offset + take
        end

        n = n + take
        if take < left then
            skip = skip + take
        else
            piece = piece + 1
            skip = 0
        end
    end

    if used > 0 and not read_vector(handles[group], used, from, to) then
        return too_short(plan, group)
    end

    return ffi_str(buffer, n), piece, skip
end


return _M
