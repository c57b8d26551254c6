"""Whom nginx trusts when it fetches from other servers."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from sidecar.cli import trust


def test_it_is_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "named.pem"
    named.write_text("those")
    monkeypatch.setenv("SSL_CERT_FILE", str(named))
    link = tmp_path / "cert" / "ca.pem"
    trust.trust(link)
    assert link.resolve() == named
    monkeypatch.delenv("SSL_CERT_FILE")
    trust.trust(link)
    assert link.is_symlink()
    assert link.resolve() != named
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(link)
    assert context.get_ca_certs()


def test_a_machine_without_any_has_those_of_grpc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    monkeypatch.setattr(trust, "_BUNDLES", ())
    found = trust.authorities()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(found)
    assert len(context.get_ca_certs()) > 50


def test_a_file_of_the_administrator_stays(tmp_path: Path) -> None:
    own = tmp_path / "ca.pem"
    own.write_text("mine")
    trust.trust(own)
    assert not own.is_symlink()
    assert own.read_text() == "mine"
