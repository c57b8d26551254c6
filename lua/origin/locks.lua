-- Locks among workers, in shared memory. A lock is somebody's token under a
-- key; it ends by itself, so that a worker that dies blocks nobody for long.

local ngx = ngx
local min = math.min
local shared = ngx.shared
local sleep = ngx.sleep
local worker_pid = ngx.worker.pid


-- After that time others go on without the lock, in seconds: a hung sidecar
-- must not add up.
local LOCK_SECONDS = 2

local POLL_FIRST, POLL_LONGEST = 0.001, 0.05

-- How long those who waited may pick up what the holder left for them.
local HANDOVER_SECONDS = 1

local _M = {}
local tokens = 0


-- Returns a token that no other request of any worker has.
function _M.token()
    tokens = tokens + 1
    return worker_pid() .. "." .. tokens
end


-- Takes key if nobody has it. Returns true; or false and the holder's token
-- (nil: it has just let go, or there is no memory for locks).
function _M.try(key, token)
    local dict = shared.origin_locks
    if dict:add(key, token, LOCK_SECONDS) then
        return true
    end

    return false, dict:get(key)
end


-- Sleeps until the holder's token is gone from key, limit seconds at most.
-- Returns the time that took, about.
function _M.wait(key, holder, limit)
    local dict = shared.origin_locks
    local waited, pause = 0, POLL_FIRST

    repeat
        sleep(pause)
        waited = waited + pause
        pause = min(pause * 2, POLL_LONGEST)
    until dict:get(key) ~= holder or waited >= limit

    return waited
end


-- Takes key, or waits for its holder. found: called after each wait with what
-- the holder left (nil: nothing); when it returns a value, that is returned
-- behind false. Else returns whether the lock is held.
function _M.acquire(key, token, found)
    local waited = 0

    while waited < LOCK_SECONDS do
        local held, holder = _M.try(key, token)
        if held then
            return true
        end

        if holder then
            waited = waited + _M.wait(key, holder, LOCK_SECONDS - waited)
            local value = found(shared.origin_locks:get("left:" .. holder))
            if value then
                return false, value
            end

        else
            waited = waited + POLL_FIRST
        end
    end

    return false
end


-- Leaves a text for those who wait for this token.
function _M.leave(token, text)
    shared.origin_locks:set("left:" .. token, text, HANDOVER_SECONDS)
end


function _M.release(key, token)
    local dict = shared.origin_locks
    if dict:get(key) == token then
        dict:delete(key)
    end
end


return _M
