-- What a request ended in: names and numbers of origin.v1.Result.
-- Uses ngx in resolve() and install() only.

local bodiless = require "origin.http.bodiless"


local ngx = ngx


local getmetatable = getmetatable
local pcall = pcall
local rawget = rawget
local setmetatable = setmetatable
local type = type


local _M = {}


-- number = name; compared with the .proto by tests/contract.
_M.names = {
    [0] = "FMP4_OK",
    "FMP4_BAD_REQUEST",
    "FMP4_FORBIDDEN",
    "FMP4_NO_LICENSE",
    "FMP4_NOT_FOUND",
    "FMP4_METHOD_NOT_ALLOWED",
    "FMP4_CONFLICT",
    "FMP4_FRAGMENT_NOT_FOUND",
    "FMP4_FRAGMENT_MISSING",
    "FMP4_FRAGMENT_NOT_AVAILABLE",
    "FMP4_MISSING_TFRA",
    "FMP4_UNSUPPORTED_MEDIA",
    "FMP4_INVALID_MEDIA",
    "FMP4_STORAGE_ERROR",
    "FMP4_STORAGE_TIMEOUT",
    "FMP4_UNAVAILABLE",
    "FMP4_INTERNAL_ERROR",
}

_M.numbers = {}

-- What ngx.ctx.origin is, by number: one table for all requests.
_M.contexts = {}

for number, name in pairs(_M.names) do
    _M.numbers[name] = number
    _M.contexts[number] = { result = name, number = number }
end


local NOTHING = 0 / 0           -- equals nothing, itself included


local function context_of_request()
    return ngx.ctx.origin
end


-- The value of the global called name in this request: its status when it
-- ended in that result, else a number that is equal to none.
function _M.resolve(name)
    -- outside a request ngx.ctx raises
    local ok, context = pcall(context_of_request)
    if ok and context and context.result == name then
        return ngx.status
    end

    return NOTHING
end


-- Makes the FMP4_* names readable as globals of env, and lets header filters
-- set any status. Only __index is added: ngx_lua keeps its guard against
-- global writes in the same metatable.
function _M.install(env)
    local numbers = _M.numbers
    local mt = getmetatable(env)

    if not mt then
        mt = {}
        setmetatable(env, mt)
    end

    if rawget(mt, "origin_results") then
        return
    end

    local before = mt.__index

    bodiless.install(ngx)
    mt.origin_results = true
    mt.__index = function(table, name)
        if numbers[name] then
            return _M.resolve(name)
        end

        if type(before) == "function" then
            return before(table, name)
        end

        return before and before[name]
    end
end


return _M
