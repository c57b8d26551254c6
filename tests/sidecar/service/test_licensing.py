"""The license check of every call: what it allows, for how long, and what it says in the log."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from sidecar.errors import NoLicense, Result
from sidecar.license.problems import InvalidIssuer, MissingKey
from sidecar.license.signing import new_issuer
from sidecar.license.terms import DRM, LIVE, VOD
from sidecar.service import licensing as module
from sidecar.service.key_files import (
    VARIABLE,
    key_text,
    public_key,
    read_small_text,
    with_absolute_key,
)
from sidecar.service.licensing import LONGEST_MS, Licensing, lasting_ms, load_licensing
from tests.support.license import DAY, issued, issuer, licensing

NOW = int(time.time())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Both clocks, standing still at ``seconds`` after the start of the test."""
    seconds = {"seconds": 0}
    monkeypatch.setattr(module, "now_ns", lambda: (int(time.time()) + seconds["seconds"]) * 10**9)
    monkeypatch.setattr(module, "monotonic_ns", lambda: seconds["seconds"] * 10**9)
    yield seconds


def refused(known: Licensing, feature: str, sent: tuple[str, ...] | None) -> str:
    with pytest.raises(NoLicense) as caught:
        known.require(feature, sent)
    assert caught.value.result is Result.FMP4_NO_LICENSE
    return caught.value.sentence


@pytest.mark.parametrize(
    ("sent", "own", "sentence"),
    [
        ((issued(),), None, None),
        (None, issued(), None),
        ((), issued(), None),  # nginx could not read its own
        ((issued(),), "damaged", None),
        (None, None, "streaming needs a license key: there is none"),
        ((), None, "streaming needs a license key: the key cannot be read"),
        (("",), issued(), "streaming needs a license key: the key is damaged"),
        (("damaged",), issued(), "streaming needs a license key: the key is damaged"),
        ((issued(ends=0),), issued(), "streaming needs a license key: the key has expired"),
        ((issued(begins=DAY),), None, "streaming needs a license key: the key is not valid yet"),
        (
            (issued(LIVE, DRM),),
            None,
            "streaming needs a license key: the key does not include the feature vod",
        ),
        (
            (issued(by=new_issuer()),),
            None,
            "streaming needs a license key: the issuer of the key is not trusted here",
        ),
    ],
    ids=range(12),
)
def test_which_key_counts(
    sent: tuple[str, ...] | None, own: str | None, sentence: str | None
) -> None:
    known = licensing(own)
    for _ in range(2):
        if sentence is None:
            assert VOD in known.require(VOD, sent).features
        else:
            assert refused(known, VOD, sent) == sentence


def test_ingest_needs_its_own_feature() -> None:
    known = licensing(issued(VOD))
    known.require(VOD, None)
    assert refused(known, LIVE, None) == (
        "live ingest needs a license key: the key does not include the feature live"
    )
    assert licensing(issued(LIVE)).require(LIVE, None).features == {LIVE}


def test_answers_end_with_the_key(clock: dict[str, int]) -> None:
    known, key = licensing(), issued(ends=2 * DAY)
    license = known.require(VOD, (key,))
    assert lasting_ms(license) == LONGEST_MS == DAY * 1000
    clock["seconds"] = DAY + 10
    assert (DAY - 15) * 1000 <= lasting_ms(license) <= (DAY - 10) * 1000
    clock["seconds"] = 2 * DAY - 5
    known.require(VOD, (key,))
    assert 0 < lasting_ms(license) <= 5000
    clock["seconds"] = 2 * DAY
    assert "expired" in refused(known, VOD, (key,))
    assert lasting_ms(license) == 1, "made in time, ready too late"
    clock["seconds"] = 0
    assert known.require(VOD, (key,)) == license, "a clock that was set back"


def test_one_line_a_minute_for_each_reason(clock: dict[str, int]) -> None:
    known = licensing()
    with capture_logs() as logs:
        for second in range(0, 121, 10):
            clock["seconds"] = second
            for sent in (("damaged",), (issued(ends=0),), None):
                refused(known, VOD, sent)
    reasons = [
        entry["reason"].partition(":")[0] for entry in logs if entry["event"] == "no license"
    ]
    assert {reason: reasons.count(reason) for reason in reasons} == {
        "the key is damaged": 3,
        "the key has expired": 3,
        "there is none": 3,
    }


def test_the_log_tells_who_holds_the_key_once() -> None:
    known, key = licensing(), issued(VOD)
    with capture_logs() as logs:
        for _ in range(3):
            known.require(VOD, (key,))
    (entry,) = logs
    assert (entry["event"], entry["holder"], entry["features"]) == (
        "license key",
        "the tests",
        ["vod"],
    )
    assert entry["expires"].endswith("Z")


def test_the_end_is_told_of_thirty_days_ahead_once_a_day(clock: dict[str, int]) -> None:
    known, key = licensing(), issued(ends=31 * DAY)
    warned: list[Any] = []
    with capture_logs() as logs:
        for hour in range(0, 4 * 24, 6):
            clock["seconds"] = hour * 3600
            known.require(VOD, (key,))
            warned += [hour for entry in logs if entry["log_level"] == "warning"]
            logs.clear()
    assert warned == [30, 54, 78]


def test_many_keys_are_not_kept(clock: dict[str, int]) -> None:
    known = licensing()
    for number in range(200):
        refused(known, VOD, (f"{number}",))
    assert len(known._known) <= 64
    assert len(known._told) <= 64


def test_the_check_costs_next_to_nothing() -> None:
    known, sent = licensing(), (issued(),)
    known.require(VOD, sent)
    best = float("inf")
    for _ in range(5):
        begun = time.thread_time()
        for _ in range(1000):
            known.require(VOD, sent)
        best = min(best, (time.thread_time() - begun) / 1000)
    assert best < 2e-5, "to verify a signature takes several times as long"


def test_what_the_process_knows(tmp_path: Path) -> None:
    file, key = tmp_path / "issuer.pub", tmp_path / "key"
    file.write_bytes(issuer().public_pem)
    key.write_text(issued())
    other = tmp_path / "other.pub"
    other.write_bytes(new_issuer().public_pem)
    for value in (str(key), issued()):
        known = load_licensing([other, file], {VARIABLE: value})
        assert known.require(VOD, None).holder == "the tests"
    assert "not trusted" in refused(load_licensing([other], {VARIABLE: str(key)}), VOD, None)
    assert "there is none" in refused(load_licensing([file], {VARIABLE: ""}), VOD, None)


def test_what_cannot_be_read_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "rsa.pub").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----")
    paths = [tmp_path / "absent.pub", tmp_path / "rsa.pub"]
    with capture_logs() as logs:
        known = load_licensing(paths, {VARIABLE: str(tmp_path / "absent.key")})
    assert [entry["reason"].removeprefix(f"{tmp_path}/") for entry in logs] == [
        "absent.pub: No such file or directory",
        "rsa.pub: it is not an Ed25519 public key in PEM form",
        "absent.key: No such file or directory",
    ]
    assert "not trusted" in refused(known, VOD, (issued(),))
    for sent in (None, ()):
        sentence = "streaming needs a license key: the key cannot be read"
        assert refused(known, VOD, sent) == sentence, "neither its file nor that there is none"


def test_the_environment_is_verified_at_the_start() -> None:
    with capture_logs() as logs:
        licensing("damaged").check_own()
        licensing(issued()).check_own()
        licensing().check_own()
    assert [entry["event"] for entry in logs] == ["no license", "license key"]


def test_files_may_be_anything(tmp_path: Path) -> None:
    begun = time.monotonic()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(b"x" * 10_000_000)
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    for name, reason in (
        ("fifo", "Not a regular file"),
        (".", "Not a regular file"),
        ("large", "Longer than 4096 bytes"),
        ("binary", "Not a text"),
        ("absent", "No such file or directory"),
    ):
        with pytest.raises(OSError) as caught:
            read_small_text(tmp_path / name)
        assert caught.value.strerror == reason
        with pytest.raises(MissingKey, match=reason) as missing:
            key_text(str(tmp_path / name))
        assert str(tmp_path) not in missing.value.sentence
        with pytest.raises(InvalidIssuer, match=reason):
            public_key(tmp_path / name)
    with pytest.raises(MissingKey, match="null byte"):
        key_text("a\0b")
    assert time.monotonic() - begun < 30, "nothing waits"


def test_a_file_is_named_for_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert with_absolute_key({VARIABLE: "a/key", "A": "b"}) == {
        VARIABLE: f"{tmp_path}/a/key",
        "A": "b",
    }
    key = issued()
    for environment in ({}, {VARIABLE: ""}, {VARIABLE: key}, {VARIABLE: "/etc/key"}):
        assert with_absolute_key(environment) == environment
