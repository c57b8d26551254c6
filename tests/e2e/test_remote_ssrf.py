"""Nothing but what the configuration names is asked for, whatever clients, manifests and storages
say."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.http import Client
from tests.support.media import generated, place
from tests.support.references import referring
from tests.support.remote_http import Fault, Storage, serve
from tests.support.remote_world import manifest
from tests.support.stack import Stack, start

COUNTER = itertools.count(1)
FILM = "bframes_open.mp4"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """``storage``: its folder ``vod/`` is behind ``/web/``. ``other``: of it, ``films/`` may be
    named."""

    stack: Stack
    storage: Storage
    other: Storage


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    media = tmp_path_factory.mktemp("here")
    inside, outside = tmp_path_factory.mktemp("inside"), tmp_path_factory.mktemp("outside")
    for folder in (inside, inside / "vod", inside / "vod" / "films", outside / "films",
                   outside / "private"):  # fmt: skip
        place(folder, FILM)
    with serve(inside) as storage, serve(outside) as other:
        directives = f"origin_allow_src {other.base}/films/;"
        stack = start(
            tmp_path_factory.mktemp("run"),
            media,
            locations={"web": f"ism_proxy_pass /web/ {storage.base}/vod/; {directives}"},
            directives=directives,
        )
        try:
            yield World(stack=stack, storage=storage, other=other)
        finally:
            stack.stop()


@pytest.fixture
def stack(world: World) -> Stack:
    """For ``client``."""
    return world.stack


@pytest.fixture(autouse=True)
def nothing_else_is_asked(world: World) -> Iterator[None]:
    world.storage.forget()
    world.other.forget()
    yield
    for one in (*world.storage.asked(), *world.other.asked()):
        assert "\r" not in one.target and "\n" not in one.target
        assert "x-injected" not in one.headers
        assert one.headers["host"] in (
            f"127.0.0.1:{world.storage.port}", f"127.0.0.1:{world.other.port}"
        )  # fmt: skip
        assert one.method == "GET"
        assert ".." not in one.path and "\\" not in one.path and "//" not in one.path
    for one in world.storage.asked():
        assert one.path.startswith("/vod/"), one.target
    for one in world.other.asked():
        assert one.path.startswith("/films/"), one.target


@pytest.mark.parametrize(
    "path",
    [
        "/../bframes_open.mp4",
        "/%2e%2e/bframes_open.mp4",
        "/films/../../bframes_open.mp4",
        "/..%2fbframes_open.mp4",
        "/%2e%2e%2fbframes_open.mp4",
        "/..%5cbframes_open.mp4",
        "/..\\bframes_open.mp4",
        "/films%2f..%2f..%2fbframes_open.mp4",
        "/films/%252e%252e/%252e%252e/bframes_open.mp4",
        "/..%252fbframes_open.mp4",
        "/x%0d%0aX-Injected:%20yes%0d%0a/bframes_open.mp4",
        "/x%20HTTP/1.1%0d%0aX-Injected:%20yes%0d%0a%0d%0aGET%20/bframes_open.mp4",
        "/bframes_open.mp4%00.mp4",
        "/http://127.0.0.1/bframes_open.mp4",
        "/@127.0.0.1/bframes_open.mp4",
        "//127.0.0.1/bframes_open.mp4",
        "/bframes_open.mp4%3fversionId=1",
        "/bframes_open.mp4%23fragment",
    ],
)
def test_paths_of_clients(client: Client, path: str) -> None:
    for suffix in ("/.mpd", ""):
        answer = client.request(f"/web{path}{suffix}")
        assert answer.status in (400, 403, 404), (path, answer.status)


SOURCES = [
    "file:///etc/passwd",
    "/etc/passwd",
    "../bframes_open.mp4",
    "films/../../bframes_open.mp4",
    "%2e%2e/bframes_open.mp4",
    "..%2fbframes_open.mp4",
    "..\\bframes_open.mp4",
    "/bframes_open.mp4",
    "//127.0.0.1:{other}/films/bframes_open.mp4",
    "//127.0.0.1:{other}/private/bframes_open.mp4",
    "http:\\\\127.0.0.1:{other}\\private\\bframes_open.mp4",
    "http:/127.0.0.1:{other}/private/bframes_open.mp4",
    "http://127.0.0.1:{other}/private/bframes_open.mp4",
    "http://127.0.0.1:{other}/films/../private/bframes_open.mp4",
    "http://127.0.0.1:{other}/films/%2e%2e/private/bframes_open.mp4",
    "http://127.0.0.1:{other}/films%2f..%2fprivate/bframes_open.mp4",
    "http://127.0.0.1:{other}/filmsx/bframes_open.mp4",
    "http://user@127.0.0.1:{other}/films/bframes_open.mp4",
    "http://127.0.0.1:{storage}@127.0.0.1:{other}/private/bframes_open.mp4",
    "http://127.0.0.1:{other}/films/bframes_open.mp4#/vod/",
    "http://127.0.0.1:{other}/films/x?/../bframes_open.mp4",
    "http://127.1:{other}/films/bframes_open.mp4",
    "http://2130706433:{other}/films/bframes_open.mp4",
    "http://0x7f000001:{other}/films/bframes_open.mp4",
    "http://127.0.0.2:{other}/films/bframes_open.mp4",
    "http://[::1]:{other}/films/bframes_open.mp4",
    "http://[::ffff:127.0.0.1]:{other}/films/bframes_open.mp4",
    "http://localhost:{other}/films/bframes_open.mp4",
    "http://0.0.0.0:{other}/films/bframes_open.mp4",
    "http://169.254.169.254/latest/meta-data/",
    "https://127.0.0.1:{other}/films/bframes_open.mp4",
    "ftp://127.0.0.1:{other}/films/bframes_open.mp4",
    "gopher://127.0.0.1:{other}/_GET",
    "http://127.0.0.1:{other}/films/x&#13;&#10;X-Injected: yes/bframes_open.mp4",
    "http://127.0.0.1:{other}&#13;&#10;X-Injected: yes/films/bframes_open.mp4",
]


@pytest.mark.parametrize("src", SOURCES)
def test_sources_of_manifests(world: World, client: Client, src: str) -> None:
    """In one that the storage has, and in one on this computer, where paths mean files."""
    src = src.format(other=world.other.port, storage=world.storage.port)
    name = f"source_{next(COUNTER)}.ism"
    (world.storage.folder / "vod" / name).write_text(manifest(("video", src, 200000)))
    assert client.request(f"/web/{name}/.mpd").status in (400, 403, 404, 415), src
    assert world.other.asked() == []
    assert [one.path for one in world.storage.asked() if one.path != f"/vod/{name}"] == []
    if ":" in src:
        (world.stack.media / name).write_text(manifest(("video", src, 200000)))
        assert client.request(f"/{name}/.mpd").status in (400, 403, 404, 415), src
        assert world.other.asked() == []


def test_sources_that_are_allowed(world: World, client: Client) -> None:
    """The same ways of writing, to what the configuration names: the refusals above are for what
    is meant, not for how it is written."""
    for src in (
        "films/bframes_open.mp4",
        "./films/../bframes_open.mp4",
        "http://127.0.0.1:{other}/films/bframes_open.mp4",
        "HTTP://127.0.0.1:{other}/films/bframes_open.mp4",
    ):
        src = src.format(other=world.other.port)
        name = f"source_{next(COUNTER)}.ism"
        (world.storage.folder / "vod" / name).write_text(manifest(("video", src, 200000)))
        assert client.request(f"/web/{name}/.mpd").status == 200, src


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1:{other}/private/bframes_open.mp4", "file:///etc/passwd",
     "../bframes_open.mp4", "bframes_open.mp4\\"],
)  # fmt: skip
def test_references_of_media(world: World, client: Client, location: str) -> None:
    """Files whose samples lie in another one, which they name."""
    location = location.format(other=world.other.port)
    name = f"reference_{next(COUNTER)}.mp4"
    data = referring(generated(FILM).read_bytes(), location.encode() + b"\0")
    (world.storage.folder / "vod" / name).write_bytes(data)
    for target in (f"/web/{name}/.mpd", f"/web/{name}"):
        assert client.request(target).status in (400, 403, 404, 415), target


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{other}/private/bframes_open.mp4",
        "//127.0.0.1:{other}/private/bframes_open.mp4",
        "http://127.0.0.1:{other}/films/bframes_open.mp4",
        "http://localhost:{storage}/vod/bframes_open.mp4",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "https://127.0.0.1:{storage}/vod/bframes_open.mp4",
        "ftp://127.0.0.1/x",
        "",
    ],
)
def test_redirects(world: World, client: Client, location: str) -> None:
    location = location.format(other=world.other.port, storage=world.storage.port)
    path = f"/moved_{next(COUNTER)}.mp4"
    headers = (("Location", location),)
    with world.storage.fault(f"/vod{path}", Fault(status=302, headers=headers)):
        assert client.request(f"/web{path}/.mpd").status in (403, 404, 502)
    # Where only the media move, behind nginx.
    place(world.storage.folder / "vod", FILM, name=path[1:])
    assert client.request(f"/web{path}/.mpd").status == 200
    with world.storage.fault(f"/vod{path}", Fault(status=302, headers=headers)):
        assert client.request(f"/web{path}").status in (403, 502)
    assert world.other.asked() == []


def test_what_nginx_fetches_with_is_not_reachable(world: World, client: Client) -> None:
    """The headers that name a storage are for the internal server alone."""
    forged = {
        "X-Origin-Scheme": "http",
        "X-Origin-Address": f"127.0.0.1:{world.other.port}",
        "X-Origin-Target": "/private/bframes_open.mp4",
        "X-Origin-Key": "0" * 32,
        "X-Origin-Range": "bytes=0-9",
    }
    stored = generated(FILM).read_bytes()
    assert client.request(f"/web/{FILM}", headers=forged).body == stored
    assert client.request("/", headers=forged).status in (403, 404)
