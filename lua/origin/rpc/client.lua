-- Unary calls over the bridge: a cosocket to the server of openresty.conf that
-- listens on a Unix socket and does grpc_pass. It speaks HTTP/1.1; nginx's own
-- gRPC client does the HTTP/2.
--
-- The request carries only headers made here: a client's grpc-timeout, for
-- one, would otherwise end the call.

local frame = require "origin.rpc.frame"
local metrics = require "origin.metrics"
local workers = require "origin.workers"


local ngx = ngx
local concat = table.concat
local count_workers = workers.count
local now = ngx.now
local sleep = ngx.sleep
local socket_tcp = ngx.socket.tcp
local str_format = string.format
local str_gmatch = string.gmatch
local str_gsub = string.gsub
local str_lower = string.lower
local str_match = string.match
local str_byte = string.byte
local tonumber = tonumber
local update_time = ngx.update_time


local BRIDGE = "unix:sockets/bridge.sock"

-- Milliseconds. Connecting is to this very nginx. The answer may take as long
-- as reading the index of a large file from a cold disk; the bridge gives up
-- a little earlier (grpc_read_timeout) and says so.
local CONNECT_TIMEOUT = 500
local CALL_TIMEOUT = 11000
local KEEPALIVE = 60000
local POOL_SIZE = 64

-- When no process could be reached: how long a restarting sidecar gets before
-- the last try, in seconds. The client's answer must come within one second.
local RETRY_PAUSE = 0.25

-- Processes that one call may have ended.
local MAX_DEATHS = 3

-- A manifest travels inline. grpcio is set to the same limit.
local MAX_REPLY = 67108864

local HEAD = "POST /origin.v1.Origin/%s HTTP/1.1\r\nHost: origin\r\n"
             .. "Content-Type: application/grpc\r\nTE: trailers\r\n"
             .. "grpc-timeout: %dS\r\n"
local PLAN_HEAD = str_format(HEAD, "Plan", 10)

-- Seconds for a question about a process itself.
local ASIDE_SECONDS = 2


local _M = {}


local function escape_byte(char)
    return str_format("%%%02X", str_byte(char))
end


-- Makes one header line of any path.
local function escape_path(path)
    return (str_gsub(path, "[^%w/._~-]", escape_byte))
end


-- Adds the lines of a header block or trailer block to fields.
local function add_fields(fields, block)
    for name, value in str_gmatch(block, "([^:\r\n]+):[ \t]*([^\r\n]*)") do
        fields[str_lower(name)] = value
    end
end


-- Returns the body of a chunked reply; its trailers are added to fields.
local function receive_chunked(sock, fields)
    local parts, total = {}, 0

    while true do
        local line, err = sock:receive()
        if not line then
            return nil, err
        end

        local size = tonumber(str_match(line, "^%x+"), 16)
        if not size then
            return nil, "a chunk without size"
        end

        if size == 0 then
            break
        end

        total = total + size
        if total > MAX_REPLY then
            return nil, "the reply is too large"
        end

        local part
        part, err = sock:receive(size)
        if not part then
            return nil, err
        end

        parts[#parts + 1] = part
        local _
        _, err = sock:receive(2)
        if err then
            return nil, err
        end
    end

    while true do
        local line, err = sock:receive()
        if not line then
            return nil, err
        end

        if line == "" then
            return concat(parts)
        end

        add_fields(fields, line)
    end
end


local function receive_body(sock, fields)
    local coding = fields["transfer-encoding"]
    if coding then
        if str_lower(coding) ~= "chunked" then
            return nil, "unknown transfer coding"
        end

        return receive_chunked(sock, fields)
    end

    local length = tonumber(fields["content-length"])
    if not length then
        return nil, "a reply without length"
    end

    if length > MAX_REPLY then
        return nil, "the reply is too large"
    end

    return length == 0 and "" or sock:receive(length)
end


-- One HTTP exchange. Returns status, fields, body; or nil, err, and true when
-- a kept connection turned out to be closed before a byte of the reply came.
local function exchange(request, timeout)
    local sock = socket_tcp()
    sock:settimeouts(CONNECT_TIMEOUT, CONNECT_TIMEOUT, timeout)

    local ok, err = sock:connect(BRIDGE, { pool_size = POOL_SIZE })
    if not ok then
        return nil, "bridge: " .. err
    end

    local kept = sock:getreusedtimes() > 0
    ok, err = sock:send(request)
    if not ok then
        sock:close()
        return nil, "bridge: " .. err, kept
    end

    local receive_head = sock:receiveuntil("\r\n\r\n")
    local head, partial
    head, err, partial = receive_head()
    if not head then
        sock:close()
        return nil, "bridge: " .. err,
               kept and err == "closed" and (partial or "") == ""
    end

    local status = tonumber(str_match(head, "^HTTP/1%.%d (%d%d%d)"))
    if not status then
        sock:close()
        return nil, "bridge: not HTTP"
    end

    local fields = {}
    add_fields(fields, head)

    local body
    body, err = receive_body(sock, fields)
    if not body then
        sock:close()
        return nil, "bridge: " .. err
    end

    if str_lower(fields.connection or "") == "close" then
        sock:close()
    else
        sock:setkeepalive(KEEPALIVE, POOL_SIZE)
    end

    return status, fields, body
end


-- Returns the reply message; or nil, err, whether the sidecar could not be
-- reached (else it is at fault itself), and whether that is because the
-- process is not there ("absent") or died ("died"), else it is slow or busy.
local function call_once(request, timeout)
    timeout = timeout or CALL_TIMEOUT
    local status, fields, body = exchange(request, timeout)
    if not status and body then
        status, fields, body = exchange(request, timeout)
    end

    if not status then
        return nil, fields, true, fields ~= "bridge: timeout" and "died"
    end

    if status ~= 200 then
        local gone = status == 502
                     and (tonumber(fields["x-origin-connect"]) and "died"
                          or "absent")
        return nil, "bridge: HTTP status " .. status,
               status >= 502 and status <= 504, gone
    end

    local code = tonumber(fields["grpc-status"])
    if not code then
        -- Cut off, or not gRPC: never taken for success.
        return nil, "the reply has no grpc-status", true, "died"
    end

    if code ~= frame.OK then
        local message = frame.unescape_message(fields["grpc-message"] or "")
        return nil, str_format("grpc-status %d: %s", code,
                               str_gsub(message, "%c", " ")),
               code == frame.UNAVAILABLE or code == frame.CANCELLED
               or code == frame.DEADLINE_EXCEEDED
               or code == frame.RESOURCE_EXHAUSTED
    end

    return frame.unwrap(body)
end


-- A call of Plan that may be made again. call(worker): of the process of that
-- number, or without one of the one that nginx chooses.
local function planner(asset, message)
    local framed = frame.wrap(message)
    local head = concat({
        PLAN_HEAD,
        "X-Origin-Asset: ", escape_path(asset), "\r\n",
        "Content-Length: ", #framed, "\r\n",
    })
    local deaths = 0

    return function(worker)
        local who = worker and "X-Origin-Worker: " .. worker .. "\r\n" or ""
        local reply, err, unreachable, gone =
            call_once(concat({ head, who, "\r\n", framed }))

        if gone == "died" then
            deaths = deaths + 1
        end

        -- What may have ended so many processes is not given to another one.
        return reply, err, unreachable, gone and deaths < MAX_DEATHS
    end
end


-- Calls Plan of the process that nginx chooses, and where that has gone of the
-- others, whatever nginx believes to know of them.
local function call_any(call)
    local reply, err, unreachable, gone = call()

    for number = 0, gone and count_workers() - 1 or -1 do
        reply, err, unreachable, gone = call(number)
        if not gone then
            break
        end
    end

    return reply, err, unreachable
end


-- Calls Plan with an encoded PlanRequest. asset: document root and path; it
-- chooses the sidecar process. Returns the encoded PlanReply; or nil, err,
-- unreachable. Made once more after a pause when that failed fast: the only
-- process may be starting.
function _M.plan(asset, message)
    local call = planner(asset, message)

    update_time()
    local began = now()
    local reply, err, unreachable = call_any(call)

    if not reply and unreachable then
        update_time()
        if now() - began < RETRY_PAUSE then
            sleep(RETRY_PAUSE)
            reply, err, unreachable = call_any(call)
        end
    end

    update_time()
    metrics.called(reply and "ok" or unreachable and "unreachable" or "fault",
                   now() - began)
    return reply, err, unreachable
end


-- Calls a method of the sidecar process of that number: nobody else can answer
-- for it. Returns the encoded reply, or nil, err.
function _M.ask(method, worker, message)
    local framed = frame.wrap(message)
    return call_once(concat({
        str_format(HEAD, method, ASIDE_SECONDS),
        "X-Origin-Worker: ", worker, "\r\n",
        "Content-Length: ", #framed, "\r\n\r\n",
        framed,
    }), ASIDE_SECONDS * 1000)
end


_M.escape_path = escape_path


return _M
