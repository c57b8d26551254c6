-- One question to the sidecar: from a request to plans in the store.
--
-- A question: key (= prefix .. path .. "/" .. virtual_path .. suffix), root,
-- path, virtual_path, args, directives, method, request_id, read_ahead,
-- may_hold (whether the answer may be kept back until a segment has come),
-- recheck (nil or 1: files on other servers are looked at anew).

local client = require "origin.rpc.client"
local encode = require "origin.rpc.encode"
local license = require "origin.license"
local messages = require "origin.rpc.messages"
local plan_module = require "origin.plan"
local store = require "origin.store"
local wire = require "origin.rpc.wire"


local decode_plan = plan_module.decode
local refuse = plan_module.refuse
local spans_of = wire.spans
local str_sub = string.sub


-- Every so many plans of those read ahead make whoever uses them read on: the
-- first, because who uses it goes on; later ones, because clients may have
-- passed the first before it came.
local MARK_EVERY = 4

local _M = {}


-- The plan when the sidecar could not be reached.
function _M.unavailable()
    return refuse("FMP4_UNAVAILABLE", 503,
                  "The origin is starting or overloaded, try again.",
                  { "Retry-After", "1" })
end


-- The plan when the sidecar or its answer is at fault.
function _M.at_fault()
    return refuse("FMP4_INTERNAL_ERROR", 500,
                  "The origin failed to make this answer.")
end


-- The key of another virtual path of the question's presentation.
function _M.key_of(question, virtual_path)
    return question.prefix .. question.path .. "/" .. virtual_path
           .. question.suffix
end


-- ttl: of the plan that was asked for; those read ahead hold as long.
local function keep_ahead(question, reply, spans, ttl)
    local last

    for i = #spans, 1, -1 do
        local ahead, err = spans_of(messages.AheadPlan, reply, spans[i][1],
                                    spans[i][2])
        if not ahead or not ahead.plan then
            return nil, err or "one without plan"
        end

        local virtual_path = ahead.virtual_path or ""
        last = last or virtual_path
        store.keep_encoded(_M.key_of(question, virtual_path),
                           str_sub(reply, ahead.plan[1] + 1, ahead.plan[2]),
                           ttl, i < #spans,
                           i % MARK_EVERY == 1 and last or nil)
    end

    store.link(question.key, last, #spans)
    return #spans
end


-- Asks for a plan and read_ahead further ones. Returns the plan, its encoding
-- (nil for one of our own), an error for the log, and how many further ones.
function _M.ask(question, read_ahead)
    local request = encode(messages.PlanRequest, {
        document_root = question.root,
        path = question.path,
        virtual_path = question.virtual_path,
        args = question.args,
        directives = question.directives,
        method = question.method,
        request_id = question.request_id,
        read_ahead = read_ahead,
        recheck = question.recheck,
    })

    local reply, err, unreachable = client.plan(question.root
                                                .. question.path, request)
    if not reply then
        return unreachable and _M.unavailable() or _M.at_fault(), nil, err
    end

    local spans
    spans, err = spans_of(messages.PlanReply, reply)
    if not spans or not spans.plan then
        return _M.at_fault(), nil, err or "the reply has no plan"
    end

    local plan
    plan, err = decode_plan(reply, spans.plan[1], spans.plan[2])
    if not plan then
        return _M.at_fault(), nil, "the plan is not valid: " .. err
    end

    if plan.context.result == "FMP4_NO_LICENSE" then
        license.report(plan)
    end

    local text = str_sub(reply, spans.plan[1] + 1, spans.plan[2])

    -- Behind the last segment nothing comes, however often it is asked for.
    store.keep(question.key, plan, text, read_ahead > 0)

    if spans.ahead then
        local ok
        ok, err = keep_ahead(question, reply, spans.ahead, plan.ttl)
        if not ok then
            return plan, text, "plans read ahead are not valid: " .. err
        end
    end

    return plan, text
end


return _M
