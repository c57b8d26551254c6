-- Plans for requests: from the store, or by one sidecar call per key however
-- many ask at once, in however many workers.

local ahead = require "origin.ahead"
local flights = require "origin.flights"
local locks = require "origin.locks"
local plan_module = require "origin.plan"
local sidecar = require "origin.sidecar"
local store = require "origin.store"


local ngx = ngx
local decode_plan = plan_module.decode
local find_shared = store.find_shared
local floor = math.floor
local on_abort = ngx.on_abort
local pcall = pcall


-- A client that waits gets its plan sooner when few others come with it; it
-- may also be one that asks for no other. So a call that somebody waits for
-- reads ahead that part only.
local FIRST_SHARE = 4

-- How long a segment waits for a call that plans segments before it, seconds,
-- and how often when that does not bring it along.
local AHEAD_SECONDS = 0.5
local MAX_WAITS = 4

-- Longer than a call can take: only a leader that was killed lets its
-- followers wait that long.
local FOLLOW_SECONDS = 25

-- What is left for those who waited when there is no plan of the sidecar. No
-- encoded plan begins with such a byte.
local FAILED, UNREACHABLE = "!", "?"

local _M = {}


local function find(question)
    local plan, mark, age = find_shared(question.key)
    if mark then
        ahead.order(question, mark, age)
    end

    return plan
end


-- Makes the plan of what another worker's leader left for those who waited.
local function take_over(left)
    if left == UNREACHABLE then
        return sidecar.unavailable()
    end

    return left == FAILED and sidecar.at_fault() or decode_plan(left)
end


-- Calls, unless another worker is just doing that: then its outcome counts.
local function call_or_wait(question, token)
    local key = question.key
    local held, plan = locks.acquire(key, token, function(left)
        return find(question) or left and take_over(left)
    end)

    -- Made while this one waited for the lock?
    plan = plan or find(question)
    if plan then
        if held then
            locks.release(key, token)
        end

        return plan, "shared"
    end

    local ok, text, err
    ok, plan, text, err = pcall(sidecar.ask, question,
                                floor(question.read_ahead / FIRST_SHARE))
    if not ok then
        plan, text, err = sidecar.at_fault(), nil, plan
    end

    if not plan.may_keep then
        locks.leave(token, text or plan.status == 503 and UNREACHABLE
                           or FAILED)
    end

    if held then
        locks.release(key, token)
    end

    return plan, "sidecar", err
end


-- The part of a miss that one request does for all of its worker. Another
-- worker may be planning segments just before this one.
local function lead(question, track)
    local token = locks.token()
    if not track then
        return call_or_wait(question, token)
    end

    local held, holder = locks.try(track, token)
    if holder then
        locks.wait(track, holder, AHEAD_SECONDS)
        local plan = find(question)
        if plan then
            return plan, "shared"
        end
    end

    local plan, source, err = call_or_wait(question, token)
    if held then
        locks.release(track, token)
    end

    return plan, source, err
end


local function nothing()
end


local function fly(question, track, number)
    local flight = flights.take_off(question.key, track, number)

    -- With lua_check_client_abort on, a client that goes away would kill this
    -- coroutine and leave the others waiting. (Off, this is refused: fine.)
    on_abort(nothing)

    local ok, plan, source, err = pcall(lead, question, track)
    if not ok then
        plan, source, err = sidecar.at_fault(), "sidecar", plan
    end

    flights.land(flight, question.key, track, plan)
    return plan, source, err
end


-- Returns the worker's plan for key when it has one that holds, else nil.
_M.find = store.find


-- Forgets a plan that turned out not to hold.
_M.forget = store.forget


-- Makes or finds a plan that the worker does not have. Returns the plan,
-- where it came from ("shared", "wait", "sidecar") and an error for the log.
-- question: see sidecar.lua.
function _M.get(question)
    local key = question.key
    local plan = find(question)
    if plan then
        return plan, "shared"
    end

    local flight = flights.find(key)
    if flight then
        if flights.wait(flight, FOLLOW_SECONDS) then
            return flight.plan, "wait"
        end

        -- The leader was killed: the next one takes its place.
        return fly(question)
    end

    -- A segment soon after one that is being planned comes with its call; but
    -- one that is waited for until the encoder has sent it keeps nobody else.
    local track, number
    if not question.may_hold then
        track, number = ahead.track_of(question)
    end

    for _ = 1, MAX_WAITS do
        flight = flights.find(track)
        if not flight or number <= flight.number then
            break
        end

        flights.wait(flight, AHEAD_SECONDS)
        plan = find(question)
        if plan then
            return plan, "wait"
        end

        flight = flights.find(key)
        if flight and flights.wait(flight, FOLLOW_SECONDS) then
            return flight.plan, "wait"
        end
    end

    return fly(question, track, number)
end


return _M
