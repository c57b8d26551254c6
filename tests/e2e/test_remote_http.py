"""Content behind a URL: the same as from the disk, each byte fetched once, never mixed."""

from __future__ import annotations

import itertools
import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sidecar.boxes.write import box, full_box
from tests.support import yt_dlp
from tests.support.assets import Asset, source_of, whole
from tests.support.compare import assert_all_streams, sources_of
from tests.support.crawl import everything, segments
from tests.support.f4f import package
from tests.support.frames import decode, dropped
from tests.support.http import Client
from tests.support.media import generated, place
from tests.support.remote_http import Asked, Fault, Storage, round_trips, serve
from tests.support.remote_world import PRESENTATIONS, manifest, repeated
from tests.support.smooth import read_manifest
from tests.support.stack import Stack, eventually, start

FILM = Asset(path="/web/two_audio.ism", files=PRESENTATIONS["/two_audio.ism"])
VALID = 1  # seconds for which what is known of a file holds, in the locations below
COUNTER = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """``storage``: behind ``/web/``; ``other``: another server, whose ``films/`` alone may be
    named by ``src``."""

    stack: Stack
    storage: Storage
    other: Storage


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, remote_films: Path) -> Iterator[World]:
    media = tmp_path_factory.mktemp("remote_media")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(remote_films, media, dirs_exist_ok=True)
    for folder in ("films", "private"):
        place(elsewhere / folder, "bframes_open.mp4")
    with serve(media) as storage, serve(elsewhere) as other:
        allowed = f"origin_allow_src {other.base}/films/; origin_remote_valid {VALID};"
        stack = start(
            tmp_path_factory.mktemp("remote_run"),
            media,
            locations={
                "web": f"ism_proxy_pass /web/ {storage.base}/; {allowed}",
                "stored": f"ism_proxy_pass /stored/ {storage.base}/; usp_handle_f4f on; "
                "usp_iss_pass_through on; usp_prefer_static on;",
                "folder": f"ism_proxy_pass /folder/ {storage.base}/kept/in/; {allowed}",
            },
            directives=allowed,
        )
        try:
            yield World(stack=stack, storage=storage, other=other)
        finally:
            stack.stop()


@pytest.fixture
def stack(world: World) -> Stack:
    """For ``client``."""
    return world.stack


@pytest.fixture
def storage(world: World) -> Storage:
    return world.storage


def fresh(storage: Storage, file: str = "large.mp4") -> str:
    """A file like ``file`` that nobody has asked for: its path in the storage."""
    name = f"fresh_{next(COUNTER)}.mp4"
    place(storage.folder, storage.folder / file, name=name)
    return f"/{name}"


@pytest.mark.parametrize("path", [*PRESENTATIONS, "/texts.ism", "/large.mp4"])
def test_all_that_players_fetch_is_what_is_made_of_a_file(client: Client, path: str) -> None:
    local, remote = everything(client, path), everything(client, f"/web{path}")
    assert local.keys() == remote.keys()
    for name, answer in local.items():
        assert remote[name].body == answer.body, name
        for header in ("content-type", "last-modified", "cache-control"):
            assert remote[name].headers.get(header) == answer.headers.get(header), (name, header)
    assert len(segments(remote)) > 10


@pytest.mark.parametrize(
    "target",
    [
        "/large.mp4",
        "/bframes_open.mp4",
        "/two_audio.mp4?start=2&end=6",
        "/ladder.ism/film.mp4",
        "/ladder.ism/.ismv",
        "/texts.ism/film.mp4?vbegin=2&vend=6",
    ],
)
def test_downloads(client: Client, target: str) -> None:
    local, remote = client.get(target), client.get(f"/web{target}")
    assert local.body == remote.body
    etag, size = remote.headers["etag"], len(remote.body)
    head = client.request(f"/web{target}", method="HEAD")
    assert (head.status, head.headers["content-length"], head.body) == (200, str(size), b"")
    assert client.request(f"/web{target}", headers={"If-None-Match": etag}).status == 304
    middle = size // 2
    for first, last in ((0, 0), (middle - 5, middle + 70_000), (size - 10, size + 10)):
        part = client.request(f"/web{target}", headers={"Range": f"bytes={first}-{last}"})
        assert part.status == 206
        assert part.body == local.body[first : last + 1]
        assert part.headers["content-range"] == f"bytes {first}-{min(last, size - 1)}/{size}"


@pytest.mark.parametrize("query", ["/.m3u8?hls_fmp4", "/.m3u8?hls_fmp4=false", "/.mpd"])
def test_frames(world: World, query: str) -> None:
    url = f"{world.stack.base}{FILM.path}{query}"
    late = 10 if "false" in query else 0
    together = ".mpd" not in query
    found = assert_all_streams(FILM, url, together=together, offset=late)
    assert found == sources_of(FILM)


def test_frames_of_a_download_and_of_smooth_streaming(world: World, tmp_path: Path) -> None:
    url = f"{world.stack.base}{FILM.path}"
    streams = "0:v:0", "0:a:0", "0:a:1"
    source_file = str(generated("two_audio.mp4"))
    assert decode(f"{url}/film.mp4", *streams) == decode(source_file, *streams)
    found = yt_dlp.download(f"{url}/Manifest", tmp_path)
    assert len(found) == len(sources_of(FILM))
    for one in found:
        height, channels = one.format.get("height"), one.format.get("audio_channels")
        kind = "video" if height else "audio"
        source = source_of(FILM, kind, height=height, channels=None if height else channels)
        frames = decode(str(one.file), "0:0")[0]
        before, behind = dropped(whole(source), frames)
        assert (before, behind) == (0, 0) or kind == "audio"


def test_what_the_storage_is_asked_for(client: Client, storage: Storage) -> None:
    """Ranges only, of one version only, and never compressed; what clients send stays here."""
    path = fresh(storage)
    everything(client, f"/web{path}")
    secret = {"Authorization": "Bearer secret", "Cookie": "secret=1", "Accept-Encoding": "gzip"}
    client.request(f"/web{path}/.m3u8?unknown", headers=secret)
    asked = storage.asked(path)
    etag = client.request(f"/web{path}").headers["etag"]
    assert etag
    assert asked
    for number, one in enumerate(asked):
        assert one.method == "GET"
        assert "range" in one.headers
        assert "accept-encoding" not in one.headers
        assert "authorization" not in one.headers and "cookie" not in one.headers
        assert one.headers["host"] == f"127.0.0.1:{storage.port}"
        if number:
            assert "if-match" in one.headers or "if-none-match" in one.headers, one
        assert one.status in (206, 304)


@pytest.mark.parametrize("file", ["large.mp4", "bframes_open.mp4"])
def test_the_first_manifest_costs_three_round_trips(
    client: Client, storage: Storage, file: str
) -> None:
    """Where the index is at the end too."""
    path = fresh(storage, file)
    with storage.fault(path, Fault(latency=0.25)):
        client.get(f"/web{path}/.mpd")
        eventually(lambda: all(o.ended < time.monotonic() for o in storage.asked(path)), "sent")
    assert 1 <= round_trips(storage.asked(path)) <= 3
    sent = sum(one.sent for one in storage.asked(path))
    assert sent < 3_000_000, "the index, not the media"


def test_hundred_players_of_one_cold_asset(world: World, client: Client, storage: Storage) -> None:
    path = fresh(storage)
    size = (storage.folder / path[1:]).stat().st_size
    local = everything(client, path, manifests=(".m3u8?hls_fmp4",))
    gate = threading.Barrier(100, timeout=60)
    wrong: list[str] = []

    def player() -> None:
        one = world.stack.client()
        gate.wait()
        found = everything(one, f"/web{path}", manifests=(".m3u8?hls_fmp4",))
        wrong.extend(name for name, answer in local.items() if found[name].body != answer.body)
        one.close()

    threads = [threading.Thread(target=player) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    asked = storage.asked(path)
    of_index = [one for one in asked if is_of_the_sidecar(one)]
    of_media = [one for one in asked if not is_of_the_sidecar(one)]
    assert repeated(of_index) == repeated(of_media) == []
    assert sum(one.sent for one in of_media) <= 1.05 * size
    assert sum(one.sent for one in of_index) <= 1_000_000
    # What is asked for again comes from the cache.
    storage.forget()
    everything(client, f"/web{path}", manifests=(".m3u8?hls_fmp4",))
    assert [one for one in storage.asked(path) if one.status == 206] == []


def is_of_the_sidecar(one: Asked) -> bool:
    """Not of nginx, which has no name for itself."""
    return "user-agent" in one.headers


def put(storage: Storage, path: str, file: str) -> None:
    """Makes ``path`` hold what ``file`` does, as another file."""
    new = storage.folder / f".{path[1:]}.new"
    new.write_bytes(generated(file).read_bytes())
    new.rename(storage.folder / path[1:])


def test_a_replaced_object_is_noticed_in_time(client: Client, storage: Storage) -> None:
    path = f"/replaced_{next(COUNTER)}.mp4"
    put(storage, path, "bframes_closed.mp4")
    before = everything(client, f"/web{path}")
    put(storage, path, "bframes_open.mp4")
    replaced = time.monotonic()
    name = ".m3u8?hls_fmp4"
    eventually(
        lambda: client.get(f"/web{path}/{name}").headers["etag"] != before[name].headers["etag"],
        "the new version",
    )
    assert time.monotonic() - replaced < VALID + 5
    after = everything(client, f"/web{path}")
    assert {n: a.body for n, a in everything(client, path).items()} == {
        n: a.body for n, a in after.items()
    }


def test_no_answer_mixes_two_versions(client: Client, storage: Storage) -> None:
    """While the object is replaced all the time, also in the middle of an answer."""
    name = f"mixed_{next(COUNTER)}"
    path = f"/{name}.mp4"
    (storage.folder / f"{name}.ism").write_text(
        manifest(("audio", f"{name}.mp4", 64000), ("video", f"{name}.mp4", 200000))
    )
    versions = []
    files = ("bframes_closed.mp4", "bframes_open.mp4")
    for file in files:
        put(storage, path, file)
        versions.append(
            {n: answer.body for n, answer in everything(client, f"/{name}.ism").items()}
        )
    common = sorted(versions[0].keys() & versions[1].keys())
    assert len(common) > 10
    turn = itertools.count()
    seen: dict[int | str, int] = {}

    def replace(_: Asked) -> None:
        if next(turn) % 7 == 6:
            put(storage, path, files[next(turn) % 2])

    with storage.fault(path, Fault(before=replace)):
        end = time.monotonic() + 60
        for number in itertools.count():
            if (number >= 60 and seen.keys() >= {0, 1}) or time.monotonic() > end:
                break
            wanted = common[number % len(common)]
            answer = client.request(f"/web/{name}.ism/{wanted}")
            if answer.status == 200:
                found = [i for i, known in enumerate(versions) if known[wanted] == answer.body]
                assert found, f"{wanted} is of neither version"
                seen[found[0]] = seen.get(found[0], 0) + 1
            else:
                assert answer.status in (404, 502, 503), (wanted, answer.status, answer.body)
                seen[answer.status] = seen.get(answer.status, 0) + 1
    assert seen.keys() >= {0, 1}, seen


def test_media_on_another_server(world: World, client: Client) -> None:
    """Where it is allowed, by local and remote server manifests; and nowhere else."""
    other = world.other
    for folder, status in (("films", 200), ("private", 403)):
        src = f"{other.base}/{folder}/bframes_open.mp4"
        name = f"absolute_{folder}.ism"
        text = manifest(("audio", src, 64000), ("video", src, 200000))
        (world.storage.folder / name).write_text(text)
        for path in (f"/{name}", f"/web/{name}"):
            assert client.request(f"{path}/.mpd").status == status, path
    assert other.asked("/films/*")
    assert other.asked("/private/*") == []
    found = everything(client, "/web/absolute_films.ism")
    text = manifest(("audio", "bframes_open.mp4", 64000), ("video", "bframes_open.mp4", 200000))
    (world.storage.folder / "absolute_films.ism").write_text(text)
    local = everything(client, "/absolute_films.ism")
    assert {n: a.body for n, a in found.items()} == {n: a.body for n, a in local.items()}


def test_where_the_location_begins(world: World, client: Client) -> None:
    """The virtual path of the directive goes, the path of its URL comes, and names are encoded."""
    folder = world.storage.folder / "kept" / "in" / "a b"
    place(folder, "bframes_open.mp4", name="é+ü%20.mp4")
    local = client.get("/kept/in/a%20b/%C3%A9+%C3%BC%2520.mp4/.mpd")
    remote = client.get("/folder/a%20b/%C3%A9+%C3%BC%2520.mp4/.mpd")
    assert local.body == remote.body
    (asked,) = {one.target for one in world.storage.asked("/kept/in/*")}
    assert asked == "/kept/in/a%20b/%C3%A9%2B%C3%BC%2520.mp4"
    assert client.request("/folder/bframes_open.mp4/.mpd").status == 404


def test_files_that_are_sent_as_they_are_stored(client: Client, storage: Storage) -> None:
    """Fragments of Smooth Streaming, packaged HDS, and files that come before what is made."""
    folder = storage.folder / "as" / "stored"
    place(folder, "frag_piff.ismv")
    sources = ("audio", "frag_piff.ismv", 64000), ("video", "frag_piff.ismv", 200000)
    (folder / "piff.ism").write_text(manifest(*sources))
    stored = (folder / "frag_piff.ismv").read_bytes()
    for place_of, is_passed in (("stored", True), ("web", False)):
        path = f"/{place_of}/as/stored/piff.ism"
        (video,) = read_manifest(client.get(f"{path}/Manifest").body).of("video")
        fragment = client.get(f"{path}/{video.url(video.levels[0], video.chunks[1][0])}").body
        assert (fragment in stored) == is_passed

    path = "/stored/as/stored/piff.ism"
    (folder / "hello.m3u8").write_text("a file\n")
    assert client.get(f"{path}/hello.m3u8").text == "a file\n"
    assert client.get(f"{path}/other.m3u8").text.startswith("#EXTM3U")

    mdats = {number: (0, box(b"mdat", bytes([number]) * 500_000)) for number in (1, 2, 3)}
    packaged = package(folder, "video", mdats, full_box(b"abst", 0, 0, bytes(40)))
    for number, wanted in packaged.items():
        assert client.get(f"/stored/as/stored/videoSeg1-Frag{number}").body == wanted
    assert client.request("/stored/as/stored/videoSeg1-Frag4").status == 404


@pytest.mark.parametrize(
    "fault", [Fault(no_etag=True), Fault(weak_etag=True)], ids=["without", "weak"]
)
def test_storages_without_strong_entity_tags(
    client: Client, storage: Storage, fault: Fault
) -> None:
    path = fresh(storage, "two_audio.mp4")
    os.utime(storage.folder / path[1:], (1_000_000_000, 1_000_000_000))
    with storage.fault(path, fault):
        local, remote = everything(client, path), everything(client, f"/web{path}")
        assert {n: a.body for n, a in local.items()} == {n: a.body for n, a in remote.items()}
        assert [one for one in storage.asked(path) if "if-match" in one.headers] == []
        # By its size and the time of its change.
        etag = remote[".mpd"].headers["etag"]
        put(storage, path, "bframes_open.mp4")
        eventually(
            lambda: client.get(f"/web{path}/.mpd").headers["etag"] != etag, "the new version"
        )
        assert everything(client, f"/web{path}").keys() == everything(client, path).keys()


def test_nothing_is_published_there(client: Client, storage: Storage) -> None:
    """Live channels are on the disk."""
    count = len(storage.asked())
    for target in ("/web/one.isml/Streams(1)", "/web/one.isml", "/web/large.mp4/.mpd"):
        answer = client.request(target, method="POST", body=b"x")
        assert 400 <= answer.status < 500, (target, answer.status)
    assert {one.method for one in storage.asked()[count:]} <= {"GET"}


def test_dynamic_manifests(client: Client, storage: Storage) -> None:
    """A script says what there is, and for how long."""
    files = ["bframes_open.mp4"]
    path = "/script.ism"

    def write(_: Asked) -> bytes:
        return manifest(("video", files[0], 200000)).encode()

    for caching, is_kept in (("no-store", False), ("no-cache", False), ("max-age=600", True)):
        files[0] = "bframes_open.mp4"
        script = Fault(body=write, headers=(("Cache-Control", caching),))
        with storage.fault(path, script):
            storage.forget()
            first = client.get(f"/web{path}/.mpd?mpd_min_buffer_time={next(COUNTER)}")
            assert len(storage.asked(path)) == 1
            files[0] = "ladder_1.mp4"
            second = client.get(f"/web{path}/.mpd?mpd_min_buffer_time={next(COUNTER)}")
            assert ('height="90"' in second.text) == (not is_kept), caching
            assert len(storage.asked(path)) in ((1,) if is_kept else (2, 3))
            assert 'height="180"' in first.text
        path = f"/script_{next(COUNTER)}.ism"


def test_redirects(world: World, client: Client) -> None:
    """Within the host, and not for ever."""
    storage = world.storage
    target = fresh(storage, "bframes_open.mp4")
    moved = Fault(location=storage.url(target))
    with storage.fault("/moved_1.mp4", moved):
        local = everything(client, target, manifests=(".mpd",))
        # The name is that of the URL that was asked for.
        remote = everything(client, "/web/moved_1.mp4", manifests=(".mpd",))
        assert [a.body for n, a in segments(local).items()] == [
            a.body for n, a in segments(remote).items()
        ]
    with storage.fault("/moved_2.mp4", Fault(location=storage.url("/moved_2.mp4"))):
        assert client.request("/web/moved_2.mp4/.mpd").status == 502
        assert 1 <= len(storage.asked("/moved_2.mp4")) <= 20
    world.other.forget()
    elsewhere = Fault(location=world.other.url("/films/bframes_open.mp4"))
    with storage.fault("/moved_3.mp4", elsewhere):
        assert client.request("/web/moved_3.mp4/.mpd").status == 502
    assert world.other.asked() == []
