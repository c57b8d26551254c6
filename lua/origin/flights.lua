-- The sidecar calls of this worker that are under way, by what they are for:
-- a plan's key, or a track ahead of whose segments somebody reads.

local semaphore = require "ngx.semaphore"


local _M = {}
local flights = {}


-- Returns the flight for a key or track, or nil.
function _M.find(name)
    return name and flights[name]
end


-- Announces a call. number: of the segment behind which it plans more. Of those
-- on a track, the first one is found, unless another is for earlier segments.
function _M.take_off(key, track, number)
    local flight = {
        number = number,
        waiting = 0,
        semaphore = semaphore.new(),
    }

    if key then
        flights[key] = flight
    end

    local other = track and flights[track]
    if track and (not other or other.number > number) then
        flights[track] = flight
    end

    return flight
end


-- Ends a flight and wakes who waits for it; they find its plan in flight.plan.
-- Who may come too late for that looks at flight.landed.
function _M.land(flight, key, track, plan)
    if key and flights[key] == flight then
        flights[key] = nil
    end

    if track and flights[track] == flight then
        flights[track] = nil
    end

    flight.plan = plan
    flight.landed = true
    if flight.waiting > 0 then
        flight.semaphore:post(flight.waiting)
    end
end


-- Tells whether the flight landed within limit seconds.
function _M.wait(flight, limit)
    flight.waiting = flight.waiting + 1
    local landed = flight.semaphore:wait(limit)
    flight.waiting = flight.waiting - 1
    return landed
end


return _M
