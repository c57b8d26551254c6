-- Where plans are kept: decoded ones of this worker over encoded ones in
-- memory that all workers share.
--
-- A plan is used only while all its sources are what they were when it was
-- made; that is looked up at every use.

local bit = require "bit"
local files = require "origin.files"
local lru = require "origin.lru"
local plan_module = require "origin.plan"


local ngx = ngx
local band = bit.band
local decode_plan = plan_module.decode
local now = ngx.now
local shared = ngx.shared
local unchanged = files.unchanged


-- Decoded plans of one worker, bytes. Segment plans are a few KB, so this is
-- some thousand of them or a hundred large manifests.
local WORKER_BYTES = 33554432

-- How long a sequential client may take to come to a marked plan, seconds.
local MARK_SECONDS = 600

-- Flags of plans in the shared dictionary: has a mark; the next one of its
-- track was planned too.
local MARKED, FOLLOWED = 1, 2

local _M = {}
local decoded = lru.new(WORKER_BYTES)


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


-- Looks in shared memory; what is found there becomes the worker's. Returns
-- the plan, and its mark (see keep_encoded) to whoever comes first.
function _M.find_shared(key)
    local dict = shared.origin_plans
    local text, flags = dict:get(key)
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
    if band(flags or 0, MARKED) == 0 then
        return plan
    end

    local mark_key = "mark:" .. key
    local mark = dict:get(mark_key)
    if mark then
        dict:delete(mark_key)
    end

    return plan, mark
end


-- Keeps a plan (text: its encoding) when it may be kept. followed: whether the
-- next one of its track is kept too.
function _M.keep(key, plan, text, followed)
    if not plan.may_keep then
        return
    end

    if plan.ttl > 0 then
        plan.expires = now() + plan.ttl
    end

    decoded:set(key, plan, plan.cost)
    shared.origin_plans:set(key, text, plan.ttl, followed and FOLLOWED or 0)
end


-- Keeps a plan of a media segment as it came: it is decoded by whoever needs
-- it, another worker perhaps. mark: a string for the first one who does.
function _M.keep_encoded(key, text, followed, mark)
    if not followed and not mark and _M.is_followed(key) then
        return
    end

    if mark then
        shared.origin_plans:set("mark:" .. key, mark, MARK_SECONDS)
    end

    shared.origin_plans:set(key, text, 0, (followed and FOLLOWED or 0)
                                          + (mark and MARKED or 0))
end


-- Tells whether the plan of key is there and the next one of its track was
-- planned too.
function _M.is_followed(key)
    local _, flags = shared.origin_plans:get(key)
    return band(flags or 0, FOLLOWED) ~= 0
end


-- Forgets a plan that turned out not to hold.
function _M.forget(key)
    decoded:delete(key)
    shared.origin_plans:delete(key)
end


return _M
