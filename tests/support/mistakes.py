"""Mistakes in the configuration's Lua blocks, and what the start says about each."""

from __future__ import annotations

from dataclasses import dataclass

FLAG = 'takes "on" or "off"'
AHEAD = 'directive "origin_read_ahead" takes one number from 0 to 256'
REGION = "needs s3_region beside it (requests are signed by version 4)"
STATUSES = "takes a status from 200 to 599, other than 206, 304 and 416"
PROXY = (
    'takes one URL such as http://storage.example.com/vod/ that ends with "/", after the virtual '
    "path (such as /vod/) that it stands for, if any"
)
PLACES = (
    'takes 1 to 16 absolute paths of folders such as /srv/media, without "." and "..", or URLs '
    'such as https://cdn.example.com/vod/ that end with "/"'
)
LOCATION = (
    "origin.location takes a string of directives, and before it, if any, the object of another "
    "origin.location"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """``lua``: what follows ``origin = require "origin"``. ``says``: the whole message.

    ``line``: of ``lua``, that the message names; None = its last one. ``dictionary``: the
    lua_shared_dict that the configuration lacks, if any.
    """

    name: str
    lua: str
    says: str
    line: int | None = None
    dictionary: str = ""


def _in_location(name: str, directives: str, says: str, line: int = 1) -> Mistake:
    return Mistake(
        name=name,
        lua=f"vod = origin.location [[ {directives} ]]",
        says=f"{says} in origin.location block, line {line}",
    )


def _in_http(name: str, directives: str, says: str) -> Mistake:
    return Mistake(
        name=name,
        lua=f"origin.http [[ {directives} ]]",
        says=f"{says} in origin.http block, line 1",
    )


MISTAKES = (
    # names
    _in_location("unknown", "gzip on;", 'directive "gzip" is unknown'),
    Mistake(
        name="slip of the pen",
        lua="vod = origin.location [[ usp_handle_ism on;\n usp_prefer_statik on; ]]",
        says='directive "usp_prefer_statik" is unknown in origin.location block, line 2 '
        '(did you mean "usp_prefer_static"?)',
    ),
    Mistake(
        name="capital letters",
        lua="vod = origin.location [[ USP_Handle_ISM on; ]]",
        says='directive "USP_Handle_ISM" is unknown in origin.location block, line 1 '
        '(did you mean "usp_handle_ism"?)',
    ),
    _in_location("what may be a secret", "wJalrXUtnFEMI/K7MDENG on;", "a directive is unknown"),
    # where
    _in_http(
        "location's in http", "usp_handle_ism on;", 'directive "usp_handle_ism" is not allowed'
    ),
    _in_location(
        "http's in a location",
        "usp_license_key license.key;",
        'directive "usp_license_key" is not allowed',
    ),
    Mistake(
        name="twice",
        lua="vod = origin.location [[\nusp_handle_ism on;\n\nusp_handle_ism on;\n]]",
        says='directive "usp_handle_ism" is duplicate in origin.location block, line 3 '
        "(first on line 1)",
    ),
    # grammar
    _in_location(
        "no semicolon",
        "usp_handle_ism on",
        'directive "usp_handle_ism" does not end with ";"',
    ),
    _in_location(
        "no semicolon before the next",
        "usp_handle_ism on\n usp_prefer_static on;",
        f'directive "usp_handle_ism" {FLAG}',
    ),
    _in_location("a semicolon too many", "usp_handle_ism on;\n ;", 'unexpected ";"', line=2),
    _in_location("a brace", "usp_handle_ism {", 'unexpected "{"'),
    _in_location("a quote left open", 'usp_handle_ism "on;', "a quote is not closed"),
    _in_location(
        "words stuck together", 'usp_handle_ism "on"usp;', 'unexpected "u" behind a quote'
    ),
    Mistake(
        name="a control byte",
        lua='vod = origin.location "usp_handle_ism on;\\n\\1usp_prefer_static on;"',
        says="a control byte (0x01) in origin.location block, line 2",
    ),
    Mistake(
        name="NUL",
        lua='vod = origin.location "usp_handle_ism on\\0;"',
        says="a control byte (0x00) in origin.location block, line 1",
    ),
    Mistake(
        name="not UTF-8",
        lua='vod = origin.location "usp_handle_ism on;\\norigin_allow_src /\\255;"',
        says="a byte that is not UTF-8 in origin.location block, line 2",
    ),
    # arguments
    _in_location(
        "a flag with another word", "usp_handle_ism yes;", f'directive "usp_handle_ism" {FLAG}'
    ),
    _in_location(
        "a flag with two words", "usp_skip_rewrite on off;", f'directive "usp_skip_rewrite" {FLAG}'
    ),
    _in_location("a number out of range", "origin_read_ahead 257;", AHEAD),
    _in_location("a negative number", "origin_read_ahead -1;", AHEAD),
    _in_location("no number", "origin_read_ahead;", AHEAD),
    *(
        _in_http(
            name,
            f"origin_body_cache {text};",
            'directive "origin_body_cache" takes one size such as 64m, at most 4294967296 bytes, '
            'or "off"',
        )
        for name, text in (("a size with another unit", "64x"), ("a size that is too large", "5g"))
    ),
    _in_http(
        "an empty key",
        "usp_license_key '';",
        'directive "usp_license_key" takes one path or key of at most 4096 bytes',
    ),
    _in_location(
        "a relative folder", "origin_allow_src ../media;", f'directive "origin_allow_src" {PLACES}'
    ),
    _in_location(
        "a folder by way of its parent",
        "origin_allow_src /srv/media /srv/../etc;",
        f'directive "origin_allow_src" {PLACES}',
    ),
    _in_location("the whole disk", "origin_allow_src /;", f'directive "origin_allow_src" {PLACES}'),
    _in_location(
        "a URL with a user",
        "origin_allow_src https://user:hush@cdn.example.com/vod/;",
        f'directive "origin_allow_src" {PLACES}',
    ),
    _in_location("no folder", "origin_allow_src;", f'directive "origin_allow_src" {PLACES}'),
    _in_location(
        "a URL without slash",
        "ism_proxy_pass http://storage.example.com/vod;",
        f'directive "ism_proxy_pass" {PROXY}',
    ),
    _in_location(
        "a URL of another kind",
        "ism_proxy_pass ftp://storage.example.com/vod/;",
        f'directive "ism_proxy_pass" {PROXY}',
    ),
    _in_location(
        "a key in two words",
        "s3_secret_key wJalrXUtn FEMI;",
        'directive "s3_secret_key" takes one key of at most 1024 bytes',
    ),
    # origin_status
    Mistake(
        name="a result that there is not",
        lua="vod = origin.location [[ origin_status FMP4_FRAGMENT_MISING mpd 204; ]]",
        says='directive "origin_status" names a result that there is not: "FMP4_FRAGMENT_MISING" '
        '(did you mean "FMP4_FRAGMENT_MISSING"?) in origin.location block, line 1',
    ),
    _in_location(
        "a format that there is not",
        "origin_status FMP4_FRAGMENT_MISSING dash 204;",
        'directive "origin_status" names a format that there is not: "dash", only iss, hds, hls, '
        "mpd, progressive and * are",
    ),
    *(
        _in_location(
            f"a status of {status}",
            f"origin_status FMP4_FRAGMENT_MISSING * {status};",
            f'directive "origin_status" {STATUSES}',
        )
        for status in ("99", "600", "304", "20x")
    ),
    _in_location(
        "success as something else",
        "origin_status FMP4_OK * 500;",
        'directive "origin_status" cannot change the status of FMP4_OK',
    ),
    _in_location(
        "no format",
        "origin_status FMP4_FRAGMENT_MISSING 204;",
        'directive "origin_status" takes a result, a format and a status, such as '
        "FMP4_FRAGMENT_MISSING mpd 204",
    ),
    _in_location(
        "a status given twice",
        "origin_status FMP4_NOT_FOUND hls 410;\n origin_status FMP4_NOT_FOUND hls 404;",
        'directive "origin_status" is duplicate for FMP4_NOT_FOUND hls',
        line=2,
    ),
    # what excludes each other
    Mistake(
        name="streaming and management",
        lua="vod = origin.location [[ usp_handle_ism on; usp_handle_api on; ]]",
        says="usp_handle_api and what streams need locations of their own",
    ),
    # what belongs together
    Mistake(
        name="keys without a region",
        lua="vod = origin.location [[ usp_handle_ism on; ism_proxy_pass http://s3.example.com/b/;\n"
        "s3_access_key AKIAIOSFODNN7EXAMPLE;\n s3_secret_key 'wJalrXUtnFEMI/K7MDENG'; ]]",
        says=f"s3_secret_key {REGION}",
    ),
    Mistake(
        name="a token without keys",
        lua="vod = origin.location [[ s3_region eu-central-1; s3_security_token FwoGZXI; ]]",
        says="s3_security_token needs s3_access_key beside it (requests are signed by version 4)",
    ),
    # calls
    Mistake(
        name="a slip of the pen in a call",
        lua="vod = origin.locaton [[\nusp_handle_ism on;\n]]",
        says='origin has no "locaton" (did you mean "location"?)',
        line=1,
    ),
    Mistake(
        name="a call that there is not",
        lua="vod = origin.server [[ usp_handle_ism on; ]]",
        says='origin has no "server"',
    ),
    Mistake(
        name="no string for http",
        lua="origin.http(64)",
        says="origin.http takes one string of directives",
    ),
    Mistake(name="nothing for a location", lua="vod = origin.location()", says=LOCATION),
    Mistake(name="nil for a location", lua="vod = origin.location(nil)", says=LOCATION),
    Mistake(
        name="a parent that is not there",
        lua="vod = origin.location(absent, [[ usp_handle_ism on; ]])",
        says=LOCATION,
    ),
    Mistake(
        name="a parent that is no object",
        lua="vod = origin.location({},\n[[ usp_handle_ism on; ]])",
        says=LOCATION,
        line=1,
    ),
    Mistake(
        name="two strings",
        lua="vod = origin.location('usp_handle_ism on;', 'origin_cors off;')",
        says=LOCATION,
    ),
    Mistake(
        name="a parent alone",
        lua="base = origin.location [[ usp_handle_ism on; ]]\nvod = origin.location(base)",
        says=LOCATION,
    ),
    Mistake(
        name="http twice",
        lua="origin.http [[ ]]\norigin.http [[ ]]",
        says="origin.http must come once, before the first origin.location",
    ),
    Mistake(
        name="http after a location",
        lua="vod = origin.location [[ usp_handle_ism on; ]]\norigin.http [[ ]]",
        says="origin.http must come once, before the first origin.location",
    ),
    Mistake(
        name="a field of an object",
        lua="vod = origin.location [[ usp_handle_ism on; ]]\nvod.content = nil",
        says="the object of origin.location can not be changed",
    ),
    *(
        Mistake(
            name=f"no dictionary {name}",
            lua="vod = origin.location [[ usp_handle_ism on; ]]",
            says=f"the http block lacks lua_shared_dict {name}",
            dictionary=name,
        )
        for name in ("origin_plans", "origin_locks", "origin_metrics")
    ),
)
