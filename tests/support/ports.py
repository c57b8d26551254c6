"""Ports for servers under test, that no other run of the suite on this machine takes."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

from sidecar.cli.instance import admin_port_of

_LOWEST, _HIGHEST = 10_240, 20_239
_held: list[IO[str]] = []


def free_port() -> int:
    """A TCP port that nothing listens on, kept from other runs while this process lives.

    It lies below those that the kernel gives to outgoing connections: one of these could take it
    before the server does. So does the port of metrics and health that an instance on it has, and
    nothing listens there either. Raises ``RuntimeError`` when too many are taken.
    """
    folder = Path(tempfile.gettempdir(), f"origin-test-ports-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    chance = random.SystemRandom()
    for _ in range(1000):
        port = chance.randint(_LOWEST, _HIGHEST)
        lock = (folder / str(port)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        if _is_free(port) and _is_free(admin_port_of(port)):
            _held.append(lock)
            return port
        lock.close()
    raise RuntimeError("a thousand ports are taken")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True
