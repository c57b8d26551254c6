-- Cross-origin headers: players are web pages of other hosts. Pure: no ngx.

return {
    -- On every answer, in order: name, value, name, value ...
    headers = {
        "Access-Control-Allow-Origin", "*",
        "Access-Control-Allow-Methods", "GET, HEAD, OPTIONS",
        "Access-Control-Allow-Headers", "origin, range",
        "Access-Control-Expose-Headers",
        "Server, range, Content-Length, Content-Range, Date, ETag, Link",
    },

    -- How long a browser may keep the answer to a preflight; browsers cap
    -- it by themselves (Chromium at two hours).
    max_age = "86400",
}
