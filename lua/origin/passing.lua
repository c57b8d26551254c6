-- Requests that are not planned: the sidecar answers them itself, over HTTP,
-- through the named location @ingest. These are what encoders send to
-- publishing points, what is to be known of these, and what is done to them.

local cors = require "origin.http.cors"
local encode = require "origin.rpc.encode"
local messages = require "origin.rpc.messages"
local results = require "origin.results"


local ngx = ngx
local context_of = results.context
local encode_base64 = ngx.encode_base64
local cors_headers = cors.headers
local exec = ngx.exec
local header = ngx.header
local numbers = results.numbers
local pcall = pcall
local set_header = ngx.req.set_header
local str_find = string.find
local var = ngx.var


local LOCATION = "@ingest"

-- What encoders ask for, below the server manifest.
local INGEST = { POST = true, PUT = true }

-- What is to be known of a publishing point, and what is done to it.
local DOCUMENTS = { state = true, statistics = true, archive = true }
local ACTIONS = { purge = true, start = true, stop = true, event = true }

local READ = { GET = true, HEAD = true }
local MANAGE = { GET = true, HEAD = true, PUT = true, POST = true,
                 DELETE = true }

-- What @ingest's answer says of its result and kind.
local RESULT = "upstream_http_x_origin_result"
local KIND = "upstream_http_x_origin_kind"

local _M = {}


-- Whether the sidecar answers such a request itself. settings: of the location.
local function is_passed(method, virtual_path, settings)
    if settings.handle_api then
        return virtual_path == "" and MANAGE[method]
               or DOCUMENTS[virtual_path] and READ[method]
               or ACTIONS[virtual_path] and INGEST[method]
    end

    if DOCUMENTS[virtual_path] then
        return READ[method]
    end

    return INGEST[method] and (virtual_path == ""
                               or str_find(virtual_path, "^Streams%(.+%)$")
                               or str_find(virtual_path,
                                           "^Events%(.+%)/Streams%(.+%)$"))
end


-- What may be done by the API to the virtual path of a publishing point, as in
-- Allow; nil where there is nothing. path: nil for no publishing point.
function _M.methods(path, virtual_path)
    if not path then
        return nil
    end

    return virtual_path == "" and "GET, HEAD, PUT, POST, DELETE, OPTIONS"
           or DOCUMENTS[virtual_path] and "GET, HEAD, OPTIONS"
           or ACTIONS[virtual_path] and "POST, PUT, OPTIONS"
           or nil
end


local function set_asset(path)
    var.origin_asset = path
end


-- Hands the current request over to the sidecar, body unread, when that is who
-- answers it; never returns then. path: may be nil, for no publishing point;
-- root: the document root, absolute.
function _M.on(method, path, virtual_path, root, settings)
    if not path or not is_passed(method, virtual_path, settings) then
        return
    end

    -- The request once more, as Plan would get it, without secrets: it becomes
    -- a header. Whatever a client calls its headers, these are ours.
    set_header("X-Origin-Request", encode_base64(encode(messages.PlanRequest, {
        document_root = root,
        path = path,
        virtual_path = virtual_path,
        args = var.args or "",
        directives = settings.open_directives,
        method = method,
        request_id = var.request_id,
    })))
    -- As in the upstream "sidecar", so that one process has it all.
    set_header("X-Origin-Asset", root .. path)
    set_header("X-Origin-Sender", var.remote_addr .. ":" .. var.remote_port)
    pcall(set_asset, path)

    if settings.cors and DOCUMENTS[virtual_path] then
        for i = 1, #cors_headers, 2 do
            header[cors_headers[i]] = cors_headers[i + 1]
        end
    end

    return exec(LOCATION)
end


local function set_result(name)
    var.origin_result = name
end


-- For header_filter_by_lua of @ingest: what the request ended in.
function _M.answered()
    local name = var[RESULT]
    local number = name and numbers[name] or numbers.FMP4_UNAVAILABLE
    local kind = name and var[KIND] or "live.ingest"
    local context = context_of(number, kind)
    ngx.ctx.origin = context
    pcall(set_result, context.result)
end


return _M
