-- The directives, one row each. Pure: no ngx.
--
-- contexts: where it may stand; in "http" it is the default of all
-- locations. kind: how its arguments are read (origin.directives). sidecar:
-- whether it travels with each request to the sidecar (and so belongs to the
-- plan cache's key).

return {
    {
        name = "usp_license_key",
        contexts = { http = true },
        kind = "text",
        takes = "path | key",
        max = 4096,
        default = "",
        sidecar = true,
        doc = "The license key: a file, relative to nginx's prefix, or the "
              .. "text of the key itself.",
    },
    {
        name = "usp_handle_ism",
        contexts = { location = true },
        kind = "flag",
        default = false,
        doc = "Answer the virtual paths of .ism, .isml and .mp4 files.",
    },
    {
        name = "usp_handle_f4f",
        contexts = { location = true },
        kind = "flag",
        default = false,
        sidecar = true,
        doc = "Answer fragments of packaged HDS, nameSeg1-Frag7 from "
              .. "nameSeg1.f4f through its index nameSeg1.f4x.",
    },
    {
        name = "usp_iss_pass_through",
        contexts = { http = true, location = true },
        kind = "flag",
        default = false,
        sidecar = true,
        doc = "Hand out the fragments of fragmented sources to Smooth "
              .. "Streaming clients byte for byte as they are stored.",
    },
    {
        name = "usp_prefer_static",
        contexts = { http = true, location = true },
        kind = "flag",
        default = false,
        sidecar = true,
        doc = "Serve the file that a virtual path names in the folder of the "
              .. "server manifest, where there is one, instead of making it.",
    },
    {
        name = "origin_cors",
        contexts = { http = true, location = true },
        kind = "flag",
        default = true,
        doc = "Send the Access-Control headers that players on other hosts "
              .. "need, and answer preflights.",
    },
    {
        name = "origin_read_ahead",
        contexts = { http = true, location = true },
        kind = "number",
        min = 0,
        max = 256,
        default = 32,
        doc = "How many further segments of a track the sidecar plans in one "
              .. "call; a quarter of them while a client waits.",
    },
    {
        name = "origin_body_cache",
        contexts = { http = true },
        kind = "size",
        max = 4294967296,
        default = 33554432,
        doc = "Memory of each nginx worker for whole answers that are asked "
              .. "for again; off keeps none.",
    },
}
