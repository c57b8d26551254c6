-- Whether bytes are UTF-8, which is all that the contract with the sidecar
-- can carry. Pure: no ngx.

local str_find = string.find
local str_gsub = string.gsub


-- The byte sequences of UTF-8 beyond ASCII (RFC 3629). Replaced by a byte and
-- not by nothing, so that what stood around one cannot join to another.
local SEQUENCES = {
    "[\194-\223][\128-\191]",
    "\224[\160-\191][\128-\191]",
    "[\225-\236\238\239][\128-\191][\128-\191]",
    "\237[\128-\159][\128-\191]",
    "\240[\144-\191][\128-\191][\128-\191]",
    "[\241-\243][\128-\191][\128-\191][\128-\191]",
    "\244[\128-\143][\128-\191][\128-\191]",
}


local _M = {}


function _M.is_valid(text)
    if not str_find(text, "[\128-\255]") then
        return true
    end

    for i = 1, #SEQUENCES do
        text = str_gsub(text, SEQUENCES[i], "u")
    end

    return not str_find(text, "[\128-\255]")
end


return _M
