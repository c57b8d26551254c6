"""stpp and wvtt."""

from __future__ import annotations

import pytest

from sidecar.codecs.describe import describe
from sidecar.codecs.facts import TextFacts
from sidecar.errors import InvalidMedia, UnsupportedMedia
from tests.support.bitwriter import box

TTML = b"http://www.w3.org/ns/ttml"


def entry(box_type: bytes, body: bytes) -> bytes:
    return box(box_type, bytes(6) + b"\0\1" + body)


@pytest.mark.parametrize(
    ("body", "codec"),
    [
        (TTML + b"\0\0\0", "stpp.ttml.im1t"),
        (TTML + b"\0\0image/png\0", "stpp.ttml.im1i"),
        (TTML + b"\0http://www.w3.org/ns/ttml/profile/imsc1/image\0\0", "stpp.ttml.im1i"),
        (
            TTML + b"\0\0\0" + box(b"mime", bytes(4) + b"application/ttml+xml;codecs=im2t\0"),
            "stpp.ttml.im2t",
        ),
        (
            TTML + b"\0\0\0" + box(b"mime", bytes(4) + b'application/ttml+xml; codecs="etd1"\0'),
            "stpp.ttml.etd1",
        ),
    ],
)
def test_stpp(body: bytes, codec: str) -> None:
    found = describe(entry(b"stpp", body), b"subt", box_path="stsd", offset=0)
    assert found == TextFacts(codec=codec, sample_entry="stpp", fourcc="TTML")


def test_wvtt() -> None:
    body = box(b"btrt", bytes(12)) + box(b"vttC", b"WEBVTT")
    found = describe(entry(b"wvtt", body), b"text", box_path="stsd", offset=0)
    assert found == TextFacts(codec="wvtt", sample_entry="wvtt", fourcc="WVTT")


@pytest.mark.parametrize(
    ("box_type", "body"),
    [(b"stpp", TTML), (b"stpp", b"\0\0"), (b"wvtt", b""), (b"wvtt", b"\0\0\0\x20vttC")],
)
def test_damage_is_our_error(box_type: bytes, body: bytes) -> None:
    with pytest.raises(InvalidMedia) as caught:
        describe(entry(box_type, body), b"text", box_path="stsd", offset=0)
    assert caught.value.box_path.startswith(f"stsd/{box_type.decode()}")


def test_other_text_is_not_served() -> None:
    with pytest.raises(UnsupportedMedia, match="tx3g"):
        describe(entry(b"tx3g", bytes(40)), b"sbtl", box_path="stsd", offset=0)
