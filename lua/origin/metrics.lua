-- What this nginx has counted. Each worker counts in tables of its own and
-- adds that to memory shared by all workers once a second, so that counting
-- costs a request less than a microsecond, and any worker can tell the sums.

local ngx = ngx
local concat = table.concat
local ipairs = ipairs
local now = ngx.now
local pairs = pairs
local req_start_time = ngx.req.start_time
local shared = ngx.shared
local sort = table.sort
local str_format = string.format
local str_gsub = string.gsub
local str_match = string.match
local timer_at = ngx.timer.at
local tonumber = tonumber
local tostring = tostring
local var = ngx.var


-- How long a worker keeps what it has counted to itself, seconds.
local FLUSH_SECONDS = 1

-- Upper bounds of the buckets of all histograms, seconds. nginx's clock ticks
-- in milliseconds.
local BOUNDS = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30 }

-- Requests that origin's handler has not seen: files, denied locations, what
-- nginx refuses.
local STATIC = { result = "-", kind = "static" }

-- Files are served as they are, so "-" for no plan at all.
local NO_PLAN = "-"


local _M = {
    -- Every metric of this side: name, type, help.
    families = {
        { "origin_requests_total", "counter",
          "Requests that have ended, by kind, result and HTTP status." },
        { "origin_request_duration_seconds", "histogram",
          "From the first byte of a request to the last one of its answer." },
        { "origin_sent_bytes_total", "counter",
          "Bytes sent to clients, headers included." },
        { "origin_plans_total", "counter",
          "Where the plans of requests came from." },
        { "origin_plan_wait_seconds", "histogram",
          "How long requests waited for plans that their worker lacked." },
        { "origin_calls_total", "counter",
          "Calls of the sidecar, by outcome." },
        { "origin_call_duration_seconds", "histogram",
          "How long calls of the sidecar took, repeated ones included." },
        { "origin_bodies_total", "counter",
          "Bodies out of files, by whether memory had them." },
    },
}


-- Counters of this worker by family and labels: what was not added yet.
local counters = {}
local histograms = {}
local pending


-- Escapes the value of a label.
local function escape(value)
    value = str_gsub(tostring(value), '[\\"]', "\\%0")
    return (str_gsub(value, "\n", "\\n"))
end


-- A counter with that text of labels (kind="x").
local function new_counter(family, labels)
    local counter = { key = family .. "\0" .. labels .. "\0", value = 0 }
    counters[#counters + 1] = counter
    return counter
end


local function new_histogram(family, labels)
    local histogram = { key = family .. "\0" .. labels .. "\0", sum = 0 }
    for i = 1, #BOUNDS + 1 do
        histogram[i] = 0
    end

    histograms[#histograms + 1] = histogram
    return histogram
end


local function observe(histogram, seconds)
    local i = 1
    while i <= #BOUNDS and seconds > BOUNDS[i] do
        i = i + 1
    end

    histogram[i] = histogram[i] + 1
    histogram.sum = histogram.sum + seconds
end


-- In shared memory the buckets of a histogram are numbered, and each holds
-- what those before it hold too.
local function flush_histogram(dict, histogram)
    local total = 0

    for i = 1, #BOUNDS + 1 do
        total = total + histogram[i]
        histogram[i] = 0
        dict:incr(str_format("%s%02d", histogram.key, i), total, 0)
    end

    dict:incr(histogram.key .. "sum", histogram.sum, 0)
    histogram.sum = 0
end


-- Adds what this worker has counted to what all have counted.
local function flush()
    local dict = shared.origin_metrics
    pending = nil

    for i = 1, #counters do
        local counter = counters[i]
        if counter.value > 0 then
            dict:incr(counter.key, counter.value, 0)
            counter.value = 0
        end
    end

    for i = 1, #histograms do
        local histogram = histograms[i]
        for j = 1, #BOUNDS + 1 do
            if histogram[j] > 0 then
                flush_histogram(dict, histogram)
                break
            end
        end
    end
end


-- A worker that is exiting takes no more timers, and has few requests left.
local function flush_soon()
    pending = timer_at(FLUSH_SECONDS, flush)
    if not pending then
        flush()
    end
end


-- Counters with one label.
local function by_label(family, label)
    local known = {}

    return function(value)
        local counter = known[value]
        if not counter then
            counter = new_counter(family, label .. '="' .. escape(value)
                                          .. '"')
            known[value] = counter
        end

        counter.value = counter.value + 1
        if not pending then
            flush_soon()
        end
    end
end


local function histogram_by_label(family, label)
    local known = {}

    return function(value, seconds)
        local histogram = known[value]
        if not histogram then
            histogram = new_histogram(family, label .. '="' .. escape(value)
                                              .. '"')
            known[value] = histogram
        end

        observe(histogram, seconds)
    end
end


local count_plan = by_label("origin_plans_total", "source")
local observe_wait = histogram_by_label("origin_plan_wait_seconds", "source")
local count_call = by_label("origin_calls_total", "outcome")
local observe_call = histogram_by_label("origin_call_duration_seconds",
                                        "outcome")

-- A request's plan came from source ("hit", "shared", "wait", "sidecar").
_M.planned = count_plan

-- A request waited that long for a plan from source.
_M.waited = observe_wait

-- A body out of files was in memory ("hit") or not ("miss").
_M.body = by_label("origin_bodies_total", "memory")


-- A call of the sidecar took that long: "ok", "unreachable" or "fault".
function _M.called(outcome, seconds)
    count_call(outcome)
    observe_call(outcome, seconds)
end


-- What is counted of each kind of requests.
local kinds = {}


local function new_kind(name)
    local labels = 'kind="' .. escape(name) .. '"'
    local kind = {
        name = name,
        sent = new_counter("origin_sent_bytes_total", labels),
        duration = new_histogram("origin_request_duration_seconds", labels),
        results = {},
    }

    kinds[name] = kind
    return kind
end


-- The counter of requests of a kind that ended so.
local function ended(kind, result, status)
    local statuses = kind.results[result]
    if not statuses then
        statuses = {}
        kind.results[result] = statuses
    end

    local counter = statuses[status]
    if not counter then
        counter = new_counter("origin_requests_total", str_format(
            'kind="%s",result="%s",status="%d"', escape(kind.name),
            escape(result), status))
        statuses[status] = counter
    end

    return counter
end


-- Counts the current request, in its log phase.
function _M.log()
    local context = ngx.ctx.origin or STATIC
    local name = context.kind or "other"
    local kind = kinds[name] or new_kind(name)
    local counter = ended(kind, context.result or NO_PLAN, ngx.status)

    counter.value = counter.value + 1
    kind.sent.value = kind.sent.value + (tonumber(var.bytes_sent) or 0)
    observe(kind.duration, now() - req_start_time())

    if not pending then
        flush_soon()
    end
end


local function number(value)
    return value % 1 == 0 and value > -1e15 and value < 1e15
           and str_format("%d", value) or str_format("%.9g", value)
end


-- The lines HELP and TYPE of a metric.
function _M.head(name, kind, help)
    return str_format("# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
end


-- The line of one value. labels: text such as kind="x", or "".
function _M.sample(name, labels, value)
    if labels ~= "" then
        name = name .. "{" .. labels .. "}"
    end

    return name .. " " .. number(value) .. "\n"
end


local sample = _M.sample


-- The lines of one entry of the shared memory.
local function add_lines(lines, family, labels, part, value)
    if part == "" then
        lines[#lines + 1] = sample(family, labels, value)
        return
    end

    if part == "sum" then
        lines[#lines + 1] = sample(family .. "_sum", labels, value)
        return
    end

    local bound = BOUNDS[tonumber(part)]
    lines[#lines + 1] = sample(family .. "_bucket", str_format(
        '%s,le="%s"', labels, bound and str_format("%g", bound) or "+Inf"),
        value)
    if not bound then
        lines[#lines + 1] = sample(family .. "_count", labels, value)
    end
end


-- Returns what all workers have counted: the text of each family by its name.
function _M.counted()
    local dict = shared.origin_metrics
    flush()

    local keys = dict:get_keys(0)
    sort(keys)

    local lines = {}
    for _, family in ipairs(_M.families) do
        lines[family[1]] = {}
    end

    for _, key in ipairs(keys) do
        local family, labels, part = str_match(key, "^(%Z+)%z(%Z*)%z(%Z*)$")
        local value = dict:get(key)
        if lines[family] and value then
            add_lines(lines[family], family, labels, part, value)
        end
    end

    local texts = {}
    for family, list in pairs(lines) do
        texts[family] = concat(list)
    end

    return texts
end


return _M
