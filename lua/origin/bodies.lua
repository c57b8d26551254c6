-- Assembled bodies of plans that are asked for again and again, in this
-- worker's memory: reading a hundred ranges costs more than sending them.
-- A body belongs to its plan and is used under the plan's validity check.

local lru = require "origin.lru"
local metrics = require "origin.metrics"


local count = metrics.body


local _M = {}
local bodies = lru.new(0)


-- max_bytes: per worker; 0 keeps none.
function _M.configure(max_bytes)
    bodies = lru.new(max_bytes)
end


-- Returns the body's strings in order, or nil.
function _M.find(plan)
    local strings = bodies:get(plan)
    count(strings and "hit" or "miss")
    return strings
end


-- Tells whether the body should be kept when it has been read now: on the
-- second use, so that one pass over an asset does not push out what is hot.
function _M.wants(plan)
    plan.uses = plan.uses + 1
    return plan.uses > 1 and plan.may_keep
           and plan.length * 8 <= bodies.max_bytes
end


function _M.keep(plan, strings)
    bodies:set(plan, strings, plan.length)
end


return _M
