-- The only writer of status and headers; sends a plan to the client.

local bodies = require "origin.bodies"
local bodiless = require "origin.http.bodiless"
local conditional = require "origin.http.conditional"
local cors = require "origin.http.cors"
local date = require "origin.http.date"
local range = require "origin.http.range"
local reader = require "origin.reader"
local remote_body = require "origin.remote.body"
local stream = require "origin.stream"


local ngx = ngx
local ceil = math.ceil
local evaluate = conditional.evaluate
local floor = math.floor
local format_date = date.format
local has_no_body = bodiless.statuses
local header = ngx.header
local max = math.max
local now = ngx.now
local print = ngx.print
local send_headers = ngx.send_headers


local cors_headers = cors.headers


local _M = {}


local function set_headers(list)
    for i = 1, #list, 2 do
        header[list[i]] = list[i + 1]
    end
end


-- For how long a copy is as good as asking, seconds.
local function set_expiry(seconds)
    header["Cache-Control"] = "max-age=" .. seconds
    header["Expires"] = format_date(floor(now()) + seconds)
end


-- Validators and what else belongs to the representation, whatever part of
-- it is sent (304 included, RFC 9110 15.4.5).
local function set_common(plan, settings)
    set_headers(plan.headers)

    if plan.etag then
        header["ETag"] = plan.etag
    end

    if plan.last_modified_text then
        header["Last-Modified"] = plan.last_modified_text
    end

    if plan.max_age then
        set_expiry(plan.max_age)

    elseif plan.renew then
        -- What is due already is asked for again soon rather than at once, or
        -- each player would.
        set_expiry(max(1, ceil(plan.renew - now())))
    end

    if settings.cors then
        set_headers(cors_headers)
    end
end


-- Ranges to send, or nil for the whole body.
local function wanted_ranges(plan, method, var)
    local text = var.http_range
    if not text or method ~= "GET" then
        return nil
    end

    local if_range = var.http_if_range
    if if_range and not conditional.range_holds(if_range, plan.etag,
                                                plan.last_modified)
    then
        return nil
    end

    return range.parse(text, plan.length)
end


-- Status and headers of an answer without body.
local function send_bare(status)
    ngx.status = status
    if not has_no_body[status] then
        header["Content-Length"] = "0"
    end

    send_headers()
    return true
end


-- Answers a preflight, or OPTIONS of any kind.
function _M.options(settings, allow)
    header["Allow"] = allow
    if settings.cors then
        set_headers(cors_headers)
        header["Access-Control-Max-Age"] = cors.max_age
    end

    return send_bare(204)
end


-- Where the body's bytes, from the first of ranges on, come from: a list of
-- strings kept in memory, or open files, or a body of remote/body.lua. Returns
-- strings, handles; or nil, nil, path of a file that is not the plan's any more
-- (or a failure of remote/fetch.lua).
local function open_body(plan, ranges, renew)
    if plan.in_memory then
        return plan.inlines
    end

    local strings = bodies.find(plan)
    if strings then
        return strings
    end

    local handles, trouble
    if not plan.remotes then
        handles, trouble = reader.open(plan)
    else
        local first = ranges and ranges[1]
        handles, trouble = remote_body.open(plan, first and first[1] or 0,
                                            first and first[2] or plan.length,
                                            renew)
    end

    return nil, handles, trouble
end


local function send_part(plan, strings, handles, from, to, kept)
    if strings then
        return stream.send_strings(strings, from, to)
    end

    if plan.remotes then
        return remote_body.send(handles, from, to, kept)
    end

    return stream.send_files(plan, handles, from, to, kept)
end


-- Whether what was sent is what the plan was made from.
local function is_unchanged(plan, handles)
    if plan.remotes then
        return not handles.is_stale
    end

    return reader.unchanged(plan, handles)
end


local function send_ranges(plan, strings, handles, ranges, var)
    ngx.status = 206

    if #ranges == 1 then
        local only = ranges[1]
        header["Content-Type"] = plan.content_type
        header["Content-Range"] = range.content_range(only, plan.length)
        header["Content-Length"] = only[2] - only[1]
        return send_part(plan, strings, handles, only[1], only[2])
    end

    -- 128 random bits: no body contains them but by intent of chance
    local boundary = var.request_id
    local heads, tail, total = range.multipart(ranges, plan.length,
                                               plan.content_type, boundary)

    header["Content-Type"] = "multipart/byteranges; boundary=" .. boundary
    header["Content-Length"] = total

    for i, part in ipairs(ranges) do
        if not print(heads[i]) then
            return nil
        end

        local ok, err = send_part(plan, strings, handles, part[1], part[2])
        if not ok then
            return nil, err
        end
    end

    return print(tail)
end


local function send_whole(plan, strings, handles)
    header["Content-Type"] = plan.content_type
    header["Content-Length"] = plan.content_length

    if strings then
        return stream.send_strings(strings, 0, plan.length)
    end

    -- What is asked for again may be kept in memory.
    local kept = bodies.wants(plan) and {}
    local ok, err = send_part(plan, nil, handles, 0, plan.length, kept)
    if ok and kept and is_unchanged(plan, handles) then
        bodies.keep(plan, kept)
    end

    return ok, err
end


-- Ends an answer whose body was sent as ok and err say. A header filter may
-- have made it one without: the rest of its body is refused then, and that
-- is all right.
local function close(plan, handles, ok, err)
    if handles and plan.remotes then
        remote_body.close(handles)
    elseif handles then
        reader.close(handles)
    end

    if not ok and not err and has_no_body[ngx.status] then
        return true
    end

    return ok, err
end


-- Sends a plan under that status, its own or another one. renew: for files on
-- other servers (remote/body.lua). Returns true when all of it went out; false,
-- path when a file is not the plan's any more, or false, failure when another
-- server fails (nothing was sent yet: plan anew, or refuse); nil, err when a
-- file ended early, nil when the client is gone.
function _M.send(plan, status, method, settings, var, renew)
    local ranges

    if status == 200 then
        local verdict = evaluate(plan.etag, plan.last_modified,
                                 var.http_if_match,
                                 var.http_if_unmodified_since,
                                 var.http_if_none_match,
                                 var.http_if_modified_since)
        if verdict then
            set_common(plan, settings)
            return send_bare(verdict)
        end

        ranges = wanted_ranges(plan, method, var)
        if ranges and #ranges == 0 then
            set_common(plan, settings)
            header["Content-Range"] = range.unsatisfied(plan.length)
            return send_bare(416)
        end

    elseif has_no_body[status] then
        set_common(plan, settings)
        return send_bare(status)
    end

    local strings, handles, trouble
    if method ~= "HEAD" then
        strings, handles, trouble = open_body(plan, ranges, renew)
        if trouble then
            return false, trouble
        end
    end

    set_common(plan, settings)
    if status == 200 then
        header["Accept-Ranges"] = "bytes"
    end

    if ranges then
        return close(plan, handles,
                     send_ranges(plan, strings, handles, ranges, var))
    end

    ngx.status = status
    if method == "HEAD" then
        header["Content-Type"] = plan.content_type
        header["Content-Length"] = plan.content_length
        send_headers()
        return true
    end

    return close(plan, handles, send_whole(plan, strings, handles))
end


return _M
