"""Signatures (AWS Signature Version 4) of requests for objects in S3 and what speaks like it."""

from __future__ import annotations

from dataclasses import dataclass, field

from sidecar.clock import now_ns

# How long what is signed here is accepted. Headers are, by the protocol, for 15 minutes around the
# time that they say; the rest is for clocks that differ.
QUERY_SECONDS = 3600
HEADER_SECONDS = 600
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Keys of an account and how to use them. ``token``: of temporary ones, "" = none;
    ``in_headers``: signatures travel in headers instead of the query."""

    access_key: str
    secret_key: str = field(repr=False)
    region: str
    token: str = field(default="", repr=False)
    in_headers: bool = False


@dataclass(frozen=True, slots=True)
class Signed:
    """A request that is accepted until ``expires_ms`` (Unix milliseconds, 0 = for ever): its URL
    with the query, and headers. They hold signatures: not for logs."""

    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    expires_ms: int = 0


def signed(url: str, credentials: Credentials | None) -> Signed:
    """A GET of the canonical URL ``url``; ranges and conditions may be added to it."""
    if credentials is None:
        return Signed(url)
    # Loaded with the first signature: it takes longer than all the rest of the start.
    from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials as Keys

    keys = Keys(credentials.access_key, credentials.secret_key, credentials.token or None)
    request = AWSRequest("GET", url)
    seconds = HEADER_SECONDS if credentials.in_headers else QUERY_SECONDS
    expires_ms = (now_ns() // _NS + seconds) * 1000
    if credentials.in_headers:
        S3SigV4Auth(keys, "s3", credentials.region).add_auth(request)
        return Signed(url, tuple((str(k), str(v)) for k, v in request.headers.items()), expires_ms)
    S3SigV4QueryAuth(keys, "s3", credentials.region, QUERY_SECONDS).add_auth(request)
    return Signed(request.url, (), expires_ms)
