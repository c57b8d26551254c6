-- The public API, for init_by_lua and content_by_lua:
--
--     origin = require "origin"
--     origin.http [[ origin_body_cache 64m; ]]        -- optional, once, first
--     vod = origin.location [[ usp_handle_ism on; ]]
--     ... content_by_lua_block { vod:content() }
--
-- A mistake in a block raises an error, which stops the start.

local bodies = require "origin.bodies"
local directives = require "origin.directives"
local handler = require "origin.handler"
local results = require "origin.results"


local ngx = ngx
local collectgarbage = collectgarbage
local error = error
local md5 = ngx.md5
local setmetatable = setmetatable
local type = type


-- What openresty.conf must declare.
local DICTIONARIES = { "origin_plans", "origin_locks" }

-- The caches hold tens of megabytes; with LuaJIT's own 200 a worker would let
-- as much garbage gather before it collects. At 130 a worker peaks at two
-- thirds of that, at no cost that could be measured.
local GC_PAUSE = 130

local EMPTY = { values = {}, words = {} }

local _M = {}
local http_block
local locations = 0


local function read(text, context)
    if type(text) ~= "string" then
        error("origin." .. context .. " takes a string of directives", 3)
    end

    local block, err = directives.read(text, context)
    if not block then
        error(err, 0)
    end

    return block
end


local function check_dictionaries()
    for _, name in ipairs(DICTIONARIES) do
        if not ngx.shared[name] then
            error("origin: the http block lacks lua_shared_dict " .. name, 0)
        end
    end
end


-- Sets what holds for all locations. At most once, before the first location.
function _M.http(text)
    if http_block or locations > 0 then
        error("origin.http must come once, before the first origin.location",
              2)
    end

    http_block = read(text, "http")
end


-- Returns an object whose content() answers the current request by these
-- directives. The object can not be changed.
function _M.location(text)
    local block = read(text, "location")
    check_dictionaries()

    local values, for_sidecar, canonical = directives.resolve(
        http_block or EMPTY, block)

    if locations == 0 then
        bodies.configure(values.origin_body_cache)
        collectgarbage("setpause", GC_PAUSE)
        results.install(_G)
    end

    locations = locations + 1
    local settings = {
        handle_f4f = values.usp_handle_f4f,
        handle_ism = values.usp_handle_ism,
        cors = values.origin_cors,
        read_ahead = values.origin_read_ahead,
        directives = for_sidecar,
        digest = canonical == "" and "" or md5(canonical),
    }

    local methods = {
        content = function()
            return handler.content(settings)
        end,
    }

    return setmetatable({}, {
        __index = methods,
        __newindex = function()
            error("the object of origin.location can not be changed", 2)
        end,
        __metatable = false,
    })
end


return _M
