-- The plan cache: decoded plans of this worker over encoded ones in shared
-- memory, and one sidecar call per key however many ask at once.
--
-- A plan is used only while all its sources are what they were when it was
-- made; that is looked up at every use.

local client = require "origin.rpc.client"
local files = require "origin.files"
local lru = require "origin.lru"
local messages = require "origin.rpc.messages"
local plan_module = require "origin.plan"
local semaphore = require "ngx.semaphore"
local wire = require "origin.rpc.wire"


local ngx = ngx
local decode_plan = plan_module.decode
local min = math.min
local pcall = pcall
local now = ngx.now
local on_abort = ngx.on_abort
local refuse = plan_module.refuse
local shared = ngx.shared
local sleep = ngx.sleep
local str_sub = string.sub
local unchanged = files.unchanged
local worker_pid = ngx.worker.pid


-- Decoded plans of one worker, bytes. Segment plans are a few KB, so this is
-- some thousand of them or a hundred large manifests.
local WORKER_BYTES = 33554432

-- How long other workers wait for the one that calls, in seconds. Then they
-- call too: a hung sidecar must not add up.
local LOCK_SECONDS = 2
local POLL_FIRST, POLL_LONGEST = 0.001, 0.05

-- How long waiters of other workers may pick up a plan that is not kept.
local HANDOVER_SECONDS = 1

-- Longer than client.plan can take: only a leader that was killed lets its
-- followers wait that long.
local FOLLOW_SECONDS = 25

local _M = {}
local decoded = lru.new(WORKER_BYTES)
local flights = {}
local tokens = 0


local function is_valid(plan)
    if plan.expires and plan.expires <= now() then
        return false
    end

    local sources = plan.sources
    for i = 1, #sources do
        if not unchanged(sources[i]) then
            return false
        end
    end

    return true
end


-- Looks in shared memory.
local function find_encoded(key)
    local dict = shared.origin_plans
    local text = dict:get(key)
    if not text then
        return nil
    end

    local plan = decode_plan(text)
    if not plan or not plan.may_keep then
        return nil
    end

    if plan.ttl > 0 then
        plan.expires = now() + (dict:ttl(key) or 0)
    end

    if not is_valid(plan) then
        return nil
    end

    decoded:set(key, plan, plan.cost)
    return plan
end


-- What a leader of another worker ended in, when that is not a plan of the
-- sidecar. No encoded plan begins with such a byte.
local FAILED, UNREACHABLE = "!", "?"


local function unavailable()
    return refuse("FMP4_UNAVAILABLE", 503,
                  "The origin is starting or overloaded, try again.",
                  { "Retry-After", "1" })
end


local function at_fault()
    return refuse("FMP4_INTERNAL_ERROR", 500,
                  "The origin failed to make this answer.")
end


local function keep(key, plan, text)
    if not plan.may_keep then
        return
    end

    if plan.ttl > 0 then
        plan.expires = now() + plan.ttl
    end

    decoded:set(key, plan, plan.cost)
    shared.origin_plans:set(key, text, plan.ttl)
end


-- Keeps further plans as they came: most are decoded by another worker, or
-- never.
local function keep_ahead(question, text, from, to)
    local ahead, err = wire.spans(messages.AheadPlan, text, from, to)
    if not ahead or not ahead.plan then
        return nil, err
    end

    local key = question.prefix .. question.path .. "/"
                .. (ahead.virtual_path or "") .. question.suffix
    shared.origin_plans:set(key, str_sub(text, ahead.plan[1] + 1,
                                         ahead.plan[2]))
    return true
end


-- Asks the sidecar. Returns a plan, its bytes (nil for one of our own), and
-- an error for the log.
local function ask(question)
    local request = wire.encode(messages.PlanRequest, {
        document_root = question.root,
        path = question.path,
        virtual_path = question.virtual_path,
        args = question.args,
        directives = question.directives,
        method = question.method,
        request_id = question.request_id,
        read_ahead = question.read_ahead,
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
    keep(question.key, plan, text)

    local ahead = spans.ahead or {}
    for i = 1, #ahead do
        local ok
        ok, err = keep_ahead(question, reply, ahead[i][1], ahead[i][2])
        if not ok then
            return plan, text, "a further plan is not valid: " .. err
        end
    end

    return plan, text, nil
end


-- Makes the plan of what another worker's leader left for those who waited.
local function take_over(text)
    if text == UNREACHABLE then
        return unavailable()
    end

    return text == FAILED and at_fault() or decode_plan(text)
end


-- Takes the lock among workers, or waits for the one who has it. Returns the
-- token of the lock now held, or nil and what the other worker found.
local function lock(key)
    local dict = shared.origin_locks
    tokens = tokens + 1
    local token = worker_pid() .. "." .. tokens

    local waited, pause = 0, POLL_FIRST
    while waited < LOCK_SECONDS do
        if dict:add(key, token, LOCK_SECONDS) then
            return token
        end

        local other = dict:get(key)
        while other and waited < LOCK_SECONDS do
            sleep(pause)
            waited = waited + pause
            pause = min(pause * 2, POLL_LONGEST)

            if dict:get(key) ~= other then
                local text = dict:get("done:" .. other)
                local plan = find_encoded(key) or text and take_over(text)
                if plan then
                    return nil, plan
                end

                other = nil
            end
        end
    end

    -- Held for too long, or memory for locks is full: go on without.
    return token
end


local function unlock(key, token, plan, text)
    local dict = shared.origin_locks

    if not plan.may_keep then
        if not text then
            text = plan.status == 503 and UNREACHABLE or FAILED
        end

        dict:set("done:" .. token, text, HANDOVER_SECONDS)
    end

    if dict:get(key) == token then
        dict:delete(key)
    end
end


-- The part of a miss that one request does for all of its worker.
local function lead(question)
    local token, plan = lock(question.key)
    if plan then
        return plan, "shared"
    end

    -- Made while this one waited for the lock?
    plan = find_encoded(question.key)
    if plan then
        unlock(question.key, token, plan)
        return plan, "shared"
    end

    local ok, text, err
    ok, plan, text, err = pcall(ask, question)
    if not ok then
        plan, text, err = at_fault(), nil, plan
    end

    unlock(question.key, token, plan, text)
    return plan, "sidecar", err
end


local function nothing()
end


local function take_off(question)
    local flight = { waiting = 0, semaphore = semaphore.new() }
    flights[question.key] = flight

    -- With lua_check_client_abort on, a client that goes away would kill this
    -- coroutine and leave the others waiting. (Off, this is refused: fine.)
    on_abort(nothing)

    local ok, plan, source, err = pcall(lead, question)
    if not ok then
        plan, source, err = at_fault(), "sidecar", plan
    end

    flights[question.key] = nil
    flight.plan = plan
    if flight.waiting > 0 then
        flight.semaphore:post(flight.waiting)
    end

    return plan, source, err
end


-- Returns the worker's plan for key when it has one that holds, else nil.
function _M.find(key)
    local plan = decoded:get(key)
    if not plan then
        return nil
    end

    if not is_valid(plan) then
        decoded:delete(key)
        return nil
    end

    return plan
end


-- Makes or finds a plan that the worker does not have. Returns the plan,
-- where it came from ("shared", "wait", "sidecar") and an error for the log.
-- question: key (= prefix .. path .. "/" .. virtual_path .. suffix), root,
-- args, directives, method, request_id, read_ahead.
function _M.get(question)
    local key = question.key
    local plan = find_encoded(key)
    if plan then
        return plan, "shared"
    end

    local flight = flights[key]
    if not flight then
        return take_off(question)
    end

    flight.waiting = flight.waiting + 1
    local landed = flight.semaphore:wait(FOLLOW_SECONDS)
    flight.waiting = flight.waiting - 1
    if landed then
        return flight.plan, "wait"
    end

    -- The leader was killed: the next one takes its place.
    if flights[key] == flight then
        flights[key] = nil
    end

    return take_off(question)
end


-- Forgets a plan that turned out not to hold.
function _M.forget(key)
    decoded:delete(key)
    shared.origin_plans:delete(key)
end


return _M
