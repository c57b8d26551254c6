-- Slices of files on other servers, as the fetch server of openresty.conf has
-- put them down: one file of nginx's cache each, read like any local file.
--
-- Such a file is a header, "KEY: " and the key on a line, the head of the
-- answer as it came, and its body. It gets its name when it is complete.

local ffi = require "ffi"
local files = require "origin.files"
local remote_source = require "origin.remote.source"


local ngx = ngx
local C = ffi.C
local adopt = files.adopt
local ffi_new = ffi.new
local ffi_str = ffi.string
local identity = remote_source.identity
local md5 = ngx.md5
local prefix = ngx.config.prefix
local str_find = string.find
local str_sub = string.sub
local tonumber = tonumber


ffi.cdef [[
int64_t lseek(int fd, int64_t offset, int whence);
int unlink(const char *path);
]]


-- O_RDONLY | O_CLOEXEC, SEEK_END
local OPEN_FLAGS = 0x80000
local SEEK_END = 2

-- Where the body begins: nearly always soon, and never behind that.
local SHORT_HEAD, LONG_HEAD = 4096, 65536

local FOLDER = prefix() .. "cache/"

local head = ffi_new("uint8_t[?]", LONG_HEAD)

local _M = {}


-- What a slice is kept under: an md5 of the file's URL and version, and the
-- slice's number. Nobody can tell the URL from it.
function _M.key(slice)
    local key = slice.key
    if not key then
        local whole = slice.of
        whole.digest = whole.digest or md5(identity(whole))
        key = whole.digest .. "/" .. slice.number
        slice.key = key
    end

    return key
end


-- As proxy_cache_path with levels=1:2 has it.
local function path_of(slice)
    local path = slice.file
    if not path then
        local name = md5(_M.key(slice))
        path = FOLDER .. str_sub(name, -1) .. "/" .. str_sub(name, -3, -2)
               .. "/" .. name
        slice.file = path
    end

    return path
end


-- Where the body begins in the file of a slice, looked for in so many bytes; or
-- nil.
local function find_body(file, slice, size)
    local got = file:read(head, size, 0)
    if got <= 0 then
        return nil
    end

    local text = ffi_str(head, got)
    local _, at = str_find(text, "\nKEY: " .. _M.key(slice) .. "\n", 1, true)
    if at then
        _, at = str_find(text, "\n\r?\n", at)
    end

    return at
end


-- Returns the open file of a slice (files.lua, as far as reading goes); or nil
-- where it is not there.
function _M.open(slice)
    local path = path_of(slice)
    local fd = C.open(path, OPEN_FLAGS)
    if fd < 0 then
        return nil
    end

    -- The same body behind a head of another length would be of another size.
    local length = tonumber(C.lseek(fd, 0, SEEK_END))
    local base = slice.base
    if base and length == base + slice.size then
        return adopt(fd, base)
    end

    local file = adopt(fd, 0)
    base = find_body(file, slice, SHORT_HEAD)
           or find_body(file, slice, LONG_HEAD)
    if base and length == base + slice.size then
        slice.base = base
        file.base = base
        return file
    end

    -- Not what was asked for: the next request asks the storage anew.
    file:close()
    C.unlink(path)
    return nil
end


-- Tells whether a slice is there.
function _M.has(slice)
    local file = _M.open(slice)
    if file then
        file:close()
        return true
    end

    return false
end


return _M
