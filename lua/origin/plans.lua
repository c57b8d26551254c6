-- Plans for requests: from the store, or by one sidecar call per key however
-- many ask at once.
--
-- Three things make calls rare. Requests for one key wait for the first one's
-- call. A request for a segment soon after one that is being planned waits for
-- that call, which brings it along. And when a client comes to the first plan
-- that was read ahead, more of them are ordered in the background.

local client = require "origin.rpc.client"
local locks = require "origin.locks"
local messages = require "origin.rpc.messages"
local plan_module = require "origin.plan"
local semaphore = require "ngx.semaphore"
local store = require "origin.store"
local wire = require "origin.rpc.wire"


local ngx = ngx
local decode_plan = plan_module.decode
local find_shared = store.find_shared
local floor = math.floor
local on_abort = ngx.on_abort
local pcall = pcall
local refuse = plan_module.refuse
local str_match = string.match
local str_sub = string.sub
local timer_at = ngx.timer.at
local tonumber = tonumber


-- A client that waits gets its plan sooner when few others come with it; it
-- may also be one that asks for no other. So the first call reads ahead that
-- part only.
local FIRST_SHARE = 4

-- How long a segment waits for a call that plans segments before it, seconds.
local AHEAD_SECONDS = 0.5

-- Longer than client.plan can take: only a leader that was killed lets its
-- followers wait that long.
local FOLLOW_SECONDS = 25

-- What is left for those who waited when there is no plan of the sidecar. No
-- encoded plan begins with such a byte.
local FAILED, UNREACHABLE = "!", "?"

local _M = {}

-- The calls of this worker that are under way, by key and by track.
local flights = {}


local function unavailable()
    return refuse("FMP4_UNAVAILABLE", 503,
                  "The origin is starting or overloaded, try again.",
                  { "Retry-After", "1" })
end


local function at_fault()
    return refuse("FMP4_INTERNAL_ERROR", 500,
                  "The origin failed to make this answer.")
end


-- A media segment's track and number (or time), as the virtual path has them:
-- nil for everything else.
local function track_of(question)
    if question.read_ahead == 0 then
        return nil
    end

    local track, number = str_match(question.virtual_path,
                                    "^(.*%-)(%d+)%.[%w]+$")
    if not track then
        track, number = str_match(question.virtual_path,
                                  "^(.*%-Seg%d+%-Frag)(%d+)$")
    end

    if not track then
        track, number = str_match(question.virtual_path,
                                  "^(QualityLevels%(.*=)(%d+)%)$")
    end

    if not track then
        return nil
    end

    return question.prefix .. question.path .. "/" .. track
           .. question.suffix, tonumber(number)
end


local function key_of(question, virtual_path)
    return question.prefix .. question.path .. "/" .. virtual_path
           .. question.suffix
end


-- Keeps the plans read ahead. The first one gets the last one's virtual path
-- as its mark: whoever uses it is going on, and reads on from there.
local function keep_ahead(question, reply, spans)
    local last

    for i = #spans, 1, -1 do
        local ahead, err = wire.spans(messages.AheadPlan, reply, spans[i][1],
                                      spans[i][2])
        if not ahead or not ahead.plan then
            return nil, err or "one without plan"
        end

        local virtual_path = ahead.virtual_path or ""
        last = last or virtual_path
        store.keep_encoded(key_of(question, virtual_path),
                           str_sub(reply, ahead.plan[1] + 1, ahead.plan[2]),
                           i < #spans, i == 1 and last or nil)
    end

    return true
end


-- Asks the sidecar. Returns a plan, its encoding (nil for one of our own),
-- and an error for the log.
local function ask(question, read_ahead)
    local request = wire.encode(messages.PlanRequest, {
        document_root = question.root,
        path = question.path,
        virtual_path = question.virtual_path,
        args = question.args,
        directives = question.directives,
        method = question.method,
        request_id = question.request_id,
        read_ahead = read_ahead,
    })

    local reply, err, unreachable = client.plan(question.root
                                                .. question.path, request)
    if not reply then
        return unreachable and unavailable() or at_fault(), nil, err
    end

    local spans
    spans, err = wire.spans(messages.PlanReply, reply)
    if not spans or not spans.plan then
        return at_fault(), nil, err or "the reply has no plan"
    end

    local plan
    plan, err = decode_plan(reply, spans.plan[1], spans.plan[2])
    if not plan then
        return at_fault(), nil, "the plan is not valid: " .. err
    end

    local text = str_sub(reply, spans.plan[1] + 1, spans.plan[2])
    store.keep(question.key, plan, text, spans.ahead ~= nil)

    if spans.ahead then
        local ok
        ok, err = keep_ahead(question, reply, spans.ahead)
        if not ok then
            return plan, text, "plans read ahead are not valid: " .. err
        end
    end

    return plan, text
end


local function take_off(key, track, number)
    local flight = {
        number = number,
        waiting = 0,
        semaphore = semaphore.new(),
    }

    if key then
        flights[key] = flight
    end

    if track then
        flights[track] = flight
    end

    return flight
end


local function land(flight, key, track, plan)
    if key and flights[key] == flight then
        flights[key] = nil
    end

    if track and flights[track] == flight then
        flights[track] = nil
    end

    flight.plan = plan
    if flight.waiting > 0 then
        flight.semaphore:post(flight.waiting)
    end
end


-- Tells whether the flight landed within limit seconds.
local function wait_for(flight, limit)
    flight.waiting = flight.waiting + 1
    local landed = flight.semaphore:wait(limit)
    flight.waiting = flight.waiting - 1
    return landed
end


-- Reads on behind a plan that was read ahead. In a timer: no client waits.
local function read_on(premature, question, track, number)
    if premature or flights[track] then
        return
    end

    local token = locks.token()
    if not locks.try(track, token) then
        return
    end

    local flight = take_off(nil, track, number)
    local ok, _, _, err = pcall(ask, question, question.read_ahead)
    if not ok or err then
        ngx.log(ngx.WARN, "origin: reading ahead of ", question.path, ": ",
                ok and err or _, ", request_id: ", question.request_id)
    end

    locks.release(track, token)
    land(flight, nil, track)
end


local function order_next(question, last)
    -- Two clients close to each other on one track: one reads on for both.
    if store.is_followed(key_of(question, last)) then
        return
    end

    local further = {}
    for name, value in pairs(question) do
        further[name] = value
    end

    further.virtual_path = last
    further.key = key_of(question, last)

    local track, number = track_of(further)
    if track then
        -- Out of timers, the next plans are asked for when they are needed.
        timer_at(0, read_on, further, track, number)
    end
end


local function find(question)
    local plan, mark = find_shared(question.key)
    if mark then
        order_next(question, mark)
    end

    return plan
end


-- Calls, unless another worker is just doing that: then its outcome counts.
local function call_or_wait(question, token)
    local key = question.key
    local held, plan = locks.acquire(key, token, function(left)
        local found = find(question)
        if found or not left then
            return found
        end

        if left == UNREACHABLE then
            return unavailable()
        end

        return left == FAILED and at_fault() or decode_plan(left)
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
    ok, plan, text, err = pcall(ask, question,
                                floor(question.read_ahead / FIRST_SHARE))
    if not ok then
        plan, text, err = at_fault(), nil, plan
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


-- The part of a miss that one request does for all of its worker.
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
    local flight = take_off(question.key, track, number)

    -- With lua_check_client_abort on, a client that goes away would kill this
    -- coroutine and leave the others waiting. (Off, this is refused: fine.)
    on_abort(nothing)

    local ok, plan, source, err = pcall(lead, question, track)
    if not ok then
        plan, source, err = at_fault(), "sidecar", plan
    end

    land(flight, question.key, track, plan)
    return plan, source, err
end


-- Returns the worker's plan for key when it has one that holds, else nil.
_M.find = store.find


-- Forgets a plan that turned out not to hold.
_M.forget = store.forget


-- Makes or finds a plan that the worker does not have. Returns the plan,
-- where it came from ("shared", "wait", "sidecar") and an error for the log.
-- question: key (= prefix .. path .. "/" .. virtual_path .. suffix), root,
-- args, directives, method, request_id, read_ahead.
function _M.get(question)
    local key = question.key
    local plan = find(question)
    if plan then
        return plan, "shared"
    end

    local flight = flights[key]
    if flight then
        if wait_for(flight, FOLLOW_SECONDS) then
            return flight.plan, "wait"
        end

        -- The leader was killed: the next one takes its place.
        return fly(question)
    end

    local track, number = track_of(question)
    flight = track and flights[track]
    if flight and number > flight.number then
        wait_for(flight, AHEAD_SECONDS)
        plan = find(question)
        if plan then
            return plan, "wait"
        end

        flight = flights[key]
        if flight and wait_for(flight, FOLLOW_SECONDS) then
            return flight.plan, "wait"
        end

        -- Not brought along. Nor does its own call wait for others again.
        track = nil
    end

    return fly(question, track, number)
end


return _M
