-- nginx's own grammar for simple directives: names and arguments separated
-- by white space, "..." and '...' with escapes, # comments, ";". Pure: no ngx.

local names = require "origin.directives.names"
local utf8 = require "origin.utf8"


local concat = table.concat
local is_utf8 = utf8.is_valid
local shown = names.shown
local str_byte = string.byte
local str_find = string.find
local str_format = string.format
local str_gmatch = string.gmatch
local str_sub = string.sub


local ESCAPES = { t = "\t", r = "\r", n = "\n" }
local QUOTED = { ['"'] = true, ["'"] = true }


local _M = {}


-- Returns the text between quotes that opens at i, and the position behind
-- the closing one; or nil when it is not closed.
local function read_quoted(text, i)
    local quote = str_sub(text, i, i)
    local out = {}

    i = i + 1
    while i <= #text do
        local char = str_sub(text, i, i)
        if char == quote then
            return concat(out), i + 1
        end

        if char == "\\" and i < #text then
            local after = str_sub(text, i + 1, i + 1)
            if QUOTED[after] or after == "\\" then
                char = after
                i = i + 1

            elseif ESCAPES[after] then
                char = ESCAPES[after]
                i = i + 1
            end
        end

        out[#out + 1] = char
        i = i + 1
    end

    return nil
end


-- The same for a word without quotes: it ends before white space, ";" or a
-- brace.
local function read_bare(text, i)
    local out = {}

    while i <= #text do
        local char = str_sub(text, i, i)
        if str_find(char, "[%s;{}]") then
            break
        end

        if char == "\\" and i < #text then
            local after = str_sub(text, i + 1, i + 1)
            if QUOTED[after] or after == "\\" then
                char = after
                i = i + 1

            elseif ESCAPES[after] then
                char = ESCAPES[after]
                i = i + 1

            elseif str_find(after, "[%s;{}]") then
                -- an escaped separator stays in the word, with its backslash
                out[#out + 1] = char
                char = after
                i = i + 1
            end
        end

        out[#out + 1] = char
        i = i + 1
    end

    return concat(out), i
end


-- Returns a list of { name, line, args... }, or nil, what is wrong, line.
function _M.parse(text)
    local list = {}
    local current
    local i, line, counted = 1, 1, 1

    local function line_at(position)
        while counted < position do
            if str_byte(text, counted) == 10 then
                line = line + 1
            end

            counted = counted + 1
        end

        return line
    end

    -- What no editor shows: it would be part of a name or a value unseen.
    local control = str_find(text, "[%z\1-\8\11\12\14-\31\127]")
    if control then
        return nil, str_format("a control byte (0x%02x)",
                               str_byte(text, control)), line_at(control)
    end

    local number = 0
    for whole in str_gmatch(text .. "\n", "([^\n]*)\n") do
        number = number + 1
        if not is_utf8(whole) then
            return nil, "a byte that is not UTF-8", number
        end
    end

    while true do
        i = str_find(text, "%S", i)
        if not i then
            break
        end

        local char = str_sub(text, i, i)
        if char == "#" then
            i = str_find(text, "\n", i, true) or #text + 1

        elseif char == ";" then
            if not current then
                return nil, 'unexpected ";"', line_at(i)
            end

            list[#list + 1] = current
            current = nil
            i = i + 1

        elseif char == "{" or char == "}" then
            return nil, 'unexpected "' .. char .. '"', line_at(i)

        else
            local start, word = i
            if QUOTED[char] then
                word, i = read_quoted(text, i)
                if not word then
                    return nil, "a quote is not closed", line_at(start)
                end

                if i <= #text and not str_find(text, "^[%s;]", i) then
                    return nil, 'unexpected "' .. str_sub(text, i, i)
                                .. '" behind a quote', line_at(i)
                end

            else
                word, i = read_bare(text, i)
            end

            if current then
                current[#current + 1] = word
            else
                current = { name = word, line = line_at(start) }
            end
        end
    end

    if current then
        return nil, shown(current.name) .. ' does not end with ";"',
               current.line
    end

    return list
end


return _M
