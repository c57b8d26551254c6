-- Whether this nginx is alive, and whether the whole can serve.

local client = require "origin.rpc.client"
local encode = require "origin.rpc.encode"
local messages = require "origin.rpc.messages"
local results = require "origin.results"
local wire = require "origin.rpc.wire"
local workers = require "origin.workers"


local ngx = ngx
local concat = table.concat
local decode = wire.decode
local ipairs = ipairs
local str_format = string.format
local tostring = tostring


local _M = {}


local function answer(status, text)
    ngx.status = status
    ngx.header["Content-Type"] = "text/plain; charset=utf-8"
    ngx.header["Cache-Control"] = "no-store"
    ngx.print(text)
end


-- Answers that nginx is there: that is all that its answering says.
function _M.alive()
    answer(200, "alive\n")
end


-- Answers whether requests would be served: 200 when at least one sidecar
-- process is there to plan them, else 503. The first line is the verdict, then
-- comes one for each process. directives: those of http{} for the sidecar.
function _M.ready(directives)
    local request = encode(messages.ReadyRequest, { directives = directives })
    local lines, serving, why = {}, 0, nil

    local replies = workers.map(function(number)
        local reply, err = client.ask("Ready", number, request)
        if not reply then
            return nil, err
        end

        return decode(messages.ReadyReply, reply)
    end)

    for i, reply in ipairs(replies) do
        local said = reply[1]
        local state = "does not answer (" .. tostring(reply[2]) .. ")"
        if said and (said.result or 0) == 0 then
            serving, state = serving + 1, "serves"
        elseif said then
            state = said.sentence or ""
            why = why or str_format("%s: %s", results.names[said.result],
                                    state)
        end

        lines[i] = str_format("sidecar %d: %s\n", i - 1, state)
    end

    if serving > 0 then
        return answer(200, "ready\n" .. concat(lines))
    end

    why = why or #lines == 0 and "the sidecar cannot be reached"
          or "no sidecar process answers"
    return answer(503, "not ready: " .. why .. "\n" .. concat(lines))
end


return _M
