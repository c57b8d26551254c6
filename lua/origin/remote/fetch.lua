-- Gets slices from other servers, through the fetch server of openresty.conf,
-- which keeps them. Each is fetched once, however many wait for it, and not by
-- any of them: a timer outlives the client who came first.
--
-- A failure: { result, status, sentence: for the client; message: for the log;
-- again: the plan may be out of date; pause: another try may help }.

local date = require "origin.http.date"
local flights = require "origin.flights"
local locks = require "origin.locks"
local remote_source = require "origin.remote.source"
local slices = require "origin.remote.slices"


local ngx = ngx
local concat = table.concat
local format_date = date.format
local now = ngx.now
local pcall = pcall
local select = select
local sleep = ngx.sleep
local socket_tcp = ngx.socket.tcp
local str_format = string.format
local str_gmatch = string.gmatch
local str_lower = string.lower
local str_match = string.match
local timer_at = ngx.timer.at
local tonumber = tonumber
local tostring = tostring
local update_time = ngx.update_time


local SLICE = remote_source.SLICE
local SERVER = "unix:sockets/fetch.sock"

-- Milliseconds. Connecting is to this very nginx; the fetch server's own times
-- to connect and to read are shorter than the last one.
local CONNECT_TIMEOUT, FETCH_TIMEOUT = 500, 40000

-- How long one who waits gives it, seconds: all tries together.
local WAIT_SECONDS = 60

-- Pauses before further tries where the storage is away for a moment, seconds.
local PAUSES = { 0.1, 0.4 }

-- After a silence of that many seconds the fetch server gives up, in the middle
-- of an answer too (proxy_read_timeout).
local SILENCE = 10

local _M = {}


local function failure(slice, result, status, sentence, message)
    return {
        result = result,
        status = status,
        sentence = sentence,
        message = str_format("%s, slice %d: %s", slice.path, slice.number,
                             message),
    }
end


local function broken(slice, message, pause)
    local made = failure(slice, "FMP4_STORAGE_ERROR", 502,
                         "Reading the content failed.", message)
    made.pause = pause
    return made
end


local function slow(slice, message)
    return failure(slice, "FMP4_STORAGE_TIMEOUT", 504,
                   "Reading the content took too long.", message)
end


local function changed(slice, message)
    local made = failure(slice, "FMP4_STORAGE_ERROR", 502,
                         "The content is being replaced.", message)
    made.again = true
    return made
end


local function refused(slice, status)
    local message = "the storage answers " .. status
    local made

    if status == 404 or status == 410 then
        made = failure(slice, "FMP4_NOT_FOUND", 404,
                       "The content does not exist.", message)
        made.again = true

    elseif status == 401 or status == 403 then
        made = failure(slice, "FMP4_FORBIDDEN", 403,
                       "The content may not be read.", message)
        made.again = true

    elseif status == 412 or status == 416 then
        made = changed(slice, message)

    elseif status == 408 or status == 504 then
        made = slow(slice, "the storage does not answer in time")

    else
        made = broken(slice, message, status >= 500 or status == 429)
    end

    return made
end


-- The request to the fetch server, and what the answer must say of range and
-- version, each on a line.
local function request_of(slice, remote)
    local whole = slice.of
    local first = slice.number * SLICE
    local range = first .. "-" .. first + slice.size - 1
    local content = "bytes " .. range .. "/" .. str_format("%d", whole.size)
    local version, condition = remote.etag, "X-Origin-Match: "

    if not version and whole.sec > 0 then
        version = format_date(whole.sec)
        condition = "X-Origin-Unmodified: "
    end

    local lines = {
        "HEAD / HTTP/1.1",
        "Host: " .. remote.host,
        "Connection: close",
        "X-Origin-Key: " .. slices.key(slice),
        "X-Origin-Scheme: " .. remote.scheme,
        "X-Origin-Address: " .. remote.address,
        "X-Origin-Name: " .. (str_match(remote.host, "^%[(.*)%]")
                              or str_match(remote.host, "^[^:]*")),
        "X-Origin-Target: " .. remote.target,
        "X-Origin-Range: bytes=" .. range,
        "X-Origin-Content: " .. content,
        "X-Origin-Version: " .. (version or ""),
    }

    if version then
        lines[#lines + 1] = condition .. version
    end

    for i = 1, #remote.headers, 2 do
        lines[#lines + 1] = remote.headers[i] .. ": " .. remote.headers[i + 1]
    end

    lines[#lines + 1] = "\r\n"
    return concat(lines, "\r\n"), content, version
end


-- Returns status and fields of the answer's head once all of the slice is in
-- the cache, or once it is clear that it will not be; or nil, err.
local function exchange(request)
    local sock = socket_tcp()
    sock:settimeouts(CONNECT_TIMEOUT, CONNECT_TIMEOUT, FETCH_TIMEOUT)

    local ok, err = sock:connect(SERVER)
    if not ok then
        return nil, err
    end

    local head
    ok, err = sock:send(request)
    if ok then
        head, err = sock:receiveuntil("\r\n\r\n")()
    end

    local status = head and tonumber(str_match(head, "^HTTP/1%.%d (%d%d%d)"))
    if not status then
        sock:close()
        return nil, err or "not HTTP"
    end

    -- It closes when it has put the body down.
    if status == 206 then
        err = select(2, sock:receive(1))
    end

    sock:close()
    if status == 206 and err ~= "closed" then
        return nil, err or "more than a head"
    end

    local fields = {}
    for name, value in str_gmatch(head, "([^:\r\n]+):[ \t]*([^\r\n]*)") do
        fields[str_lower(name)] = value
    end

    return status, fields
end


-- Fetches a slice once. Returns nil, or the failure.
local function try(slice, remote)
    update_time()
    local began = now()
    local request, content, version = request_of(slice, remote)
    local status, fields = exchange(request)

    if status == nil then
        local err = fields
        return err == "timeout" and slow(slice, "the storage is too slow")
               or broken(slice, "fetch server: " .. err)
    end

    if status ~= 206 then
        return refused(slice, status)
    end

    if slices.has(slice) then
        return nil
    end

    if fields["content-range"] ~= content then
        return changed(slice, str_format('the storage sends "%s", not "%s"',
                                         fields["content-range"] or "",
                                         content))
    end

    if (version or "") ~= (remote.etag and fields.etag
                           or fields["last-modified"] or "")
    then
        return changed(slice, "the storage sends another version")
    end

    update_time()
    if now() - began >= SILENCE then
        return slow(slice, "the storage stops in the middle of its answer")
    end

    return broken(slice, "the storage sends too little, or there is no room "
                         .. "in the cache folder", true)
end


-- The same with further tries, unless another worker is about to.
local function fetch(slice, remote, name)
    local token = locks.token()
    local held, found = locks.acquire(name, token, function()
        return slices.has(slice) or nil
    end)

    if found or held and slices.has(slice) then
        if held then
            locks.release(name, token)
        end

        return nil
    end

    local failed = try(slice, remote)
    for i = 1, #PAUSES do
        if not failed or not failed.pause then
            break
        end

        sleep(PAUSES[i])
        failed = try(slice, remote)
    end

    if held then
        locks.release(name, token)
    end

    return failed
end


-- Where timers are all in use, or nginx has no time for them any more, who
-- waits does it himself.
local LEFT_TO_YOU = {}


local function carry_out(premature, slice, remote, name, flight)
    local ok, failed
    if premature then
        failed = LEFT_TO_YOU
    else
        ok, failed = pcall(fetch, slice, remote, name)
        if not ok then
            failed = broken(slice, tostring(failed))
        end
    end

    flights.land(flight, name, nil, failed)
end


-- The failure for a slice that was there and is not.
function _M.lost(slice)
    return broken(slice, "it is pushed out of the cache at once")
end


local function name_of(slice)
    return "slice:" .. slices.key(slice)
end


-- Has a slice fetched as remote says. Returns its flight (see wait).
function _M.order(slice, remote)
    local name = name_of(slice)
    local flight = flights.find(name)
    if flight then
        return flight
    end

    flight = flights.take_off(name)
    if not timer_at(0, carry_out, slice, remote, name, flight) then
        flights.land(flight, name, nil, LEFT_TO_YOU)
    end

    return flight
end


-- In a timer.
local function touch(premature, slice, remote)
    if not premature then
        pcall(exchange, (request_of(slice, remote)))
    end
end


-- Tells nginx that a slice is in use, or those that were fetched first would be
-- the first to go.
function _M.touch(slice, remote)
    timer_at(0, touch, slice, remote)
end


-- Waits for the flight of a slice, which was ordered with remote. Returns nil,
-- or the failure.
function _M.wait(slice, flight, remote)
    if not flight.landed and not flights.wait(flight, WAIT_SECONDS) then
        return slow(slice, "the storage is too slow")
    end

    if flight.plan == LEFT_TO_YOU then
        return fetch(slice, remote, name_of(slice))
    end

    return flight.plan
end


return _M
