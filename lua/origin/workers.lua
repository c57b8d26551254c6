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


-- Calls ask(number) for all of them at once, from 0. Returns a list of what
-- each call has returned: { value, err }. A process that died has a socket
-- still, so it is in the list.
function _M.map(ask)
    local threads, replies = {}, {}

    while #threads < MAX_WORKERS and exists(SOCKET .. #threads .. ".sock") do
        threads[#threads + 1] = spawn(ask, #threads)
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
