-- The fetch server's side: which connection to another server a request takes.

local balancer = require "ngx.balancer"


local ngx = ngx
local set_current_peer = balancer.set_current_peer
local str_match = string.match
local tonumber = tonumber
local var = ngx.var
local ERR = ngx.ERR


-- The upstream of openresty.conf that keeps connections. It tells them apart by
-- their addresses only: one that was made to one server, whose certificate was
-- looked at, must not be used for another one behind the same address. So each
-- address belongs to whom it was first used for, and others go without.
local KEPT = "origin_storage"

local MAX_OWNERS = 4096
local owners, count = {}, 0

local _M = {}


-- For set_by_lua: the upstream of the current request, or the address itself.
function _M.name()
    local address = var.http_x_origin_address
    local scheme = var.http_x_origin_scheme
    local name = scheme == "https" and var.http_x_origin_name or ""
    local owner = owners[address]

    if not owner and count < MAX_OWNERS then
        owner = name
        owners[address] = name
        count = count + 1
    end

    return owner == name and KEPT or address
end


-- For balancer_by_lua of that upstream.
function _M.connect()
    local host, port = str_match(var.http_x_origin_address, "^(.*):(%d+)$")
    local ok, err = set_current_peer(host, tonumber(port))
    if not ok then
        ngx.log(ERR, "origin: ", err)
        return ngx.exit(ngx.ERROR)
    end
end


return _M
