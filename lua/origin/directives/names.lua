-- The name that was meant where an unknown one stands. Pure: no ngx.

local floor = math.floor
local min = math.min
local pairs = pairs
local str_byte = string.byte
local str_find = string.find


-- Names further apart than that are no slip of the pen.
local MAX_DISTANCE = 4

-- Nor is a name that long, which would take its time to compare.
local MAX_LENGTH = 64


local _M = {}


-- Edit distance between two names.
local function distance(a, b)
    local row = {}
    for j = 0, #b do
        row[j] = j
    end

    for i = 1, #a do
        local diagonal = row[0]
        row[0] = i
        for j = 1, #b do
            local cost = str_byte(a, i) == str_byte(b, j) and 0 or 1
            local best = min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
            diagonal = row[j]
            row[j] = best
        end
    end

    return row[#b]
end


-- Returns the key of known that name is closest to, or nil when it resembles
-- none of them.
function _M.nearest(name, known)
    local best, best_distance
    if #name > MAX_LENGTH then
        return nil
    end

    for candidate in pairs(known) do
        local d = distance(name, candidate)
        if d <= MAX_DISTANCE and d < floor(#name / 2)
           and (not best or d < best_distance
                or (d == best_distance and candidate < best))
        then
            best, best_distance = candidate, d
        end
    end

    return best
end


-- " (did you mean ...?)" for the error about an unknown name; "" when there
-- is nothing that it resembles.
function _M.hint(name, known)
    local found = _M.nearest(name, known)
    return found and ' (did you mean "' .. found .. '"?)' or ""
end


-- A directive of that name, for errors. Behind a ";" too many or too few, a
-- secret may stand where a name should: only what looks like one is repeated.
function _M.shown(name)
    if #name <= MAX_LENGTH and str_find(name, "^[a-z][a-z_]*$") then
        return 'directive "' .. name .. '"'
    end

    return "a directive"
end


return _M
