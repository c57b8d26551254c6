-- Slices of files on other servers, as the fetch server of openresty.conf has
-- put them down: one file of nginx's cache each, read like any local file.
--
-- Such a file is a header, "KEY: " and the key on a line, the head of the
-- answer as it came, and its body. It gets its name when it is complete.

local ffi = require "ffi"
local remote_source = require "origin.remote.source"
require "origin.files"


local ngx = ngx
local C = ffi.C
local ffi_errno = ffi.errno
local ffi_new = ffi.new
local ffi_str = ffi.string
local identity = remote_source.identity
local md5 = ngx.md5
local prefix = ngx.config.prefix
local str_find = string.find
local str_sub = string.sub
local tonumber = tonumber


ffi.cdef [[
struct origin_slice {
    int fd;
    double base;
};

int64_t lseek(int fd, int64_t offset, int whence);
int unlink(const char *path);
]]


-- O_RDONLY | O_CLOEXEC, SEEK_END, EINTR
local OPEN_FLAGS = 0x80000
local SEEK_END = 2
local EINTR = 4

-- Where the body begins: nearly always soon, and never behind that.
local SHORT_HEAD, LONG_HEAD = 4096, 65536

local FOLDER = prefix() .. "cache/"

local head = ffi_new("uint8_t[?]", LONG_HEAD)

local _M = {}
local methods = {}


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


function methods:read(buffer, size, offset)
    return tonumber(C.pread(self.fd, buffer, size, self.base + offset))
end


function methods:read_vector(vector, count, offset)
    return tonumber(C.preadv(self.fd, vector, count, self.base + offset))
end


function methods:read_fully(buffer, size, offset)
    while size > 0 do
        local got = self:read(buffer, size, offset)
        if got > 0 then
            buffer, size, offset = buffer + got, size - got, offset + got
        elseif got == 0 or ffi_errno() ~= EINTR then
            return false
        end
    end

    return true
end


-- What a key names never changes.
function methods.is()
    return true
end


function methods:close()
    if self.fd >= 0 then
        C.close(self.fd)
        self.fd = -1
    end
end


-- The collector closes what a killed coroutine left open.
local slice_t = ffi.metatype("struct origin_slice", {
    __index = methods,
    __gc = methods.close,
})


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
        return slice_t(fd, base)
    end

    local file = slice_t(fd, 0)
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
