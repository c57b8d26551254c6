-- From a URI to a presentation and what is asked of it. Pure: no ngx.

local utf8 = require "origin.utf8"


local gmatch = string.gmatch
local is_utf8 = utf8.is_valid
local str_char = string.char
local str_find = string.find
local str_gsub = string.gsub
local str_match = string.match
local tonumber = tonumber


-- The last one in the URI counts, so that a directory may be called a.mp4.
local PATTERNS = {
    "^(.*/[^/]+%.ism)/(.*)$",
    "^(.*/[^/]+%.isml)/(.*)$",
    "^(.*/[^/]+%.mp4)/(.*)$",
}

-- What the rewritten form has for a URI.
local PRESENTATIONS = { "/[^/]+%.isml?$", "/[^/]+%.mp4$" }

-- Files that are sent whole.
local DOWNLOAD = "/[^/]+%.mp4$"

-- Server manifests of publishing points.
local POINT = "/[^/]+%.isml$"

-- Fragments of packaged HDS: nameSeg1-Frag7 lies in nameSeg1.f4f.
local PACKAGED = "^(.*/[^/]*Seg([1-9]%d*))%-Frag([1-9]%d*)$"

-- Longer ones are no URL that any manifest of ours contains.
local MAX_VIRTUAL_PATH = 2048


local _M = {}


-- Splits a decoded URI: "/vod/video.ism/dash/x.dash" gives "/vod/video.ism"
-- and "dash/x.dash"; "/vod/video.mp4" gives itself and "", the download of the
-- file. Returns nil, result name when there is nothing to ask
-- the sidecar: FMP4_BAD_REQUEST for what only an attacker sends (control
-- bytes, dot segments that outlived nginx's normalisation) or what the contract
-- with the sidecar cannot carry (other encodings than UTF-8), FMP4_FORBIDDEN
-- for a server manifest itself, FMP4_NOT_FOUND for another URI without
-- presentation or virtual path.
--
-- ism, f4f: what the location handles (usp_handle_ism, usp_handle_f4f; only the
-- first by default). "/hds/xSeg1-Frag7" is a fragment of packaged HDS where it
-- does not lie below a presentation: "/hds/xSeg1.f4f", "Seg1-Frag7", true.
function _M.split(uri, ism, f4f)
    if str_find(uri, "[%z\1-\31\127]") or not is_utf8(uri) then
        return nil, "FMP4_BAD_REQUEST"
    end

    if str_find(uri, "/../", 1, true) or str_find(uri, "/./", 1, true)
       or str_find(uri, "/%.%.?$") or str_find(uri, "\\", 1, true)
    then
        return nil, "FMP4_BAD_REQUEST"
    end

    local path, virtual_path, packaged
    for i = 1, ism == false and 0 or #PATTERNS do
        local found, rest = str_match(uri, PATTERNS[i])
        if found and (not path or #found > #path) then
            path, virtual_path = found, rest
        end
    end

    if not path and ism ~= false and str_find(uri, DOWNLOAD) then
        path, virtual_path = uri, ""

    elseif not path and f4f then
        local file, segment, fragment = str_match(uri, PACKAGED)
        if file then
            path = file .. ".f4f"
            virtual_path = "Seg" .. segment .. "-Frag" .. fragment
            packaged = true
        end

    elseif virtual_path == "" then
        path = nil
    end

    if not path and ism ~= false and str_find(uri, PRESENTATIONS[1]) then
        return nil, "FMP4_FORBIDDEN"
    end

    if not path or str_find(path, "//", 1, true) then
        return nil, "FMP4_NOT_FOUND"
    end

    if #virtual_path > MAX_VIRTUAL_PATH then
        return nil, "FMP4_BAD_REQUEST"
    end

    return path, virtual_path, packaged
end


-- The publishing point of a decoded URI: "/live/ch.isml/Streams(1)" gives
-- "/live/ch.isml" and "Streams(1)", "/live/ch.isml" itself and "". Returns nil
-- where there is none, or for what split refuses.
function _M.split_point(uri)
    local path, virtual_path = uri, ""
    if not str_find(uri, POINT) then
        path, virtual_path = _M.split(uri)
        if not path or not str_find(path, POINT) then
            return nil
        end

    -- a bare name, held to what is asked of any other
    elseif not _M.split(uri .. "/state") then
        return nil
    end

    return path, virtual_path
end


local function unescape(hex)
    return str_char(tonumber(hex, 16))
end


-- What the parameter file of a query says: nil where there is none; false
-- where it says nothing of use (empty, absolute, twice, a broken escape).
local function file_of(query)
    local found
    for value in gmatch("&" .. (query or ""), "&file=([^&]*)") do
        local bare = str_gsub(value, "%%%x%x", "")
        if found ~= nil or value == "" or str_find(bare, "%", 1, true) then
            return false
        end

        found = str_gsub(value, "%%(%x%x)", unescape)
    end

    return found and not str_find(found, "^/") and found
end


-- Turns the rewritten form of a request, "/dir/video.ism" with the query
-- "file=dash/x.dash", into "/dir/video.ism/dash/x.dash", with which it shares
-- its plan; everything else stays as it is. only: the rewritten form is the
-- only one (usp_skip_rewrite). f4f: as in split. Returns nil, result name for
-- what is refused; never a URI that split sees another presentation in.
function _M.unrewrite(uri, query, only, f4f)
    local path, virtual_path, packaged = _M.split(uri, true, f4f)
    local is_plain = path and virtual_path ~= ""
    local file = file_of(query)

    if packaged or not is_plain and file == nil then
        return uri
    end

    if is_plain or not (str_find(uri, PRESENTATIONS[1])
                        or str_find(uri, PRESENTATIONS[2]))
    then
        if only then
            return nil, "FMP4_NOT_FOUND"
        end

        return uri
    end

    if not file then
        return nil, "FMP4_BAD_REQUEST"
    end

    local joined = uri .. "/" .. file
    path, virtual_path = _M.split(joined)
    if not path then
        return nil, virtual_path
    end

    if path ~= uri then
        return nil, "FMP4_BAD_REQUEST"
    end

    return joined
end


return _M
