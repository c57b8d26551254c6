"""HTTP/1.1 read byte by byte, so that nothing in a response goes unnoticed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PATIENCE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RawResponse:
    """``headers``: names in lower case, as they came, repeated ones too."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


class RawConnection:
    """One connection; ``read`` fails where a response is not framed as RFC 9112 6.3 has it."""

    def __init__(self, raw: socket.socket) -> None:
        self.raw = raw
        self._buffer = b""

    def send(self, *requests: str) -> None:
        """Sends requests in one go: ``GET /x`` and further header lines, body after a blank one."""
        text = ""
        for request in requests:
            head, _, body = request.partition("\n\n")
            line, *lines = head.split("\n")
            text += "\r\n".join([f"{line} HTTP/1.1", "Host: test", *lines, "", body])
        self.raw.sendall(text.encode())

    def read(self, method: str = "GET") -> RawResponse:
        """The next response."""
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = line.split(" ", 2)
        assert version == "HTTP/1.1", line
        pairs = [line.split(":", 1) for line in lines]
        headers = [(name.lower(), value.strip()) for name, value in pairs]
        response = RawResponse(status=int(status), headers=headers, body=b"")
        if method == "HEAD" or response.status in (204, 304):
            return response
        return RawResponse(status=int(status), headers=headers, body=self._body(response))

    def ask(self, *requests: str) -> list[RawResponse]:
        """The responses to requests that are sent at once: a byte too many or too few in any
        but the last would make the next one unreadable."""
        self.send(*requests)
        responses = [self.read(request.split(" ", 1)[0]) for request in requests]
        assert not self._buffer, self._buffer
        return responses

    def _body(self, response: RawResponse) -> bytes:
        lengths, coding = response.all("content-length"), response.all("transfer-encoding")
        assert len(lengths) + len(coding) == 1, response.headers
        if lengths:
            return self._take(int(lengths[0]))
        assert coding == ["chunked"]
        body = b""
        while True:
            while b"\r\n" not in self._buffer:
                self._receive()
            size, _, self._buffer = self._buffer.partition(b"\r\n")
            chunk = self._take(int(size, 16))
            assert self._take(2) == b"\r\n"
            body += chunk
            if not chunk:
                return body

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _receive(self) -> None:
        data = self.raw.recv(1 << 16)
        assert data, f"the server closed after {self._buffer[-200:]!r}"
        self._buffer += data


@contextmanager
def connect(port: int) -> Iterator[RawConnection]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as raw:
        yield RawConnection(raw)
