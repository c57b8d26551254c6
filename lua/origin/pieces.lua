-- The body of a plan: a list of pieces. Piece i (from 0) ends at
-- pieces[i].stop and lies in source pieces[i].source at offset, or, where that
-- number is negative, in inline string -number, at offset too. No ngx.

local ffi = require "ffi"
local messages = require "origin.rpc.messages"
local wire = require "origin.rpc.wire"


local cast = ffi.cast
local ffi_copy = ffi.copy
local ffi_new = ffi.new
local ffi_string = ffi.string
local max = math.max
local min = math.min
local read_varint = wire.read_varint
local tonumber = tonumber


ffi.cdef [[
struct origin_piece {
    double start;
    double stop;
    double offset;
    int32_t source;
};
]]

local bytes_t = ffi.typeof("const uint8_t *")
local numbers_t = ffi.typeof("const uint64_t *")
local steps_t = ffi.typeof("const uint32_t *")
local pieces_t = ffi.typeof("struct origin_piece[?]")

local BYTES_PER_PIECE = ffi.sizeof("struct origin_piece")

-- No plan lists as many; a larger index would not fit a piece.
local MAX_SOURCE = 1048576

-- In place of a source's index: the range is one of the part's own bytes.
local INLINE = 0xffffffffffffffffULL

local _M = {}


-- Finds where the packed numbers of a FileRanges lie. Returns source, count,
-- offsets, lengths and sources (pointers into text; no sources where all ranges
-- are of source) and the part's own bytes, if any; in place of offsets and
-- lengths, where there are steps, these and the byte with which they begin. Or
-- nil for an encoding that is not the usual one: each field once, numbers
-- packed.
local function find_ranges(p, i, stop)
    local source, count, offsets, lengths = 0, 0, nil, nil
    local sources, inline, steps
    local begin = 0

    while i < stop do
        local key, value
        key, i = read_varint(p, i, stop)
        if not key then
            return nil
        end

        value, i = read_varint(p, i, stop)
        if not value then
            return nil
        end

        if key == 8 then
            source = value

        elseif key == 18 and not offsets and value <= stop - i then
            offsets = cast(numbers_t, p + i)
            count = value / 8
            i = i + value

        elseif key == 26 and not lengths and value == count * 8
               and value <= stop - i
        then
            lengths = cast(numbers_t, p + i)
            i = i + value

        elseif key == 34 and not sources and value == count * 8
               and value > 0 and value <= stop - i
        then
            sources = cast(numbers_t, p + i)
            i = i + value

        elseif key == 42 and not inline and value <= stop - i then
            inline = ffi_string(p + i, value)
            i = i + value

        elseif key == 50 and not steps and value <= stop - i then
            steps = cast(steps_t, p + i)
            count = value / 8
            i = i + value

        elseif key == 56 then
            begin = value

        else
            return nil
        end
    end

    if not lengths == not steps or steps and (offsets or sources or inline)
       or count % 1 ~= 0
    then
        return nil
    end

    return source, count, offsets, lengths, sources, inline, steps, begin
end


-- Reads a FileRanges however it is encoded.
local function read_ranges(text, from, to)
    local source, count, offsets, lengths, sources, inline, steps, begin =
        find_ranges(cast(bytes_t, text), from, to)
    if source then
        return source, count, offsets, lengths, sources, inline, steps, begin
    end

    local file, err = wire.decode(messages.FileRanges, text, from, to)
    if not file then
        return nil, err
    end

    count = file.offset and file.offset.n or 0
    if file.steps then
        if #file.steps % 8 ~= 0 or count > 0 or file.length or file.sources
           or file.inline
        then
            return nil, "a part has steps and other lists, or half a step"
        end

        -- The string goes along: it must not be collected before it is read.
        return file.source or 0, #file.steps / 8, nil, nil, nil, nil,
               cast(steps_t, cast(bytes_t, file.steps)), file.begin or 0,
               file.steps
    end

    if count ~= (file.length and file.length.n or 0) then
        return nil, "a part's offsets and lengths differ in number"
    end

    sources = file.sources and file.sources.n > 0 and file.sources or nil
    if sources and sources.n ~= count then
        return nil, "a part's offsets and sources differ in number"
    end

    return file.source or 0, count, file.offset and file.offset.values,
           file.length and file.length.values, sources and sources.values,
           file.inline
end


-- Makes room for count more pieces; for many parts in all, twice as much as
-- there was, so that each piece is copied about once.
local function grow(plan, count)
    local wanted = plan.count + count
    if wanted <= plan.room then
        return plan.pieces
    end

    if plan.count > 1 then
        wanted = max(wanted, 2 * plan.count)
    end

    local pieces = ffi_new(pieces_t, wanted)
    if plan.count > 0 then
        ffi_copy(pieces, plan.pieces, plan.count * BYTES_PER_PIECE)
    end

    plan.pieces = pieces
    plan.room = wanted
    return pieces
end


-- Adds to the strings of a plan's body. Returns the string's number.
local function keep_inline(plan, inline)
    local number = #plan.inlines + 1
    plan.inlines[number] = inline
    plan.cost = plan.cost + #inline
    return number
end


-- Appends inline bytes to a plan's body.
function _M.add_inline(plan, inline)
    if inline == "" then
        return
    end

    local piece = grow(plan, 1)[plan.count]
    piece.start = plan.length
    piece.stop = plan.length + #inline
    piece.source = -keep_inline(plan, inline)
    plan.count = plan.count + 1
    plan.length = plan.length + #inline
end


-- Appends count ranges of a file, each behind the one before it.
local function add_steps(plan, index, count, steps, offset)
    local pieces, first = grow(plan, count), plan.count
    local position = plan.length

    for i = 0, count - 1 do
        local piece = pieces[first + i]
        local size = steps[2 * i + 1]
        offset = offset + steps[2 * i]
        piece.start = position
        position = position + size
        piece.stop = position
        piece.offset = offset
        piece.source = index
        offset = offset + size
    end

    plan.count = first + count
    plan.length = position
    plan.in_memory = false
end


-- Appends ranges of files, and of the part's own bytes. Sources may come behind
-- the parts that refer to them: they are compared by check().
function _M.add_ranges(plan, text, from, to)
    local source, count, offsets, lengths, sources, inline, steps, begin, held =
        read_ranges(text, from, to)
    if not source then
        return nil, count
    end

    if count == 0 then
        return true
    end

    if steps then
        add_steps(plan, source + 1, count, steps, begin)
        return true, held
    end

    local pieces, first = grow(plan, count), plan.count
    local index, position = source + 1, plan.length

    -- One string for all heads of samples: hundreds would be a burden to the
    -- collector for as long as the plan is kept.
    local own = inline and keep_inline(plan, inline) or 0

    for i = 0, count - 1 do
        if sources then
            index = sources[i] == INLINE and -own
                    or min(tonumber(sources[i]), MAX_SOURCE) + 1
        end

        local piece = pieces[first + i]
        piece.start = position
        position = position + tonumber(lengths[i])
        piece.stop = position
        piece.offset = tonumber(offsets[i])
        piece.source = index
    end

    plan.count = first + count
    plan.length = position
    plan.in_memory = false
    return true
end


-- Compares ranges with the files and strings they are of. Returns true, or
-- nil, err.
function _M.check(plan)
    local pieces, sources, inlines = plan.pieces, plan.sources, plan.inlines
    local size, last = 0, 0

    for i = 0, plan.count - 1 do
        local piece = pieces[i]
        local index = piece.source

        if index <= 0 then
            local inline = inlines[-index]
            if not inline or piece.stop == piece.start
               or piece.offset + piece.stop - piece.start > #inline
            then
                return nil, "a range lies outside the bytes of its part"
            end

        else
            if index ~= last then
                local source = sources[index]
                if not source then
                    return nil, "a part names a source that is not listed"
                end

                size, last = source.size, index
            end

            if piece.stop == piece.start
               or piece.offset + piece.stop - piece.start > size
            then
                return nil, "a range lies outside " .. sources[index].path
            end
        end
    end

    return true
end


-- Returns the memory that a plan's pieces take, bytes.
function _M.cost(plan)
    return plan.room * BYTES_PER_PIECE
end


return _M
