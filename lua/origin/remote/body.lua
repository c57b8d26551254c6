-- Bodies with bytes of files on other servers. A window of a body is as much of
-- it as lies in a few slices: these are there, as open files, before the window
-- is sent, and the next ones are ordered meanwhile. So the first window can
-- still fail with a status, and no part of a body is held in memory.

local fetch = require "origin.remote.fetch"
local files = require "origin.files"
local reader = require "origin.reader"
local remote_source = require "origin.remote.source"
local slices = require "origin.remote.slices"
local stream = require "origin.stream"


local ngx = ngx
local flush = ngx.flush
local min = math.min
local now = ngx.now
local open_file = files.open


local FLUSH = stream.FLUSH
local SLICE = remote_source.SLICE

-- How many slices and files a window may lie in.
local MAX_SOURCES = 8

-- A signature that ends sooner than that is not used any more, seconds.
local MARGIN = 30

-- Slices that were ordered for whoever reads on, by key.
local MAX_AHEAD = 4096
local ahead, ahead_count = {}, 0

-- Slices in use, by key, and when nginx has heard of that: Lua reads them
-- without it.
local TOUCH_SECONDS, MAX_TOUCHED = 600, 8192
local touched, touched_count = {}, 0

local _M = {}


-- Returns where the window of bytes [from, to) that begins at from ends, and a
-- list of the sources it lies in.
local function find_window(plan, from, to)
    local pieces, count = plan.pieces, plan.count
    local known, list = {}, {}
    local piece = reader.seek(plan, from)

    while piece < count and pieces[piece].start < to do
        local index = pieces[piece].source
        if index > 0 and not known[index] then
            if #list == MAX_SOURCES then
                return pieces[piece].start, list
            end

            known[index] = true
            list[#list + 1] = index
        end

        piece = piece + 1
    end

    return to, list
end


-- The same; that of whole bodies is found once.
local function window(plan, from, to)
    if from > 0 or to < plan.length then
        return find_window(plan, from, to)
    end

    if not plan.window then
        local stop, list = find_window(plan, from, to)
        plan.window = { stop = stop, list = list }
    end

    return plan.window.stop, plan.window.list
end


-- Returns how to request a file: as its plan says, while that holds.
local function request_of(source, renew)
    local remote = source.remote
    local renewed = source.renewed or remote

    if renewed.expires and renewed.expires < now() + MARGIN then
        renewed = renew(source) or renewed
        source.renewed = renewed
    end

    return renewed
end


-- Notes that a slice is in use.
local function note_use(slice, renew)
    local key = slices.key(slice)
    local last = touched[key]
    if last and now() - last < TOUCH_SECONDS then
        return
    end

    if not last and touched_count == MAX_TOUCHED then
        touched, touched_count = {}, 0
    end

    if last then
        fetch.touch(slice, request_of(slice.of, renew))
    else
        touched_count = touched_count + 1
    end

    touched[key] = now()
end


-- Orders those of the sources that are not there. Returns lists of indices and
-- of flights.
local function order(plan, list, handles, renew)
    local missing, ordered = {}, {}

    for i = 1, #list do
        local index = list[i]
        local slice = plan.sources[index]

        if slice.of and not handles[index] then
            handles[index] = slices.open(slice)
            if not handles[index] then
                missing[#missing + 1] = index
                ordered[#ordered + 1] = fetch.order(
                    slice, request_of(slice.of, renew))
            end
        end
    end

    return missing, ordered
end


-- Waits for what was ordered. Returns true, or nil and the failure.
local function collect(plan, handles, missing, ordered, renew)
    for i = 1, #missing do
        local index = missing[i]
        local slice = plan.sources[index]
        local failed = fetch.wait(slice, ordered[i],
                                  request_of(slice.of, renew))
        if failed then
            return nil, failed
        end

        local file = slices.open(slice)
        if not file then
            return nil, fetch.lost(slice)
        end

        handles[index] = file
    end

    return true
end


-- Opens the local files among the sources. Returns true; or nil and the path of
-- one that is not the plan's any more.
local function open_files(plan, list, handles)
    for i = 1, #list do
        local index = list[i]
        local source = plan.sources[index]

        if not source.of and not handles[index] then
            local file = open_file(source.path)
            handles[index] = file
            if not file or not file:is(source) then
                return nil, source.path
            end
        end
    end

    return true
end


-- Orders the slice behind one that a body needs, for whoever reads on, unless
-- it is there. is_missing: the one was not there. Somebody who reads on has
-- been before it, or has come to what was ordered so; other readers get what
-- they need and no more.
local function read_ahead(slice, is_missing, renew)
    local whole, number = slice.of, slice.number
    local reads_on = ahead[slices.key(slice)]

    if not reads_on and is_missing and number > 0 then
        reads_on = slices.has(remote_source.slice(whole, number - 1))
    end

    if reads_on and (number + 1) * SLICE < whole.size then
        local following = remote_source.slice(whole, number + 1)
        if ahead_count == MAX_AHEAD then
            ahead, ahead_count = {}, 0
        end

        ahead[slices.key(slice)] = nil
        ahead[slices.key(following)] = true
        ahead_count = ahead_count + 1
        if not slices.has(following) then
            fetch.order(following, request_of(whole, renew))
        end
    end
end


-- Opens what the next window lies in and closes everything else.
local function advance(body, from, to)
    local plan, old = body.plan, body.handles
    local stop, list = window(plan, from, to)
    local handles = {}

    for i = 1, #list do
        handles[list[i]] = old[list[i]]
        old[list[i]] = nil
    end

    reader.close(old)
    body.handles = handles
    body.from, body.stop = from, stop

    local missing, ordered = order(plan, list, handles, body.renew)
    local waits = {}
    for i = 1, #missing do
        waits[missing[i]] = true
    end

    for i = 1, #list do
        local slice = plan.sources[list[i]]
        if slice.of then
            note_use(slice, body.renew)
            read_ahead(slice, waits[list[i]], body.renew)
        end
    end

    local ok, failed = open_files(plan, list, handles)
    if ok then
        ok, failed = collect(plan, handles, missing, ordered,
                             body.renew)
    end

    return ok, failed
end


-- Orders what comes behind the window: while it is sent, its successor is
-- fetched.
local function look_ahead(body, to)
    local plan = body.plan
    local _, list = window(plan, body.stop, to)
    local handles = {}
    order(plan, list, handles, body.renew)
    reader.close(handles)
end


-- Makes the first window of bytes [from, to) ready. renew(source) asks for a
-- new signature: for how a file is requested then, or nil. Returns the body; or
-- nil and a failure (fetch.lua), or the path of a file that is not the plan's
-- any more.
function _M.open(plan, from, to, renew)
    local body = { plan = plan, handles = {}, renew = renew }
    local ok, failed = advance(body, from, to)
    if not ok then
        _M.close(body)
        return nil, failed
    end

    return body
end


-- Sends bytes [from, to). kept: a list that collects the strings, or nil.
-- Returns true, nil and an error, or nil when the client is gone.
function _M.send(body, from, to, kept)
    local waiting = 0

    while from < to do
        if body.from > from or body.stop <= from then
            local ok, failed = advance(body, from, to)
            if not ok then
                return nil, failed.message or failed .. " has changed"
            end
        end

        local stop = min(body.stop, to)
        if stop < to then
            look_ahead(body, to)
        end

        local ok, err = stream.send_files(body.plan, body.handles, from, stop,
                                          kept)
        if not ok then
            return nil, err
        end

        if kept and not reader.unchanged(body.plan, body.handles) then
            body.is_stale = true
        end

        -- Windows are small where a body goes back and forth in a file.
        waiting = waiting + stop - from
        if waiting >= FLUSH and stop < to then
            if not flush(true) then
                return nil
            end

            waiting = 0
        end

        from = stop
    end

    return true
end


function _M.close(body)
    reader.close(body.handles)
    body.handles = {}
end


return _M
