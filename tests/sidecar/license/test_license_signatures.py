"""Signed keys: what an issuer signs is accepted, anything else is refused with its reason."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sidecar.errors import NoLicense, Result
from sidecar.license.issuers import Issuers
from sidecar.license.problems import (
    BadSignature,
    Expired,
    FeatureMissing,
    InvalidIssuer,
    MalformedKey,
    NotYetValid,
    UnknownIssuer,
)
from sidecar.license.public import issuer_id, read_public
from sidecar.license.signing import new_issuer, read_issuer

ISSUER, OTHER = new_issuer(), new_issuer()
PUBLIC, OTHER_PUBLIC = (read_public(one.public_pem.decode()) for one in (ISSUER, OTHER))
ISSUERS = Issuers([PUBLIC])
FROM, UNTIL = 1_800_000_000, 1_900_000_000
TEXT = ISSUER.issue(
    holder="  Example   Platform ", features=frozenset({"vod"}), not_before=FROM, expires=UNTIL
)


def test_what_was_issued_is_verified() -> None:
    license = ISSUERS.verified(TEXT)
    assert license.holder == "Example Platform"
    assert license.features == {"vod"}
    assert (license.not_before, license.expires) == (FROM, UNTIL)
    assert license.issuer == ISSUER.id == issuer_id(PUBLIC)
    assert ISSUERS.verified(TEXT.replace("\n", " \r\n")) == license


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Example", "Exemple"),
        ("vod", "vod, live"),
        ("vod", "live"),
        ("Expires:    2030", "Expires:    2031"),
        ("Not before: 2027", "Not before: 2026"),
    ],
)
def test_what_was_changed_is_refused(old: str, new: str) -> None:
    changed = TEXT.replace(old, new)
    assert changed != TEXT
    with pytest.raises(BadSignature):
        ISSUERS.verified(changed)


def test_every_bit_of_the_signature_counts() -> None:
    start = TEXT.index("Signature:") + len("Signature:  ")
    for at in (start, start + 10, start + 43, len(TEXT) - 20):
        changed = TEXT[:at] + ("A" if TEXT[at] != "A" else "B") + TEXT[at + 1 :]
        with pytest.raises(BadSignature):
            ISSUERS.verified(changed)


def test_issuers_are_known_or_not() -> None:
    with pytest.raises(UnknownIssuer) as caught:
        Issuers([OTHER_PUBLIC]).verified(TEXT)
    assert ISSUER.id not in caught.value.sentence
    assert ISSUER.id in str(caught.value)
    with pytest.raises(UnknownIssuer):
        Issuers([]).verified(TEXT)
    # claims to be of another issuer, which is trusted
    with pytest.raises(BadSignature):
        Issuers([OTHER_PUBLIC]).verified(TEXT.replace(ISSUER.id, OTHER.id))


def test_several_issuers_at_once() -> None:
    both = Issuers([OTHER_PUBLIC, PUBLIC])
    newer = OTHER.issue(holder="x", features=frozenset({"live"}), not_before=0, expires=1)
    assert both.verified(TEXT).issuer == ISSUER.id
    assert both.verified(newer).issuer == OTHER.id


@pytest.mark.parametrize(
    ("now", "problem"),
    [(FROM - 1, NotYetValid), (FROM, None), (UNTIL - 1, None), (UNTIL, Expired)],
)
def test_the_time_of_a_key(now: int, problem: type[NoLicense] | None) -> None:
    license = ISSUERS.verified(TEXT)
    if problem is None:
        license.check(now)
        return
    with pytest.raises(problem) as caught:
        license.check(now)
    assert not re.search(r"\d", caught.value.sentence), "clients are not told when"
    assert re.search(r"\d{4}-\d\d-\d\dT", str(caught.value)), "the log is"


def test_features_are_required_by_name() -> None:
    license = ISSUERS.verified(TEXT)
    license.require("vod")
    with pytest.raises(FeatureMissing, match="the key does not include the feature live"):
        license.require("live")


def test_all_problems_are_one_result() -> None:
    for problem in (BadSignature, Expired, FeatureMissing, MalformedKey, NotYetValid):
        assert problem.result is Result.FMP4_NO_LICENSE


def test_key_pairs_are_read_as_they_are_written() -> None:
    assert read_issuer(ISSUER.private_pem).id == ISSUER.id
    crlf = ISSUER.public_pem.decode().replace("\n", "\r\n")
    assert read_public(f"# of the platform\r\n{crlf}") == PUBLIC


RSA = b"""-----BEGIN PRIVATE KEY-----
MFQCAQAwDQYJKoZIhvcNAQEBBQAEQDA+AgEAAgkAtZ0=
-----END PRIVATE KEY-----
"""


@pytest.mark.parametrize(
    "pem",
    [b"", b"\0" * 100, ISSUER.public_pem, RSA, ISSUER.private_pem[:60]],
    ids=["empty", "zeros", "public", "rsa", "cut"],
)
def test_what_is_no_private_key(pem: bytes) -> None:
    with pytest.raises(InvalidIssuer, match="not an Ed25519 private key"):
        read_issuer(pem)


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "\0",
        ISSUER.private_pem.decode(),
        ISSUER.public_pem.decode().replace("MCow", "MCox"),
        ISSUER.public_pem.decode()[:-40],
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----\n",
    ],
    ids=range(7),
)
def test_what_is_no_public_key(pem: str) -> None:
    with pytest.raises(InvalidIssuer, match="not an Ed25519 public key"):
        read_public(pem)


def test_a_key_that_nobody_could_read_is_not_issued() -> None:
    with pytest.raises(MalformedKey, match="holder"):
        ISSUER.issue(holder="\n", features=frozenset({"vod"}), not_before=0, expires=1)
    with pytest.raises(MalformedKey, match="expires before"):
        ISSUER.issue(holder="x", features=frozenset({"vod"}), not_before=1, expires=1)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_agrees(tmp_path: Path) -> None:
    """Another implementation reads the keys and accepts the signature."""
    from sidecar.license.text import read_key, signed_bytes

    signed = read_key(TEXT)
    (tmp_path / "pub").write_bytes(ISSUER.public_pem)
    (tmp_path / "signed").write_bytes(signed_bytes(signed.license))
    (tmp_path / "signature").write_bytes(signed.signature)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "pub", "-rawin", "-in"]
    command += ["signed", "-sigfile", "signature"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Verified Successfully" in done.stdout, done.stdout + done.stderr
