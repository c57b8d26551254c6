-- The directives, one row each: what the parser knows, and what
-- docs/directives.md is made of. Pure: no ngx.
--
-- contexts: where it may stand; in "http" it holds for all locations that do
-- not say otherwise. kind: how its arguments are read (directives/kinds.lua).
-- default: its value where it is not given. repeats: may be given several
-- times. sidecar: whether it travels with each request to the sidecar (and so
-- belongs to the plan cache's key). secret: it goes nowhere else. doc:
-- Markdown; example: of its use.

local HTTP = { http = true }
local LOCATION = { location = true }
local BOTH = { http = true, location = true }

return {
    {
        name = "usp_license_key",
        contexts = HTTP,
        kind = "text",
        takes = "path | key",
        max = 4096,
        lines = true,
        default = "",
        sidecar = true,
        doc = "The license key: a file, relative to nginx's prefix, or the "
              .. "text of the key itself. Without a valid key, streaming is "
              .. "answered 403. See [license.md](license.md).",
        example = "usp_license_key license/license.key;",
    },
    {
        name = "usp_handle_ism",
        contexts = LOCATION,
        kind = "flag",
        default = false,
        doc = "Answers what lies below server manifests and media files "
              .. "(`/dir/video.ism/.m3u8`, `/dir/video.mp4/.mpd`) and "
              .. "downloads of `.mp4` files. A location in which no "
              .. "`usp_handle_` directive is on answers 404.",
        example = "usp_handle_ism on;",
    },
    {
        name = "usp_handle_api",
        contexts = LOCATION,
        kind = "flag",
        default = false,
        sidecar = true,
        doc = "Manages publishing points: a location in which it is on "
              .. "creates, changes, purges, stops and deletes them, and "
              .. "streams nothing. It needs access control. See "
              .. "[live.md](live.md).",
        example = "usp_handle_api on;",
    },
    {
        name = "usp_handle_f4f",
        contexts = LOCATION,
        kind = "flag",
        default = false,
        sidecar = true,
        doc = "Answers fragments of packaged HDS: `nameSeg1-Frag7` is cut "
              .. "out of `nameSeg1.f4f` where its index `nameSeg1.f4x` says. "
              .. "See [hds.md](hds.md).",
        example = "usp_handle_f4f on;",
    },
    {
        name = "usp_iss_pass_through",
        contexts = LOCATION,
        kind = "flag",
        default = false,
        sidecar = true,
        doc = "Hands out the fragments of fragmented sources to Smooth "
              .. "Streaming clients byte for byte as they are stored. See "
              .. "[smooth.md](smooth.md).",
        example = "usp_iss_pass_through on;",
    },
    {
        name = "usp_prefer_static",
        contexts = LOCATION,
        kind = "flag",
        default = false,
        sidecar = true,
        doc = "Serves the file that a virtual path names in the folder of "
              .. "the server manifest, where there is one, instead of making "
              .. "it. See [smooth.md](smooth.md).",
        example = "usp_prefer_static on;",
    },
    {
        name = "usp_skip_rewrite",
        contexts = LOCATION,
        kind = "flag",
        default = false,
        doc = "A request for `/dir/video.ism/dash/x.dash?q` means "
              .. "`/dir/video.ism?file=dash/x.dash&q`, and both forms are "
              .. "understood. With this directive only the second one is, so "
              .. "that rewriting is nginx's own business (`rewrite ... "
              .. "break;`). `file` is percent-decoded once; one that is "
              .. "empty, given twice, or leads elsewhere (`..`) is answered "
              .. "400. Not recommended without need.",
        example = "usp_skip_rewrite on;",
    },
    {
        name = "usp_disable_mmap",
        contexts = LOCATION,
        kind = "flag",
        default = false,
        doc = "Accepted for configurations that have it: media files are "
              .. "read, and never mapped into memory, with or without it. A "
              .. "file that becomes shorter under a mapping would end the "
              .. "sidecar process and all requests in it; one that becomes "
              .. "shorter between reads costs its own request only. Mapping "
              .. "would gain nothing: of the 8.0 ms that indexing a 2-hour "
              .. "MP4 takes, reading is 0.31 ms, and touching the same pages "
              .. "in a mapping 0.29 ms; of a fragmented one 5.8 ms and "
              .. "18.6 ms.",
        example = "usp_disable_mmap on;",
    },
    {
        name = "usp_dynamic_time_shift_buffer_depth",
        contexts = LOCATION,
        kind = "flag",
        default = false,
        sidecar = true,
        doc = "Concerns live presentations: `MPD@timeShiftBufferDepth` "
              .. "follows what the window holds, up to `dvr_window_length`. "
              .. "A static MPD has no such attribute, so nothing changes for "
              .. "on-demand content. Deprecated.",
        example = "usp_dynamic_time_shift_buffer_depth on;",
    },
    {
        name = "origin_create_points",
        contexts = LOCATION,
        kind = "flag",
        default = false,
        sidecar = true,
        doc = "Lets encoders create publishing points: the first POST to "
              .. "`/dir/ch.isml/Streams(1)` makes `ch.isml` with the default "
              .. "settings, when there is none and its folder exists. See "
              .. "[live.md](live.md).",
        example = "origin_create_points on;",
    },
    {
        name = "origin_blocking_edge",
        contexts = LOCATION,
        kind = "time",
        min = 10,
        max = 2000,
        default = 0,
        sidecar = true,
        doc = "Of live presentations: for how long at most a request for the "
              .. "segment that comes next is held until it is there. Only "
              .. "one that is due within that time is waited for, and all "
              .. "who want the same one wait together; when it does not "
              .. "come, or is further away, the answer is "
              .. "`FMP4_FRAGMENT_NOT_AVAILABLE` as ever. Players that ask "
              .. "by the clock, a moment before the encoder has sent all, "
              .. "are spared another request.",
        example = "origin_blocking_edge 500ms;",
    },
    {
        name = "ism_proxy_pass",
        contexts = LOCATION,
        kind = "proxy",
        takes = "[virtual path] URL",
        default = "",
        sidecar = true,
        doc = "Where the content of the location is: server manifests, media "
              .. "that they name by relative `src`, and media files that are "
              .. "asked for by name lie below this URL rather than in the "
              .. "document root. The URL ends with `/`. "
              .. "`/dir/video.ism/.m3u8` is made of `URL` and "
              .. "`dir/video.ism`; a virtual path before the URL, which "
              .. "begins and ends with `/`, is taken off the request's "
              .. "first. See [remote.md](remote.md).",
        example = "ism_proxy_pass http://storage.example.com/vod/;",
    },
    {
        name = "s3_secret_key",
        contexts = LOCATION,
        kind = "text",
        takes = "key",
        max = 1024,
        default = "",
        sidecar = true,
        secret = true,
        doc = "The secret key with which requests to the server of "
              .. "`ism_proxy_pass` are signed (AWS Signature Version 4). It "
              .. "needs `s3_access_key` and `s3_region` beside it. See "
              .. "[remote.md](remote.md).",
        example = "s3_secret_key \"...\";",
    },
    {
        name = "s3_access_key",
        contexts = LOCATION,
        kind = "text",
        takes = "key",
        max = 1024,
        default = "",
        sidecar = true,
        secret = true,
        doc = "The access key that the secret key belongs to.",
        example = "s3_access_key AKIAIOSFODNN7EXAMPLE;",
    },
    {
        name = "s3_region",
        contexts = LOCATION,
        kind = "text",
        takes = "region",
        max = 64,
        default = "",
        sidecar = true,
        doc = "The region of the bucket, which is part of signatures; "
              .. "`us-east-1` for most servers other than Amazon's. Without "
              .. "it the original module signed by version 2, which nobody "
              .. "takes any more: keys without region stop the start.",
        example = "s3_region eu-central-1;",
    },
    {
        name = "s3_security_token",
        contexts = LOCATION,
        kind = "text",
        takes = "token",
        max = 8192,
        default = "",
        sidecar = true,
        secret = true,
        doc = "The token of temporary credentials.",
        example = "s3_security_token \"...\";",
    },
    {
        name = "s3_use_headers",
        contexts = LOCATION,
        kind = "flag",
        default = false,
        sidecar = true,
        doc = "Signs requests by the header Authorization rather than by "
              .. "their query.",
        example = "s3_use_headers on;",
    },
    {
        name = "origin_remote_valid",
        contexts = BOTH,
        kind = "number",
        min = 0,
        max = 86400,
        default = 10,
        sidecar = true,
        doc = "Seconds for which media on other servers are taken to be what "
              .. "they were; then it is asked whether they have changed. Of "
              .. "server manifests there, their Cache-Control says that.",
        example = "origin_remote_valid 60;",
    },
    {
        name = "origin_remote_stale",
        contexts = BOTH,
        kind = "number",
        min = 0,
        max = 2592000,
        default = 3600,
        sidecar = true,
        doc = "Seconds for which what is known of content on other servers "
              .. "goes on being served after that, while they do not answer.",
        example = "origin_remote_stale 86400;",
    },
    {
        name = "origin_status",
        contexts = BOTH,
        kind = "status",
        takes = "result (iss | hds | hls | mpd | progressive | *) status",
        default = {},
        repeats = true,
        doc = "The HTTP status of answers that end in a result (see "
              .. "[results.md](results.md)), for requests of one format or "
              .. "of all; the name of a format comes before `*`. May be "
              .. "given several times. Those of an inner block come before "
              .. "those of the blocks around it. Statuses are 200 to 599 but "
              .. "for 206, 304 and 416; `FMP4_OK` is not changed.",
        example = "origin_status FMP4_FRAGMENT_MISSING mpd 204;",
    },
    {
        name = "origin_allow_src",
        contexts = BOTH,
        kind = "places",
        takes = "path | URL ...",
        default = {},
        sidecar = true,
        doc = "Folders outside the document root that may hold media which "
              .. "server manifests name by `src`, and files that media files "
              .. "refer to: absolute paths. A file belongs to the folder "
              .. "that it is in once all symbolic links are followed. URLs "
              .. "that end with `/` admit media on other servers, which "
              .. "server manifests name by an absolute `src` "
              .. "([remote.md](remote.md)). At most 16 of both. What clients "
              .. "ask for by its path lies in the document root all the "
              .. "same.",
        example = "origin_allow_src /srv/media https://cdn.example.com/vod/;",
    },
    {
        name = "origin_cors",
        contexts = BOTH,
        kind = "flag",
        default = true,
        doc = "Sends the Access-Control headers that players on other hosts "
              .. "need, and answers preflights.",
        example = "origin_cors off;",
    },
    {
        name = "origin_read_ahead",
        contexts = BOTH,
        kind = "number",
        min = 0,
        max = 256,
        default = 32,
        doc = "How many further segments of a track the sidecar plans in one "
              .. "call; a quarter of them while a client waits.",
        example = "origin_read_ahead 16;",
    },
    {
        name = "origin_body_cache",
        contexts = HTTP,
        kind = "size",
        max = 4294967296,
        default = 33554432,
        doc = "Memory of each nginx worker for whole answers that are asked "
              .. "for again; `off` keeps none.",
        example = "origin_body_cache 64m;",
    },
}
