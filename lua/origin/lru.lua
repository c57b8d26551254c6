-- Least-recently-used cache bounded by bytes. Pure: no ngx.

local setmetatable = setmetatable


local _M = {}
local mt = { __index = _M }


-- max_bytes: what the costs of all entries may add up to. share: one that is
-- larger than such a part of that is not kept, since it would push out
-- everything else; 8 unless said.
function _M.new(max_bytes, share)
    local ends = {}
    ends.after, ends.before = ends, ends
    return setmetatable({
        ends = ends,
        nodes = {},
        bytes = 0,
        count = 0,
        max_bytes = max_bytes,
        share = share or 8,
    }, mt)
end


local function unlink(node)
    node.before.after = node.after
    node.after.before = node.before
end


local function link_first(ends, node)
    node.before = ends
    node.after = ends.after
    ends.after.before = node
    ends.after = node
end


-- Returns the value and marks it as used, or nil.
function _M:get(key)
    local node = self.nodes[key]
    if not node then
        return nil
    end

    if self.ends.after ~= node then
        unlink(node)
        link_first(self.ends, node)
    end

    return node.value
end


function _M:delete(key)
    local node = self.nodes[key]
    if node then
        unlink(node)
        self.nodes[key] = nil
        self.bytes = self.bytes - node.bytes
        self.count = self.count - 1
    end
end


-- Keeps value at the cost of that many bytes and drops the least recently
-- used ones. Returns whether it is kept.
function _M:set(key, value, bytes)
    self:delete(key)
    if bytes * self.share > self.max_bytes then
        return false
    end

    local node = { key = key, value = value, bytes = bytes }
    self.nodes[key] = node
    link_first(self.ends, node)
    self.bytes = self.bytes + bytes
    self.count = self.count + 1

    while self.bytes > self.max_bytes do
        self:delete(self.ends.before.key)
    end

    return true
end


return _M
