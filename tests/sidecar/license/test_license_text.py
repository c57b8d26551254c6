"""Keys as text: what a person reads, what may change on the way, and what is refused."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.license.problems import MalformedKey
from sidecar.license.terms import FEATURES, License, read_moment, write_moment
from sidecar.license.text import (
    MAX_BYTES,
    SignedLicense,
    is_text,
    read_key,
    signed_bytes,
    write_key,
)

LICENSE = License(
    holder="Beispiel Süd GmbH",
    features=frozenset({"vod", "live"}),
    not_before=read_moment("2026-11-23"),
    expires=read_moment("2027-11-23T12:30:00Z"),
    issuer="0123456789abcdef",
)
SIGNED = SignedLicense(license=LICENSE, signature=bytes(range(64)))
TEXT = write_key(SIGNED)


def test_what_a_person_reads() -> None:
    signature = base64.b64encode(bytes(range(64))).decode()
    assert (
        "OpenOrigin license key 1\n"
        "\n"
        "Holder:     Beispiel Süd GmbH\n"
        "Features:   live, vod\n"
        "Not before: 2026-11-23T00:00:00Z\n"
        "Expires:    2027-11-23T12:30:00Z\n"
        "Issuer:     0123456789abcdef\n"
        "\n"
        f"Signature:  {signature[:44]}\n"
        f"            {signature[44:]}\n"
    ) == TEXT


def test_what_is_signed() -> None:
    assert signed_bytes(LICENSE).decode() == (
        "OpenOrigin license key 1\n"
        "holder: Beispiel Süd GmbH\n"
        "features: live, vod\n"
        "not before: 2026-11-23T00:00:00Z\n"
        "expires: 2027-11-23T12:30:00Z\n"
        "issuer: 0123456789abcdef\n"
    )


LINES = TEXT.splitlines()


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n", "  \t\n"),
        "\ufeff" + TEXT,
        "\n\n" + TEXT + "\n\n",
        TEXT.rstrip("\n"),
        re.sub(r"(?m)^", "    ", TEXT),
        re.sub(r" +", " ", TEXT),
        TEXT.replace("Holder", "HOLDER").replace("Not before", "not  before"),
        TEXT.replace("0123456789abcdef", "0123456789ABCDEF"),
        TEXT.replace("live, vod", "vod,live"),
        TEXT.replace("live, vod", "vod live live"),
        TEXT.replace("2026-11-23T00:00:00Z", "2026-11-23"),
        TEXT.replace("2026-11-23T00:00:00Z", "2026-11-23 00:00:00Z"),
        TEXT.replace("Süd", "Su\u0308d"),  # another normal form of Unicode
        "\n".join([LINES[0], *LINES[8:], *LINES[2:7]]),
        "\n".join([*LINES[:8], *re.findall(r".{1,30}", " ".join(LINES[8:]))]),
    ],
    ids=range(17),
)
def test_the_way_here_may_change_the_lines(text: str) -> None:
    assert read_key(text) == SIGNED


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", 'the first line is not "OpenOrigin license key 1"'),
        ("\0\1\2", "the first line is not"),
        ("license/license.key", "the first line is not"),
        (TEXT.replace("key 1", "key 2"), "of another version"),
        (TEXT.replace("key 1", "key"), "the first line is not"),
        ("\n".join(LINES[1:]), "the first line is not"),
        ("\n".join(LINES[:1]), 'no field "holder"'),
        (TEXT.replace("Holder:     Beispiel Süd GmbH\n", ""), 'no field "holder"'),
        (TEXT.replace("Beispiel Süd GmbH", ""), 'no field "holder"'),
        (TEXT.replace("Holder", "Houlder"), "line 3 is none that a key has"),
        (TEXT.replace("Holder:", "Holder"), "line 3 is none that a key has"),
        (TEXT + "Seats: 3\n", "line 11 is none that a key has"),
        (TEXT + "Holder: Me\n", 'line 11 is a second "holder"'),
        (TEXT.replace("Beispiel", "x" * 200), "the holder is not a text"),
        (TEXT.replace("Beispiel", "Bei\0spiel"), "the holder is not a text"),
        (TEXT.replace("Beispiel", "\ud800"), "the holder is not a text"),
        (TEXT.replace("live, vod", "live, VOD!"), "the features are not"),
        (TEXT.replace("live, vod", ","), "the features are not"),
        (TEXT.replace("live, vod", " ".join(f"f{n}" for n in range(33))), "the features are not"),
        (TEXT.replace("2026-11-23T00:00:00Z", "tomorrow"), '"not before" is not a moment'),
        (TEXT.replace("2027-11-23T", "2027-13-23T"), '"expires" is not a moment'),
        (TEXT.replace("12:30:00Z", "12:30:00"), '"expires" is not a moment'),
        (TEXT.replace("2026-11-23T", "1926-11-23T"), '"not before" is not a moment'),
        (TEXT.replace("2026-11-23T", "2028-11-23T"), "it expires before it begins"),
        (TEXT.replace("0123456789abcdef", "0123456789abcde"), "the issuer is not"),
        (TEXT.replace(LINES[9], ""), "the signature is not 64 bytes"),
        (TEXT + "AAAA", "the signature is not 64 bytes"),
        (TEXT.replace(LINES[9], "!" * 44), "the signature is not 64 bytes"),
        (TEXT + "\n" * MAX_BYTES, f"longer than {MAX_BYTES} bytes"),
        ("ü" * MAX_BYTES, f"longer than {MAX_BYTES} bytes"),
    ],
)
def test_what_is_not_a_key_says_why(text: str, detail: str) -> None:
    with pytest.raises(MalformedKey) as caught:
        read_key(text)
    assert caught.value.sentence == "the key is damaged"
    assert detail in caught.value.detail
    assert "Beispiel" not in str(caught.value), "none of what the key contains"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300) | st.lists(st.sampled_from(LINES)).map("\n".join))
def test_any_text_is_a_key_or_not(text: str) -> None:
    try:
        signed = read_key(text)
    except MalformedKey:
        return
    assert read_key(write_key(signed)) == signed


moments = st.integers(0, 253402300799)
licenses = st.builds(
    License,
    holder=st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=60),
    features=st.frozensets(st.sampled_from(FEATURES), min_size=1),
    not_before=moments,
    expires=moments,
    issuer=st.binary(min_size=8, max_size=8).map(bytes.hex),
)


@settings(max_examples=100, deadline=None)
@given(licenses, st.binary(min_size=64, max_size=64))
def test_what_is_written_is_read(license: License, signature: bytes) -> None:
    signed = SignedLicense(license=license, signature=signature)
    try:
        again = read_key(write_key(signed))
    except MalformedKey as error:
        assert license.not_before >= license.expires, error.detail
        return
    assert again.signature == signature
    assert signed_bytes(again.license) == signed_bytes(read_key(write_key(again)).license)
    assert (again.license.not_before, again.license.expires) == (
        license.not_before,
        license.expires,
    )


def test_no_two_licenses_are_signed_as_the_same_bytes() -> None:
    """What stands between the fields cannot be in them."""
    holders = ["a", "a\nfeatures: vod", "a features: vod"]
    texts = [TEXT.replace("Beispiel Süd GmbH", holder) for holder in holders]
    assert read_key(texts[0]).license.holder == "a"
    with pytest.raises(MalformedKey, match="second"):
        read_key(texts[1])
    assert signed_bytes(read_key(texts[2]).license).count(b"\n") == 6


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (TEXT, True),
        (" \ufeff" + TEXT, True),
        ("anything\n", True),
        ("OpenOrigin license key 1", True),
        ("license/license.key", False),
        ("/etc/OpenOrigin license key", False),
        ("", False),
    ],
)
def test_text_and_file_names_are_told_apart(value: str, expected: bool) -> None:
    assert is_text(value) is expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01", 0),
        ("2000-02-29", 951782400),
        ("2026-11-23T10:00:01Z", 1795428001),
        ("9999-12-31T23:59:59Z", 253402300799),
    ],
)
def test_moments(text: str, seconds: int) -> None:
    assert read_moment(text) == seconds
    assert read_moment(write_moment(seconds)) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "2001-02-29", "2026-1-1", "1969-12-31", "2026-11-23T24:00:00Z", "2026-11-23T10:00Z",
     "2026-11-23T10:00:00+01:00", "２026-11-23"],
)  # fmt: skip
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError):
        read_moment(text)
