-- Reading ahead: when a client comes to plans that were read ahead, more of
-- them are ordered in the background, so that a sequential client, or a cache
-- that fills itself, waits for the first call only.

local flights = require "origin.flights"
local locks = require "origin.locks"
local sidecar = require "origin.sidecar"
local store = require "origin.store"


local ngx = ngx
local WARN = ngx.WARN
local ngx_log = ngx.log
local pairs = pairs
local pcall = pcall
local str_match = string.match
local timer_at = ngx.timer.at
local tonumber = tonumber


-- How many batches of plans lie ready ahead of a client: one ahead of a player.
-- One that comes to a plan that soon after its making (seconds) is a cache that
-- fills itself over many connections, which uses up a batch before the next one
-- can come.
local BATCHES, BATCHES_FAST = 1, 4
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
                                  "^(QualityLevels%(.*=)(%d+)%)$")
    end

    if not track then
        return nil
    end

    return sidecar.key_of(question, track), tonumber(number)
end


-- Waits for others who plan on this track. Returns whether the lock among
-- workers is held.
local function wait_for_others(track, token)
    local flight = flights.find(track)
    if flight then
        flights.wait(flight, WAIT_SECONDS)
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


-- Plans what comes behind a plan, so many batches. Returns an error for the
-- log, or nil.
local function read_on(question, batches)
    local track, number = _M.track_of(question)
    if not track then
        return nil
    end

    local token = locks.token()
    local held = wait_for_others(track, token)
    local err

    -- Two clients close to each other: one reads on for both.
    while batches > 0 and not err and not store.is_followed(question.key) do
        local flight = flights.take_off(nil, track, number)
        local ok, failure, _, ask_err = pcall(sidecar.ask, question,
                                              question.read_ahead)
        flights.land(flight, nil, track)
        err = not ok and failure or ask_err

        local last = store.linked(question.key)
        if not last then
            break
        end

        question = question_for(question, last)
        track, number = _M.track_of(question)
        batches = batches - 1
    end

    if held then
        locks.release(track, token)
    end

    return err
end


-- In a timer: no client waits.
local function carry_out(premature, question, batches)
    if not premature then
        local _, err = pcall(read_on, question, batches)
        if err then
            ngx_log(WARN, "origin: reading ahead in ", question.path, ": ",
                    err, ", request_id: ", question.request_id)
        end
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
    local key = sidecar.key_of(question, last)

    while batches > 1 do
        local next_last = store.linked(key)
        if not next_last then
            break
        end

        last = next_last
        key = sidecar.key_of(question, last)
        batches = batches - 1
    end

    if not ordered[key] and not store.is_followed(key) then
        -- Out of timers, the next plans are asked for when they are needed.
        ordered[key] = timer_at(0, carry_out, question_for(question, last),
                                batches)
    end
end


return _M
