"""The directives of the original module, as configurations of it have them."""

from __future__ import annotations

import difflib
import re

# Carried over by name; those of an outer block hold in its locations.
FLAGS = (
    "usp_handle_ism",
    "usp_handle_f4f",
    "usp_handle_api",
    "usp_iss_pass_through",
    "usp_prefer_static",
    "usp_skip_rewrite",
    "usp_disable_mmap",
    "usp_dynamic_time_shift_buffer_depth",
    "s3_use_headers",
)

# The same, with arguments.
VALUES = (
    "ism_proxy_pass",
    "s3_access_key",
    "s3_secret_key",
    "s3_region",
    "s3_security_token",
)
# Where one of the first three is, all of them are.
SIGNING = ("s3_access_key", "s3_secret_key", "s3_region", "s3_security_token", "s3_use_headers")

# Those of its ancestors, 1.x, and what they are now.
ANCESTORS = {"ism": "usp_handle_ism", "mp4": "usp_handle_ism"}

# They make a location answer; the other flags say how.
HANDLERS = ("usp_handle_ism", "usp_handle_f4f", "usp_handle_api")
# This one streams nothing, and the others do not manage.
API = "usp_handle_api"

LICENSE = "usp_license_key"

# Names that only the original module, or a relative of it, would use.
_ITS_OWN = re.compile(r"(usp|ism|s3|fmp4|smooth_streaming|h264_streaming)_\w+")

_PROXY = re.compile(r"(/(\S*/)? )?https?://[^/@?\s]+/([^?\s]*/)?")

_MODULE = re.compile(r"(smooth_streaming|h264_streaming|usp|fmp4)[^/]*\.so$")
# What modules.d/ of the new configuration loads.
_LUA_MODULE = re.compile(r"(ndk_http|ngx_http_lua)_module\.so$")


def is_known(name: str) -> bool:
    """Whether ``name`` is a directive of the original module."""
    return name in (*FLAGS, *VALUES, LICENSE) or name in ANCESTORS


def is_its_own(name: str) -> bool:
    """Whether ``name`` is one, or looks like one that is not known here."""
    return is_known(name) or _ITS_OWN.fullmatch(name) is not None


def nearest(name: str) -> str | None:
    """The known name that an unknown one may be a slip of."""
    known = (*FLAGS, *VALUES, LICENSE)
    return next(iter(difflib.get_close_matches(name, known, 1, 0.8)), None)


def value(name: str, args: tuple[str, ...]) -> str | None:
    """The arguments of the directive ``name`` as they stand in a block of ours; ``None`` where they
    cannot."""
    if any(not arg or re.search(r"[\s;{}\"'\\$#]|\]\]", arg) for arg in args):
        return None
    if name == "ism_proxy_pass":
        return " ".join(args) if _PROXY.fullmatch(" ".join(args)) else None
    return args[0] if len(args) == 1 else None


def is_replaced(path: str) -> bool:
    """Whether ``load_module path`` loads the original module, or Lua, which modules.d/ does."""
    return _MODULE.search(path) is not None or _LUA_MODULE.search(path) is not None
