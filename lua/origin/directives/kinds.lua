-- How the arguments of a directive are read, by the kind of its row. Pure: no
-- ngx.
--
-- read[kind](row, args, before) returns the value; or nil and what is wrong,
-- as it follows the directive's name: 'takes "on" or "off"'. before: the value
-- of the same directive further up in the block, for kinds that repeat. What
-- is wrong never repeats an argument of a text: it may be secret.
--
-- merge[kind](below, above), for some: the value where both an outer block and
-- an inner one have the directive. words[kind](value): its arguments then.

local names = require "origin.directives.names"
local results = require "origin.results"


local concat = table.concat
local hint = names.hint
local ipairs = ipairs
local numbers = results.numbers
local pairs = pairs
local sort = table.sort
local str_find = string.find
local str_format = string.format
local str_gsub = string.gsub
local str_lower = string.lower
local str_match = string.match
local str_sub = string.sub
local tonumber = tonumber


local UNITS = { [""] = 1, k = 1024, m = 1048576, g = 1073741824 }

local MAX_PLACES = 16
local MAX_PATH = 4096

-- What a result may be given a status for, and every one of them.
local FORMATS = { iss = true, hds = true, hls = true, mpd = true,
                  progressive = true, ["*"] = true }

-- Answers of HTTP itself: interim ones, and those to ranges and conditions.
local NOT_STATUSES = { [206] = true, [304] = true, [416] = true }


local read, merge, words = {}, {}, {}


function read.flag(_, args)
    if #args > 1 or (args[1] and args[1] ~= "on" and args[1] ~= "off") then
        return nil, 'takes "on" or "off"'
    end

    return args[1] ~= "off"
end


function read.number(row, args)
    local value = #args == 1 and #args[1] < 16
                  and tonumber(str_match(args[1], "^%d+$"))
    if not value or value < row.min or value > row.max then
        return nil, str_format("takes one number from %d to %d", row.min,
                               row.max)
    end

    return value
end


function read.size(row, args)
    if #args == 1 and args[1] == "off" then
        return 0
    end

    local digits, unit = str_match(args[1] or "", "^(%d+)([kmgKMG]?)$")
    local value = digits and #digits < 16
                  and tonumber(digits) * UNITS[str_lower(unit)]
    if #args ~= 1 or not value or value > row.max then
        return nil, str_format('takes one size such as 64m, at most %d bytes, '
                               .. 'or "off"', row.max)
    end

    return value
end


-- Milliseconds; without a unit the number is of seconds, as elsewhere in nginx.
function read.time(row, args)
    if #args == 1 and args[1] == "off" then
        return 0
    end

    local digits, unit = str_match(args[1] or "", "^(%d+)(m?s?)$")
    local value = digits and #digits < 10 and unit ~= "m"
                  and tonumber(digits) * (unit == "ms" and 1 or 1000)
    if #args ~= 1 or not value or value < row.min or value > row.max then
        return nil, str_format('takes one time such as 500ms, from %dms to '
                               .. '%dms, or "off"', row.min, row.max)
    end

    return value
end


-- One argument of at most row.max bytes; row.takes is what it is. row.lines:
-- it may have several lines.
function read.text(row, args)
    local value = args[1]
    local control = row.lines and "[%z\1-\8\11\12\14-\31\127]" or "%c"
    if #args ~= 1 or value == "" or #value > row.max
       or str_find(value, control)
    then
        return nil, str_format("takes one %s of at most %d bytes",
                               (str_gsub(row.takes, " | ", " or ")), row.max)
    end

    return value
end


-- An absolute path in its shortest form, other than that of the whole disk.
local function is_path(text)
    return #text <= MAX_PATH and str_find(text, "^/.*[^/]$")
           and not str_find(text, "%c") and not str_find(text, "//", 1, true)
           and not str_find(text .. "/", "/%.%.?/")
end


-- A URL that ends in "/", in one form only: no user, no query, and a path that
-- all servers understand in the same way.
local function is_url(text)
    local host, path = str_match(text, "^https?://([^/]+)(/.*)$")
    if not host or #text > MAX_PATH or str_sub(path, -1) ~= "/" then
        return false
    end

    local name, port = str_match(host, "^(.-):(%d+)$")
    name = name or host
    if port and (#port > 5 or tonumber(port) == 0 or tonumber(port) > 65535)
       or not (str_find(name, "^%w[%w._-]*$")
               or str_find(name, "^%[[%x:.]+%]$"))
    then
        return false
    end

    return not str_find(path, "[%c%s?#\\]")
           and not str_find(path, "//", 1, true)
           and not str_find(path, "/%.%.?/")
           and not str_find(str_lower(path), "%%2[ef]")
           and not str_find(str_lower(path), "%%5c")
end


function read.places(_, args)
    local value = {}
    for i, arg in ipairs(args) do
        local place = str_match(arg, "^(/.-[^/])/?$") or arg
        if not is_path(place) and not is_url(place) then
            value = {}
            break
        end

        value[i] = place
    end

    if #value == 0 or #args > MAX_PLACES then
        return nil, str_format('takes 1 to %d absolute paths of folders such '
                               .. 'as /srv/media, without "." and "..", or '
                               .. 'URLs such as https://cdn.example.com/vod/ '
                               .. 'that end with "/"', MAX_PLACES)
    end

    return value
end


-- A URL that ends in "/", and before it the virtual path that it stands for.
function read.proxy(_, args)
    local url = args[#args] or ""
    local path = #args == 2 and args[1] or "/"
    if #args > 2 or not is_url(url)
       or not (path == "/" or str_find(path, "^/.*/$"))
       or str_find(path, "[%c?#\\]") or str_find(path, "//", 1, true)
       or str_find(path, "/%.%.?/")
    then
        return nil, 'takes one URL such as http://storage.example.com/vod/ '
                    .. 'that ends with "/", after the virtual path (such as '
                    .. '/vod/) that it stands for, if any'
    end

    return { path = path, url = url }
end


-- Repeats: { [result] = { [format] = status } }.
function read.status(_, args, before)
    local result, format, text = args[1], args[2], args[3]
    if #args ~= 3 then
        return nil, "takes a result, a format and a status, such as "
                    .. "FMP4_FRAGMENT_MISSING mpd 204"
    end

    if not numbers[result] then
        return nil, 'names a result that there is not: "' .. result .. '"'
                    .. hint(result, numbers)
    end

    if result == "FMP4_OK" then
        return nil, "cannot change the status of FMP4_OK"
    end

    if not FORMATS[format] then
        return nil, 'names a format that there is not: "' .. format .. '", '
                    .. 'only iss, hds, hls, mpd, progressive and * are'
    end

    local status = tonumber(str_match(text, "^%d%d%d$"))
    if not status or status < 200 or status > 599 or NOT_STATUSES[status] then
        return nil, "takes a status from 200 to 599, other than 206, 304 "
                    .. "and 416"
    end

    local value = before or {}
    local by_format = value[result] or {}
    if by_format[format] then
        return nil, "is duplicate for " .. result .. " " .. format
    end

    by_format[format] = status
    value[result] = by_format
    return value
end


-- An inner block's "*" is for all formats, whatever an outer one says.
function merge.status(below, above)
    local merged = {}
    for _, value in ipairs({ below, above }) do
        for result, by_format in pairs(value) do
            local into = not by_format["*"] and merged[result] or {}
            for format, status in pairs(by_format) do
                into[format] = status
            end

            merged[result] = into
        end
    end

    return merged
end


-- Result, format and status of each, one after the other.
function words.status(value)
    local lines = {}
    for result, by_format in pairs(value) do
        for format, status in pairs(by_format) do
            lines[#lines + 1] = concat({ result, format, status }, " ")
        end
    end

    sort(lines)
    local list = {}
    for _, line in ipairs(lines) do
        local result, format, status = str_match(line, "^(%S+) (%S+) (%S+)$")
        list[#list + 1] = result
        list[#list + 1] = format
        list[#list + 1] = status
    end

    return list
end


return { read = read, merge = merge, words = words, formats = FORMATS }
