-- Local files through the C library: identity, opening, reading. No ngx, so
-- also usable in tests; blocking, like nginx's own file access.
--
-- statx instead of fstat: its struct is the same on every architecture.

local ffi = require "ffi"


local C = ffi.C
local cast = ffi.cast
local ffi_errno = ffi.errno
local ffi_new = ffi.new
local ffi_str = ffi.string
local pcall = pcall
local setmetatable = setmetatable
local str_byte = string.byte
local str_gsub = string.gsub
local str_match = string.match
local tonumber = tonumber


ffi.cdef [[
struct origin_timestamp {
    int64_t sec;
    uint32_t nsec;
    int32_t reserved;
};

struct origin_statx {
    uint32_t mask;
    uint32_t blksize;
    uint64_t attributes;
    uint32_t nlink;
    uint32_t uid;
    uint32_t gid;
    uint16_t mode;
    uint16_t reserved0;
    uint64_t ino;
    uint64_t size;
    uint64_t blocks;
    uint64_t attributes_mask;
    struct origin_timestamp atime;
    struct origin_timestamp btime;
    struct origin_timestamp ctime;
    struct origin_timestamp mtime;
    uint64_t reserved1[16];
};

struct origin_iovec {
    uint8_t *base;
    size_t length;
};

struct origin_file {
    int fd;
    bool is_fixed;
    double base;
};

int statx(int dirfd, const char *path, int flags, unsigned int mask,
          struct origin_statx *buf);
long syscall(long number, ...);
int open(const char *path, int flags, ...);
int close(int fd);
ssize_t pread(int fd, void *buf, size_t count, int64_t offset);
ssize_t preadv(int fd, const struct origin_iovec *iov, int count,
               int64_t offset);
char *getcwd(char *buf, size_t size);
]]


-- uapi/linux/fcntl.h, uapi/linux/stat.h
local AT_FDCWD = -100
local AT_EMPTY_PATH = 0x1000
local WANTED = 0x341            -- TYPE, MTIME, INO, SIZE
local EINTR = 4

-- O_RDONLY | O_CLOEXEC | O_NONBLOCK: a FIFO put in a file's place must not
-- block the worker. The same bits on x86_64, aarch64 and riscv64.
local OPEN_FLAGS = 0x80000 + 0x800

-- For C libraries without statx (glibc before 2.28): unistd.h
local SYSCALL_NUMBERS = { x64 = 332, arm64 = 291 }


local _M = {}
local stat_buffer = ffi_new("struct origin_statx")


local function statx_by_number()
    local number = SYSCALL_NUMBERS[ffi.arch] or 291

    return function(dirfd, path, flags, mask, buffer)
        return tonumber(C.syscall(number, ffi_new("int", dirfd),
                                  cast("const char *", path),
                                  ffi_new("int", flags),
                                  ffi_new("unsigned int", mask), buffer))
    end
end


_M.statx_by_number = statx_by_number
local has_symbol = pcall(function() return C.statx end)
local fallback = not has_symbol and statx_by_number()


local function statx(dirfd, path, flags)
    if fallback then
        return fallback(dirfd, path, flags, WANTED, stat_buffer)
    end

    return C.statx(dirfd, path, flags, WANTED, stat_buffer)
end


local function same(source)
    if source.growing then
        return stat_buffer.ino == source.inode
               and tonumber(stat_buffer.size) >= source.size
    end

    return stat_buffer.ino == source.inode
           and tonumber(stat_buffer.size) == source.size
           and tonumber(stat_buffer.mtime.sec) == source.sec
           and stat_buffer.mtime.nsec == source.nsec
end


-- Tells whether the file at source.path is still the one that source
-- describes: { path, inode (uint64_t), size, sec, nsec of its last
-- modification, growing: written at its end only }.
function _M.unchanged(source)
    return statx(AT_FDCWD, source.path, 0) == 0 and same(source)
end


-- Tells whether there is anything at path.
function _M.exists(path)
    return statx(AT_FDCWD, path, 0) == 0
end


local methods = {}


-- Tells whether the open file is still the one that source describes.
function methods:is(source)
    return self.is_fixed
           or statx(self.fd, "", AT_EMPTY_PATH) == 0 and same(source)
end


-- Reads up to size bytes at offset. Returns the number of bytes, 0 at the end
-- of the file, negative on failure.
function methods:read(buffer, size, offset)
    return tonumber(C.pread(self.fd, buffer, size, self.base + offset))
end


-- The same into count buffers, one behind the other.
function methods:read_vector(vector, count, offset)
    return tonumber(C.preadv(self.fd, vector, count, self.base + offset))
end


-- Reads exactly size bytes; false when the file ends before or on failure.
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


function methods:close()
    if self.fd >= 0 then
        C.close(self.fd)
        self.fd = -1
    end
end


-- The collector closes what a killed coroutine left open.
local file_t = ffi.metatype("struct origin_file", {
    __index = methods,
    __gc = methods.close,
})


-- Returns an open file, or nil when it cannot be opened.
function _M.open(path)
    local fd = C.open(path, OPEN_FLAGS)
    if fd < 0 then
        return nil
    end

    return file_t(fd, false, 0)
end


-- Returns the open file of a descriptor, which is the file's from now on. It
-- begins at byte base of what the descriptor reads, and never changes.
function _M.adopt(fd, base)
    return file_t(fd, true, base)
end


-- Relative paths are those below the working directory: nginx -p . leaves
-- $document_root relative, and the sidecar may run elsewhere.
_M.absolute = setmetatable({}, {
    __index = function(known, path)
        local whole = path

        if str_byte(path) ~= 47 then
            local buffer = ffi_new("char[4096]")
            local found = C.getcwd(buffer, 4096)
            local rest = str_gsub(path, "^%./+", "")
            whole = found ~= nil and ffi_str(found) .. "/" .. rest or path
        end

        whole = str_match(whole, "^(.-)/*$")
        known[path] = whole
        return whole
    end,
})


return _M
