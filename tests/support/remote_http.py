"""An HTTP/1.1 server of a folder, as storage on the web is: ranges, entity tags, conditions, a log
of what was asked of it, and every way in which it can fail.

    with serve(folder) as storage:
        storage.url("/film.mp4")
        with storage.fault("/film.mp4", Fault(status=503)):
            ...
        storage.asked("/film.mp4")
"""

from __future__ import annotations

import email.utils
import fnmatch
import math
import os
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.remote_tls import Authority

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_CHUNK = 1 << 18


@dataclass(slots=True, kw_only=True)
class Asked:
    """One request. ``target``: as it was sent; ``headers``: names in lower case.

    ``status``: of the answer, 0 before it and where there is none. ``range``: first byte and the
    one after the last, of the object, that the answer announced; ``sent``: bytes of the body that
    went out. ``begun``, ``ended``: when it came and when all was sent, seconds of one clock.
    """

    method: str
    target: str
    headers: dict[str, str]
    status: int = 0
    range: tuple[int, int] | None = None
    sent: int = 0
    begun: float = 0.0
    ended: float = math.inf

    @property
    def path(self) -> str:
        """Of the target, decoded."""
        return urllib.parse.unquote(self.target.partition("?")[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with the answers to some paths.

    ``latency``: seconds before an answer. ``status``: instead of the object. ``location``: of a
    redirect (302, unless ``status`` says otherwise). ``hangs``: there is no answer while the fault
    lasts. ``cut_after``: body bytes after which the connection is closed. ``shifted``: the range
    sent begins so many bytes after the one that was asked for. ``is_whole``: 200 with all of it
    where a range was asked for. ``no_etag``, ``weak_etag``: what validators there are. ``headers``:
    further ones of the answer. ``body``: of a script that is called for each answer.
    ``before``: called before each answer.
    ``from_byte``: only requests for ranges that begin there or later; ``times``: only so many.
    """

    latency: float = 0.0
    status: int = 0
    location: str = ""
    hangs: bool = False
    cut_after: int | None = None
    shifted: int = 0
    is_whole: bool = False
    no_etag: bool = False
    weak_etag: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    body: Callable[[Asked], bytes] | None = None
    before: Callable[[Asked], None] | None = None
    from_byte: int = 0
    times: int | None = None


NONE = Fault()


@dataclass(slots=True, kw_only=True)
class _Entry:
    pattern: str
    fault: Fault
    left: int | None
    is_over: threading.Event = field(default_factory=threading.Event)


class Storage:
    """The running server. ``base``: its URL, without a slash at the end. ``authority``: that it has
    its certificate from, when it is started."""

    def __init__(self, folder: Path, authority: Authority | None, host: str) -> None:
        self.folder = folder
        self._host = host
        self.authority = authority
        self._lock = threading.Lock()
        self._log: list[Asked] = []
        self._entries: list[_Entry] = []
        self._server: _Server | None = None
        self.port = 0
        self.up()

    @property
    def base(self) -> str:
        scheme = "https" if self.authority else "http"
        return f"{scheme}://{self._host}:{self.port}"

    def url(self, path: str) -> str:
        return self.base + urllib.parse.quote(path)

    def up(self) -> None:
        """Listens, on the port of before."""
        self._server = _Server(("127.0.0.1", self.port), self, self.authority)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """Closes all connections; new ones are refused."""
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        self._server.close_connections()
        self._server = None

    def close(self) -> None:
        for entry in self._entries:
            entry.is_over.set()
        if self._server is not None:
            self.down()

    @contextmanager
    def fault(self, pattern: str, fault: Fault) -> Iterator[None]:
        """Has ``fault`` with all paths that match ``pattern`` (``/films/*.mp4``) for a while.

        The one that was added last counts.
        """
        entry = _Entry(pattern=pattern, fault=fault, left=fault.times)
        with self._lock:
            self._entries.insert(0, entry)
        try:
            yield
        finally:
            with self._lock:
                self._entries.remove(entry)
            entry.is_over.set()

    def asked(self, pattern: str = "*") -> list[Asked]:
        """The requests for paths that match ``pattern`` so far, in their order."""
        with self._lock:
            return [one for one in self._log if fnmatch.fnmatchcase(one.path, pattern)]

    def forget(self) -> None:
        """Empties the log."""
        with self._lock:
            self._log.clear()

    def take(self, asked: Asked, first: int) -> tuple[Fault, threading.Event]:
        """Logs a request; the fault that it meets, and what is set when that is over."""
        with self._lock:
            self._log.append(asked)
            for entry in self._entries:
                if entry.left == 0 or first < entry.fault.from_byte:
                    continue
                if fnmatch.fnmatchcase(asked.path, entry.pattern):
                    if entry.left is not None:
                        entry.left -= 1
                    return entry.fault, entry.is_over
        return NONE, threading.Event()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(
        self, address: tuple[str, int], storage: Storage, authority: Authority | None
    ) -> None:
        self.storage = storage
        self._tls = authority.server_context() if authority else None
        self._connections: set[Any] = set()
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[Any, Any]:
        request, address = super().get_request()
        if self._tls is not None:
            # The first read, in the connection's own thread, is what shakes hands.
            request = self._tls.wrap_socket(
                request, server_side=True, do_handshake_on_connect=False
            )
        self._connections.add(request)
        return request, address

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in list(self._connections):
            # The thread that serves it sees the end of its input; the socket is its own to close.
            try:
                connection.shutdown(2)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go are nothing to speak of."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        asked = Asked(
            method=self.command,
            target=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            begun=time.monotonic(),
        )
        try:
            self._logged(asked)
        finally:
            asked.ended = time.monotonic()

    def _logged(self, asked: Asked) -> None:
        fault, is_over = self.server.storage.take(asked, _first(asked))
        if fault.before is not None:
            fault.before(asked)
        if fault.latency:
            time.sleep(fault.latency)
        if fault.hangs:
            is_over.wait(600)
            self.close_connection = True
            return
        if fault.location:
            self._refuse(asked, fault.status or 302, (("Location", fault.location),))
        elif fault.status:
            self._refuse(asked, fault.status, fault.headers)
        elif fault.body is not None:
            self._written(asked, 200, fault.body(asked), fault.headers)
        else:
            self._object(asked, fault)

    def _refuse(self, asked: Asked, status: int, headers: tuple[tuple[str, str], ...]) -> None:
        self._written(asked, status, f"{status}, says the storage\n".encode(), headers)

    def _written(
        self, asked: Asked, status: int, body: bytes, headers: tuple[tuple[str, str], ...]
    ) -> None:
        self._head(asked, status, {"Content-Length": str(len(body))}, headers)
        if self.command != "HEAD":
            self.wfile.write(body)
            asked.sent = len(body)

    def _head(
        self,
        asked: Asked,
        status: int,
        headers: dict[str, str],
        further: tuple[tuple[str, str], ...] = (),
    ) -> None:
        asked.status = status
        self.send_response(status)
        for name, value in (*headers.items(), *further):
            self.send_header(name, value)
        self.end_headers()

    def _object(self, asked: Asked, fault: Fault) -> None:
        path = self._file(asked.path)
        if path is None:
            self._refuse(asked, 404, ())
            return
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            modified = email.utils.formatdate(int(found.st_mtime), usegmt=True)
            etag = entity_tag(found)
            validators = {"Last-Modified": modified, "Accept-Ranges": "bytes"}
            if not fault.no_etag:
                validators["ETag"] = f"W/{etag}" if fault.weak_etag else etag
            strong = etag if not (fault.no_etag or fault.weak_etag) else None
            if refusal := self._condition(strong, modified):
                length = {} if refusal == 304 else {"Content-Length": "0"}
                self._head(asked, refusal, {**validators, **length}, fault.headers)
                return
            size = found.st_size
            part = None if fault.is_whole else self._range(size, strong, modified)
            if part is not None and part[0] >= size:
                sizes = {"Content-Range": f"bytes */{size}", "Content-Length": "0"}
                self._head(asked, 416, {**validators, **sizes}, fault.headers)
                return
            start, end = part or (0, size)
            start, end = start + fault.shifted, min(end + fault.shifted, size)
            asked.range = start, end
            headers = {**validators, "Content-Length": str(end - start)}
            if part is not None:
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
            self._head(asked, 206 if part else 200, headers, fault.headers)
            if self.command == "HEAD":
                return
            stop = end if fault.cut_after is None else min(end, start + fault.cut_after)
            file.seek(start)
            while start < stop:
                data = file.read(min(_CHUNK, stop - start))
                if not data:
                    self.close_connection = True
                    return
                self.wfile.write(data)
                start += len(data)
                asked.sent += len(data)
            if stop < end:
                self.close_connection = True

    def _file(self, path: str) -> Path | None:
        root = self.server.storage.folder.resolve()
        file = (root / path.lstrip("/")).resolve()
        return file if file.is_relative_to(root) and file.is_file() else None

    def _condition(self, etag: str | None, modified: str) -> int | None:
        """The status that a condition asks for in place of the object (RFC 9110 13.2.2)."""
        match, none_match = self.headers["If-Match"], self.headers["If-None-Match"]
        since, unmodified = self.headers["If-Modified-Since"], self.headers["If-Unmodified-Since"]
        if match is not None:
            if match != "*" and etag not in _tags(match):
                return 412
        elif unmodified is not None and unmodified != modified:
            return 412
        if none_match is not None:
            return 304 if none_match == "*" or etag in _tags(none_match) else None
        return 304 if since is not None and since == modified else None

    def _range(self, size: int, etag: str | None, modified: str) -> tuple[int, int] | None:
        """First byte and the one after the last, or ``None``: all of it (RFC 9110 14.2)."""
        asked = _RANGE.fullmatch(self.headers["Range"] or "")
        only_if = self.headers["If-Range"]
        if asked is None or (only_if is not None and only_if not in (etag, modified)):
            return None
        first, last = asked.groups()
        if first:
            return int(first), min(int(last) + 1, size) if last else size
        return (max(0, size - int(last)), size) if last else None


def _tags(value: str) -> list[str]:
    return [tag.strip() for tag in value.split(",")]


def _first(asked: Asked) -> int:
    found = _RANGE.fullmatch(asked.headers.get("range", ""))
    return int(found[1]) if found and found[1] else 0


def round_trips(requests: list[Asked]) -> int:
    """How many of ``requests`` came one after the other: each when the one before was answered."""
    found, end = 0, -math.inf
    for one in sorted(requests, key=lambda one: one.ended):
        if one.begun >= end:
            found, end = found + 1, one.ended
    return found


def entity_tag(found: os.stat_result) -> str:
    """The strong one of a file."""
    return f'"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}"'


@contextmanager
def serve(
    folder: Path, *, authority: Authority | None = None, host: str = "127.0.0.1"
) -> Iterator[Storage]:
    """Serves ``folder`` on a free port of 127.0.0.1; over TLS with a certificate of ``authority``.

    ``host``: the name that URLs have.
    """
    storage = Storage(folder, authority, host)
    try:
        yield storage
    finally:
        storage.close()
