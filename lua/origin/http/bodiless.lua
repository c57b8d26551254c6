-- Statuses whose answers have neither a body nor a length (RFC 9110 15.3.5,
-- 15.4.5), also where a header filter sets them.

local getmetatable = getmetatable
local tonumber = tonumber


-- What says something of a body that is not sent, or of a part of it.
local OF_BODY = { "Content-Length", "Content-Type", "Content-Range",
                  "Accept-Ranges" }


local _M = {}


-- statuses[status] is true for them.
_M.statuses = { [204] = true, [304] = true }


-- Has ngx.status drop the headers of a body when a header filter makes an
-- answer of ours one without. nginx leaves out the body then, but not a
-- Content-Length that Lua has set; HTTP/2 clients take that for an error.
function _M.install(ngx)
    local mt = getmetatable(ngx)
    local set = mt.__newindex
    local get_phase, header = ngx.get_phase, ngx.header
    local statuses = _M.statuses

    mt.__newindex = function(table, key, value)
        if key == "status" and statuses[tonumber(value)]
           and get_phase() == "header_filter" and table.ctx.origin
        then
            for i = 1, #OF_BODY do
                header[OF_BODY[i]] = nil
            end
        end

        return set(table, key, value)
    end
end


return _M
