"""HTTP/2 over TLS: the same openresty.conf with one other listen line."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.front import front
from tests.support.hls import read_master, read_media
from tests.support.http import Client
from tests.support.stack import Stack, free_port
from tests.support.tls import listen


@pytest.fixture(scope="module")
def secure(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of a second nginx in front of the same sidecar, with TLS and HTTP/2."""
    missing = [tool for tool in ("openssl", "curl", "h2load") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    root, port = tmp_path_factory.mktemp("h2"), free_port()

    def edit(text: str) -> str:
        assert text.count("        root media;\n") == 1
        return text.replace("        root media;\n", f"        root media;\n{listen(root, port)}")

    with front(stack, root, edit):
        yield f"https://127.0.0.1:{port}"


def curl(url: str, *options: str) -> tuple[str, str, bytes]:
    """(status, HTTP version, body)."""
    run = subprocess.run(
        [
            "curl",
            "-sk",
            "--http2",
            "--path-as-is",
            "-w",
            "\n%{http_code} %{http_version}",
            *options,
            url,
        ],
        capture_output=True,
        check=False,
        timeout=120,
    )
    body, _, line = run.stdout.rpartition(b"\n")
    status, version = line.decode().split()
    return status, version, body


@pytest.fixture(scope="module")
def segment(stack: Stack) -> str:
    client = stack.client()
    url = f"{stack.base}/ladder.ism/.m3u8?hls_fmp4"
    playlist_url = read_master(client.get(url).text, url).variants[-1]["URI"]
    playlist = read_media(client.get(playlist_url).text, playlist_url)
    client.close()
    return playlist.segments[0].url.removeprefix(stack.base)


def test_the_same_answers(client: Client, secure: str, segment: str) -> None:
    for path in ("/ladder.ism/.m3u8", "/ladder.ism/.mpd", segment, "/two_audio.ism/.mpd"):
        status, version, body = curl(secure + path)
        assert (status, version) == ("200", "2")
        assert body == client.get(path).body


def test_conditions_ranges_and_errors(client: Client, secure: str, segment: str) -> None:
    whole = client.get(segment)
    etag = whole.headers["etag"]
    assert curl(secure + segment, "-H", f"If-None-Match: {etag}")[0] == "304"
    status, version, body = curl(secure + segment, "-r", "100-299")
    assert (status, version, body) == ("206", "2", whole.body[100:300])
    assert curl(secure + segment, "-I")[:2] == ("200", "2")
    assert curl(secure + "/none.ism/.mpd")[0] == "404"
    assert curl(secure + segment, "-X", "DELETE")[0] == "405"
    assert curl(secure + segment, "-X", "OPTIONS")[0] in {"200", "204"}
    assert curl(secure + segment, "-X", "POST", "-d", "x" * 1000)[0] == "405"


def test_many_streams_of_one_connection(secure: str, segment: str) -> None:
    run = subprocess.run(
        [
            "h2load",
            "-n",
            "600",
            "-c",
            "4",
            "-m",
            "32",
            secure + segment,
            f"{secure}/ladder.ism/.mpd",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "600 succeeded, 0 failed, 0 errored, 0 timeout" in run.stdout, run.stdout
    assert "status codes: 600 2xx" in run.stdout


def test_a_client_that_leaves(secure: str, stack: Stack) -> None:
    for _ in range(5):
        subprocess.run(
            [
                "curl",
                "-sk",
                "--http2",
                "--limit-rate",
                "1000",
                "--max-time",
                "0.3",
                f"{secure}/two_audio.ism/.mpd?mpd_minimum_fragment_length=3",
            ],
            capture_output=True,
            check=False,
        )
    assert curl(f"{secure}/two_audio.ism/.mpd")[0] == "200"
