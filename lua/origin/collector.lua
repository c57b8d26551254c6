-- When the collector of garbage begins again. No ngx.
--
-- What is sent once is garbage, a megabyte and more for a segment, but one
-- object for a hundred kilobytes; going through what the worker holds, tens of
-- thousands of small objects for a few megabytes of plans, is what a
-- collection costs. So there are few of them: as much garbage gathers as the
-- worker holds, and some dozens of segments in any case.

local collectgarbage = collectgarbage
local getmetatable = getmetatable
local max = math.max
local newproxy = newproxy


-- Garbage that may gather, whatever is held, kilobytes.
local LEAST = 49152

-- The same as a part of what is held, percent.
local PART = 100

local _M = {}


-- Returns the pause, in percent, after a collection that leaves so many
-- kilobytes.
function _M.pause_for(held)
    return 100 + max(PART, 100 * LEAST / max(held, 1))
end


-- An object that nobody holds is finalised by each collection: then the pause
-- is set, and the next such object made.
local function finalise()
    collectgarbage("setpause", _M.pause_for(collectgarbage("count")))
    getmetatable(newproxy(true)).__gc = finalise
end


-- Begins to set the pause, from now on, in this process and those that it
-- forks. Once.
_M.start = finalise


return _M
