-- HTTP dates (RFC 9110 5.6.7) to and from Unix seconds. Pure: no ngx.

local floor = math.floor
local str_format = string.format
local str_match = string.match
local tonumber = tonumber


local MONTHS = {
    "Jan", "Feb", "Mar", "Apr", "May", "Jun",
    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
}
local WEEKDAYS = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" }
local MONTH_NUMBERS = {}
local DAYS = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

for number, name in ipairs(MONTHS) do
    MONTH_NUMBERS[name] = number
end


local _M = {}


-- Days since 1970-01-01 of a date of the Gregorian calendar; years are
-- counted from March, so that the leap day is the last of its year.
local function days_of(year, month, day)
    if month <= 2 then
        year = year - 1
        month = month + 12
    end

    local era = floor(year / 400)
    local year_of_era = year - era * 400
    local day_of_year = floor((153 * (month - 3) + 2) / 5) + day - 1
    return era * 146097 + year_of_era * 365 + floor(year_of_era / 4)
           - floor(year_of_era / 100) + day_of_year - 719468
end


-- Returns "Sun, 06 Nov 1994 08:49:37 GMT".
function _M.format(seconds)
    local days = floor(seconds / 86400)
    local rest = seconds - days * 86400
    local shifted = days + 719468
    local era = floor(shifted / 146097)
    local day_of_era = shifted - era * 146097
    local year_of_era = floor((day_of_era - floor(day_of_era / 1460)
                               + floor(day_of_era / 36524)
                               - floor(day_of_era / 146096)) / 365)
    local day_of_year = day_of_era - (365 * year_of_era
                                      + floor(year_of_era / 4)
                                      - floor(year_of_era / 100))
    local march_month = floor((5 * day_of_year + 2) / 153)
    local day = day_of_year - floor((153 * march_month + 2) / 5) + 1
    local month = march_month < 10 and march_month + 3 or march_month - 9
    local year = year_of_era + era * 400 + (month <= 2 and 1 or 0)

    return str_format("%s, %02d %s %04d %02d:%02d:%02d GMT",
                      WEEKDAYS[days % 7 + 1], day, MONTHS[month], year,
                      floor(rest / 3600), floor(rest / 60) % 60, rest % 60)
end


local function seconds_of(year, month_name, day, hour, minute, second)
    local month = MONTH_NUMBERS[month_name]
    year, day = tonumber(year), tonumber(day)
    hour, minute, second = tonumber(hour), tonumber(minute), tonumber(second)

    if not month or day < 1 or day > DAYS[month] or hour > 23 or minute > 59
       or second > 60
    then
        return nil
    end

    return days_of(year, month, day) * 86400
           + hour * 3600 + minute * 60 + second
end


-- Returns Unix seconds, or nil when text is none of the three forms. Two
-- digits of a year (RFC 850) below 70 are taken for this century.
function _M.parse(text)
    local day, month, year, hour, minute, second = str_match(text,
        "^%a%a%a, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$")
    if day then
        return seconds_of(year, month, day, hour, minute, second)
    end

    day, month, year, hour, minute, second = str_match(text,
        "^%a+, (%d%d)%-(%a%a%a)%-(%d%d) (%d%d):(%d%d):(%d%d) GMT$")
    if day then
        year = tonumber(year)
        year = year + (year < 70 and 2000 or 1900)
        return seconds_of(year, month, day, hour, minute, second)
    end

    month, day, hour, minute, second, year = str_match(text,
        "^%a%a%a (%a%a%a) ([ %d]%d) (%d%d):(%d%d):(%d%d) (%d%d%d%d)$")
    if day then
        return seconds_of(year, month, day, hour, minute, second)
    end

    return nil
end


return _M
