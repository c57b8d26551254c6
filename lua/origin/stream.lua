-- Sends bodies: from memory or from the files of a plan, never more ahead of
-- the client than FLUSH bytes.

local reader = require "origin.reader"


local ngx = ngx
local flush = ngx.flush
local min = math.min
local print = ngx.print
local read = reader.read
local str_sub = string.sub


-- How much may wait in nginx for one slow client, beside the socket's buffer.
local FLUSH = 524288


local _M = { FLUSH = FLUSH }


-- Sends bytes [from, to) of a plan's body out of its open files. kept: a list
-- that collects the strings, or nil. Returns nil, err when a file is shorter
-- than its plan, and nil, nil when the client is gone.
function _M.send_files(plan, handles, from, to, kept)
    local piece, skip = reader.seek(plan, from)
    local left, waiting = to - from, 0

    while left > 0 do
        local text
        text, piece, skip = read(plan, handles, piece, skip, left)
        if not text then
            return nil, piece
        end

        if not print(text) then
            return nil
        end

        if kept then
            kept[#kept + 1] = text
        end

        left = left - #text
        waiting = waiting + #text
        if waiting >= FLUSH and left > 0 then
            if not flush(true) then
                return nil
            end

            waiting = 0
        end
    end

    return true
end


-- Sends bytes [from, to) of a body that is a list of strings.
function _M.send_strings(strings, from, to)
    local at, waiting = 0, 0

    for i = 1, #strings do
        local text = strings[i]
        local size = #text
        local start = at
        at = at + size

        if at > from then
            if start < from or at > to then
                text = str_sub(text, from > start and from - start + 1 or 1,
                               min(to - start, size))
            end

            if not print(text) then
                return nil
            end

            if at >= to then
                return true
            end

            waiting = waiting + size
            if waiting >= FLUSH then
                if not flush(true) then
                    return nil
                end

                waiting = 0
            end
        end
    end

    return true
end


return _M
