-- What a request ended in: names and numbers of origin.v1.Result.
-- Uses ngx in resolve() and install() only.

local bodiless = require "origin.http.bodiless"


local ngx = ngx


local getmetatable = getmetatable
local pairs = pairs
local pcall = pcall
local rawget = rawget
local setmetatable = setmetatable
local str_find = string.find
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

for number, name in pairs(_M.names) do
    _M.numbers[name] = number
end


-- The kind of a request that no row of the sidecar claims.
local OTHER = "other"

-- Labels of metrics must not grow without end: more kinds than the sidecar has
-- rows are no kinds.
local MAX_KINDS = 64
local KIND = "^[%l%d_.]+$"

local contexts_by_kind, count = {}, 0


-- Returns what ngx.ctx.origin is after a request of that kind ("hls.segment",
-- nil for none) that ended in result number: one table for all of them; nil
-- for an unknown number.
function _M.context(number, kind)
    local contexts = contexts_by_kind[kind or OTHER]

    if not contexts then
        if kind and (count >= MAX_KINDS or not str_find(kind, KIND)) then
            return _M.context(number)
        end

        contexts = {}
        for known, name in pairs(_M.names) do
            contexts[known] = {
                result = name,
                number = known,
                kind = kind or OTHER,
            }
        end

        contexts_by_kind[kind or OTHER] = contexts
        count = count + 1
    end

    return contexts[number]
end


-- Those of requests of no kind, by number.
_M.contexts = {}

for number in pairs(_M.names) do
    _M.contexts[number] = _M.context(number)
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
