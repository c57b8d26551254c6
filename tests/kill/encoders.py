"""Encoders that come again when they lose their origin, and send their last seconds once more."""

from __future__ import annotations

import math
import select
import socket
import threading
import time
from collections.abc import Callable

from tests.kill.sent import Sent

# What was sent so long before a connection was lost has been taken in, seconds.
_SURE = 2.0
_PAUSE = 0.2
_PATIENCE = 30.0


class _Lost(Exception):
    """The connection is gone, or was answered before its end."""


class Encoder(threading.Thread):
    """Sends ``sent`` to ``target``, ``speed`` times as fast as it was recorded.

    ``refused``: answers that told it not to come again, with their reasons. ``acknowledged``:
    pieces that were answered with 200.
    """

    def __init__(self, port: int, target: str, sent: Sent, *, begin: float, speed: float) -> None:
        super().__init__(daemon=True)
        self.target = target
        self.sent = sent
        self.lost = 0
        self.refused: list[str] = []
        self.acknowledged: set[int] = set()
        self.on_sent: Callable[[], None] = lambda: None
        self._port = port
        self._begin = begin
        self._speed = speed
        self._sent_at: list[float] = []
        self._sure = 0
        self._last_due = math.inf

    def stop(self, moment: float) -> None:
        """Has it end after what is due at ``moment`` (monotonic), however late it is with that: one
        that went on until it has caught up would end behind the others."""
        self._last_due = moment

    def run(self) -> None:
        while not self.refused:
            try:
                self._post()
                return
            except (OSError, _Lost):
                self.lost += 1
                before = time.monotonic() - _SURE
                self._sure = sum(moment < before for moment in self._sent_at)
                time.sleep(_PAUSE)

    def _post(self) -> None:
        at = self._sure
        with self._connected() as connection:
            head = f"POST {self.target} HTTP/1.1\r\nHost: encoder\r\nTransfer-Encoding: chunked\r\n"
            connection.sendall(f"{head}\r\n".encode() + _chunk(self.sent.header))
            while at < len(self.sent.pieces) and self._await(at, connection):
                connection.sendall(_chunk(self.sent.pieces[at].data))
                self._note(at)
                at += 1
            connection.sendall(b"0\r\n\r\n")
            self._answered(connection)

    def _connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=_PATIENCE)

    def _note(self, at: int) -> None:
        if at == len(self._sent_at):
            self._sent_at.append(0.0)
        self._sent_at[at] = time.monotonic()
        self.on_sent()

    def _await(self, at: int, connection: socket.socket | None) -> bool:
        """Until piece ``at`` is due; false when it is not wanted any more."""
        due = self._begin + self.sent.pieces[at].due / self._speed
        while True:
            if due > self._last_due:
                return False
            left = due - time.monotonic()
            wait = min(max(left, 0), 0.2)
            if connection is None:
                time.sleep(wait)
            elif select.select([connection], [], [], wait)[0]:
                self._answered(connection)
                raise _Lost
            if left <= wait:
                return True

    def _answered(self, connection: socket.socket) -> None:
        """Reads an answer. Raises ``_Lost`` when there is none, or none that counts."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                raise _Lost
            data += more
        status = int(data.split(b" ", 2)[1])
        if 400 <= status < 500:
            self.refused.append(f"{self.target}: {data[-300:]!r}")
        if status != 200:
            raise _Lost


class EncoderOfSegments(Encoder):
    """One that makes a connection for each fragment, and goes on when that was answered."""

    def _post(self) -> None:
        self._put(self.sent.header)
        at = len(self._sent_at)
        while at < len(self.sent.pieces) and self._await(at, None):
            self._put(self.sent.pieces[at].data)
            self._note(at)
            self.acknowledged.add(at)
            at += 1

    def _put(self, data: bytes) -> None:
        with self._connected() as connection:
            head = f"PUT {self.target} HTTP/1.1\r\nHost: encoder\r\nConnection: close\r\n"
            connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            self._answered(connection)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
