"""Directives through the whole stack: one instance with a location for each."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.f4f import package
from tests.support.http import Client
from tests.support.media import ROOT, place
from tests.support.smooth import read_manifest
from tests.support.stack import Stack, children, eventually, free_port, origin

# Object -> its directives, or what it is made of.
OBJECTS = {
    "passing": "[[ usp_handle_ism on; usp_iss_pass_through on; ]]",
    "static": "[[ usp_handle_ism on; usp_prefer_static on; ]]",
    "only": "[[ usp_handle_ism on; usp_skip_rewrite on; ]]",
    "hds": "[[ usp_handle_f4f; ]]",
    "unmapped": "[[ usp_handle_ism on; usp_disable_mmap on; ]]",
    "depth": "[[ usp_handle_ism on; usp_dynamic_time_shift_buffer_depth on; ]]",
    "allowed": "[[ usp_handle_ism on; origin_allow_src {archive}; ]]",
    "nothing": "[[ usp_handle_ism off; ]]",
    "alone": "[[ usp_handle_ism on; origin_read_ahead 0; ]]",
    "statuses": """[[
            usp_handle_ism on;
            origin_cors off;
            origin_status FMP4_FRAGMENT_NOT_AVAILABLE mpd 204;
            origin_status FMP4_FRAGMENT_NOT_AVAILABLE * 410;
        ]]""",
    "child": "(statuses, [[ origin_status FMP4_FRAGMENT_NOT_AVAILABLE mpd 404; ]])",
}
REWRITING = r"""
        location ^~ /example/ {
            rewrite ^(/example/.*\.(?:ism|mp4))/(.*)$ $1?file=$2 break;
            content_by_lua_block { only:content() }
        }
"""
FOLDERS = ("plain", "example", *OBJECTS)


def configured(text: str, archive: Path) -> str:
    """openresty.conf with a location ``/name/`` for each of the objects, and ``/example/``."""
    objects = "".join(
        f"        {name} = origin.location{made.replace('{archive}', str(archive))}\n"
        for name, made in OBJECTS.items()
    )
    locations = "".join(
        f"        location ^~ /{name}/ {{ content_by_lua_block {{ {name}:content() }} }}\n"
        for name in OBJECTS
    )
    text, blocks = re.subn(r"( +vod = origin\.location.*\n)", rf"\g<1>{objects}", text)
    text, roots = re.subn(
        r"(        root media;\n)", lambda found: found[1] + locations + REWRITING, text
    )
    # Each request's line at once.
    text, logs = re.subn(r"(access_log logs/access\.log \w+) buffer=\w+ flush=\w+;", r"\1;", text)
    assert (blocks, roots, logs) == (1, 1, 1)
    return text


def manifest(folder: Path, name: str, source: Path) -> str:
    done = origin("create", "-o", folder / name, source)
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / name).read_text()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The instance; the same files in the folder of each location, others in ``archive``."""
    top = tmp_path_factory.mktemp("directives")
    media, archive = top / "media", top / "archive"
    place(media / "plain", "bframes_closed.mp4", name="a.mp4")
    place(media / "plain", "frag_piff.ismv")
    place(archive, "bframes_closed.mp4", name="b.mp4")
    place(top, "bframes_closed.mp4", name="secret.mp4")
    manifest(media / "plain", "piff.ism", media / "plain" / "frag_piff.ismv")
    (media / "plain" / "hello.m3u8").write_text("a file\n")
    for folder in FOLDERS[1:]:
        (media / folder).mkdir()
        for file in ("a.mp4", "frag_piff.ismv", "piff.ism", "hello.m3u8"):
            (media / folder / file).symlink_to(f"../plain/{file}")
    (top / "conf").mkdir()
    (top / "conf" / "lua").symlink_to(ROOT / "lua")
    conf = top / "conf" / "openresty.conf"
    conf.write_text(configured((ROOT / "openresty.conf").read_text(), archive))
    port = free_port()
    done = origin(
        *("start", "--run", top / "run", "--port", str(port), "--media", media),
        *("--workers", "1", "--conf", conf),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    running = Stack(base=f"http://127.0.0.1:{port}", run=top / "run", media=media)
    try:
        yield running
    finally:
        running.stop()


def plan_of(stack: Stack, target: str) -> str:
    """Where the plan of the one request for ``target`` came from."""
    line = re.compile(rf'"GET {re.escape(target)} HTTP/1.1" \d+ \d+ \S+ \S+ \S+ (\S+)')

    def found() -> list[str]:
        return line.findall(stack.access_log())

    # A request is logged when it has ended, after its answer.
    eventually(lambda: bool(found()), f"a line for {target}")
    (source,) = found()
    return source


def segments(client: Client, path: str) -> list[str]:
    """DASH segments of the video of ``path``, numbered, as paths."""
    text = client.get(f"{path}/.mpd?mpd_segment_template=number").text
    (bandwidth,) = re.findall(r'id="video=(\d+)"', text)
    return [f"{path}/dash/a-video={bandwidth}-{number}.m4s" for number in range(1, 4)]


def test_usp_license_key(stack: Stack, client: Client) -> None:
    """The configuration as it is shipped has one, which streams."""
    assert "usp_license_key" in (stack.run / "openresty.conf").read_text()
    assert client.get("/plain/a.mp4/.mpd").status == 200


def test_usp_handle_ism(client: Client) -> None:
    for path in ("a.mp4/.mpd", "a.mp4/.m3u8", "piff.ism/Manifest", "a.mp4"):
        assert client.request(f"/plain/{path}").status == 200, path
        refused = client.request(f"/nothing/{path}")
        assert (refused.status, refused.text) == (404, "Nothing is served under this name.\n")


def test_usp_iss_pass_through(stack: Stack, client: Client) -> None:
    stored = (stack.media / "plain" / "frag_piff.ismv").read_bytes()
    bodies = []
    for folder in ("passing", "plain"):
        listed = read_manifest(client.get(f"/{folder}/piff.ism/Manifest").body)
        (video,) = listed.of("video")
        url = video.url(video.levels[0], video.chunks[0][0])
        bodies.append(client.get(f"/{folder}/piff.ism/{url}").body)
    passed, made = bodies
    assert passed in stored
    assert made not in stored


def test_usp_prefer_static(client: Client) -> None:
    static = client.get("/static/a.mp4/hello.m3u8")
    assert (static.status, static.text) == (200, "a file\n")
    assert client.get("/plain/a.mp4/hello.m3u8").text.startswith("#EXTM3U")
    assert client.get("/static/a.mp4/other.m3u8").text.startswith("#EXTM3U")


def test_usp_skip_rewrite_off(stack: Stack, client: Client) -> None:
    """Both forms are one plan."""
    answer = client.get("/plain/a.mp4/.mpd?mpd_segment_template=number")
    for query in (
        "file=.mpd&mpd_segment_template=number",
        "mpd_segment_template=number&file=%2Empd",
    ):
        again = client.get(f"/plain/a.mp4?{query}")
        assert again.body == answer.body
        assert again.headers["etag"] == answer.headers["etag"]
        assert plan_of(stack, f"/plain/a.mp4?{query}") in ("hit", "shared")
    listed = client.get("/plain/piff.ism/Manifest").body
    assert client.get("/plain/piff.ism?file=Manifest").body == listed
    # Without it they are what they always are.
    assert client.get("/plain/a.mp4").headers["content-type"] == "video/mp4"
    assert client.request("/plain/piff.ism").status == 403


def test_usp_skip_rewrite_on(client: Client) -> None:
    answer = client.get("/plain/a.mp4/.mpd")
    assert client.get("/only/a.mp4?file=.mpd").body == answer.body
    assert client.request("/only/a.mp4/.mpd").status == 404
    assert client.request("/only/a.mp4/.mpd?file=.mpd").status == 404
    assert client.get("/only/a.mp4").body == client.get("/plain/a.mp4").body


def test_usp_skip_rewrite_and_an_administrators_own(client: Client) -> None:
    """The snippet ``location ^~ /example/``: nginx rewrites, queries and escapes included."""
    for target in (
        "a.mp4/.m3u8",
        "a.mp4/.mpd?mpd_segment_template=number",
        "piff.ism/%4danifest",
        "a.mp4/a%20b%2Bc%26d.m3u8",
    ):
        answer = client.get(f"/plain/{target}")
        assert (answer.status, client.get(f"/example/{target}").body) == (200, answer.body)
    for segment in segments(client, "/example/a.mp4"):
        there = client.get(segment.replace("/example/", "/plain/"))
        assert client.get(segment).body == there.body


@pytest.mark.parametrize("place", ["plain", "only"])
@pytest.mark.parametrize(
    "query",
    [
        "file=",
        "file=../plain/a.mp4/.mpd",
        "file=%2e%2e",
        "file=.mpd&file=.mpd",
        "file=%00",
        "file=%",
    ],
)
def test_usp_skip_rewrite_refuses(client: Client, place: str, query: str) -> None:
    answer = client.request(f"/{place}/a.mp4?{query}")
    assert (answer.status, answer.text) == (400, "The URL is not valid.\n")


def test_usp_handle_f4f(stack: Stack, client: Client) -> None:
    (fragment,) = package(
        stack.media / "hds", "video", {1: (0, b"\0\0\0\x0cmdatdata")}, b"\0\0\0\x09abst\0"
    ).values()
    assert client.get("/hds/videoSeg1-Frag1").body == fragment
    assert client.request("/hds/videoSeg1-Frag2").status == 404
    assert client.request("/hds/a.mp4/.mpd").status == 404


def test_usp_dynamic_time_shift_buffer_depth(client: Client) -> None:
    """Concerns live presentations only."""
    text = client.get("/depth/a.mp4/.mpd").text
    assert text == client.get("/plain/a.mp4/.mpd").text
    assert "timeShiftBufferDepth" not in text


@pytest.mark.parametrize("folder", ["unmapped", "plain"])
def test_usp_disable_mmap_and_a_truncated_file(stack: Stack, client: Client, folder: str) -> None:
    """Costs its own requests, and nobody else's, with the directive and without it."""
    file = stack.media / folder / "shorter.mp4"
    file.write_bytes((stack.media / "plain" / "a.mp4").read_bytes())
    listed = [one.replace("/a-", "/shorter-") for one in segments(client, f"/{folder}/shorter.mp4")]
    first, *_, last = listed
    assert client.get(first).status == 200
    before = children(stack.pid("sidecar")), len(stack.log())
    with others(stack) as statuses:
        eventually(lambda: len(statuses) > 20, "answers to others")
        os.truncate(file, file.stat().st_size // 3)
        for _ in range(3):
            answer = client.request(last)
            assert answer.status == 415
            assert re.fullmatch(r"[^\n/]+\n", answer.text), answer.text
        so_far = len(statuses)
        eventually(lambda: len(statuses) > so_far + 20, "answers to others")
    assert set(statuses) == {200}
    assert children(stack.pid("sidecar")) == before[0]
    logged = stack.log()[before[1] :]
    assert "Traceback" not in logged
    assert "exited" not in logged


@contextlib.contextmanager
def others(stack: Stack) -> Iterator[list[int]]:
    """Clients that have the sidecar plan something, for the length of a block; their statuses."""
    statuses: list[int] = []
    stop = threading.Event()

    def ask(first: int) -> None:
        client = stack.client()
        for number in itertools.count(first, 2):
            if stop.is_set():
                break
            # Each another plan.
            target = f"/plain/a.mp4/.mpd?mpd_min_buffer_time={number % 3_000_000}/1000"
            statuses.append(client.request(target).status)
        client.close()

    threads = [threading.Thread(target=ask, args=(first,)) for first in (1, 2)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_origin_allow_src(stack: Stack, client: Client) -> None:
    archive = stack.media.parent / "archive"
    (archive / "out.mp4").symlink_to("../secret.mp4")
    text = manifest(archive, "b.ism", archive / "b.mp4")
    assert text.count('src="b.mp4"')

    def ask(folder: str, name: str, src: str) -> Callable[[str], int]:
        written = text.replace('src="b.mp4"', f'src="{src}"')
        (stack.media / folder / f"{name}.ism").write_text(written)
        return lambda virtual_path: client.request(f"/{folder}/{name}.ism/{virtual_path}").status

    for name, src in (("absolute", f"{archive}/b.mp4"), ("relative", "../../archive/b.mp4")):
        assert ask("allowed", name, src)(".mpd") == 200
        assert ask("plain", name, src)(".mpd") == 403
        playlist = client.get(f"/allowed/{name}.ism/.m3u8").text
        (media,) = [line for line in playlist.splitlines() if "video" in line and line[0] != "#"]
        (first, *_) = [
            line
            for line in client.get(f"/allowed/{name}.ism/{media}").text.splitlines()
            if not line.startswith("#") and line
        ]
        segment = client.get(f"/allowed/{name}.ism/{first}")
        assert segment.status == 200 and len(segment.body) > 10_000
    for name, src in (
        ("link", f"{archive}/out.mp4"),
        ("parent", f"{archive}/../secret.mp4"),
        ("outside", f"{stack.media.parent}/secret.mp4"),
        ("absent", f"{stack.media.parent}/absent.mp4"),
    ):
        assert ask("allowed", name, src)(".mpd") == 403, name
        assert str(archive.parent) not in client.request(f"/allowed/{name}.ism/.mpd").text


def test_origin_status(client: Client) -> None:
    """By the format, by all formats, and by the parent where a location says nothing itself."""
    found: dict[tuple[str, str], int] = {}
    for folder in ("plain", "statuses", "child"):
        segment = segments(client, f"/{folder}/a.mp4")[0]
        beyond = re.sub(r"-1\.m4s$", "-9999.m4s", segment)
        found[folder, "mpd"] = client.request(beyond).status
        found[folder, "hls"] = client.request(beyond.replace("/dash/", "/hls/")).status
    assert found == {
        ("plain", "mpd"): 404,
        ("plain", "hls"): 404,
        ("statuses", "mpd"): 204,
        ("statuses", "hls"): 410,
        ("child", "mpd"): 404,
        ("child", "hls"): 410,
    }


def test_origin_cors(client: Client) -> None:
    name = "access-control-allow-origin"
    assert client.get("/plain/a.mp4/.mpd").headers[name] == "*"
    for folder in ("statuses", "child"):
        assert name not in client.get(f"/{folder}/a.mp4/.mpd").headers


def test_origin_read_ahead(stack: Stack, client: Client) -> None:
    for folder, sources in (("alone", {"sidecar"}), ("depth", {"hit", "shared", "wait"})):
        first, *following = segments(client, f"/{folder}/a.mp4")
        for path in (first, *following):
            assert client.get(path).status == 200
        assert {plan_of(stack, path) for path in following} <= sources, folder
