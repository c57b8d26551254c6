-- Field tables of proto/origin/v1/origin.proto. Pure: no ngx.
-- tests/contract/test_messages.py compares them with the .proto field by
-- field. exact = true: more than 53 bits count, so the value is cdata.

local wire = require "origin.rpc.wire"


return wire.compile({
    PlanRequest = {
        { 1, "document_root", "string" },
        { 2, "path", "string" },
        { 3, "virtual_path", "string" },
        { 4, "args", "string" },
        { 5, "directives", "Directive", repeated = true },
        { 6, "method", "string" },
        { 7, "request_id", "string" },
        { 8, "read_ahead", "uint32" },
        { 9, "recheck", "uint32" },
    },

    Directive = {
        { 1, "name", "string" },
        { 2, "args", "string", repeated = true },
    },

    PlanReply = {
        { 1, "plan", "Plan" },
        { 2, "ahead", "AheadPlan", repeated = true },
    },

    AheadPlan = {
        { 1, "virtual_path", "string" },
        { 2, "plan", "Plan" },
    },

    Plan = {
        { 1, "result", "enum" },
        { 2, "status", "uint32" },
        { 3, "content_type", "string" },
        { 4, "headers", "Header", repeated = true },
        { 5, "parts", "Part", repeated = true },
        { 6, "length", "uint64" },
        { 7, "sources", "Source", repeated = true },
        { 8, "cache_class", "enum" },
        { 9, "ttl_ms", "uint32" },
        { 10, "etag", "string" },
        { 11, "last_modified", "int64" },
        { 12, "format", "string" },
        { 13, "kind", "string" },
        { 14, "expires_ms", "int64" },
        { 15, "max_age", "uint32" },
    },

    Header = {
        { 1, "name", "string" },
        { 2, "value", "string" },
    },

    Part = {
        { 1, "inline", "bytes", oneof = "kind" },
        { 2, "file", "FileRanges", oneof = "kind" },
    },

    FileRanges = {
        { 1, "source", "uint32" },
        { 2, "offset", "fixed64", repeated = true },
        { 3, "length", "fixed64", repeated = true },
        { 4, "sources", "fixed64", repeated = true },
        { 5, "inline", "bytes" },
        { 6, "steps", "bytes" },
        { 7, "begin", "uint64" },
    },

    Source = {
        { 1, "path", "string" },
        { 2, "size", "uint64" },
        { 3, "mtime_ns", "int64", exact = true },
        { 4, "inode", "uint64", exact = true },
        { 5, "growing", "uint32" },
        { 6, "remote", "Remote" },
    },

    Remote = {
        { 1, "url", "string" },
        { 2, "host", "string" },
        { 3, "address", "string" },
        { 4, "headers", "Header", repeated = true },
        { 5, "etag", "string" },
        { 6, "expires_ms", "int64" },
    },

    MetricsRequest = {},

    MetricsReply = {
        { 1, "families", "MetricFamily", repeated = true },
    },

    MetricFamily = {
        { 1, "name", "string" },
        { 2, "head", "string" },
        { 3, "samples", "string" },
    },

    ReadyRequest = {
        { 1, "directives", "Directive", repeated = true },
    },

    ReadyReply = {
        { 1, "result", "enum" },
        { 2, "sentence", "string" },
    },
})
