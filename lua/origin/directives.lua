-- Reads blocks of directives into settings. Pure: no ngx.

local grammar = require "origin.directives.grammar"
local kinds = require "origin.directives.kinds"
local names = require "origin.directives.names"
local rows = require "origin.directives.table"


local concat = table.concat
local hint = names.hint
local ipairs = ipairs
local merge = kinds.merge
local nearest = names.nearest
local pairs = pairs
local read = kinds.read
local shown = names.shown
local sort = table.sort
local str_format = string.format
local str_lower = string.lower


local _M = { rows = rows }


local function by_name(list)
    local known = {}
    for _, row in ipairs(list) do
        known[row.name] = row
    end

    return known
end


local function unknown(name, known)
    local lower = str_lower(name)
    if nearest(lower, known) then
        return 'directive "' .. name .. '" is unknown', hint(lower, known)
    end

    return shown(name) .. " is unknown", ""
end


-- The arguments of a directive as they were written, or those of all of them
-- where it repeats.
local function words_of(row, directive, value)
    if kinds.words[row.kind] then
        return kinds.words[row.kind](value)
    end

    local words = {}
    for i = 1, #directive do
        words[i] = directive[i]
    end

    return words
end


-- Reads one block. context: "http" or "location". Returns a table of values
-- by directive name (with .words, the arguments as written, by name), or nil,
-- err. Only the directives of the block are in it.
function _M.read(text, context, list)
    local known = by_name(list or rows)
    local where = " in origin." .. context .. " block, line "

    local found, err, line = grammar.parse(text)
    if not found then
        return nil, err .. where .. line
    end

    local values, words, lines = {}, {}, {}
    for _, directive in ipairs(found) do
        local name = directive.name
        local row = known[name]
        local place = where .. directive.line

        if not row then
            local what, meant = unknown(name, known)
            return nil, what .. place .. meant
        end

        local said = 'directive "' .. name .. '" '
        if not row.contexts[context] then
            return nil, said .. "is not allowed" .. place
        end

        if lines[name] and not row.repeats then
            return nil, said .. "is duplicate" .. place
                        .. " (first on line " .. lines[name] .. ")"
        end

        local value, wrong = read[row.kind](row, directive,
                                                 values[name])
        if value == nil then
            return nil, said .. wrong .. place
        end

        values[name] = value
        words[name] = words_of(row, directive, value)
        lines[name] = directive.line
    end

    return { values = values, words = words }
end


-- Puts one block over another. Returns a block with the directives of both;
-- where both have one, it is that of above (or both, for those that repeat).
function _M.overlay(below, above, list)
    local values, words = {}, {}

    for _, block in ipairs({ below, above }) do
        for name, value in pairs(block.values) do
            values[name] = value
            words[name] = block.words[name]
        end
    end

    for _, row in ipairs(list or rows) do
        local name = row.name
        if merge[row.kind] and below.values[name] and above.values[name] then
            local value = merge[row.kind](below.values[name],
                                          above.values[name])
            values[name] = value
            words[name] = kinds.words[row.kind](value)
        end
    end

    return { values = values, words = words }
end


-- Returns of those for the sidecar ({ name, args }) the ones that may be seen.
function _M.without_secrets(for_sidecar)
    local known, open = by_name(rows), {}
    for _, directive in ipairs(for_sidecar) do
        if not known[directive.name].secret then
            open[#open + 1] = directive
        end
    end

    return open
end


-- Whether values contradict each other: what is wrong, or nil.
function _M.contradiction(values)
    if values.usp_handle_api
       and (values.usp_handle_ism or values.usp_handle_f4f)
    then
        return "usp_handle_api and what streams need locations of their own"
    end

    local keys = { "s3_access_key", "s3_secret_key", "s3_region" }
    local signs = values.s3_security_token ~= "" and "s3_security_token"
                  or values.s3_secret_key ~= "" and "s3_secret_key"
                  or values.s3_access_key ~= "" and "s3_access_key"
    for _, name in ipairs(keys) do
        if signs and values[name] == "" then
            return signs .. " needs " .. name .. " beside it (requests are "
                   .. "signed by version 4)"
        end
    end

    return nil
end


-- Puts a location's block over that of http and the defaults. Returns the
-- values of all directives by name, the list of those for the sidecar
-- ({ name, args }, sorted by name) and a text that is equal for equal lists.
function _M.resolve(http, location, list)
    local values, for_sidecar, parts = {}, {}, {}
    local block = _M.overlay(http, location, list)

    for _, row in ipairs(list or rows) do
        local name = row.name
        local value = block.values[name]
        if value == nil then
            value = row.default
        end

        values[name] = value

        if row.sidecar and block.words[name] then
            for_sidecar[#for_sidecar + 1] = {
                name = name,
                args = block.words[name],
            }
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
