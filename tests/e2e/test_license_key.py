"""License keys and the real stack: without a valid one nothing streams, a reload brings it."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.license.signing import new_issuer
from tests.support.http import Response
from tests.support.license import DAY, issued, issuer
from tests.support.media import place
from tests.support.stack import Stack, eventually, start

SENTENCE = "streaming needs a license key: "
# Every way to media, and an asset that is not there.
STREAMS = (
    "/clip.mp4/.m3u8",
    "/clip.mp4/.mpd",
    "/clip.mp4/Manifest",
    "/clip.mp4/.f4m",
    "/clip.mp4",
    "/absent.mp4/.mpd",
)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An instance that knows the issuer of the tests and has no key."""
    media = tmp_path_factory.mktemp("license_media")
    place(media, "bframes_closed.mp4", name="clip.mp4")
    (media / "page.html").write_text("a page")
    run = tmp_path_factory.mktemp("license_run")
    (run / "license").mkdir()
    (run / "license" / "issuer.pub").write_bytes(issuer().public_pem)
    running = start(run, media, workers=1)
    try:
        yield running
    finally:
        running.stop()


def key_file(own: Stack) -> Path:
    return own.run / "license" / "license.key"


def get(own: Stack, path: str, **headers: str) -> Response:
    """The answer on a new connection: those of before a reload stay with workers of before."""
    client = own.client()
    try:
        return client.request(path, headers=headers)
    finally:
        client.close()


def reload(own: Stack, key: str | bytes | None) -> None:
    """Puts a key in place (None = none), reloads nginx, and waits for the new workers."""
    file = key_file(own)
    if file.is_dir():
        file.rmdir()
    else:
        file.unlink(missing_ok=True)
    if key is not None:
        file.write_bytes(key.encode() if isinstance(key, str) else key)
    reload_as_it_is(own)


def reload_as_it_is(own: Stack) -> None:
    before = nginx_log(own).count("exited with code")
    os.kill(own.pid("nginx"), signal.SIGHUP)
    workers = (own.run / "openresty.conf").read_text()
    count = os.cpu_count() if "worker_processes auto" in workers else 1
    eventually(
        lambda: nginx_log(own).count("exited with code") >= before + (count or 1), "a reload"
    )


def nginx_log(own: Stack) -> str:
    return (own.run / "logs" / "error.log").read_text()


def said(own: Stack) -> list[str]:
    """What nginx's log says of keys."""
    return re.findall(rf"origin: ({SENTENCE}.*?\))", nginx_log(own))


def test_without_a_key(own: Stack) -> None:
    """The start goes on, and all that needs no key."""
    for path in STREAMS:
        answer = get(own, path)
        assert (answer.status, answer.text) == (403, f"{SENTENCE}the key cannot be read\n"), path
    head = own.client().request("/clip.mp4/.mpd", method="HEAD")
    assert head.status == 403
    assert get(own, "/page.html").text == "a page"
    assert get(own, "/clip.ismv").status in (403, 404)
    assert own.admin.request("/healthz").status == 200
    missing = "(usp_license_key license/license.key: No such file or directory)"
    assert said(own) == [f"{SENTENCE}the key cannot be read {missing}"], "once, for all of them"
    assert own.log().count("no license") == 1


def test_a_key_comes_and_goes_with_reloads(own: Stack) -> None:
    reload(own, issued("vod"))
    for path in STREAMS[:-1]:
        assert get(own, path).status == 200, path
    assert get(own, STREAMS[-1]).status == 404
    served = get(own, "/clip.mp4/.mpd")

    reload(own, issued("vod", ends=-1))
    for path in STREAMS:
        answer = get(own, path)
        assert (answer.status, answer.text) == (403, f"{SENTENCE}the key has expired\n")
    unchanged = get(own, "/clip.mp4/.mpd", **{"If-None-Match": served.headers["etag"]})
    assert unchanged.status == 403, "what was in the cache is not served on"
    assert said(own)[-1] == (f"{SENTENCE}the key has expired (usp_license_key license/license.key)")
    assert len(said(own)) == 2

    reload(own, issued("vod", "drm").replace("\n", " \r\n"))
    assert get(own, "/clip.mp4/.mpd").body == served.body
    assert len(said(own)) == 2


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (issued("vod", begins=DAY), "the key is not valid yet"),
        (issued("live"), "the key does not include the feature vod"),
        (issued(by=new_issuer()), "the issuer of the key is not trusted here"),
        (
            issued("vod").replace("the tests", "a pirate"),
            "the key is not what its issuer has signed",
        ),
        ("no key", "the key is damaged"),
        (b"\0" * 10_000_000, "the key cannot be read"),
    ],
    ids=["early", "feature", "issuer", "changed", "damaged", "zeros"],
)
def test_keys_that_are_refused(own: Stack, key: str | bytes, why: str) -> None:
    reload(own, key)
    answer = get(own, "/clip.mp4/.mpd")
    assert (answer.status, answer.text) == (403, f"{SENTENCE}{why}\n")
    assert said(own)[-1].startswith(f"{SENTENCE}{why} (")
    if isinstance(key, str):
        parts = [line for line in key.split() if len(line) > 30]
        assert not any(part in own.log() for part in parts), "no key in any log"


def test_what_is_no_file_stops_no_reload(own: Stack) -> None:
    reload(own, None)
    os.mkfifo(key_file(own))
    reload_as_it_is(own)
    assert get(own, "/clip.mp4/.mpd").status == 403
    key_file(own).unlink()
    key_file(own).mkdir()
    reload_as_it_is(own)
    assert get(own, "/clip.mp4/.mpd").status == 403
    assert "license.key: Is a directory" in said(own)[-1]


def planned(own: Stack) -> list[str]:
    """Paths of a playlist and its segments, each of which was answered; none when one was not."""
    master = get(own, "/clip.mp4/.m3u8?hls_fmp4")
    playlists = [line for line in master.text.splitlines() if line[:1] not in ("", "#")]
    if master.status != 200:
        return []
    lines = get(own, f"/clip.mp4/{playlists[0]}").text.splitlines()
    segments = [line for line in lines if ".m4s" in line and not line.startswith("#")]
    paths = [f"/clip.mp4/{path}" for path in (playlists[0], *segments)]
    return paths if all(get(own, path).status == 200 for path in paths) else []


def test_what_was_planned_ends_with_the_key(own: Stack) -> None:
    # A busy machine needs more time before the end than it is worth to wait for elsewhere.
    for seconds in (3, 10, 60):
        reload(own, issued("vod", ends=seconds))
        ends = int(time.time()) + seconds
        if paths := planned(own):
            break
    assert len(paths) > 1
    assert "the license key expires soon" in own.log()
    time.sleep(max(0.0, ends + 0.1 - time.time()))
    for path in paths:
        answer = get(own, path)
        assert (answer.status, answer.text) == (403, f"{SENTENCE}the key has expired\n"), path
