"""Files of a real server as sources: read in pieces, looked at again, never two versions in one."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sidecar.errors import BadRequest, Forbidden, InvalidMedia, NotFound, Replaced, StorageError
from sidecar.storage import fetch, remote
from sidecar.storage.access import Access
from sidecar.storage.blocks import BLOCK, Blocks
from sidecar.storage.fetch import Fetcher
from sidecar.storage.remote import RemoteStore
from sidecar.storage.signing import Credentials
from tests.support.remote_http import Fault, Storage, serve

DATA = random.Random(7).randbytes(5 * BLOCK + 99)
OTHER = random.Random(8).randbytes(len(DATA))
SECOND = 10**9


class Clock:
    """Replaces the monotonic clock of the store."""

    def __init__(self) -> None:
        self.now = 100 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(remote, "monotonic_ns", clock)
    monkeypatch.setattr(fetch, "_BACKOFF_SECONDS", 0.001)
    return clock


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    (tmp_path / "a.mp4").write_bytes(DATA)
    (tmp_path / "video.ism").write_bytes(b"<smil/>")
    with serve(tmp_path) as storage:
        yield storage


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


@pytest.fixture
def store(storage: Storage, threads: ThreadPoolExecutor, clock: Clock) -> RemoteStore:
    return new_store(storage, threads)


def new_store(storage: Storage, threads: ThreadPoolExecutor, **access: object) -> RemoteStore:
    granted = Access(base=f"{storage.base}/", **access)  # type: ignore[arg-type]
    return RemoteStore(granted, Fetcher(), Blocks(64 << 20), threads)


def write(storage: Storage, path: str, data: bytes) -> None:
    """Replaces a file by one with the same time, but for its entity tag."""
    new = storage.folder / "new"
    new.write_bytes(data)
    before = (storage.folder / path).stat()
    os.utime(new, ns=(before.st_mtime_ns, before.st_mtime_ns))
    new.replace(storage.folder / path)


def test_the_first_request_is_all_that_opening_takes(storage: Storage, store: RemoteStore) -> None:
    source = store.open(storage.url("/a.mp4"))
    assert source.identity.path == storage.url("/a.mp4")
    assert source.identity.is_remote
    assert source.identity.size == len(DATA)
    assert source.identity.etag.startswith('"')
    assert source.read(0, BLOCK) == DATA[:BLOCK]
    (asked,) = storage.asked()
    assert (asked.method, asked.headers["range"]) == ("GET", f"bytes=0-{BLOCK - 1}")


def test_reads_hold_on_to_the_version(storage: Storage, store: RemoteStore) -> None:
    source = store.open(storage.url("/a.mp4"))
    assert source.read(BLOCK + 5, BLOCK) == DATA[BLOCK + 5 :][:BLOCK]
    asked = storage.asked()[-1]
    assert asked.headers["if-match"] == source.identity.etag
    assert asked.headers["range"] == f"bytes={BLOCK}-{3 * BLOCK - 1}"
    write(storage, "a.mp4", OTHER)
    with pytest.raises(Replaced):
        source.read(4 * BLOCK, 9)
    # What came before is of the same version.
    assert source.read(0, 9) == DATA[:9]
    # And now it is known.
    again = store.open(storage.url("/a.mp4"))
    assert again.identity != source.identity
    assert again.read(4 * BLOCK, 9) == OTHER[4 * BLOCK :][:9]


@pytest.mark.parametrize("fault", [Fault(no_etag=True), Fault(weak_etag=True)])
def test_versions_without_a_tag(storage: Storage, store: RemoteStore, fault: Fault) -> None:
    with storage.fault("*", fault):
        source = store.open(storage.url("/a.mp4"))
        assert source.identity.etag == ""
        assert source.identity.mtime_ns
        assert source.read(BLOCK, 9) == DATA[BLOCK:][:9]
        (storage.folder / "a.mp4").write_bytes(OTHER)
        os.utime(storage.folder / "a.mp4", (10**9, 10**9))
        with pytest.raises(Replaced):
            source.read(3 * BLOCK, 9)
        (storage.folder / "a.mp4").write_bytes(OTHER[:-1])
        with pytest.raises(Replaced):
            store.read(source.identity, 3 * BLOCK, 9)


def test_reads_behind_the_end(storage: Storage, store: RemoteStore) -> None:
    source = store.open(storage.url("/a.mp4"))
    with pytest.raises(InvalidMedia) as raised:
        source.read(len(DATA) - 5, 6)
    assert raised.value.offset == len(DATA) - 5
    assert source.read(len(DATA) - 5, 5) == DATA[-5:]
    assert source.read(len(DATA), 0) == b""


def test_it_is_looked_again_when_it_is_time(
    storage: Storage, store: RemoteStore, clock: Clock
) -> None:
    url = storage.url("/a.mp4")
    identity = store.identity(url)
    assert store.are_fresh([identity])
    assert store.left_ms([identity]) == 10_000
    clock.now += 9 * SECOND
    assert store.holds(identity)
    assert len(storage.asked()) == 1
    clock.now += 2 * SECOND
    assert not store.are_fresh([identity])
    assert store.left_ms([identity]) == 0
    assert store.holds(identity)
    assert store.are_fresh([identity])
    asked = storage.asked()[-1]
    assert (asked.status, asked.headers["if-none-match"]) == (304, identity.etag)
    clock.now += 11 * SECOND
    write(storage, "a.mp4", OTHER)
    assert not store.holds(identity)
    assert storage.asked()[-1].headers["range"] == "bytes=0-0"
    assert store.identity(url).size == len(DATA)
    assert len(storage.asked()) == 3


def test_a_server_that_fails_has_what_it_had(
    storage: Storage, store: RemoteStore, clock: Clock
) -> None:
    identity = store.identity(storage.url("/a.mp4"))
    clock.now += 11 * SECOND
    with storage.fault("*", Fault(status=503)), capture_logs() as lines:
        assert store.holds(identity)
        assert len(storage.asked()) == 2  # nobody waits for it to try again
        assert [line["file"] for line in lines] == [identity.path]
        clock.now += 3500 * SECOND
        assert store.holds(identity)
        clock.now += 100 * SECOND
        with pytest.raises(StorageError):
            store.holds(identity)
    assert store.holds(identity)


def test_nobody_waits_for_a_server_that_did_not_answer(
    storage: Storage, store: RemoteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = store.identity(storage.url("/a.mp4"))
    clock.now += 11 * SECOND
    monkeypatch.setattr(fetch, "READ_SECONDS", 0.05)
    with storage.fault("*", Fault(hangs=True)):
        assert store.holds(identity)
        assert store.are_fresh([identity])
    monkeypatch.setattr(fetch, "READ_SECONDS", 60.0)
    clock.now += 11 * SECOND
    storage.forget()
    is_asked = threading.Event()
    with storage.fault("*", Fault(hangs=True, before=lambda _: is_asked.set())):
        for _ in range(3):
            assert store.holds(identity)
        # It is asked all the same, once.
        assert is_asked.wait(60)
        assert store.holds(identity)
        assert len(storage.asked()) == 1


@pytest.mark.parametrize(("status", "error"), [(404, NotFound), (403, Forbidden)])
def test_what_is_gone_is_gone(
    storage: Storage, store: RemoteStore, clock: Clock, status: int, error: type[Exception]
) -> None:
    identity = store.identity(storage.url("/a.mp4"))
    clock.now += 11 * SECOND
    with storage.fault("*", Fault(status=status)), pytest.raises(error):
        store.holds(identity)
    assert store.holds(identity)


def test_what_is_known_can_be_put_in_doubt(
    storage: Storage, store: RemoteStore, clock: Clock
) -> None:
    identity = store.identity(storage.url("/a.mp4"))
    store.expire([identity])
    assert store.are_fresh([identity])  # it was looked at just now
    clock.now += SECOND
    store.expire([identity])
    assert not store.are_fresh([identity])
    assert store.holds(identity)
    assert store.left_ms([identity]) == 10_000


def test_one_look_for_all(
    storage: Storage, store: RemoteStore, threads: ThreadPoolExecutor
) -> None:
    with storage.fault("*", Fault(latency=0.1)):
        found = [threads.submit(store.identity, storage.url("/a.mp4")) for _ in range(8)]
        assert len({one.result(60) for one in found}) == 1
    assert len(storage.asked()) == 1


def test_documents_are_what_they_say(storage: Storage, store: RemoteStore, clock: Clock) -> None:
    url = storage.url("/video.ism")
    data, identity = store.document(url, 1000)
    assert data == b"<smil/>"
    assert "range" not in storage.asked()[0].headers
    clock.now += 11 * SECOND
    assert store.holds(identity)
    assert storage.asked()[-1].status == 304
    # Another file that says the same is the same document.
    clock.now += 11 * SECOND
    write(storage, "video.ism", b"<smil/>")
    assert store.holds(identity)
    clock.now += 11 * SECOND
    write(storage, "video.ism", b"<SMIL/>")
    assert not store.holds(identity)
    assert store.document(url, 1000)[0] == b"<SMIL/>"
    with pytest.raises(StorageError, match="too large"):
        store.document(storage.url("/a.mp4"), 1000)


@pytest.mark.parametrize(
    ("header", "asked"),
    [("no-cache", [1, 2, 3]), ("max-age=5", [1, 1, 2]), ("max-age=100", [1, 1, 1])],
)
def test_documents_are_kept_as_their_server_says(
    storage: Storage, store: RemoteStore, clock: Clock, header: str, asked: list[int]
) -> None:
    fault = Fault(body=lambda _: b"<smil/>", headers=(("Cache-Control", header),))
    with storage.fault("*.ism", fault):
        counts = []
        for _ in range(3):
            assert store.document(storage.url("/video.ism"), 1000)[0] == b"<smil/>"
            counts.append(len(storage.asked()))
            clock.now += 4 * SECOND
    assert counts == asked


def test_what_is_not_said_again_still_holds(
    storage: Storage, store: RemoteStore, clock: Clock
) -> None:
    url = storage.url("/video.ism")
    with storage.fault("*", Fault(headers=(("Cache-Control", "no-cache"),))):
        store.document(url, 1000)
    for count in (2, 3, 4):
        store.document(url, 1000)
        assert len(storage.asked()) == count
        assert storage.asked()[-1].status == 304


def test_what_is_missing_is_remembered(storage: Storage, store: RemoteStore, clock: Clock) -> None:
    url = storage.url("/b.mp4")
    assert store.found(url) is None
    (storage.folder / "b.mp4").write_bytes(DATA)
    assert store.found(url) is None
    assert len(storage.asked()) == 1
    clock.now += 11 * SECOND
    found = store.found(url)
    assert found is not None
    assert found.size == len(DATA)
    clock.now += 11 * SECOND
    with storage.fault("*", Fault(status=403)):
        assert store.found(url) is None


def test_documents_have_a_budget(
    storage: Storage, store: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_MOST_SAID", 2500)
    with storage.fault("*.ism", Fault(body=lambda _: bytes(1000))):
        for name in ("a", "b", "c", "b", "a"):
            assert len(store.document(storage.url(f"/{name}.ism"), 5000)[0]) == 1000
    assert [asked.path for asked in storage.asked()] == ["/a.ism", "/b.ism", "/c.ism", "/a.ism"]


def test_plans_name_the_file_where_it_is(
    storage: Storage, threads: ThreadPoolExecutor, clock: Clock
) -> None:
    keys = Credentials(access_key="AKID", secret_key="secret", region="r")
    store = new_store(storage, threads, credentials=keys, allowed=("http://127.0.0.2:1/",))
    identity = store.identity(storage.url("/a.mp4"))
    found = store.request(identity)
    assert found.host == found.address == f"127.0.0.1:{storage.port}"
    assert found.url.startswith(f"{identity.path}?X-Amz-")
    assert found.expires_ms
    assert storage.asked()[0].target == found.url.removeprefix(storage.base)
    # Keys are for the server of the location's own content.
    elsewhere = remote.SourceIdentity("http://127.0.0.2:1/b.mp4", 1, 0, 0)
    assert store.request(elsewhere).url == elsewhere.path
    assert not store.request(elsewhere).expires_ms


def test_redirects_are_what_plans_name(storage: Storage, store: RemoteStore) -> None:
    with storage.fault("/old.mp4", Fault(location="/a.mp4")):
        identity = store.identity(storage.url("/old.mp4"))
    assert identity.path == storage.url("/old.mp4")
    assert store.request(identity).url == storage.url("/a.mp4")
    assert store.read(identity, BLOCK, 5) == DATA[BLOCK:][:5]


def test_what_a_location_may_read() -> None:
    access = Access(
        base="https://h/vod/", prefix="/proxy/", allowed=("http://cdn/media/", "https://h/more/")
    )
    assert access.url_of("/proxy/a b/c.ism") == "https://h/vod/a%20b/c.ism"
    document = "https://h/vod/a/c.ism"
    assert access.url_of_source(document, "d.mp4") == "https://h/vod/a/d.mp4"
    assert access.url_of_source(document, "../d.mp4") == "https://h/vod/d.mp4"
    assert access.url_of_source(document, "/more/d.mp4") == "https://h/more/d.mp4"
    assert access.url_of_source(document, "http://cdn:80/media/d.mp4") == "http://cdn/media/d.mp4"
    for src in (
        *("../../d.mp4", "/d.mp4", "http://cdn/d.mp4", "https://cdn/media/d.mp4"),
        *("http://cdn/media/../d.mp4", "http://cdn.evil/media/d.mp4", "http://cdn:81/media/d.mp4"),
        *(
            "file:///etc/passwd",
            "http://h/vod/d.mp4",
            "//cdn/media/d.mp4",
            "http://cdn/media@evil/",
        ),
    ):
        with pytest.raises(Forbidden):
            access.url_of_source(document, src)
    assert access.credentials_for("https://h/more/d.mp4") is None


@pytest.mark.parametrize(
    "path",
    ["/other/a.ism", "/proxy/../a.ism", "/proxy/a%2fb.ism", "/proxy//a.ism", "/proxy/a\\b.ism"],
)
def test_request_paths_that_are_none(path: str) -> None:
    access = Access(base="https://h/vod/", prefix="/proxy/")
    with pytest.raises(BadRequest):
        access.url_of(path)
