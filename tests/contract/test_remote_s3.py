"""The S3 service that the origin is tested against refuses what is not signed as it must be."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.http import Client, Response
from tests.support.remote_s3 import HOST_BUCKET, KEY, REGION, S3, SECRET, serve_s3
from tests.support.sigv4 import Signer

BUCKET, NAME = "films", "d/a b+c~é.mp4"
DATA = bytes(range(256)) * 40
HOUR = 3600.0


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with serve_s3(tmp_path_factory.mktemp("s3")) as running:
        running.put(BUCKET, NAME, DATA)
        yield running


@pytest.fixture
def client(s3: S3) -> Iterator[Client]:
    opened = Client(s3.base)
    yield opened
    opened.close()


def signer(
    *, key: str = KEY, secret: str = SECRET, region: str = REGION, late: float = 0
) -> Signer:
    return Signer(key=key, secret=secret, region=region, at=time.time() - late)


def by_query(client: Client, url: str, one: Signer, *, expires: int = 60) -> Response:
    return client.request(one.presigned(url, expires=expires), headers={"Range": "bytes=5-9"})


def by_headers(client: Client, url: str, one: Signer) -> Response:
    return client.request(url, headers={**one.headers(url), "Range": "bytes=5-9"})


@pytest.mark.parametrize("ask", [by_query, by_headers])
def test_signatures(s3: S3, client: Client, ask: object) -> None:
    assert callable(ask)
    url = s3.url(BUCKET, NAME)
    good = ask(client, url, signer())
    assert (good.status, good.body) == (206, DATA[5:10])
    assert good.headers["content-range"] == f"bytes 5-9/{len(DATA)}"
    assert good.headers["etag"].startswith('"')
    logged = s3.asked()[-1]
    assert (logged.path, logged.range, logged.sent) == (f"/{BUCKET}/{NAME}", (5, 10), 5)
    for forged, code in (
        (signer(secret="another"), b"SignatureDoesNotMatch"),
        (signer(key="test:other"), b"SignatureDoesNotMatch"),
        (signer(region="us-east-1"), b"expecting '" + REGION.encode() + b"'"),
    ):
        refused = ask(client, url, forged)
        assert refused.status in (400, 403)
        assert code in refused.body
    # What was signed was another object.
    other = s3.url(BUCKET, "other")
    assert other != url
    if ask is by_query:
        target = signer().presigned(other, expires=60).replace(other, url)
        assert client.request(target).status == 403
    else:
        assert client.request(url, headers=signer().headers(other)).status == 403


def test_time(s3: S3, client: Client) -> None:
    url = s3.url(BUCKET, NAME)
    assert by_query(client, url, signer(late=HOUR), expires=7200).status == 206
    expired = by_query(client, url, signer(late=HOUR), expires=3599)
    assert (expired.status, b"expired" in expired.body) == (403, True)
    for skew in (HOUR, -HOUR):
        skewed = by_headers(client, url, signer(late=skew))
        assert (skewed.status, b"RequestTimeTooSkewed" in skewed.body) == (403, True)


def test_nothing_without_a_signature(s3: S3, client: Client) -> None:
    assert client.request(s3.url(BUCKET, NAME)).status in (400, 403)
    assert by_headers(client, s3.url(BUCKET, "none.mp4"), signer()).status == 404


def test_conditions(s3: S3, client: Client) -> None:
    s3.put(BUCKET, "changing", b"first")
    url = s3.url(BUCKET, "changing")
    target = signer().presigned(url, expires=60)
    first = client.request(target)
    tag = first.headers["etag"]
    assert client.request(target, headers={"If-None-Match": tag}).status == 304
    s3.put(BUCKET, "changing", b"second")
    assert client.request(target, headers={"If-Match": tag}).status == 412
    assert client.request(target, headers={"If-None-Match": tag}).body == b"second"
    s3.delete(BUCKET, "changing")
    assert client.request(target).status == 404


def test_virtual_hosts(s3: S3, client: Client) -> None:
    url = f"http://{BUCKET}.localhost:{s3.port}/d/a%20b%2Bc~%C3%A9.mp4"
    target = signer().presigned(url, expires=60)
    host, _, path = target.removeprefix("http://").partition("/")
    answer = client.request(f"/{path}", headers={"Host": host})
    assert (answer.status, answer.body) == (200, DATA)

    s3.put(HOST_BUCKET, "x", b"of the bucket that the address names")
    other = Client(s3.host_base)
    target = signer().presigned(f"{s3.host_base}/x", expires=60)
    assert other.request(target).body == b"of the bucket that the address names"
    other.close()
