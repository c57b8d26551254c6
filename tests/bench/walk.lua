-- wrk script: requests the paths of a list, in order.
--
-- wrk ... -s walk.lua URL [-- LIST once|loop]
-- Without a list: the one URL. LIST holds one path per line; "%d" in it stands for the number of
-- the request. once: stops after the last path and says how long the walk took; loop: starts again.
-- Prints one line of JSON at the end.
local ffi = require "ffi"
ffi.cdef [[
    typedef struct { long seconds; long nanoseconds; } bench_time;
    int clock_gettime(int clock, bench_time *now);
]]

local CLOCK_MONOTONIC = 1
local now = ffi.new "bench_time"
local paths, count, once = {}, 0, false
local calls, started = -1, 0

local function seconds()
    ffi.C.clock_gettime(CLOCK_MONOTONIC, now)
    return tonumber(now.seconds) + tonumber(now.nanoseconds) / 1e9
end

local function next_request()
    calls = calls + 1
    if calls == 0 then -- wrk verifies the script with one request that it does not send
        return wrk.format("GET", (paths[1]:gsub("%%d", "0")))
    end
    if calls == 1 then
        started = seconds()
    end
    if once and calls == count + 1 then
        io.stderr:write(string.format("walked %.6f\n", seconds() - started))
        wrk.thread:stop()
    end
    local path = paths[(calls - 1) % count + 1]
    return wrk.format("GET", (path:gsub("%%d", calls)))
end

function init(args)
    if #args == 0 then
        return -- no request(): wrk then sends its one prepared request, which costs it less
    end
    for line in io.lines(args[1]) do
        paths[#paths + 1] = line
    end
    count = #paths
    once = args[2] == "once"
    request = next_request
end

function done(summary, latency)
    local errors = summary.errors
    io.stdout:write(string.format(
        '{"requests":%d,"bytes":%.0f,"microseconds":%.0f,"p50":%.0f,"p99":%.0f,"failed":%d}\n',
        summary.requests, summary.bytes, summary.duration,
        latency:percentile(50), latency:percentile(99),
        errors.status + errors.connect + errors.read + errors.write + errors.timeout
    ))
end
