"""Answers of real servers, and what they mean when they are not what was asked for."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from sidecar.errors import Forbidden, NotFound, OriginError, Replaced, StorageError, StorageTimeout
from sidecar.storage import fetch
from sidecar.storage.fetch import Fetched, Fetcher
from sidecar.storage.signing import Signed
from tests.support.ports import free_port
from tests.support.remote_http import Fault, Storage, serve
from tests.support.remote_tls import make_authority

DATA = random.Random(6).randbytes(100_000)


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    (tmp_path / "a.mp4").write_bytes(DATA)
    (tmp_path / "empty.mp4").write_bytes(b"")
    with serve(tmp_path) as storage:
        yield storage


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_BACKOFF_SECONDS", 0.001)


def get(storage: Storage, path: str = "/a.mp4", **how: object) -> Fetched:
    wanted = {"span": (10, 1010), "limit": 0} | how
    return Fetcher().get(storage.url(path), Signed, **wanted)  # type: ignore[arg-type]


def test_a_range(storage: Storage) -> None:
    found = get(storage)
    assert (found.status, found.first, found.size) == (206, 10, len(DATA))
    assert found.data == DATA[10:1010]
    assert found.strong_etag == found.etag
    assert found.mtime_ns == int((storage.folder / "a.mp4").stat().st_mtime) * 10**9
    (asked,) = storage.asked()
    assert asked.headers["range"] == "bytes=10-1009"
    assert asked.headers["host"] == f"127.0.0.1:{storage.port}"
    assert "accept-encoding" not in asked.headers


def test_a_range_that_goes_on_behind_the_end(storage: Storage) -> None:
    assert get(storage, span=(90_000, 200_000)).data == DATA[90_000:]
    assert get(storage, "/empty.mp4", span=(0, 9)).size == 0
    with pytest.raises(Replaced):
        get(storage, span=(len(DATA), len(DATA) + 1))


def test_a_whole_file(storage: Storage) -> None:
    found = get(storage, span=None, limit=len(DATA))
    assert (found.status, found.data, found.size) == (200, DATA, len(DATA))
    with pytest.raises(StorageError, match="too large"):
        get(storage, span=None, limit=len(DATA) - 1)


def test_a_server_that_knows_no_ranges(storage: Storage) -> None:
    with storage.fault("*", Fault(is_whole=True)):
        assert get(storage, span=(0, 200_000), limit=200_000).data == DATA
        with pytest.raises(StorageError, match="does not answer ranges"):
            get(storage, span=(0, 99), limit=99)
        head = get(storage, span=(0, 1), limit=0)
    assert (head.status, head.data, head.size) == (200, b"", len(DATA))


def test_weak_tags_are_no_strong_ones(storage: Storage) -> None:
    with storage.fault("*", Fault(weak_etag=True)):
        found = get(storage)
    assert found.etag.startswith("W/")
    assert found.strong_etag == ""


@pytest.mark.parametrize(
    ("fault", "error", "tries"),
    [
        (Fault(status=404), NotFound, 1),
        (Fault(status=410), NotFound, 1),
        (Fault(status=401), Forbidden, 1),
        (Fault(status=403), Forbidden, 1),
        (Fault(status=400), StorageError, 1),
        (Fault(status=412), Replaced, 1),
        (Fault(status=500), StorageError, 3),
        (Fault(status=503), StorageError, 3),
        (Fault(status=504), StorageTimeout, 3),
        (Fault(cut_after=100), StorageError, 3),
        (Fault(cut_after=0), StorageError, 3),
        (Fault(shifted=1), StorageError, 1),
        (Fault(headers=(("Content-Encoding", "gzip"),)), StorageError, 1),
    ],
)
def test_faults(storage: Storage, fault: Fault, error: type[OriginError], tries: int) -> None:
    with storage.fault("*", fault), pytest.raises(error) as raised:
        get(storage)
    assert type(raised.value) is error
    assert len(storage.asked()) == tries
    assert storage.base not in raised.value.sentence
    assert getattr(raised.value, "path", "") == storage.url("/a.mp4")


def test_what_passes_is_not_noticed(storage: Storage) -> None:
    with storage.fault("*", Fault(status=503, times=1)):
        assert get(storage).data == DATA[10:1010]
    with storage.fault("*", Fault(cut_after=10, times=2)):
        assert get(storage).data == DATA[10:1010]


def test_a_server_that_is_silent(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "READ_SECONDS", 0.05)
    with storage.fault("*", Fault(hangs=True)), pytest.raises(StorageTimeout):
        get(storage, tries=1)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(StorageError, match="no connection") as raised:
        Fetcher().get(f"http://127.0.0.1:{free_port()}/a", Signed, limit=9)
    assert not isinstance(raised.value, StorageTimeout)


def test_another_address_is_tried(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def resolve(host: str, *where: Any, **how: Any) -> Any:
        hosts = ("127.0.0.77", "127.0.0.1") if host == "localhost" else (host,)
        return [one for host in hosts for one in real(host, *where, **how)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    fetcher = Fetcher()
    url = f"http://localhost:{storage.port}/a.mp4"
    assert fetcher.get(url, Signed, span=(0, 9), limit=0).data == DATA[:9]
    assert fetcher.addresses.of("localhost") == ("127.0.0.1", "127.0.0.77")


def test_the_log_says_what_s3_says(storage: Storage) -> None:
    said = b"<?xml version='1.0'?><Error><Code>SignatureDoesNotMatch</Code></Error>"
    with serve_said(403, said) as url, capture_logs() as lines, pytest.raises(Forbidden) as raised:
        Fetcher().get(url, Signed, limit=9)
    assert [(line["code"], line["file"]) for line in lines] == [("SignatureDoesNotMatch", url)]
    assert "Signature" not in raised.value.sentence


@contextmanager
def serve_said(status: int, body: bytes) -> Iterator[str]:
    """A server that answers all requests so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/a"
        finally:
            server.shutdown()
            thread.join()


def test_redirects_within_the_server(storage: Storage) -> None:
    with storage.fault("/old.mp4", Fault(location="/a.mp4")):
        found = get(storage, "/old.mp4")
    assert found.data == DATA[10:1010]
    assert found.url == storage.url("/a.mp4")
    with storage.fault("/old.mp4", Fault(location=storage.url("/a.mp4"), status=308)):
        assert get(storage, "/old.mp4").data == DATA[10:1010]


@pytest.mark.parametrize(
    "location",
    [
        *("http://127.0.0.2:{port}/a.mp4", "http://localhost:{port}/a.mp4", "//127.0.0.2/a.mp4"),
        *("http://127.0.0.1/a.mp4", "https://127.0.0.1:{port}/a.mp4", "file:///etc/passwd"),
        *("http://user@127.0.0.1:{port}/a.mp4", "/x/../../../a.mp4", ""),
    ],
)
def test_redirects_elsewhere(storage: Storage, location: str) -> None:
    fault = Fault(location=location.format(port=storage.port), status=302)
    with storage.fault("*", fault), pytest.raises(StorageError, match="redirects"):
        get(storage)
    assert len(storage.asked()) == 1


def test_redirects_end(storage: Storage) -> None:
    with storage.fault("/a.mp4", Fault(location="/a.mp4")), pytest.raises(StorageError):
        get(storage)
    assert len(storage.asked()) == 4


def test_signed_requests_are_not_redirected(storage: Storage) -> None:
    def sign(url: str) -> Signed:
        return Signed(f"{url}?signature=secret", (("X-Signature", "1"),), 1)

    url = storage.url("/a.mp4")
    assert Fetcher().get(url, sign, span=(0, 9), limit=0).data == DATA[:9]
    asked = storage.asked()[-1]
    assert asked.target == "/a.mp4?signature=secret"
    assert asked.headers["x-signature"] == "1"
    with storage.fault("*", Fault(location="/b.mp4")), pytest.raises(StorageError) as raised:
        Fetcher().get(url, sign, span=(0, 9), limit=0)
    assert "secret" not in str(raised.value)
    assert len(storage.asked()) == 2


def test_connections_are_used_again(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    fetcher = Fetcher()
    url = storage.url("/a.mp4")
    for first in range(5):
        fetcher.get(url, Signed, span=(first, first + 50_000), limit=0)
    fetcher.get(url, Signed, span=None, limit=1 << 20)
    etag = fetcher.get(url, Signed, span=(0, 1), limit=0).etag
    again = fetcher.get(url, Signed, headers={"If-None-Match": etag}, span=(0, 1), limit=0)
    assert again.status == 304
    (pool,) = fetcher._pools.values()
    assert pool.num_connections == 1


def test_servers_prove_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").write_bytes(DATA)
    authority = make_authority(tmp_path / "tls", "localhost")
    for host, is_trusted, is_good in (
        ("localhost", True, True),
        ("localhost", False, False),
        ("127.0.0.1", True, False),
    ):
        if is_trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
        else:
            monkeypatch.delenv("SSL_CERT_FILE")
        with serve(tmp_path, authority=authority, host=host) as storage:
            if is_good:
                assert get(storage).data == DATA[10:1010]
                continue
            with pytest.raises(StorageError, match="certificate is not valid"):
                get(storage)
