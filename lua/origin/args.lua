-- The part of a query string that is playout options. Pure: no ngx.
--
-- Everything else (session ids, cache busters) must not reach the plan
-- cache's key: it would make every request a miss.

local concat = table.concat
local sort = table.sort
local str_byte = string.byte
local str_char = string.char
local str_find = string.find
local str_format = string.format
local str_gmatch = string.gmatch
local str_gsub = string.gsub
local str_match = string.match
local tonumber = tonumber


local _M = {}


-- The options that may stand in a query: sidecar.media.options.QUERY_OPTIONS
-- (compared by tests/contract).
_M.options = {
    dvr_window_length = true,
    ["end"] = true,
    filter = true,
    fixed_gop = true,
    hds_minimum_fragment_length = true,
    hls_client_manifest_version = true,
    hls_fmp4 = true,
    hls_minimum_fragment_length = true,
    hls_no_audio_only = true,
    hls_no_multiplex = true,
    iss_client_manifest_version = true,
    iss_minimum_fragment_length = true,
    max_bitrate = true,
    min_bitrate = true,
    mpd_min_buffer_time = true,
    mpd_minimum_fragment_length = true,
    mpd_minimum_update_period = true,
    mpd_segment_template = true,
    mpd_sidecar_ttml = true,
    mpd_sidecar_webvtt = true,
    mpd_suggested_presentation_delay = true,
    start = true,
    t = true,
    time_shift = true,
    variant_set = true,
    vbegin = true,
    vend = true,
}

-- Options are few: more are dropped as if unknown, so that no client can fill
-- the cache's keys. Filter expressions are the longest; the sidecar refuses
-- those of more than 2048 characters, all of which may be percent-encoded.
local MAX_PARAMETERS = 32
local MAX_VALUE = 6400


local function unescape(hex)
    return str_char(tonumber(hex, 16))
end


local function escape(byte)
    return str_format("%%%02X", str_byte(byte))
end


local function by_name(a, b)
    if a.name == b.name then
        return a.place < b.place
    end

    return a.name < b.name
end


-- Returns query reduced to options and sorted by name ("" when none); names
-- decoded, values as they came, but ASCII only: the contract with the sidecar
-- cannot carry other bytes. Repeated names keep their order.
function _M.reduce(query)
    if not query or query == "" then
        return ""
    end

    local found = {}
    for parameter in str_gmatch(query, "[^&]+") do
        local name, rest = str_match(parameter, "^([^=]*)(.*)$")
        if str_find(name, "[%%.-]") then
            -- hls.fmp4 and hls-fmp4 are hls_fmp4
            name = str_gsub(str_gsub(name, "%%(%x%x)", unescape),
                            "[.-]", "_")
        end

        if _M.options[name] and #rest <= MAX_VALUE then
            found[#found + 1] = {
                name = name,
                place = #found,
                text = name .. str_gsub(rest, "[\128-\255]", escape),
            }
            if #found == MAX_PARAMETERS then
                break
            end
        end
    end

    sort(found, by_name)
    for i = 1, #found do
        found[i] = found[i].text
    end

    return concat(found, "&")
end


return _M
