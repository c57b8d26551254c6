-- Reads blocks of directives into settings. Pure: no ngx.

local grammar = require "origin.directives.grammar"
local rows = require "origin.directives.table"


local concat = table.concat
local floor = math.floor
local ipairs = ipairs
local min = math.min
local pairs = pairs
local sort = table.sort
local str_byte = string.byte
local str_format = string.format
local str_gsub = string.gsub
local str_lower = string.lower
local str_match = string.match
local tonumber = tonumber


local UNITS = { [""] = 1, k = 1024, m = 1048576, g = 1073741824 }

-- Names further apart than that are no slip of the pen.
local MAX_DISTANCE = 4


local _M = { rows = rows }


-- Each takes a row and the arguments and returns the value, or nil and what
-- the directive takes.
local kinds = {}


function kinds.flag(_, args)
    if #args > 1 or (args[1] and args[1] ~= "on" and args[1] ~= "off") then
        return nil, '"on" or "off"'
    end

    return args[1] ~= "off"
end


function kinds.number(row, args)
    local value = #args == 1 and #args[1] < 16
                  and tonumber(str_match(args[1], "^%d+$"))
    if not value or value < row.min or value > row.max then
        return nil, str_format("one number from %d to %d", row.min, row.max)
    end

    return value
end


function kinds.size(row, args)
    if #args == 1 and args[1] == "off" then
        return 0
    end

    local digits, unit = str_match(args[1] or "", "^(%d+)([kmgKMG]?)$")
    local value = digits and #digits < 16
                  and tonumber(digits) * UNITS[str_lower(unit)]
    if #args ~= 1 or not value or value > row.max then
        return nil, str_format('one size such as 64m, at most %d bytes, '
                               .. 'or "off"', row.max)
    end

    return value
end


-- One argument of at most row.max bytes; row.takes is what it is.
function kinds.text(row, args)
    if #args ~= 1 or args[1] == "" or #args[1] > row.max then
        return nil, str_format("one %s of at most %d bytes",
                               (str_gsub(row.takes, " | ", " or ")), row.max)
    end

    return args[1]
end


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


local function nearest(name, known)
    local best, best_distance
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


local function by_name(list)
    local known = {}
    for _, row in ipairs(list) do
        known[row.name] = row
    end

    return known
end


-- Reads one block. context: "http" or "location". Returns a table of values
-- by directive name (with .words, the arguments as written, by name), or nil,
-- err. only the directives of the block are in it.
function _M.read(text, context, list)
    local known = by_name(list or rows)
    local where = "in origin." .. context .. " block, line "

    local found, err, line = grammar.parse(text)
    if not found then
        return nil, err .. " " .. where .. line
    end

    local values, words, lines = {}, {}, {}
    for _, directive in ipairs(found) do
        local name = directive.name
        local row = known[name]
        local place = where .. directive.line

        if not row then
            local hint = nearest(name, known)
            return nil, 'directive "' .. name .. '" is unknown ' .. place
                        .. (hint and ' (did you mean "' .. hint .. '"?)'
                            or "")
        end

        if not row.contexts[context] then
            return nil, 'directive "' .. name .. '" is not allowed ' .. place
        end

        if lines[name] then
            return nil, 'directive "' .. name .. '" is duplicate ' .. place
                        .. " (first on line " .. lines[name] .. ")"
        end

        local value, takes = kinds[row.kind](row, directive)
        if value == nil then
            return nil, 'directive "' .. name .. '" takes ' .. takes .. " "
                        .. place
        end

        values[name] = value
        words[name] = directive
        lines[name] = directive.line
    end

    return { values = values, words = words }
end


-- Puts a location's block over that of http and the defaults. Returns the
-- values of all directives by name, the list of those for the sidecar
-- ({ name, args }, sorted by name) and a text that is equal for equal lists.
function _M.resolve(http, location, list)
    local values, for_sidecar, parts = {}, {}, {}

    for _, row in ipairs(list or rows) do
        local name = row.name
        local value = location.values[name]
        if value == nil then
            value = http.values[name]
        end

        if value == nil then
            value = row.default
        end

        values[name] = value

        local words = location.words[name] or http.words[name]
        if row.sidecar and words then
            local args = {}
            for i = 1, #words do
                args[i] = words[i]
            end

            for_sidecar[#for_sidecar + 1] = { name = name, args = args }
        end
    end

    sort(for_sidecar, function(a, b) return a.name < b.name end)
    for _, directive in ipairs(for_sidecar) do
        parts[#parts + 1] = str_format("%s %d", directive.name,
                                       #directive.args)
        for _, arg in ipairs(directive.args) do
            parts[#parts + 1] = str_format("%d:%s", #arg, arg)
        end
    end

    return values, for_sidecar, concat(parts, ";")
end


return _M
