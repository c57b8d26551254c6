"""GET requests to other servers: bounded in time and size, to addresses that were looked at before,
and answers that are what was asked for.

Redirects are followed within one server only, and not by signed requests, which are for one URL.
"""

from __future__ import annotations

import random
import re
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import structlog
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.response import BaseHTTPResponse
from urllib3.util import SKIP_HEADER, Timeout

from sidecar.clock import monotonic_ns
from sidecar.errors import Forbidden, NotFound, Replaced, StorageError, StorageTimeout
from sidecar.storage.addresses import Addresses, connect_address
from sidecar.storage.signing import Signed
from sidecar.storage.urls import endpoint, host_header, joined, split_server

CONNECT_SECONDS = 3.0
READ_SECONDS = 4.0
# For one request with all its tries: less than nginx waits for a plan (grpc_read_timeout), which
# would take this process for one that hangs.
TOTAL_SECONDS = 7.0
TRIES = 3
_BACKOFF_SECONDS = 0.1
_REDIRECTS = 3
_POOLS = 64
# More connections than this to one server are closed after use.
_KEPT_CONNECTIONS = 64
_THREADS = 32
_PIECE = 1 << 18
_REDIRECT = frozenset({301, 302, 303, 307, 308})
_TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_TOOK_TOO_LONG = frozenset({408, 504})
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18})")

_SAYS_WHY = frozenset({400, 401, 403})
_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,64})</Code>")
_MOST_SAID = 4096

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

# What is requested for a canonical URL.
Sign = Callable[[str], Signed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """An answer. ``url``: canonical, after redirects. ``status``: 200, 206 or 304, 416 of an empty
    file. ``data``: the bytes from ``first`` on; none when they were not wanted. ``size``: of the
    whole file, None when the answer does not say. ``etag``: as sent, weak or strong, "" = none;
    ``mtime_ns``: 0 = none; ``cache_control``: of the answer.
    """

    url: str
    status: int
    first: int
    data: bytes
    size: int | None
    etag: str
    mtime_ns: int
    cache_control: str

    @property
    def strong_etag(self) -> str:
        """ "" when there is none, or a weak one."""
        return self.etag if self.etag.startswith('"') else ""


class Fetcher:
    """Requests of a process: its connections and the addresses it knows. For several threads.

    ``threads``: for requests that nobody waits for yet.
    """

    def __init__(self) -> None:
        self.addresses = Addresses()
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="ahead")
        self._lock = threading.Lock()
        self._pools: OrderedDict[tuple[str, str, int, str], urllib3.HTTPConnectionPool]
        self._pools = OrderedDict()
        self._tls: ssl.SSLContext | None = None

    def get(
        self,
        url: str,
        sign: Sign,
        *,
        span: tuple[int, int] | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int,
        tries: int = TRIES,
    ) -> Fetched:
        """The answer to a GET of the canonical URL ``url``.

        ``span``: the first byte and the one after the last that are wanted; an answer with the
        whole file is accepted when it has no more than ``limit`` bytes, its ``first`` is 0 then.
        With ``limit`` 0 only the head of an answer with the whole file is read.

        Raises ``NotFound``, ``Forbidden``, ``Replaced`` (a condition in ``headers`` does not hold),
        ``StorageTimeout`` or ``StorageError``; what may pass is tried ``tries`` times.
        """
        deadline = monotonic_ns() + int(TOTAL_SECONDS * 1e9)
        for attempt in range(1, tries + 1):
            try:
                return self._followed(url, sign, span, headers or {}, limit, deadline)
            except _MayPass as passing:
                error = passing.error
            pause = _BACKOFF_SECONDS * 3 ** (attempt - 1) * random.uniform(0.7, 1.3)
            if attempt == tries or monotonic_ns() + int(pause * 1e9) > deadline:
                break
            time.sleep(pause)
        raise error

    def _followed(
        self,
        url: str,
        sign: Sign,
        span: tuple[int, int] | None,
        headers: Mapping[str, str],
        limit: int,
        deadline: int,
    ) -> Fetched:
        at = url
        for _ in range(_REDIRECTS + 1):
            request = sign(at)
            response = self._sent(at, request, span, headers, deadline)
            try:
                if response.status in _SAYS_WHY:
                    _log_code(response, at)
                if response.status not in _REDIRECT:
                    return _read(response, at, span, limit, deadline)
                location = response.headers.get("Location", "")
            except ReadTimeoutError as error:
                raise _MayPass(StorageTimeout("the storage stopped answering", path=at)) from error
            except (HTTPError, OSError) as error:
                raise _MayPass(StorageError("the storage's answer broke off", path=at)) from error
            finally:
                # What has been read whole is kept open already.
                response.close()
            if request.expires_ms:
                raise StorageError("the storage redirects a signed request", path=at)
            at = _redirected(at, location)
        raise StorageError(f"the storage redirects more than {_REDIRECTS} times", path=url)

    def _sent(
        self,
        url: str,
        request: Signed,
        span: tuple[int, int] | None,
        headers: Mapping[str, str],
        deadline: int,
    ) -> BaseHTTPResponse:
        """The head of the answer, from the first address that can be connected to."""
        _, host, port = endpoint(url)
        sent = {
            "Host": host_header(url),
            "User-Agent": "openorigin",
            "Accept-Encoding": SKIP_HEADER,
            **headers,
            **dict(request.headers),
        }
        if span is not None:
            sent["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        target = request.url[len(split_server(url)[0]) :]
        error: StorageError | None = None
        addresses = self.addresses.of(host)
        for address in addresses:
            left = (deadline - monotonic_ns()) / 1e9
            if left <= 0:
                break
            wait = Timeout(connect=min(CONNECT_SECONDS, left), read=min(READ_SECONDS, left))
            try:
                response = self._pool(url, address).urlopen(
                    "GET",
                    target,
                    headers=sent,
                    redirect=False,
                    retries=False,
                    timeout=wait,
                    preload_content=False,
                    decode_content=False,
                )
                if address != addresses[0]:
                    self.addresses.prefer(host, address)
                return response
            except NewConnectionError as unreached:
                where = connect_address(address, port)
                error = StorageError(f"no connection to {where}", path=url)
                error.__cause__ = unreached
            except ConnectTimeoutError as unreached:
                where = connect_address(address, port)
                error = StorageTimeout(f"no connection to {where} in time", path=url)
                error.__cause__ = unreached
            except ReadTimeoutError as late:
                raise _MayPass(StorageTimeout("the storage does not answer", path=url)) from late
            except SSLError as untrusted:
                raise StorageError(
                    "the storage's certificate is not valid", path=url
                ) from untrusted
            except (HTTPError, OSError) as broken:
                raise _MayPass(StorageError("the storage closed the connection", path=url)) from (
                    broken
                )
        raise _MayPass(error or StorageTimeout("the storage does not answer", path=url))

    def _pool(self, url: str, address: str) -> urllib3.HTTPConnectionPool:
        """Connections to ``address`` for the server of ``url``, which has to prove its name."""
        scheme, host, port = endpoint(url)
        key = (scheme, host, port, address)
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                bare = f"[{address}]" if ":" in address else address
                if scheme == "https":
                    self._tls = self._tls or ssl.create_default_context()
                    pool = urllib3.HTTPSConnectionPool(
                        bare,
                        port,
                        maxsize=_KEPT_CONNECTIONS,
                        ssl_context=self._tls,
                        server_hostname=host,
                        assert_hostname=host,
                    )
                else:
                    pool = urllib3.HTTPConnectionPool(bare, port, maxsize=_KEPT_CONNECTIONS)
                self._pools[key] = pool
            self._pools.move_to_end(key)
            while len(self._pools) > _POOLS:
                self._pools.popitem(last=False)
        return pool


class _MayPass(Exception):
    """Asking again may help."""

    def __init__(self, error: StorageError) -> None:
        super().__init__(error)
        self.error = error


def _log_code(response: BaseHTTPResponse, url: str) -> None:
    """Keys, regions and clocks that are wrong: S3 says in a code what clients need not know."""
    match = _CODE.search(response.read1(_MOST_SAID))
    if match is not None:
        log.warning(
            "storage refuses", file=url, status=response.status, code=match[1].decode("ascii")
        )


def _redirected(url: str, location: str) -> str:
    """The canonical URL that the server of ``url`` leads on to. Raises ``StorageError``."""
    if not location:
        raise StorageError("the storage redirects without saying where", path=url)
    try:
        found = joined(url, location)
    except ValueError as error:
        raise StorageError(f"the storage redirects to what is no URL: {error}", path=url) from None
    if split_server(found)[0] != split_server(url)[0]:
        raise StorageError("the storage redirects to another server", path=url)
    return found


def _read(
    response: BaseHTTPResponse,
    url: str,
    span: tuple[int, int] | None,
    limit: int,
    deadline: int,
) -> Fetched:
    """The answer with its body, checked against what was asked for."""
    status = response.status
    _refuse(status, url)
    headers = response.headers
    if headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise StorageError("the storage has encoded what it answers", path=url)
    first, size = 0, None
    length = _number(headers.get("Content-Length"))
    if status in (206, 416):
        match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        if match is None or (match[1] is None) is (status == 206) or span is None:
            raise StorageError("the storage answered without saying which range", path=url)
        size = int(match[3])
    if status == 206 and match is not None and span is not None:
        first, last = int(match[1]), int(match[2])
        if first != span[0] or last + 1 != min(span[1], size or 0):
            raise StorageError("the storage answered another range than was asked for", path=url)
        length = last + 1 - first
    elif status == 416:
        if size or (span is not None and span[0]):
            raise Replaced("the content ends before where it is read", path=url)
        length = 0
    elif status == 200:
        size = length
        if length is not None and length > limit > 0:
            sentence = "the storage does not answer ranges" if span else "the content is too large"
            raise StorageError(sentence, path=url)
    else:
        length = 0
    is_wanted = limit > 0 or status != 200
    data = _body(response, url, length, limit, deadline) if is_wanted else b""
    if is_wanted and size is None and status == 200:
        size = len(data)
    return Fetched(
        url=url,
        status=status,
        first=first,
        data=data,
        size=size,
        etag=headers.get("ETag", ""),
        mtime_ns=_time(headers.get("Last-Modified")),
        cache_control=headers.get("Cache-Control", ""),
    )


def _refuse(status: int, url: str) -> None:
    """Raises what an answer that is none means."""
    if status in (200, 206, 304, 416):
        return
    if status in (404, 410):
        raise NotFound("the content does not exist", path=url)
    if status in (401, 403):
        raise Forbidden("the storage refuses access to the content", path=url)
    if status == 412:
        raise Replaced("the content has been replaced", path=url)
    kind = StorageTimeout if status in _TOOK_TOO_LONG else StorageError
    error = kind(f"the storage answered {status}", path=url)
    raise _MayPass(error) if status in _TRY_AGAIN else error


def _body(
    response: BaseHTTPResponse, url: str, length: int | None, limit: int, deadline: int
) -> bytes:
    """Exactly ``length`` bytes, or all until the end, at most ``limit`` then."""
    most = limit if length is None else length
    pieces: list[bytes] = []
    have = 0
    while piece := response.read1(_PIECE):
        pieces.append(piece)
        have += len(piece)
        if have > most:
            raise StorageError("the storage sends more than it should", path=url)
        if monotonic_ns() > deadline:
            raise _MayPass(StorageTimeout("the storage is too slow", path=url))
    if length is not None and have < length:
        raise _MayPass(StorageError(f"the storage sent {have} of {length} bytes", path=url))
    return b"".join(pieces)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"\d{1,18}", text) else None


def _time(text: str | None) -> int:
    """An HTTP date in nanoseconds since the Unix epoch, 0 when it is none."""
    if not text:
        return 0
    try:
        return max(0, int(parsedate_to_datetime(text).timestamp())) * 1_000_000_000
    except (ValueError, OverflowError):
        return 0
