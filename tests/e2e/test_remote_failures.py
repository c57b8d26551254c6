"""Storage that fails: what clients are told, what the log says, and what goes on all the same."""

from __future__ import annotations

import dataclasses
import http.client
import itertools
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.support import mpd
from tests.support.crawl import everything, segments
from tests.support.http import Client, Response
from tests.support.media import place
from tests.support.remote_http import Asked, Fault, Storage, serve
from tests.support.remote_tls import make_authority
from tests.support.stack import Stack, eventually, start

VALID = 1
COUNTER = itertools.count(1)
# Of heavy.mp4: what comes before has been sent when this is fetched.
MIDDLE = 30 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    stack: Stack
    storage: Storage
    trusted: Storage


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, remote_films: Path) -> Iterator[World]:
    media = tmp_path_factory.mktemp("failing_storage")
    shutil.copytree(remote_films, media, dirs_exist_ok=True)
    place(media, "heavy.mp4")
    tls = tmp_path_factory.mktemp("tls")
    # nginx does not look for addresses in certificates.
    good, bad = (make_authority(tls / name, "localhost") for name in ("good", "bad"))
    named = make_authority(tls / "named", "storage.example.com")
    (tls / "roots.pem").write_bytes(good.root.read_bytes() + named.root.read_bytes())
    with (
        serve(media) as storage,
        serve(media, authority=good, host="localhost") as trusted,
        serve(media, authority=bad, host="localhost") as untrusted,
        serve(media, authority=named, host="localhost") as misnamed,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("SSL_CERT_FILE", str(tls / "roots.pem"))
        bases = {
            "web": storage, "trusted": trusted, "untrusted": untrusted, "misnamed": misnamed,
        }  # fmt: skip
        stack = start(
            tmp_path_factory.mktemp("failing_storage_run"),
            media,
            locations={
                name: f"ism_proxy_pass /{name}/ {one.base}/; origin_remote_valid {VALID};"
                for name, one in bases.items()
            },
        )
        try:
            yield World(stack=stack, storage=storage, trusted=trusted)
        finally:
            stack.stop()


@pytest.fixture
def storage(world: World) -> Storage:
    return world.storage


@pytest.fixture
def stack(world: World) -> Stack:
    """For ``client``."""
    return world.stack


def fresh(storage: Storage, file: str = "large.mp4") -> str:
    """A file like ``file`` that nobody has asked for: its path in the storage."""
    name = f"fresh_{next(COUNTER)}.mp4"
    place(storage.folder, storage.folder / file, name=name)
    return f"/{name}"


def result(world: World, target: str) -> str:
    """What the last request for ``target`` ended in, by the access log."""
    line = re.compile(rf'"GET {re.escape(target)} HTTP/1.1" \d+ \d+ \S+ \S+ (\S+) ')

    def found() -> list[str]:
        return line.findall(world.stack.access_log())

    eventually(lambda: bool(found()), f"{target} is in the log")
    return found()[-1]


STORAGE_ERROR = 502, "FMP4_STORAGE_ERROR"
# What the storage does -> status, result.
FAILURES: dict[str, tuple[Fault, tuple[int, str]]] = {
    "not found": (Fault(status=404), (404, "FMP4_NOT_FOUND")),
    "gone": (Fault(status=410), (404, "FMP4_NOT_FOUND")),
    "forbidden": (Fault(status=403), (403, "FMP4_FORBIDDEN")),
    "unauthorized": (Fault(status=401), (403, "FMP4_FORBIDDEN")),
    "error": (Fault(status=500), STORAGE_ERROR),
    "away": (Fault(status=503), STORAGE_ERROR),
    "odd": (Fault(status=204), STORAGE_ERROR),
    "cut": (Fault(cut_after=1000), STORAGE_ERROR),
    "empty": (Fault(cut_after=0), STORAGE_ERROR),
    "another range": (Fault(shifted=1), STORAGE_ERROR),
}


def all_at_once(world: World, targets: dict[str, tuple[str, str]]) -> None:
    """Asks for what each of ``FAILURES`` spoils, all at the same time, since failing takes a while:
    ``targets`` has its path in the storage and the URL path that needs it."""
    log = world.stack.log()
    with ExitStack() as faults, ThreadPoolExecutor(len(targets)) as pool:
        for name, (path, _) in targets.items():
            faults.enter_context(world.storage.fault(path, FAILURES[name][0]))
        found = dict(zip(targets, pool.map(partial(asked, world), targets.values()), strict=True))
    told = world.stack.log()
    for name, (path, target) in targets.items():
        status, code = FAILURES[name][1]
        answer = found[name]
        assert (answer.status, result(world, target)) == (status, code), (name, answer.body)
        assert "127.0.0.1" not in answer.text and len(answer.text.splitlines()) == 1, name
        if status >= 500:
            assert told.count(path) > log.count(path), name
    client = world.stack.client()
    for _, target in targets.values():
        assert again(client, target) == client.get(target.removeprefix("/web")).body
    client.close()


def again(client: Client, target: str) -> bytes:
    """The body of ``target`` now that its storage is well: who comes at once may still be told of a
    try before that, which others wait for."""
    eventually(lambda: client.request(target).status == 200, f"{target} is there again")
    return client.get(target).body


def asked(world: World, pair: tuple[str, str]) -> Response:
    client = world.stack.client()
    try:
        return client.request(pair[1])
    finally:
        client.close()


@pytest.mark.parametrize("target", ["/.mpd", ""])
def test_while_the_index_is_read(world: World, storage: Storage, target: str) -> None:
    paths = {name: fresh(storage, "two_audio.mp4") for name in FAILURES}
    all_at_once(world, {name: (path, f"/web{path}{target}") for name, path in paths.items()})


def test_while_media_are_read(world: World, client: Client, storage: Storage) -> None:
    """The index is known, and nothing of a segment has been sent yet."""
    paths = {name: fresh(storage) for name in FAILURES}
    segments_of = {name: listed_segments(client, f"/web{path}") for name, path in paths.items()}
    all_at_once(
        world,
        {
            name: (path, next(url for url in segments_of[name] if "video" in url))
            for name, path in paths.items()
        },
    )


def listed_segments(client: Client, path: str) -> list[str]:
    """Paths of the media segments of DASH, of which none is asked for."""
    url = f"{client.base}{path}/.mpd"
    return [
        segment.url.removeprefix(client.base)
        for representation in mpd.read(client.get(url).body, url).representations
        for segment in representation.segments
    ]


def test_ranges_that_are_ignored(client: Client, storage: Storage) -> None:
    """A storage that sends all of a file in place of a part: right, or refused; never wrong."""
    path = fresh(storage)
    with storage.fault(path, Fault(is_whole=True)):
        for target in (f"{path}/.mpd", path):
            answer = client.request(f"/web{target}")
            assert answer.status in (200, 502)
            if answer.status == 200:
                assert answer.body == client.get(target).body
    assert again(client, f"/web{path}/.mpd") == client.get(f"{path}/.mpd").body


def test_a_storage_that_does_not_answer(world: World, storage: Storage) -> None:
    """While the index is read, and while media are: at the same time, to save some."""
    client = world.stack.client()
    unknown, known = fresh(storage), fresh(storage)
    segment = [url for url in listed_segments(client, f"/web{known}") if "video" in url][-1]
    found: dict[str, Response] = {}

    def ask(target: str) -> None:
        one = world.stack.client()
        found[target] = one.request(target)
        one.close()

    targets = [f"/web{unknown}/.mpd", segment]
    with storage.fault(unknown, Fault(hangs=True)), storage.fault(known, Fault(hangs=True)):
        threads = [threading.Thread(target=ask, args=(target,)) for target in targets]
        for thread in threads:
            thread.start()
        # Others are not held up by those who wait.
        assert client.get("/web/ladder.ism/.mpd").body == client.get("/ladder.ism/.mpd").body
        for thread in threads:
            thread.join()
    for target in targets:
        assert (found[target].status, result(world, target)) == (504, "FMP4_STORAGE_TIMEOUT")
        assert again(client, target) == client.get(target.removeprefix("/web")).body
    client.close()


def download(client: Client, target: str) -> tuple[bytes, bool]:
    """The body that came, and whether it was all of it; the status was 200."""
    connection = http.client.HTTPConnection("127.0.0.1", int(client.base.rpartition(":")[2]))
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        assert answer.status == 200
        try:
            return answer.read(), True
        except http.client.IncompleteRead as cut:
            return cut.partial, False
    finally:
        connection.close()


@pytest.mark.parametrize("kind", ["cut", "forbidden"])
def test_a_download_that_fails_in_the_middle_is_cut(
    client: Client, storage: Storage, kind: str
) -> None:
    fault, _ = FAILURES[kind]
    path = fresh(storage, "heavy.mp4")
    local = client.get(path).body
    late = dataclasses.replace(fault, from_byte=MIDDLE)
    client.get(f"/web{path}/.mpd")
    with storage.fault(path, late):
        body, is_whole = download(client, f"/web{path}")
        assert not is_whole
        assert len(body) < len(local)
        assert local.startswith(body)
    assert again(client, f"/web{path}") == local


def test_an_object_that_changes_in_the_middle_is_not_mixed(
    client: Client, storage: Storage
) -> None:
    path = fresh(storage, "heavy.mp4")
    local = client.get(path).body
    client.get(f"/web{path}/.mpd")
    changed = threading.Event()

    def change(_: Asked) -> None:
        if not changed.is_set():
            changed.set()
            other = bytearray((storage.folder / path[1:]).read_bytes())
            other[len(other) // 2 :] = bytes(len(other) - len(other) // 2)
            new = storage.folder / ".new"
            new.write_bytes(other)
            new.rename(storage.folder / path[1:])

    with storage.fault(path, Fault(before=change, from_byte=MIDDLE)):
        body, is_whole = download(client, f"/web{path}")
    assert changed.is_set()
    assert not is_whole
    assert local.startswith(body)


def test_what_is_known_is_served_while_the_storage_is_down(
    world: World, client: Client, storage: Storage
) -> None:
    path, other = fresh(storage), fresh(storage, "bframes_open.mp4")
    before = everything(client, f"/web{path}")
    storage.down()
    try:
        begun = time.monotonic()
        rounds = 0
        # Past the time for which what is known of files holds.
        while time.monotonic() < begun + 2.5 * VALID:
            during = everything(client, f"/web{path}")
            assert {n: a.body for n, a in during.items()} == {n: a.body for n, a in before.items()}
            rounds += 1
        assert rounds
        assert client.request(f"/web{other}/.mpd").status == 502
    finally:
        storage.up()
    eventually(lambda: client.request(f"/web{other}/.mpd").status == 200, "it is back")
    assert len(segments(everything(client, f"/web{other}"))) > 10


def test_tls(world: World, client: Client) -> None:
    """Certificates are verified, by the sidecar, and by nginx, too."""
    local = everything(client, "/two_audio.ism")
    remote = everything(client, "/trusted/two_audio.ism")
    assert {n: a.body for n, a in remote.items()} == {n: a.body for n, a in local.items()}
    for name in ("untrusted", "misnamed"):
        assert client.request(f"/{name}/two_audio.ism/.mpd").status == 502
    path = fresh(world.storage)
    segment = listed_segments(client, f"/trusted{path}")[-1]
    with other_certificate(world.trusted):
        count = len(world.trusted.asked(path))
        assert client.request(segment).status == 502
        assert len(world.trusted.asked(path)) == count
    assert again(client, segment) == client.get(segment.removeprefix("/trusted")).body


@contextmanager
def other_certificate(storage: Storage) -> Iterator[None]:
    """Has ``storage`` answer with one that nobody trusts."""
    own = storage.authority
    with tempfile.TemporaryDirectory() as folder:
        for authority in (make_authority(Path(folder), "localhost"), own):
            storage.down()
            storage.authority = authority
            storage.up()
            if authority is not own:
                yield
