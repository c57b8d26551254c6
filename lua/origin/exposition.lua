-- The metrics of nginx and of all sidecar processes, in the text format of
-- Prometheus.

local client = require "origin.rpc.client"
local encode = require "origin.rpc.encode"
local messages = require "origin.rpc.messages"
local metrics = require "origin.metrics"
local wire = require "origin.rpc.wire"
local workers = require "origin.workers"


local ngx = ngx
local concat = table.concat
local decode = wire.decode
local ipairs = ipairs
local head = metrics.head
local sample = metrics.sample
local shared = ngx.shared
local str_format = string.format
local tonumber = tonumber
local var = ngx.var


local CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

local DICTIONARIES = { "origin_plans", "origin_locks", "origin_metrics" }

-- Variables of nginx's status module.
local CONNECTIONS = { "active", "reading", "writing", "waiting" }

local _M = {}


-- What is measured when it is asked for: name, help, and a function that
-- returns the lines. All are gauges.
_M.gauges = {
    { "origin_connections",
      "Connections of this nginx, its own ones to itself included.",
      function(name)
          local lines = {}
          for _, state in ipairs(CONNECTIONS) do
              local value = tonumber(var["connections_" .. state])
              if value then
                  lines[#lines + 1] = sample(
                      name, str_format('state="%s"', state), value)
              end
          end

          return concat(lines)
      end },

    { "origin_workers",
      "Worker processes of nginx.",
      function(name)
          return sample(name, "", ngx.worker.count())
      end },

    { "origin_dictionary_bytes",
      "Size of a dictionary that all workers share.",
      function(name)
          local lines = {}
          for _, dictionary in ipairs(DICTIONARIES) do
              lines[#lines + 1] = sample(
                  name, str_format('dictionary="%s"', dictionary),
                  shared[dictionary]:capacity())
          end

          return concat(lines)
      end },

    { "origin_dictionary_free_bytes",
      "Pages of a shared dictionary that nothing has used yet.",
      function(name)
          local lines = {}
          for _, dictionary in ipairs(DICTIONARIES) do
              lines[#lines + 1] = sample(
                  name, str_format('dictionary="%s"', dictionary),
                  shared[dictionary]:free_space())
          end

          return concat(lines)
      end },
}

_M.UP = {
    "origin_sidecar_up", "Whether a sidecar process answers: 1 or 0.",
}


-- Adds what the families of one process say to those of others.
local function merge(known, order, families)
    for _, family in ipairs(families) do
        local name = family.name
        if not known[name] then
            known[name] = { family.head or "" }
            order[#order + 1] = name
        end

        local texts = known[name]
        texts[#texts + 1] = family.samples
    end
end


local function ask(number)
    local reply, err = client.ask("Metrics", number,
                                  encode(messages.MetricsRequest, {}))
    if not reply then
        return nil, err
    end

    return decode(messages.MetricsReply, reply)
end


-- Returns the text of all sidecar processes together.
local function of_sidecar()
    local up, known, order = {}, {}, {}

    for number, reply in ipairs(workers.map(ask)) do
        local answer = reply[1]
        up[#up + 1] = sample(_M.UP[1],
                             str_format('worker="%d"', number - 1),
                             answer and 1 or 0)
        merge(known, order, answer and answer.families or {})
    end

    local texts = { head(_M.UP[1], "gauge", _M.UP[2]), concat(up) }
    for _, name in ipairs(order) do
        texts[#texts + 1] = concat(known[name])
    end

    return concat(texts)
end


-- Answers the current request with all metrics.
function _M.content()
    local texts, counted = {}, metrics.counted()

    for _, family in ipairs(metrics.families) do
        texts[#texts + 1] = head(family[1], family[2], family[3])
        texts[#texts + 1] = counted[family[1]]
    end

    for _, gauge in ipairs(_M.gauges) do
        texts[#texts + 1] = head(gauge[1], "gauge", gauge[2])
        texts[#texts + 1] = gauge[3](gauge[1])
    end

    texts[#texts + 1] = of_sidecar()
    ngx.header["Content-Type"] = CONTENT_TYPE
    ngx.header["Cache-Control"] = "no-store"
    ngx.print(texts)
end


return _M
