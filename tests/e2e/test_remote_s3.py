"""Content in buckets of a service that verifies every signature."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import yt_dlp
from tests.support.assets import Asset
from tests.support.compare import assert_all_streams, sources_of
from tests.support.crawl import everything
from tests.support.frames import decode
from tests.support.http import Client
from tests.support.media import generated
from tests.support.remote_http import Asked
from tests.support.remote_s3 import HOST_BUCKET, KEY, REGION, S3, SECRET, serve_s3
from tests.support.remote_world import PRESENTATIONS
from tests.support.stack import Stack, start

BUCKET = "films"
TOKEN = "a-token/of+the=tests"
DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    stack: Stack
    s3: S3


def signed(key: str = KEY, secret: str = SECRET, region: str = REGION) -> str:
    return f's3_access_key "{key}"; s3_secret_key "{secret}"; s3_region {region};'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, remote_films: Path) -> Iterator[World]:
    media = remote_films
    folder = tmp_path_factory.mktemp("s3")
    with serve_s3(folder / "now") as s3, serve_s3(folder / "ahead", ahead=DAY) as ahead:
        s3.put_all(BUCKET, media)
        s3.put(HOST_BUCKET, "d/a b+c.mp4", (media / "bframes_open.mp4").read_bytes())

        def location(name: str, directives: str, base: str = f"{s3.base}/{BUCKET}") -> str:
            return f"ism_proxy_pass /{name}/ {base}/; {directives}"

        kinds = {
            "query": signed(),
            "headers": f"{signed()} s3_use_headers on;",
            "token": f'{signed()} s3_security_token "{TOKEN}";',
            "header_token": f'{signed()} s3_use_headers on; s3_security_token "{TOKEN}";',
            "secret": signed(secret="not-the-secret"),
            "secret_headers": f"{signed(secret='not-the-secret')} s3_use_headers on;",
            "key": signed(key="test:nobody"),
            "region": signed(region="us-east-1"),
            "unsigned": "",
        }
        locations = {name: location(name, text) for name, text in kinds.items()}
        locations["host"] = location("host", signed(), s3.host_base)
        locations["ahead"] = location("ahead", signed(), f"{ahead.base}/{BUCKET}")
        locations["ahead_headers"] = location(
            "ahead_headers", f"{signed()} s3_use_headers on;", f"{ahead.base}/{BUCKET}"
        )
        stack = start(tmp_path_factory.mktemp("s3_run"), media, locations=locations)
        try:
            yield World(stack=stack, s3=s3)
        finally:
            stack.stop()


@pytest.fixture
def stack(world: World) -> Stack:
    """For ``client``."""
    return world.stack


def query_of(one: Asked) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(one.target.partition("?")[2]))


@pytest.mark.parametrize("name", ["query", "headers"])
@pytest.mark.parametrize("path", ["/ladder.ism", "/texts.ism", "/large.mp4"])
def test_all_that_players_fetch_is_what_is_made_of_a_file(
    world: World, client: Client, name: str, path: str
) -> None:
    before = len(world.s3.asked())
    local, remote = everything(client, path), everything(client, f"/{name}{path}")
    assert local.keys() == remote.keys()
    for url, answer in local.items():
        assert remote[url].body == answer.body, url
    asked = world.s3.asked()[before:]
    assert asked
    for one in asked:
        assert one.method == "GET"
        assert "accept-encoding" not in one.headers
        by_headers = one.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 ")
        assert by_headers == (name == "headers")
        assert ("X-Amz-Signature" in query_of(one)) == (name == "query")
        # A plan is good for half of what its signature is.
        if name == "query":
            assert 60 <= int(query_of(one)["X-Amz-Expires"]) <= 3600


def test_frames(world: World, tmp_path: Path) -> None:
    asset = Asset(path="/query/two_audio.ism", files=PRESENTATIONS["/two_audio.ism"])
    url = f"{world.stack.base}{asset.path}"
    assert assert_all_streams(asset, f"{url}/.m3u8?hls_fmp4", together=True) == sources_of(asset)
    found = assert_all_streams(asset, f"{url}/.m3u8?hls_fmp4=false", together=True, offset=10)
    assert found == sources_of(asset)
    assert assert_all_streams(asset, f"{url}/.mpd", together=False) == sources_of(asset)
    served = decode(f"{url}/film.mp4", "0:v:0")[0]
    source = decode(str(generated("two_audio.mp4")), "0:v:0")[0]
    assert served == source
    (picture,) = (
        one for one in yt_dlp.download(f"{url}/Manifest", tmp_path) if one.format.get("height")
    )
    frames = decode(str(picture.file), "0:0")[0]
    assert [frame.hash for frame in frames] == [frame.hash for frame in source]


def test_virtual_host_style_and_names(world: World, client: Client) -> None:
    local = client.get("/bframes_open.mp4").body
    assert client.get("/host/d/a%20b+c.mp4").body == local
    assert any(one.headers["host"] == f"127.0.0.2:{world.s3.port}" for one in world.s3.asked())


def test_the_token_of_temporary_credentials(world: World, client: Client) -> None:
    before = len(world.s3.asked())
    assert client.request("/token/bframes_open.mp4").status == 200
    asked = world.s3.asked()[before:]
    assert asked
    assert all(query_of(one)["X-Amz-Security-Token"] == TOKEN for one in asked)
    before = len(world.s3.asked())
    assert client.request("/header_token/bframes_open.mp4").status == 200
    asked = world.s3.asked()[before:]
    assert asked
    for one in asked:
        assert one.headers["x-amz-security-token"] == TOKEN
        assert "x-amz-security-token" in one.headers["authorization"]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        *[(name, 403) for name in ("secret", "secret_headers", "key", "ahead", "ahead_headers")],
        # It calls these bad requests.
        ("region", 502),
        ("unsigned", 502),
    ],
)
def test_what_the_service_refuses(world: World, client: Client, name: str, status: int) -> None:
    """Other secrets, keys, regions and clocks; the log says which object, the client does not."""
    for target in ("bframes_open.mp4", "bframes_open.mp4/.mpd", "bframes_open.mp4/.m3u8"):
        answer = client.request(f"/{name}/{target}")
        assert answer.status == status, (answer.status, answer.body)
        assert "127.0.0.1" not in answer.text
    assert f"/{BUCKET}/bframes_open.mp4" in world.stack.log()


def test_what_is_not_there(client: Client) -> None:
    for target in ("none.ism/.mpd", "none.mp4", "none.mp4/.m3u8"):
        assert client.request(f"/query/{target}").status == 404


def test_secrets_are_nowhere(world: World, client: Client) -> None:
    """In no log, metric, answer or file below the instance, but for the configuration itself."""
    for name in ("query", "headers", "token", "header_token", "secret", "ahead"):
        client.request(f"/{name}/bframes_open.mp4?{name}")
        client.request(f"/{name}/none.mp4")
    shown = world.stack.log() + world.stack.access_log()
    with_metrics = world.stack.admin
    shown += with_metrics.request("/metrics").text
    with_metrics.close()
    files = {
        path: path.read_bytes()
        for path in world.stack.run.rglob("*")
        if path.is_file()
        and path.name != "openresty.conf"
        and not path.resolve().is_relative_to(world.stack.media)
    }
    assert any("logs" in path.parts for path in files)
    for secret in (SECRET, "not-the-secret", TOKEN):
        for form in (secret, urllib.parse.quote(secret, safe="")):
            assert form not in shown
            assert [path for path, data in files.items() if form.encode() in data] == []
    for sign in ("X-Amz-Signature", "X-Amz-Credential", "AWS4-HMAC-SHA256", "Signature="):
        assert sign.lower() not in shown.lower(), sign
        assert [path for path, data in files.items() if sign.encode() in data] == []


def test_keys_without_a_region_are_a_mistake(tmp_path: Path) -> None:
    directives = f"ism_proxy_pass http://127.0.0.1:1/; s3_access_key k; s3_secret_key {'s' * 40};"
    with pytest.raises(RuntimeError, match="s3_region") as raised:
        start(tmp_path / "run", tmp_path, locations={"films": directives})
    assert "s" * 40 not in str(raised.value)
