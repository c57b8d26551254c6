"""The storage that remote content is tested against does what RFC 9110 says, and fails as told."""

from __future__ import annotations

import http.client
import math
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.http import Client
from tests.support.remote_http import Fault, Storage, round_trips, serve
from tests.support.remote_tls import make_authority
from tests.support.stack import eventually

DATA = bytes(range(256)) * 40


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    folder = tmp_path / "stored"
    folder.mkdir()
    (folder / "a b.mp4").write_bytes(DATA)
    (tmp_path / "outside").write_bytes(b"secret")
    with serve(folder) as running:
        yield running


@pytest.fixture
def client(storage: Storage) -> Iterator[Client]:
    opened = Client(storage.base)
    yield opened
    opened.close()


PATH = "/a%20b.mp4"


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("", 200, (0, 10240)),
        ("bytes=0-0", 206, (0, 1)),
        ("bytes=100-199", 206, (100, 200)),
        ("bytes=10000-", 206, (10000, 10240)),
        ("bytes=10000-99999", 206, (10000, 10240)),
        ("bytes=-5", 206, (10235, 10240)),
        ("bytes=10240-", 416, None),
        ("bytes=0-1,5-6", 200, (0, 10240)),
    ],
)
def test_ranges(
    storage: Storage, client: Client, asked: str, status: int, part: tuple[int, int] | None
) -> None:
    answer = client.request(PATH, headers={"Range": asked} if asked else {})
    assert answer.status == status
    assert answer.body == (DATA[slice(*part)] if part else b"")
    if status == 206 and part:
        assert answer.headers["content-range"] == f"bytes {part[0]}-{part[1] - 1}/10240"
    (logged,) = storage.asked("/a b.mp4")
    assert (logged.status, logged.range) == (status, part)
    eventually(lambda: logged.sent == len(answer.body), "what was sent is logged")


def test_conditions(storage: Storage, client: Client) -> None:
    first = client.request(PATH)
    tag, modified = first.headers["etag"], first.headers["last-modified"]
    part = {"Range": "bytes=0-9"}
    for headers, status in (
        ({"If-Match": tag}, 200),
        ({"If-Match": f'"x", {tag}', **part}, 206),
        ({"If-Match": '"x"', **part}, 412),
        ({"If-Match": f"W/{tag}"}, 412),
        ({"If-None-Match": tag}, 304),
        ({"If-None-Match": '"x"', **part}, 206),
        ({"If-Modified-Since": modified}, 304),
        ({"If-Unmodified-Since": modified}, 200),
        ({"If-Unmodified-Since": "Sun, 09 Sep 2001 01:46:40 GMT"}, 412),
        ({"If-Range": tag, **part}, 206),
        ({"If-Range": '"x"', **part}, 200),
    ):
        assert client.request(PATH, headers=headers).status == status, headers
    (storage.folder / "a b.mp4").write_bytes(DATA[::-1])
    assert client.request(PATH).headers["etag"] != tag
    assert client.request(PATH, headers={"If-Match": tag}).status == 412
    head = client.request(PATH, method="HEAD")
    assert (head.status, head.headers["content-length"], head.body) == (200, "10240", b"")


def test_nothing_outside(client: Client) -> None:
    for path in ("/../outside", "/%2e%2e/outside", "/none.mp4", "/"):
        assert client.request(path).status == 404, path


def test_faults(storage: Storage, client: Client) -> None:
    part = {"Range": "bytes=10-19"}
    with storage.fault("*.mp4", Fault(status=503, times=1)):
        assert client.request(PATH).status == 503
        assert client.request(PATH).status == 200
    with storage.fault("*", Fault(location="http://other/")):
        answer = client.request(PATH)
        assert (answer.status, answer.headers["location"]) == (302, "http://other/")
    with storage.fault("*", Fault(cut_after=4, from_byte=5)):
        assert client.request(PATH, headers={"Range": "bytes=0-9"}).body == DATA[:10]
        with pytest.raises(http.client.IncompleteRead) as cut:
            client.request(PATH, headers=part)
        assert cut.value.partial == DATA[10:14]
    client.close()
    with storage.fault("*", Fault(shifted=1)):
        answer = client.request(PATH, headers=part)
        assert answer.headers["content-range"] == "bytes 11-20/10240"
        assert answer.body == DATA[11:21]
    with storage.fault("*", Fault(is_whole=True)):
        answer = client.request(PATH, headers=part)
        assert (answer.status, answer.body) == (200, DATA)
    tag = client.request(PATH).headers["etag"]
    with storage.fault("*", Fault(weak_etag=True)):
        assert client.request(PATH).headers["etag"] == f"W/{tag}"
        assert client.request(PATH, headers={"If-Match": tag}).status == 412
    with storage.fault("*", Fault(no_etag=True)):
        assert "etag" not in client.request(PATH).headers
    scripted = Fault(body=lambda one: one.target.encode(), headers=(("Cache-Control", "no-store"),))
    with storage.fault("*", scripted):
        answer = client.request("/any?x=1")
        assert answer.body == b"/any?x=1"
        assert answer.headers["cache-control"] == "no-store"
    assert client.request(PATH).body == DATA


def test_no_answer(storage: Storage) -> None:
    slow = Client(storage.base, timeout=0.2)
    with storage.fault("*", Fault(hangs=True)), pytest.raises(TimeoutError):
        slow.request(PATH)
    slow.close()
    assert [one.status for one in storage.asked()] == [0]
    storage.forget()
    assert storage.asked() == []


def test_down_and_up(storage: Storage) -> None:
    kept = http.client.HTTPConnection("127.0.0.1", storage.port, timeout=60)
    kept.request("GET", PATH)
    assert kept.getresponse().read() == DATA
    storage.down()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        kept.request("GET", PATH)
        kept.getresponse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", storage.port))
    storage.up()
    again = Client(storage.base)
    assert again.request(PATH).body == DATA
    again.close()
    kept.close()


def test_at_the_same_time(storage: Storage) -> None:
    gate = threading.Barrier(20, timeout=60)

    def get() -> None:
        one = Client(storage.base)
        assert one.request(PATH).body == DATA
        one.close()

    with storage.fault("*", Fault(before=lambda _: gate.wait() and None)):
        threads = [threading.Thread(target=get) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert [one.status for one in storage.asked()] == [200] * 20
    assert round_trips(storage.asked()) == 1


def test_one_after_the_other(storage: Storage, client: Client) -> None:
    for _ in range(3):
        client.request(PATH)
    eventually(lambda: all(one.ended < math.inf for one in storage.asked()), "all are sent")
    assert round_trips(storage.asked()) == 3


def test_tls(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(DATA)
    authority = make_authority(tmp_path / "tls", "127.0.0.1", "localhost")
    with serve(tmp_path, authority=authority) as storage:
        assert storage.url("/x").startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=authority.root)
        for host, context in (("127.0.0.1", trusting), ("localhost", trusting)):
            connection = http.client.HTTPSConnection(host, storage.port, context=context)
            connection.request("GET", "/x", headers={"Range": "bytes=1-3"})
            assert connection.getresponse().read() == DATA[1:4]
            connection.close()
        other = http.client.HTTPSConnection("127.0.0.1", storage.port)
        with pytest.raises(ssl.SSLCertVerificationError):
            other.request("GET", "/x")
