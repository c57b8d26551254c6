"""HTTP as clients and caches use it, on the real stack."""

from __future__ import annotations

import email.utils
import os
import urllib.parse

import pytest

from tests.support.frames import probe
from tests.support.hls import read_master, read_media
from tests.support.http import Client
from tests.support.media import place
from tests.support.mpd import read
from tests.support.stack import Stack

ASSET = "/ladder.ism"


@pytest.fixture
def urls(client: Client, stack: Stack) -> dict[str, str]:
    """One URL of each kind, by kind."""
    found = {"master": f"{ASSET}/.m3u8?hls_fmp4", "mpd": f"{ASSET}/.mpd"}
    master_url = f"{stack.base}{found['master']}"
    master = read_master(client.get(master_url).text, master_url)
    playlist_url = master.variants[0]["URI"]
    playlist = read_media(client.get(playlist_url).text, playlist_url)
    found["iframes"] = master.iframes[0]["URI"]
    found |= {"playlist": playlist_url, "hls init": playlist.map}
    found["hls segment"] = playlist.segments[0].url
    mpd_url = f"{stack.base}{ASSET}/.mpd"
    manifest = read(client.get(mpd_url).body, mpd_url)
    for representation in manifest.representations:
        kind = representation.content_type
        found[f"dash {kind} init"] = representation.init
        found[f"dash {kind} segment"] = representation.segments[1].url
    return {kind: url.removeprefix(stack.base) for kind, url in found.items()}


KINDS = {
    "master": "application/vnd.apple.mpegurl",
    "mpd": "application/dash+xml",
    "iframes": "application/vnd.apple.mpegurl",
    "playlist": "application/vnd.apple.mpegurl",
    "hls init": "video/mp4",
    "hls segment": "video/mp4",
    "dash audio init": "audio/mp4",
    "dash audio segment": "audio/mp4",
    "dash video init": "video/mp4",
    "dash video segment": "video/mp4",
}


@pytest.mark.parametrize("kind", KINDS)
def test_head_and_validators(client: Client, stack: Stack, urls: dict[str, str], kind: str) -> None:
    url = urls[kind]
    whole = client.get(url)
    assert whole.headers["content-type"] == KINDS[kind]
    assert whole.headers["accept-ranges"] == "bytes"
    mtime = int((stack.media / ASSET[1:]).stat().st_mtime)
    assert whole.headers["last-modified"] == email.utils.formatdate(mtime, usegmt=True)
    etag = whole.headers["etag"]
    assert etag.startswith('"') and etag.endswith('"') and len(etag) > 10
    again = client.get(url)
    assert (again.headers["etag"], again.body) == (etag, whole.body)

    head = client.request(url, method="HEAD")
    assert head.status == 200 and head.body == b""
    volatile = {"date", "connection"}
    assert {k: v for k, v in head.headers.items() if k not in volatile} == {
        k: v for k, v in whole.headers.items() if k not in volatile
    }

    modified = whole.headers["last-modified"]
    older = email.utils.formatdate(mtime - 10, usegmt=True)
    for headers, status in (
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": f'"other", W/{etag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-Modified-Since": modified}, 304),
        ({"If-Modified-Since": older}, 200),
        ({"If-None-Match": '"other"', "If-Modified-Since": modified}, 200),
    ):
        answer = client.request(url, headers=headers)
        assert answer.status == status, headers
        if status == 304:
            assert answer.body == b"" and answer.headers["etag"] == etag
        else:
            assert answer.body == whole.body


def test_each_answer_has_its_own_entity_tag(client: Client, urls: dict[str, str]) -> None:
    tags = {client.get(url).headers["etag"] for url in urls.values()}
    # The init segments of HLS and DASH may be the same bytes.
    assert len(tags) >= len(urls) - 2


@pytest.mark.parametrize("kind", KINDS)
def test_ranges(client: Client, urls: dict[str, str], kind: str) -> None:
    url = urls[kind]
    whole = client.get(url)
    body, size = whole.body, len(whole.body)
    for value, first, last in (
        ("0-0", 0, 0),
        ("0-", 0, size - 1),
        ("10-99", 10, 99),
        (f"{size - 1}-", size - 1, size - 1),
        (f"-{min(50, size)}", size - min(50, size), size - 1),
        (f"5-{size + 1000}", 5, size - 1),
        (f"-{size + 1000}", 0, size - 1),
    ):
        answer = client.request(url, headers={"Range": f"bytes={value}"})
        assert answer.status == 206, value
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{size}"
        assert answer.body == body[first : last + 1], value
        assert answer.headers["content-type"] == KINDS[kind]
    refused = client.request(url, headers={"Range": f"bytes={size}-"})
    assert refused.status == 416
    assert refused.headers["content-range"] == f"bytes */{size}"
    for ignored in ("bytes=9-3", "lines=0-3", "bytes=a-b"):
        answer = client.request(url, headers={"Range": ignored})
        assert answer.status == 200 and answer.body == body, ignored


def multipart(body: bytes, content_type: str) -> list[tuple[str, bytes]]:
    """(Content-Range, bytes) of each part of a multipart/byteranges body."""
    name, _, boundary = content_type.partition("; boundary=")
    assert name == "multipart/byteranges" and boundary
    pieces = body.split(b"--" + boundary.strip('"').encode())
    assert pieces[-1].strip() == b"--"
    found = []
    for piece in pieces[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().strip().split("\r\n"))
        assert content.endswith(b"\r\n")
        found.append((fields["Content-Range"], content[:-2]))
    return found


def test_several_ranges(client: Client, urls: dict[str, str]) -> None:
    url = urls["dash video segment"]
    body = client.get(url).body
    size = len(body)
    answer = client.request(url, headers={"Range": f"bytes=0-9, 100-1099,{size - 5}-"})
    assert answer.status == 206
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert multipart(answer.body, answer.headers["content-type"]) == [
        (f"bytes 0-9/{size}", body[:10]),
        (f"bytes 100-1099/{size}", body[100:1100]),
        (f"bytes {size - 5}-{size - 1}/{size}", body[-5:]),
    ]


def test_if_range(client: Client, urls: dict[str, str]) -> None:
    url = urls["dash video segment"]
    whole = client.get(url)
    etag, modified = whole.headers["etag"], whole.headers["last-modified"]
    for condition, status in (
        (etag, 206),
        ('"other"', 200),
        (f"W/{etag}", 200),
        (modified, 206),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 200),
    ):
        answer = client.request(url, headers={"Range": "bytes=3-12", "If-Range": condition})
        assert answer.status == status, condition
        assert answer.body == (whole.body[3:13] if status == 206 else whole.body)


@pytest.mark.parametrize("kind", KINDS)
def test_cors(client: Client, urls: dict[str, str], kind: str) -> None:
    answer = client.request(urls[kind], headers={"Origin": "https://player.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    exposed = answer.headers["access-control-expose-headers"].lower()
    assert "content-range" in exposed or exposed == "*"
    preflight = client.request(
        urls[kind],
        method="OPTIONS",
        headers={
            "Origin": "https://player.example",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "range",
        },
    )
    assert preflight.status in {200, 204} and preflight.body == b""
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "GET" in preflight.headers["access-control-allow-methods"]
    assert "range" in preflight.headers["access-control-allow-headers"].lower()


def test_errors_are_readable_across_origins(client: Client) -> None:
    answer = client.request("/none.ism/.mpd", headers={"Origin": "https://player.example"})
    assert answer.status == 404
    assert answer.headers["access-control-allow-origin"] == "*"


def test_an_escaped_equals_sign_is_the_same_url(client: Client, urls: dict[str, str]) -> None:
    for kind in ("playlist", "hls segment", "hls init", "dash video init", "dash audio segment"):
        url = urls[kind]
        assert "=" in url
        for escaped in ("%3d", "%3D"):
            path, question, query = url.partition("?")
            answer = client.get(path.replace("=", escaped) + question + query)
            assert answer.body == client.get(url).body, kind


def test_segments_name_the_next_one(client: Client, stack: Stack) -> None:
    url = f"{stack.base}{ASSET}/.mpd"
    for representation in read(client.get(url).body, url).representations:
        listed = [segment.url for segment in representation.segments]
        for this, following in zip(listed, [*listed[1:], None], strict=True):
            link = client.get(this).headers.get("link")
            if following is None:
                assert link is None
            else:
                assert link and link.startswith("<") and link.endswith('>; rel="next"'), link
                target = link[1:].partition(">")[0]
                assert urllib.parse.urljoin(this, target) == following
        assert "link" not in client.get(representation.init).headers


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/none.ism/.m3u8", 404),
        ("/none.mp4/.mpd", 404),
        (f"{ASSET}/none", 404),
        (f"{ASSET}/dash/ladder-video=1.dash", 404),
        (f"{ASSET}/dash/ladder-none=1-0.dash", 404),
        (f"{ASSET}/hls/ladder-video=x-1.m4s", 404),
        (f"{ASSET}/.m3u8?hls_minimum_fragment_length=abc", 400),
        (f"{ASSET}/.mpd?mpd_segment_template=sideways", 400),
        (f"{ASSET}/.m3u8?hls_minimum_fragment_length=1/0", 400),
        (f"{ASSET}/.m3u8?hls_minimum_fragment_length=-4", 400),
    ],
)
def test_refusals(client: Client, target: str, status: int) -> None:
    answer = client.request(target)
    assert answer.status == status, answer.body
    assert answer.body and b"Traceback" not in answer.body
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("number", ["0", "99999", "-1", "1e3", "9" * 40])
def test_segment_numbers_out_of_range(client: Client, urls: dict[str, str], number: str) -> None:
    stem = urls["hls segment"].rpartition("-")[0]
    answer = client.request(f"{stem}-{number}.m4s")
    assert answer.status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PROPFIND"])
def test_methods(client: Client, urls: dict[str, str], method: str) -> None:
    for kind in ("master", "dash video segment"):
        answer = client.request(urls[kind], method=method, body=b"x" * 100)
        assert answer.status == 405
        assert "GET" in answer.headers["allow"]
    assert client.get(urls["master"]).status == 200


HOSTILE = [
    "/..%2f..%2f..%2fetc/passwd.ism/.m3u8",
    "/../../../etc/passwd.mp4/.m3u8",
    "/%2e%2e/%2e%2e/etc/passwd.mp4/.mpd",
    "/x%00.ism/.m3u8",
    "/ladder.ism%00/.m3u8",
    "/ladder.ism/%00",
    "/ladder.ism/dash/..%2f..%2f..%2fetc%2fpasswd",
    "/ladder.ism/..%5c..%5cetc",
    "/escape.mp4/.m3u8",
    "/escape_dir/outside.mp4/.mpd",
    "/absolute.ism/.m3u8",
    "/upwards.ism/.mpd",
    "/file_url.ism/.m3u8",
    "/directory.ism/.m3u8",
    "/fifo.mp4/.m3u8",
    "/" + "a" * 5000 + ".ism/.m3u8",
    "/ladder.ism/dash/" + "a" * 3000,
    "/%ff%fe.ism/.m3u8",
    "/ladder.ism/%ff%fe-video=1.m3u8",
    "/ladder.ism/%ed%a0%80.mpd",
    "/ladder.ism/\xff.mpd",
    "/ladder.ism/.m3u8?hls_minimum_fragment_length=\xff",
    "/ladder.ism/.m3u8?hls_minimum_fragment_length=%ff",
    "/ladder.ism/.mpd?mpd_minimum_fragment_length=" + "9" * 200 + "/" + "9" * 50 + "0" + "x",
    "/ladder.ism/.mpd?mpd_minimum_fragment_length=%00",
    "/entities.ism/.m3u8",
]

NOT_FILES = {"/directory.ism/.m3u8", "/fifo.mp4/.m3u8"}


@pytest.fixture(scope="module")
def traps(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Content that points out of the document root, and content that is no regular file."""
    outside = tmp_path_factory.mktemp("outside") / "outside.mp4"
    outside.write_bytes((stack.media / "bframes_closed.mp4").read_bytes())
    (stack.media / "escape.mp4").symlink_to(outside)
    (stack.media / "escape_dir").symlink_to(outside.parent)
    (stack.media / "directory.ism").mkdir()
    os.mkfifo(stack.media / "fifo.mp4")
    up = os.path.relpath(outside, stack.media)
    for name, source in (("absolute", outside), ("upwards", up), ("file_url", outside.as_uri())):
        (stack.media / f"{name}.ism").write_text(
            '<smil xmlns="http://www.w3.org/2001/SMIL20/Language"><head/><body><switch>'
            f'<video src="{source}" systemBitrate="1000"/></switch></body></smil>'
        )
    (stack.media / "entities.ism").write_text(
        '<!DOCTYPE smil [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
        '<smil xmlns="http://www.w3.org/2001/SMIL20/Language"><head/><body><switch>'
        '<video src="&x;" systemBitrate="1000"/></switch></body></smil>'
    )


@pytest.mark.parametrize("target", HOSTILE, ids=lambda target: target[:60])
def test_hostile_urls(client: Client, stack: Stack, traps: None, target: str) -> None:
    answer = client.request(target)
    if target in NOT_FILES:
        assert answer.status in {404, 502}, (answer.status, answer.body[:300])
    else:
        assert 400 <= answer.status < 500, (answer.status, answer.body[:300])
    for secret in (b"Traceback", b"root:", str(stack.media).encode(), b"outside0"):
        assert secret not in answer.body, answer.body[:300]
    # Whoever answered is still there.
    assert client.request("/ladder.ism/.m3u8").status == 200


@pytest.mark.parametrize(
    "noise", ["session=1", "hls_minimum_fragment_length=" + "9" * 7000, "&&&="]
)
def test_what_is_no_option_is_ignored(client: Client, noise: str) -> None:
    for path in (f"{ASSET}/.m3u8", f"{ASSET}/.mpd"):
        assert client.get(f"{path}?{noise}").body == client.get(path).body


ODD_NAMES = (
    *("two words.mp4", "ünïcødé 日本.mp4", "50%25 & more+less.mp4", "a=b,c;d'e!(f)$Time$.mp4"),
    *("q?#x.mp4", 'quote"d <x>.mp4'),
)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_that_need_escaping(client: Client, stack: Stack, name: str) -> None:
    place(stack.media / "odd names", "frag_plain.mp4", name=name)
    path = urllib.parse.quote(f"/odd names/{name}")
    plain = read(client.get("/frag_plain.mp4/.mpd").body, f"{stack.base}/frag_plain.mp4/.mpd")
    url = f"{stack.base}{path}/.mpd"
    representations = read(client.get(url).body, url).representations
    assert len(representations) == len(plain.representations) == 2
    for representation, known in zip(representations, plain.representations, strict=True):
        assert client.get(representation.init).body == client.get(known.init).body
        for segment, expected in zip(representation.segments, known.segments, strict=True):
            assert client.get(segment.url).body == client.get(expected.url).body
    url = f"{stack.base}{path}/.m3u8?hls_fmp4"
    playlists = read_master(client.get(url).text, url).playlists
    assert len(playlists) == 2
    for playlist_url in playlists:
        playlist = read_media(client.get(playlist_url).text, playlist_url)
        for listed in (playlist.map, *(segment.url for segment in playlist.segments)):
            assert client.get(listed).body
    # What ffmpeg makes of such a URL is what any client should.
    assert {stream["codec_type"] for stream in probe(url)} == {"audio", "video"}
