-- From a URI to a presentation and what is asked of it. Pure: no ngx.

local str_find = string.find
local str_match = string.match


-- The last one in the URI counts, so that a directory may be called a.mp4.
local PATTERNS = {
    "^(.*/[^/]+%.ism)/(.*)$",
    "^(.*/[^/]+%.isml)/(.*)$",
    "^(.*/[^/]+%.mp4)/(.*)$",
}

-- Longer ones are no URL that any manifest of ours contains.
local MAX_VIRTUAL_PATH = 2048


local _M = {}


-- Splits a decoded URI: "/vod/video.ism/dash/x.dash" gives "/vod/video.ism"
-- and "dash/x.dash". Returns nil, result name when there is nothing to ask
-- the sidecar: FMP4_BAD_REQUEST for what only an attacker sends (control
-- bytes, dot segments that outlived nginx's normalisation), FMP4_NOT_FOUND
-- for a URI without presentation or virtual path.
function _M.split(uri)
    if str_find(uri, "[%z\1-\31\127]") then
        return nil, "FMP4_BAD_REQUEST"
    end

    if str_find(uri, "/../", 1, true) or str_find(uri, "/./", 1, true)
       or str_find(uri, "/%.%.?$") or str_find(uri, "\\", 1, true)
    then
        return nil, "FMP4_BAD_REQUEST"
    end

    local path, virtual_path
    for i = 1, #PATTERNS do
        local found, rest = str_match(uri, PATTERNS[i])
        if found and (not path or #found > #path) then
            path, virtual_path = found, rest
        end
    end

    if not path or virtual_path == "" or str_find(path, "//", 1, true) then
        return nil, "FMP4_NOT_FOUND"
    end

    if #virtual_path > MAX_VIRTUAL_PATH then
        return nil, "FMP4_BAD_REQUEST"
    end

    return path, virtual_path
end


return _M
