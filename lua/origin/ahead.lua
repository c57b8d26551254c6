-- Reading ahead: when a client comes to plans that were read ahead, more of
-- them are ordered in the background, so that a sequential client, or a cache
-- that fills itself, waits for the first call only.

local flights = require "origin.flights"
local locks = require "origin.locks"
local sidecar = require "origin.sidecar"
local store = require "origin.store"


local ngx = ngx
local WARN = ngx.WARN
local max = math.max
local ngx_log = ngx.log
local pairs = pairs
local pcall = pcall
local str_match = string.match
local timer_at = ngx.timer.at
local tonumber = tonumber


-- How many batches of plans lie ready ahead of a client: one ahead of a player.
-- One that comes to a plan that soon after its making (seconds) is a cache that
-- fills itself over many connections, which uses up a batch before the next one
-- can come. Batches of what is costly to make are small; so many plans are
-- enough.
local BATCHES, BATCHES_FAST, PLANS_FAST = 1, 8, 128
local FAST_SECONDS = 0.05

-- How long one call waits for another one of its track, seconds.
local WAIT_SECONDS = 0.5

local _M = {}

-- What was ordered by this worker and has not come yet, by key.
local ordered = {}


-- A media segment's track and number (or time), as its virtual path has them:
-- nil for everything else.
function _M.track_of(question)
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
                                  "^(.*QualityLevels%(.*=)(%d+)%)$")
    end

    if not track then
        return nil
    end

    return sidecar.key_of(question, track), tonumber(number)
end


-- Waits for others who plan on this track. flight: of our own there, or nil.
-- Returns whether the lock among workers is held.
local function wait_for_others(track, token, flight)
    local other = flights.find(track)
    if other and other ~= flight then
        flights.wait(other, WAIT_SECONDS)
        return false
    end

    local held, holder = locks.try(track, token)
    if holder then
        locks.wait(track, holder, WAIT_SECONDS)
    end

    return held
end


-- Returns the question for another virtual path of the same presentation.
local function question_for(question, virtual_path)
    local other = {}
    for name, value in pairs(question) do
        other[name] = value
    end

    other.virtual_path = virtual_path
    other.key = sidecar.key_of(question, virtual_path)
    return other
end


-- Plans what comes behind a plan, so many batches or plans, and more while
-- clients wait for them. flight: announced for the first batch. Returns an
-- error for the log, or nil.
local function read_on(question, batches, plans, flight)
    local track, number = _M.track_of(question)
    local token = locks.token()
    local held = wait_for_others(track, token, flight)
    local err

    -- Two clients close to each other: one reads on for both.
    while batches > 0 and plans > 0 and not err
          and not store.is_followed(question.key)
    do
        flight = flight or flights.take_off(nil, track, number)
        local ok, failure, _, ask_err, count =
            pcall(sidecar.ask, question, question.read_ahead)
        local waiting = flight.waiting
        flights.land(flight, nil, track)
        flight = nil
        err = not ok and failure or ask_err
        count = count or 0

        local last = store.linked(question.key)
        if not last then
            break
        end

        question = question_for(question, last)
        track, number = _M.track_of(question)
        batches = batches - 1
        plans = plans - count

        -- Those who come away empty would all call for themselves.
        if waiting > count and count > 0 then
            batches, plans = max(batches, 1), max(plans, 1)
        end
    end

    if held then
        locks.release(track, token)
    end

    return err
end


-- In a timer: no client waits.
local function carry_out(premature, question, batches, plans, flight)
    if not premature then
        local _, err = pcall(read_on, question, batches, plans, flight)
        if err then
            ngx_log(WARN, "origin: reading ahead in ", question.path, ": ",
                    err, ", request_id: ", question.request_id)
        end
    end

    if flight then
        flights.land(flight, nil, _M.track_of(question))
    end

    ordered[question.key] = nil
end


-- Orders what comes behind a virtual path unless it is there. age: of the plan
-- that the client has come to, seconds.
function _M.order(question, last, age)
    if store.is_full() then
        return
    end

    local batches = age < FAST_SECONDS and BATCHES_FAST or BATCHES
    local plans = PLANS_FAST
    local key = sidecar.key_of(question, last)

    while batches > 1 and plans > 0 do
        local next_last, count = store.linked(key)
        if not next_last then
            break
        end

        last = next_last
        key = sidecar.key_of(question, last)
        batches = batches - 1
        plans = plans - (count or 0)
    end

    question = question_for(question, last)
    local track, number = _M.track_of(question)
    if not track or ordered[key] or store.is_followed(key) then
        return
    end

    -- Announced now: whoever comes for these before the timer does shall wait.
    local flight = not flights.find(track)
                   and flights.take_off(nil, track, number) or nil

    -- Out of timers, the next plans are asked for when they are needed.
    ordered[key] = timer_at(0, carry_out, question, batches, max(plans, 1),
                            flight)
    if flight and not ordered[key] then
        flights.land(flight, nil, track)
    end
end


return _M
