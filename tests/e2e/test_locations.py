"""Each location of openresty.conf, as it is shipped, from end to end."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from tests.support.http import Client
from tests.support.raw_http import connect
from tests.support.stack import Stack

CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, HEAD, OPTIONS",
    "access-control-allow-headers": "origin, range",
    "access-control-expose-headers": (
        "Server, range, Content-Length, Content-Range, Date, ETag, Link"
    ),
}
MANIFESTS = {
    "/ladder.ism/.m3u8": "application/vnd.apple.mpegurl",
    "/ladder.ism/.mpd": "application/dash+xml",
    "/ladder.ism/Manifest": "application/vnd.ms-sstr+xml",
    "/ladder.ism/.f4m": "application/f4m+xml",
}


def port_of(stack: Stack) -> int:
    return int(stack.base.rpartition(":")[2])


@pytest.mark.parametrize("path", MANIFESTS)
def test_on_demand(client: Client, path: str) -> None:
    """location ~ \\.[is]sml?/"""
    answer = client.get(path)
    assert answer.headers["content-type"].partition(";")[0] == MANIFESTS[path]
    assert CORS.items() <= answer.headers.items()
    preflight = client.request(path, method="OPTIONS")
    assert (preflight.status, preflight.body) == (204, b"")
    assert CORS.items() <= preflight.headers.items()


def test_media_files_as_presentations_and_as_downloads(client: Client) -> None:
    """location ~ \\.(mp4)$ matches in any folder, also below a server manifest."""
    assert client.get("/bframes_closed.mp4/.m3u8").text.startswith("#EXTM3U")
    for path in ("/bframes_closed.mp4", "/ladder.ism/film.mp4"):
        whole = client.get(path)
        assert whole.headers["content-type"] == "video/mp4"
        part = client.request(path, headers={"Range": "bytes=4-7"})
        assert (part.status, part.body) == (206, b"ftyp")


@pytest.fixture(scope="module")
def channel(stack: Stack) -> Path:
    """The folder of a channel, below the root of live channels."""
    folder = stack.run / "live" / "channels" / "one"
    folder.mkdir(parents=True)
    for name in ("ladder.ism", "ladder_audio.mp4", "ladder_1.mp4", "ladder_2.mp4", "ladder_3.mp4"):
        shutil.copyfile(stack.media / name, folder / name)
    (folder / "one.isml").write_text("<smil/>")
    return folder


def test_channels_have_a_root_of_their_own(client: Client, stack: Stack, channel: Path) -> None:
    path = "/channels/one/ladder.ism/.mpd"
    assert client.get(path).body == client.get("/ladder.ism/.mpd").body
    for elsewhere in ("/one/ladder.ism/.mpd", "/live/channels/one/ladder.ism/.mpd"):
        assert client.request(elsewhere).status == 404
    channel.rename(channel.with_name("two"))
    try:
        assert client.request("/channels/one/ladder.ism/.m3u8").status == 404
    finally:
        channel.with_name("two").rename(channel)


def test_channels_without_their_folder_are_not_found(client: Client) -> None:
    assert client.request("/channels/none/none.ism/.mpd").status == 404
    assert client.request("/channels/none/none.isml/.mpd").status == 404


def test_the_start_sequence_of_encoders(client: Client, channel: Path) -> None:
    """location ~* \\.[is]sml?$: POST and PUT get through, and nothing else does."""
    path = "/channels/one/new.isml"
    for method in ("POST", "PUT"):
        assert client.request(path, method=method, body=b"").status == 200
    for method in ("GET", "HEAD", "DELETE", "OPTIONS"):
        assert client.request(path, method=method).status == 403, method
    assert client.request(f"{path}?file=.mpd").status == 403
    other = client.request("/channels/one/NEW.ISML", method="POST", body=b"")
    assert other.status == 405, "names of publishing points end in lower case"
    assert other.headers["allow"] == "GET, HEAD, OPTIONS"
    assert other.headers["content-type"] == "text/plain; charset=utf-8"
    assert other.text == "Only GET, HEAD and OPTIONS are answered here.\n"


@pytest.mark.parametrize(
    "path", ["/channels/one/one.isml/.mpd", "/ladder.ism/Streams(1)", "/ladder.isml/other"]
)
def test_what_encoders_send_is_refused_and_the_connection_goes_on(
    stack: Stack, channel: Path, path: str
) -> None:
    """A body in chunks, as of an encoder, that nobody wants is not taken for the next request."""
    hidden = "GET /hidden.ism/.mpd HTTP/1.1\r\n\r\n"
    with connect(port_of(stack)) as connection:
        refused, after = connection.ask(
            f"POST {path}\nTransfer-Encoding: chunked\n\n{len(hidden):x}\r\n{hidden}\r\n0\r\n\r\n",
            "HEAD /ladder.ism/.mpd\n\n",
        )
    assert refused.status == 405
    assert refused.all("allow") == ["GET, HEAD, OPTIONS"]
    assert after.status == 200


def test_only_ingest_takes_large_bodies(stack: Stack) -> None:
    """The limit holds before the body comes: Content-Length says enough."""
    for path, status in (
        ("/channels/one/one.isml/.mpd", 405),
        ("/ladder.isml/.mpd", 405),
        ("/ladder.ism/.mpd", 413),
        ("/ladder.ism", 413),
        ("/plain.txt", 413),
    ):
        with connect(port_of(stack)) as connection:
            connection.send(f"POST {path}\nContent-Length: 99999999999\n\n")
            assert connection.read().status == status, path


def test_server_manifests(client: Client) -> None:
    """Not for download, but for the rewritten form of requests."""
    plain = client.request("/ladder.ism")
    assert (plain.status, plain.text) == (403, "Server manifests are not for download.\n")
    assert client.request("/ladder.ism?other=1").status == 403
    for virtual_path in (".m3u8", ".mpd", "Manifest"):
        direct = client.get(f"/ladder.ism/{virtual_path}")
        rewritten = client.get(f"/ladder.ism?file={virtual_path}")
        assert (rewritten.body, rewritten.headers["etag"]) == (direct.body, direct.headers["etag"])
    assert client.request("/ladder.ism?file=.mpd", method="OPTIONS").status == 204
    assert client.request("/ladder.ism?file=.mpd", method="POST").status == 403
    assert client.request("/ladder.ism", method="PUT").status == 403
    assert client.request("/LADDER.ISM").status == 404


@pytest.mark.parametrize("ending", ["ismv", "isma", "ismt", "cmfv", "cmfa", "cmft"])
def test_source_media_are_denied(client: Client, stack: Stack, ending: str) -> None:
    """location ~ \\.(ismv|isma|ismt)$ { deny all; }, whether they exist or not."""
    (stack.media / f"denied.{ending}").write_bytes(b"media")
    for name in ("denied", "none"):
        answer = client.request(f"/{name}.{ending}")
        assert answer.status == 403
        assert b"media" not in answer.body


@pytest.mark.parametrize("name", ["x.db3", "x.db3-wal", "x.db3-shm", "x.db3-stamp", "x.cmfm", ".x"])
def test_files_that_are_nobodys_business(client: Client, stack: Stack, name: str) -> None:
    (stack.media / name).write_bytes(b"secret")
    assert client.request(f"/{name}").status == 404


def test_presentations_that_are_nobodys_business(client: Client, stack: Stack) -> None:
    hidden = stack.media / ".uploads" / "a.mp4"
    hidden.parent.mkdir()
    for file in (hidden, stack.media / ".a.mp4"):
        shutil.copyfile(stack.media / "ladder_audio.mp4", file)
        url = f"/{file.relative_to(stack.media)}"
        for asked in (url, f"{url}/.m3u8", f"{url}/Manifest", f"{url}?file=.mpd"):
            assert client.request(asked).status == 404, asked


def test_plain_files_are_for_players_on_other_hosts(client: Client, stack: Stack) -> None:
    (stack.media / "captions").mkdir(exist_ok=True)
    (stack.media / "captions" / "en.vtt").write_text("WEBVTT\n")
    answer = client.request("/captions/en.vtt", headers={"Origin": "http://player.example"})
    assert (answer.status, answer.text) == (200, "WEBVTT\n")
    assert answer.headers["content-type"] == "text/vtt"
    assert CORS.items() <= answer.headers.items()
    for path in ("/captions/en.vtt", "/captions/none.vtt"):
        preflight = client.request(path, method="OPTIONS")
        assert (preflight.status, preflight.body) == (204, b"")
        assert CORS.items() <= preflight.headers.items()
        assert preflight.headers["access-control-max-age"] == "86400"
    missing = client.request("/captions/none.vtt")
    assert missing.status == 404
    assert CORS.items() <= missing.headers.items(), "a page may see that it is missing"
    part = client.request("/captions/en.vtt", headers={"Range": "bytes=0-2"})
    assert (part.status, part.body) == (206, b"WEB")
    for method in ("POST", "PUT", "DELETE"):
        assert client.request("/captions/en.vtt", method=method).status == 403
    assert client.request("/captions/").status == 403


def test_a_folder_that_is_called_like_media_hides_plain_files(client: Client, stack: Stack) -> None:
    folder = stack.media / "films.mp4"
    folder.mkdir(exist_ok=True)
    (folder / "poster.jpg").write_bytes(b"jpeg")
    assert client.request("/films.mp4/poster.jpg").status == 404
    if not (folder / "ladder.ism").exists():
        (folder / "ladder.ism").symlink_to("../ladder.ism")
    assert client.get("/films.mp4/ladder.ism/.m3u8").status == 200


@pytest.mark.parametrize("path", MANIFESTS)
def test_manifests_are_compressed_for_those_who_ask(client: Client, path: str) -> None:
    plain = client.get(f"{path}?hls_fmp4")
    assert len(plain.body) >= 1000
    assert plain.headers["vary"] == "Accept-Encoding"
    tag = plain.headers["etag"]
    assert tag.startswith('"')
    # A cache in between says Via.
    path = f"{path}?hls_fmp4"
    asked = {"Accept-Encoding": "gzip", "Via": "1.1 cache"}
    packed = client.request(path, headers=asked)
    assert packed.status == 200
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-length" not in packed.headers
    assert "accept-ranges" not in packed.headers
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 2
    assert packed.headers["etag"] == f"W/{tag}"
    same = client.request(path, headers=asked | {"If-None-Match": packed.headers["etag"]})
    assert (same.status, same.body) == (304, b"")
    part = client.request(path, headers=asked | {"Range": "bytes=0-9"})
    assert (part.status, part.body) == (206, plain.body[:10])
    assert "content-encoding" not in part.headers


def test_media_are_not_compressed(client: Client) -> None:
    for path in ("/bframes_closed.mp4", "/ladder.ism/dash/ladder-audio=64000.dash"):
        answer = client.request(path, headers={"Accept-Encoding": "gzip"})
        assert "content-encoding" not in answer.headers
        assert "vary" not in answer.headers
