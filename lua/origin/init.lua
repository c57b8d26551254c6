-- The public API, for init_by_lua and content_by_lua:
--
--     origin = require "origin"
--     origin.http [[ origin_body_cache 64m; ]]        -- optional, once, first
--     vod = origin.location [[ usp_handle_ism on; ]]
--     tv = origin.location(vod, [[ origin_cors off; ]])     -- vod's, and more
--     ... content_by_lua_block { vod:content() }
--     ... init_worker_by_lua_block { origin.start_worker() }
--     ... log_by_lua_block { origin.log() }
--     ... header_filter_by_lua_block { origin.passed() }   -- in @ingest
--     ... set_by_lua_block $x { return origin.upstream() } -- for fetch.sock
--     ... balancer_by_lua_block { origin.connect() }       -- and its upstream
--
-- A mistake in a block raises an error, which stops the start. It begins with
-- the line of the configuration that the call is on (the last one of it).

local bodies = require "origin.bodies"
local collector = require "origin.collector"
local directives = require "origin.directives"
local exposition = require "origin.exposition"
local handler = require "origin.handler"
local health = require "origin.health"
local license = require "origin.license"
local metrics = require "origin.metrics"
local names = require "origin.directives.names"
local passing = require "origin.passing"
local results = require "origin.results"
local sidecar = require "origin.sidecar"
local upstream = require "origin.remote.upstream"


local ngx = ngx
local error = error
local getinfo = debug.getinfo
local md5 = ngx.md5
local next = next
local select = select
local setmetatable = setmetatable
local str_match = string.match
local tonumber = tonumber
local tostring = tostring
local type = type


-- What openresty.conf must declare.
local DICTIONARIES = { "origin_plans", "origin_locks", "origin_metrics" }

local EMPTY = { values = {}, words = {} }

local _M = {}
local http_block
local locations = 0

-- Blocks of location objects, with those of their parents.
local blocks = setmetatable({}, { __mode = "k" })


-- Where the caller of the function at that level of the stack stands, as
-- "openresty.conf:47: ".
local function place(level)
    local info = getinfo(level + 1, "Sl")
    if not info or info.currentline < 0 then
        return ""
    end

    local file, begin = str_match(info.short_src, "%((.*):(%d+)%)$")
    if not file then
        return info.short_src .. ":" .. info.currentline .. ": "
    end

    -- nginx names a block of Lua by the line that it begins on
    return file .. ":" .. tonumber(begin) + info.currentline - 1 .. ": "
end


local function fail(message)
    error(place(3) .. message, 0)
end


-- Sets what holds for all locations. At most once, before the first location.
function _M.http(...)
    if http_block or locations > 0 then
        fail("origin.http must come once, before the first origin.location")
    end

    local text = ...
    if type(text) ~= "string" or select("#", ...) > 1 then
        fail("origin.http takes one string of directives")
    end

    local block, err = directives.read(text, "http")
    if not block then
        fail(err)
    end

    http_block = license.load(block)
end


-- For init_worker_by_lua: what is to be found out before a client comes.
function _M.start_worker()
    license.start(sidecar.ask)
end


-- For log_by_lua of the servers that stream: counts the current request.
_M.log = metrics.log

-- For header_filter_by_lua of @ingest.
_M.passed = passing.answered

-- For set_by_lua of the fetch server, and for balancer_by_lua of its upstream.
_M.upstream = upstream.name
_M.connect = upstream.connect

-- For content_by_lua of an internal server: all metrics; whether nginx is
-- alive; whether requests would be answered.
_M.metrics = exposition.content
_M.alive = health.alive


function _M.ready()
    local _, for_sidecar = directives.resolve(http_block or EMPTY, EMPTY)
    return health.ready(for_sidecar)
end


-- Takes a string of directives, and before it, if any, an object of another
-- call, whose directives hold as well. Returns an object whose content()
-- answers the current request by them. The object can not be changed.
function _M.location(...)
    local text, below = ..., EMPTY
    local count = select("#", ...)
    if count > 1 then
        local parent
        parent, text = ...
        below = parent ~= nil and blocks[parent]
    end

    if not below or type(text) ~= "string" or count > 2 then
        fail("origin.location takes a string of directives, and before it, "
             .. "if any, the object of another origin.location")
    end

    local block, err = directives.read(text, "location")
    if not block then
        fail(err)
    end

    for i = 1, #DICTIONARIES do
        if not ngx.shared[DICTIONARIES[i]] then
            fail("the http block lacks lua_shared_dict " .. DICTIONARIES[i])
        end
    end

    block = directives.overlay(below, block)
    local values, for_sidecar, canonical = directives.resolve(
        http_block or EMPTY, block)

    local wrong = directives.contradiction(values)
    if wrong then
        fail(wrong)
    end

    if locations == 0 then
        bodies.configure(values.origin_body_cache)
        collector.start()
        results.install(_G)
    end

    locations = locations + 1
    local statuses = values.origin_status
    local settings = {
        handle_api = values.usp_handle_api,
        handle_f4f = values.usp_handle_f4f,
        handle_ism = values.usp_handle_ism,
        skip_rewrite = values.usp_skip_rewrite,
        cors = values.origin_cors,
        read_ahead = values.origin_read_ahead,
        may_hold = values.origin_blocking_edge > 0,
        statuses = next(statuses) and statuses or nil,
        directives = for_sidecar,
        open_directives = directives.without_secrets(for_sidecar),
        digest = canonical == "" and "" or md5(canonical),
    }

    local object = setmetatable({}, {
        __index = {
            content = function()
                return handler.content(settings)
            end,
        },
        __newindex = function()
            fail("the object of origin.location can not be changed")
        end,
        __metatable = false,
    })

    blocks[object] = block
    return object
end


-- A name that is not here: "attempt to call a nil value" would not say which.
return setmetatable(_M, {
    __index = function(_, name)
        name = tostring(name)
        fail('origin has no "' .. name .. '"' .. names.hint(name, _M))
    end,
})
