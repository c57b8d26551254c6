-- The license key that usp_license_key gives: read when nginx starts and when
-- it reloads, sent to the sidecar with every request. The sidecar verifies it;
-- what it objects to is said here, in nginx's error log.

local ffi = require "ffi"
local files = require "origin.files"
local utf8 = require "origin.utf8"


local ngx = ngx
local C = ffi.C
local ERR = ngx.ERR
local WARN = ngx.WARN
local ffi_errno = ffi.errno
local ffi_new = ffi.new
local ffi_str = ffi.string
local min = math.min
local ngx_log = ngx.log
local pcall = pcall
local shared = ngx.shared
local str_find = string.find
local str_gsub = string.gsub
local str_match = string.match
local timer_at = ngx.timer.at


ffi.cdef [[
char *strerror(int errnum);
]]


local DIRECTIVE = "usp_license_key"

-- As sidecar.license.text has them (compared by tests/lua).
local TITLE = "OpenOrigin license key"
local MAX_BYTES = 4096

-- How often the same is said in the log, all workers together, seconds.
local SILENCE = 60

-- The longest wait for a sidecar that is still starting, seconds.
local LONGEST_WAIT = 60

local _M = { TITLE = TITLE, MAX_BYTES = MAX_BYTES }

-- What is sent to the sidecar, and what to say of where it comes from.
local sent = {}
local origin = DIRECTIVE .. " is not given"
local unreadable = false


-- Whether an argument is the text of a key; else it names a file.
local function is_text(argument)
    return str_find(argument, "\n", 1, true) ~= nil
           or str_find(str_gsub(argument, "^[\239\187\191\t ]+", ""), TITLE, 1,
                       true) == 1
end


-- Opens without waiting (a FIFO) and reads at offsets (no FIFO, no directory).
local function read_file(path)
    local file = files.open(path)
    if not file then
        return nil, ffi_str(C.strerror(ffi_errno()))
    end

    local buffer = ffi_new("uint8_t[?]", MAX_BYTES + 1)
    local size = 0
    local got
    repeat
        got = file:read(buffer + size, MAX_BYTES + 1 - size, size)
        size = size + (got > 0 and got or 0)
    until got <= 0 or size > MAX_BYTES

    local err = got < 0 and ffi_str(C.strerror(ffi_errno()))
    file:close()
    if err then
        return nil, err
    end

    if size > MAX_BYTES then
        return nil, "longer than " .. MAX_BYTES .. " bytes"
    end

    return ffi_str(buffer, size)
end


-- Returns the text of the key that an argument is or names, or nil and why it
-- has none. prefix: of nginx, with its slash.
function _M.read(argument, prefix)
    local text, err = argument, nil
    if not is_text(argument) then
        if str_find(argument, "%z") then
            return nil, "not the name of a file"
        end

        local absolute = str_find(argument, "^/")
        text, err = read_file(absolute and argument or prefix .. argument)
    end

    if not text then
        return nil, err
    end

    if str_find(text, "[%z\1-\8\11\12\14-\31\127]") or not utf8.is_valid(text)
    then
        return nil, "not a text"
    end

    if not str_find(text, "%S") then
        return nil, "empty"
    end

    return text
end


-- Puts the text of the key into an http block (of directives.read) in place
-- of its file's name; nothing, when there is none. A key that cannot be read
-- does not stop the start: streaming is answered 403 then.
function _M.load(block)
    local argument = block.values[DIRECTIVE]
    if argument then
        local text, err = _M.read(argument, ngx.config.prefix())
        block.words[DIRECTIVE] = { text }
        sent = { { name = DIRECTIVE, args = { text } } }
        origin = is_text(argument) and "the text in " .. DIRECTIVE
                 or DIRECTIVE .. " " .. argument
        unreadable = err ~= nil
        if err then
            origin = origin .. ": " .. err
        end
    end

    return block
end


-- Says why the sidecar makes no plans, at most once a minute.
function _M.report(plan)
    if shared.origin_locks:add(DIRECTIVE, true, SILENCE) then
        ngx_log(ERR, "origin: ", str_match(plan.inlines[1] or "", "^[^\n]*"),
                " (", origin, ")")
    end
end


-- In a timer: asks the sidecar, which may be starting.
local function check(premature, ask, wait)
    if premature then
        return
    end

    -- What it would never plan, so that nothing but the key counts.
    local ok, plan = pcall(ask, {
        key = "",
        root = "",
        path = "/",
        virtual_path = "",
        args = "",
        directives = sent,
        method = "OPTIONS",
        request_id = "start",
    }, 0)

    local result = ok and plan.context.result
    if not result or result == "FMP4_UNAVAILABLE" then
        timer_at(wait, check, ask, min(2 * wait, LONGEST_WAIT))

    elseif unreadable and result ~= "FMP4_NO_LICENSE" then
        ngx_log(WARN, "origin: the sidecar's own license key is used (",
                origin, ")")
    end
end


-- Has the key verified when nginx starts, before the first client comes.
-- ask: sidecar.ask, which reports.
function _M.start(ask)
    if ngx.worker.id() == 0 then
        -- what a reload changes is said at once
        shared.origin_locks:delete(DIRECTIVE)
        timer_at(0, check, ask, 1)
    end
end


return _M
