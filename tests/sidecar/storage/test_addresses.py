"""Names lead where they may, and are not asked for every time."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.errors import Forbidden, StorageError, StorageTimeout
from sidecar.storage import addresses
from sidecar.storage.addresses import Addresses, connect_address, may_be_named

Resolver = Callable[..., Any]


def answers(monkeypatch: pytest.MonkeyPatch, *found: str) -> list[str]:
    """Every name has the addresses ``found``; the names that were asked for."""
    asked: list[str] = []

    def resolve(host: str, *_: object, **__: object) -> list[Any]:
        asked.append(host)
        return [(0, 0, 0, "", (one, 0)) for one in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255"),
        *("::1", "::", "fe80::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254"),
        *("2002:7f00:1::", "fd00:ec2::254", "100.100.100.200"),
    ],
)
def test_names_do_not_lead_to_this_computer_or_its_link(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not may_be_named(address)
    answers(monkeypatch, address)
    with pytest.raises(Forbidden):
        Addresses().of("storage.example")
    answers(monkeypatch, address, "192.0.2.7")
    assert Addresses().of("storage.example") == ("192.0.2.7",)


@pytest.mark.parametrize(
    "address", ["192.0.2.1", "10.1.2.3", "192.168.0.1", "2001:db8::1", "fd00::1"]
)
def test_names_lead_to_other_computers(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, address)
    assert Addresses().of("storage.example") == (address,)


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "::1"])
def test_an_address_is_what_it_says(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, "192.0.2.1")
    assert Addresses().of(host) == (host,)
    assert not asked


@pytest.mark.parametrize("host", ["localhost", "bucket.localhost"])
def test_localhost_is_here(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "127.0.0.1")
    assert Addresses().of(host) == ("127.0.0.1",)


def test_addresses_are_kept_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10**9]
    monkeypatch.setattr(addresses, "monotonic_ns", lambda: now[0])
    asked = answers(monkeypatch, "192.0.2.1")
    known = Addresses()
    assert known.of("a.example") == known.of("a.example") == ("192.0.2.1",)
    assert asked == ["a.example"]
    now[0] += 31 * 10**9
    answers(monkeypatch, "192.0.2.2")
    assert known.of("a.example") == ("192.0.2.2",)
    now[0] += 31 * 10**9

    def fails(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "later")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    assert known.of("a.example") == ("192.0.2.2",)
    with pytest.raises(StorageTimeout):
        known.of("b.example")


def test_the_address_that_answers_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10**9]
    monkeypatch.setattr(addresses, "monotonic_ns", lambda: now[0])
    answers(monkeypatch, "192.0.2.1", "192.0.2.2", "192.0.2.3")
    known = Addresses()
    known.prefer("a.example", "192.0.2.2")
    assert known.of("a.example") == ("192.0.2.1", "192.0.2.2", "192.0.2.3")
    known.prefer("a.example", "192.0.2.9")
    known.prefer("a.example", "192.0.2.2")
    for _ in range(2):
        assert known.of("a.example") == ("192.0.2.2", "192.0.2.1", "192.0.2.3")
        now[0] += 31 * 10**9
    answers(monkeypatch, "192.0.2.1", "192.0.2.3")
    assert known.of("a.example") == ("192.0.2.1", "192.0.2.3")


def test_names_that_there_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(StorageError, match="unknown"):
        Addresses().of("none.example")


def test_addresses_as_they_are_written() -> None:
    assert connect_address("192.0.2.1", 80) == "192.0.2.1:80"
    assert connect_address("2001:db8::1", 443) == "[2001:db8::1]:443"
