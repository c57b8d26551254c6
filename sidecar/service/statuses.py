"""The one table from results to HTTP statuses."""

from __future__ import annotations

from sidecar.errors import Result

_COMMON: dict[Result, int] = {
    Result.FMP4_OK: 200,
    Result.FMP4_BAD_REQUEST: 400,
    Result.FMP4_FORBIDDEN: 403,
    Result.FMP4_NO_LICENSE: 403,
    Result.FMP4_NOT_FOUND: 404,
    Result.FMP4_METHOD_NOT_ALLOWED: 405,
    Result.FMP4_CONFLICT: 409,
    Result.FMP4_FRAGMENT_NOT_FOUND: 404,
    Result.FMP4_FRAGMENT_MISSING: 404,
    Result.FMP4_FRAGMENT_NOT_AVAILABLE: 404,
    Result.FMP4_MISSING_TFRA: 415,
    Result.FMP4_UNSUPPORTED_MEDIA: 415,
    Result.FMP4_INVALID_MEDIA: 415,
    Result.FMP4_STORAGE_ERROR: 502,
    Result.FMP4_STORAGE_TIMEOUT: 504,
    Result.FMP4_UNAVAILABLE: 503,
    Result.FMP4_INTERNAL_ERROR: 500,
}

# Players of each format tell "gone", "not there" and "not yet" apart by different statuses.
_BY_FORMAT: dict[tuple[str, Result], int] = {
    ("dash", Result.FMP4_FRAGMENT_NOT_FOUND): 410,
    ("smooth", Result.FMP4_FRAGMENT_MISSING): 412,
    ("smooth", Result.FMP4_FRAGMENT_NOT_AVAILABLE): 412,
    ("hds", Result.FMP4_FRAGMENT_MISSING): 503,
    ("hds", Result.FMP4_FRAGMENT_NOT_AVAILABLE): 503,
}


# Formats as configurations and the gRPC contract call them.
PLAYOUTS: dict[str, str] = {
    "smooth": "iss",
    "hds": "hds",
    "hls": "hls",
    "dash": "mpd",
    "download": "progressive",
}


def playout_of(format_name: str) -> str:
    """The name of a format in configurations; empty for requests that no format claimed."""
    return PLAYOUTS[format_name] if format_name else ""


def status_of(result: Result, format_name: str = "") -> int:
    """HTTP status of a request that ended in ``result``.

    ``format_name``: ``hls``, ``dash`` ...; empty for requests that no format claimed.
    """
    return _BY_FORMAT.get((format_name, result), _COMMON[result])
