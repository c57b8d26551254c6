-- The sidecar processes one by one, by the numbers of their sockets.

local files = require "origin.files"


local exists = files.exists
local spawn = ngx.thread.spawn
local wait = ngx.thread.wait


-- As the bridge of openresty.conf passes them on.
local SOCKET = "sockets/sidecar-"

-- What "origin serve" starts at most.
local MAX_WORKERS = 256

local _M = {}


-- Returns how many there are. A process that died has a socket still; one that
-- is being replaced has none for a moment, and others come after it.
function _M.count()
    local count, number = 0, 0

    while number <= count + 1 and number < MAX_WORKERS do
        if exists(SOCKET .. number .. ".sock") then
            count = number + 1
        end

        number = number + 1
    end

    return count
end


-- Calls ask(number) for all of them at once, from 0. Returns a list of what
-- each call has returned: { value, err }.
function _M.map(ask)
    local threads, replies = {}, {}

    for number = 0, _M.count() - 1 do
        threads[number + 1] = spawn(ask, number)
    end

    for i = 1, #threads do
        local ok, value, err = wait(threads[i])
        if ok then
            replies[i] = { value, err }
        else
            replies[i] = { nil, value }
        end
    end

    return replies
end


return _M
