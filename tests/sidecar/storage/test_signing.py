"""Signatures: as a second implementation makes them, and of nothing but what must be signed."""

from __future__ import annotations

import urllib.parse

import pytest

from sidecar.storage import signing
from sidecar.storage.signing import Credentials, signed

URL = "https://storage.example:8443/bucket/a%20b%2Bc/film.mp4"


def keys(*, token: str = "", in_headers: bool = False) -> Credentials:
    return Credentials(
        access_key="AKID",
        secret_key="very secret",
        region="eu-1",
        token=token,
        in_headers=in_headers,
    )


def test_without_keys_nothing_is_signed() -> None:
    plain = signed(URL, None)
    assert (plain.url, plain.headers, plain.expires_ms) == (URL, (), 0)


@pytest.mark.parametrize("token", ["", "to+ken/="])
def test_queries(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "now_ns", lambda: 1_700_000_000 * 10**9)
    found = signed(URL, keys(token=token))
    base, _, query = found.url.partition("?")
    assert base == URL
    assert not found.headers
    assert found.expires_ms == (1_700_000_000 + 3600) * 1000
    fields = dict(urllib.parse.parse_qsl(query, strict_parsing=True))
    assert fields["X-Amz-SignedHeaders"] == "host"
    assert fields["X-Amz-Expires"] == "3600"
    assert fields["X-Amz-Credential"].startswith("AKID/")
    assert fields["X-Amz-Credential"].endswith("/eu-1/s3/aws4_request")
    assert fields.get("X-Amz-Security-Token", "") == token
    assert len(fields["X-Amz-Signature"]) == 64


def test_headers() -> None:
    found = signed(URL, keys(token="to+ken/=", in_headers=True))
    assert found.url == URL
    headers = dict(found.headers)
    signature = headers["Authorization"]
    assert signature.startswith("AWS4-HMAC-SHA256 Credential=AKID/")
    covered = signature.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert covered == ["host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"]
    assert headers["X-Amz-Security-Token"] == "to+ken/="
    assert {name.lower() for name in headers} == {*covered, "authorization"} - {"host"}


@pytest.mark.parametrize("in_headers", [False, True])
def test_secrets_are_in_no_text(in_headers: bool) -> None:
    credentials = keys(token="the token", in_headers=in_headers)
    found = signed(URL, credentials)
    for text in (repr(credentials), str(credentials), repr(found), str(found)):
        assert "very secret" not in text
        assert "the token" not in text
        assert "Signature" not in text
    assert "very secret" not in found.url + str(found.headers)
