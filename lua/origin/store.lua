-- Where plans are kept: decoded ones of this worker over encoded ones in
-- memory that all workers share.
--
-- A plan is used only while all its files are what they were when it was made;
-- that is looked up at every use. Of those on other servers, only as long as
-- its time to live says.

local bit = require "bit"
local files = require "origin.files"
local lru = require "origin.lru"
local plan_module = require "origin.plan"


local ngx = ngx
local band = bit.band
local decode_plan = plan_module.decode
local max = math.max
local min = math.min
local now = ngx.now
local shared = ngx.shared
local unchanged = files.unchanged


-- Decoded plans of one worker, bytes: some thousand segments, or some dozen
-- manifests. The collector goes through them again and again, and decoding one
-- costs less than sending what it plans.
local WORKER_BYTES = 4194304

-- Those that are too large for that: of downloads whose samples lie apart from
-- each other, a hundred thousand ranges and more. Decoding one takes as long as
-- sending dozens of segments.
local LARGE_BYTES, LARGE_SHARE = 50331648, 2

-- How long plans read ahead wait for their client, seconds: what was planned
-- for those who have left goes first.
local AHEAD_SECONDS = 600

-- For how long nothing is read ahead when that has pushed out other plans,
-- seconds: a plan that is gone before its client comes is made twice.
local FULL_SECONDS = 5

-- Flags of plans in the shared dictionary: has a mark; the next one of its
-- track was planned too; was read ahead.
local MARKED, FOLLOWED, AHEAD = 1, 2, 4

local _M = {}
local decoded = lru.new(WORKER_BYTES)
local large = lru.new(LARGE_BYTES, LARGE_SHARE)
local full_until = 0


local function is_valid(plan)
    if plan.expires and plan.expires <= now() then
        return false
    end

    local sources = plan.files
    for i = 1, #sources do
        if not unchanged(sources[i]) then
            return false
        end
    end

    return true
end


local function remember(key, plan)
    if not decoded:set(key, plan, plan.cost) then
        large:set(key, plan, plan.cost)
    end
end


local function forget(key)
    decoded:delete(key)
    large:delete(key)
end


-- Returns the worker's plan for key when it has one that holds, else nil.
function _M.find(key)
    local plan = decoded:get(key) or large:get(key)
    if not plan then
        return nil
    end

    if not is_valid(plan) then
        forget(key)
        return nil
    end

    return plan
end


-- Looks in shared memory; what is found there becomes the worker's. Returns
-- the plan; and to whoever comes first its mark (see keep_encoded) and its age
-- in seconds.
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
        local left = dict:ttl(key) or 0
        if band(flags or 0, AHEAD) ~= 0 then
            left = left + max(0, plan.ttl - AHEAD_SECONDS)
        end

        plan.expires = now() + left
    end

    if not is_valid(plan) then
        return nil
    end

    remember(key, plan)
    if band(flags or 0, MARKED) == 0 then
        return plan
    end

    local mark_key = "mark:" .. key
    local mark = dict:get(mark_key)
    local age_left = mark and dict:ttl(mark_key) or 0
    if not mark then
        return plan
    end

    dict:delete(mark_key)
    return plan, mark, AHEAD_SECONDS - age_left
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

    remember(key, plan)
    shared.origin_plans:set(key, text, plan.ttl, followed and FOLLOWED or 0)
end


-- Keeps a plan of a media segment as it came: it is decoded by whoever needs
-- it, another worker perhaps. ttl: of the plan, seconds, or 0. mark: a string
-- for the first one who does.
function _M.keep_encoded(key, text, ttl, followed, mark)
    local dict = shared.origin_plans
    if not followed and not mark and _M.is_followed(key) then
        return
    end

    if mark then
        dict:set("mark:" .. key, mark, AHEAD_SECONDS)
    end

    local flags = AHEAD + (followed and FOLLOWED or 0) + (mark and MARKED or 0)
    local life = ttl > 0 and min(ttl, AHEAD_SECONDS) or AHEAD_SECONDS
    local _, _, pushed_out = dict:set(key, text, life, flags)
    if pushed_out then
        full_until = now() + FULL_SECONDS
    end
end


-- Tells whether the memory that workers share is too small for what is asked
-- for.
function _M.is_full()
    return now() < full_until
end


-- Remembers how far was read on behind a plan: so many, up to last.
function _M.link(key, last, count)
    shared.origin_plans:set("link:" .. key, last, AHEAD_SECONDS, count)
end


-- Returns last and count, or nil.
function _M.linked(key)
    return shared.origin_plans:get("link:" .. key)
end


-- Tells whether the plan of key is there and the next one of its track was
-- planned too.
function _M.is_followed(key)
    local _, flags = shared.origin_plans:get(key)
    return band(flags or 0, FOLLOWED) ~= 0
end


-- Forgets a plan that turned out not to hold.
function _M.forget(key)
    forget(key)
    shared.origin_plans:delete(key)
end


return _M
