-- The content phase: method, route, plan, answer.

local answer = require "origin.answer"
local args_module = require "origin.args"
local files = require "origin.files"
local metrics = require "origin.metrics"
local passing = require "origin.passing"
local plan_module = require "origin.plan"
local plans = require "origin.plans"
local route = require "origin.route"


local ngx = ngx
local absolute = files.absolute
local get_method = ngx.req.get_method
local ngx_exit = ngx.exit
local ngx_log = ngx.log
local now = ngx.now
local pass_on = passing.on
local pcall = pcall
local reduce = args_module.reduce
local refuse = plan_module.refuse
local refuse_remote = plan_module.refuse_remote
local remote_of = plan_module.remote_of
local send = answer.send
local split = route.split
local split_point = route.split_point
local str_find = string.find
local type = type
local unrewrite = route.unrewrite
local var = ngx.var
local ERR = ngx.ERR
local WARN = ngx.WARN


local ALLOW = "GET, HEAD, OPTIONS"
local MANAGE = "GET, HEAD, PUT, POST, DELETE, OPTIONS"

local POINT = "%.isml$"
local BELOW_POINT = "%.isml/"

-- How encoders send, and what they are told who send it elsewhere.
local SENDS = { POST = true, PUT = true }
local MEDIA = "Media is sent to a stream: .isml/Streams(name)"

local SENTENCES = {
    FMP4_BAD_REQUEST = { 400, "The URL is not valid." },
    FMP4_FORBIDDEN = { 403, "Server manifests are not for download." },
    FMP4_NOT_FOUND = { 404, "Nothing is served under this name." },
}

-- A source that changes faster than it can be planned: give up and say when
-- to come back.
local MAX_PLANS = 3

local _M = {}

-- Whether the configuration declares the variables for the access log; known
-- after the first request of a worker.
local has_variables


local function set_variables(plan, source)
    var.origin_result = plan.context.result
    var.origin_plan = source
    var.origin_parts = plan.count
    var.origin_asset = plan.asset or "-"
end


-- Tells later phases what the request ended in.
local function note(plan, source)
    ngx.ctx.origin = plan.context
    metrics.planned(source)

    if has_variables then
        set_variables(plan, source)

    elseif has_variables == nil then
        has_variables = pcall(set_variables, plan, source)
    end
end


-- The status that the location gives to what the plan ended in, for its format
-- or for all of them; else the plan's own.
local function status_of(statuses, plan)
    local by_format = statuses[plan.context.result]
    if not by_format then
        return plan.status
    end

    return by_format[plan.format] or by_format["*"] or plan.status
end


local function log(message)
    ngx_log(ERR, "origin: ", message, ", request_id: ", var.request_id)
end


-- renew: see remote/body.lua; plans of files on other servers need it. Returns
-- as answer.send does.
local function finish(plan, source, method, settings, renew)
    note(plan, source)

    local status = plan.status
    if settings.statuses then
        status = status_of(settings.statuses, plan)
    end

    local ok, err = send(plan, status, method, settings, var, renew)
    if ok == nil then
        if err then
            log(err)
        end

        -- Cuts the connection: a body that ends early must not look whole.
        return ngx_exit(ngx.ERROR)
    end

    return ok, err
end


local function refuse_method(method, settings)
    if method == "OPTIONS" then
        ngx.ctx.origin = { result = "FMP4_OK", number = 0 }
        return answer.options(settings, ALLOW)
    end

    local sentence = "Only GET, HEAD and OPTIONS are answered here."
    if SENDS[method] and str_find(var.uri, BELOW_POINT) then
        sentence = MEDIA
        -- An encoder comes again with each segment, on the same connection.
        if var.connection_requests == "1" then
            ngx_log(WARN, "origin: ", var.request_uri, ": ", MEDIA,
                    ", request_id: ", var.request_id)
        end
    end

    local plan = refuse("FMP4_METHOD_NOT_ALLOWED", 405, sentence,
                        { "Allow", ALLOW })
    return finish(plan, "-", method, settings)
end


-- Never returns for what the sidecar answers.
local function pass_point_on(method, settings)
    local path, virtual_path = split_point(var.uri)
    pass_on(method, path, virtual_path, absolute[var.document_root], settings)
end


local function manage(method, settings)
    pass_point_on(method, settings)
    if method == "OPTIONS" then
        ngx.ctx.origin = { result = "FMP4_OK", number = 0 }
        return answer.options(settings, MANAGE)
    end

    local allowed = passing.methods(split_point(var.uri))
    if allowed then
        return finish(refuse("FMP4_METHOD_NOT_ALLOWED", 405,
                             "Only " .. allowed .. " are answered here.",
                             { "Allow", allowed }), "-", method, settings)
    end

    local plan = refuse("FMP4_NOT_FOUND", 404,
                        "Publishing points are managed here, by other URLs.")
    return finish(plan, "-", method, settings)
end


local function refuse_route(result, method, settings)
    local known = SENTENCES[result]
    return finish(refuse(result, known[1], known[2]), "-", method, settings)
end


-- What the sidecar is asked for a URI; or nil and the result that refuses it.
local function question_of(key, root, uri, args, method, settings)
    local path, virtual_path, packaged = split(uri, settings.handle_ism,
                                                settings.handle_f4f)
    if not path then
        return nil, virtual_path
    end

    return {
        key = key,
        prefix = settings.digest .. "\0" .. root .. "\0",
        suffix = "\0" .. args,
        root = root,
        path = path,
        virtual_path = virtual_path,
        args = args,
        directives = settings.directives,
        method = method,
        request_id = var.request_id,
        -- a packaged fragment is found as fast as planned ahead
        read_ahead = packaged and 0 or settings.read_ahead,
        may_hold = settings.may_hold and str_find(path, POINT),
    }
end


-- Returns what answers with the failure of another server that a plan met.
local function answer_failure(plan, failure, method, settings)
    log(failure.message)
    local refusal = refuse_remote(plan, failure)
    refusal.asset = plan.asset
    return finish(refusal, "-", method, settings)
end


-- Returns a function that asks for a new signature for a source of a plan: for
-- how it is requested then, or nil where it is not the same file any more. make
-- returns the question to the sidecar.
local function renewer(make)
    return function(source)
        local question = make()
        local remote = remote_of(plans.get(question), source)
        if not remote or remote.expires == source.remote.expires then
            plans.forget(question.key)
            remote = remote_of(plans.get(question), source)
        end

        return remote
    end
end


-- Plans until a plan's sources hold still for as long as opening them takes.
-- recheck: another server's file has turned out to be another one.
local function answer_miss(key, root, uri, args, method, settings, recheck)
    local question, result = question_of(key, root, uri, args, method,
                                         settings)
    if not question then
        return refuse_route(result, method, settings)
    end

    local path = question.path
    if str_find(path, POINT) then
        pass_on(method, path, question.virtual_path, root, settings)
    end

    local trouble
    question.recheck = recheck
    for _ = 1, MAX_PLANS do
        local began = now()
        local plan, source, err = plans.get(question)
        metrics.waited(source, now() - began)
        plan.asset = path
        if err then
            log(path .. ": " .. err)
        end

        local renew = plan.remotes and renewer(function()
            return question
        end)
        local ok
        ok, trouble = finish(plan, source, method, settings, renew)
        if ok ~= false then
            return
        end

        if type(trouble) == "table" then
            if not trouble.again or question.recheck then
                return answer_failure(plan, trouble, method, settings)
            end

            question.recheck = 1
        end

        plans.forget(key)
    end

    if type(trouble) == "table" then
        trouble = trouble.message
    end

    log(trouble .. " changes while it is being served")
    finish(refuse("FMP4_STORAGE_ERROR", 503,
                  "The content is being replaced, try again.",
                  { "Retry-After", "1" }), "-", method, settings)
end


-- Answers the current request as the location's settings say.
function _M.content(settings)
    local method = get_method()
    if settings.handle_api then
        return manage(method, settings)
    end

    if method ~= "GET" and method ~= "HEAD" then
        if settings.handle_ism then
            pass_point_on(method, settings)
        end

        return refuse_method(method, settings)
    end

    if not settings.handle_ism and not settings.handle_f4f then
        return refuse_route("FMP4_NOT_FOUND", method, settings)
    end

    ngx.req.discard_body()

    local uri, query = var.uri, var.args
    if settings.handle_ism and (settings.skip_rewrite or query
                                and str_find(query, "file=", 1, true))
    then
        local plain, result = unrewrite(uri, query, settings.skip_rewrite,
                                        settings.handle_f4f)
        if not plain then
            return refuse_route(result, method, settings)
        end

        uri = plain
    end

    local args = reduce(query)
    local root = absolute[var.document_root]
    local key = settings.digest .. "\0" .. root .. "\0" .. uri .. "\0" .. args

    local plan = plans.find(key)
    local recheck
    if plan then
        local renew = plan.remotes and renewer(function()
            return question_of(key, root, uri, args, method, settings)
        end)
        local ok, trouble = finish(plan, "hit", method, settings, renew)
        if ok ~= false then
            return
        end

        if type(trouble) == "table" then
            if not trouble.again then
                return answer_failure(plan, trouble, method, settings)
            end

            recheck = 1
        end

        plans.forget(key)
    end

    return answer_miss(key, root, uri, args, method, settings, recheck)
end


return _M
