"""A plain HTTP/1.1 client that sends request targets exactly as they are given."""

from __future__ import annotations

import http.client
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass


class _Connection(http.client.HTTPConnection):
    """One that also sends what no well-behaved client would: bytes of Latin-1, blanks ..."""

    def _validate_path(self, url: str) -> None:
        pass

    def _encode_request(self, request: str) -> bytes:
        return request.encode("latin-1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """``headers``: names in lower case; repeated ones joined with a comma."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def _read(answer: http.client.HTTPResponse) -> Response:
    body = answer.read()
    found: dict[str, str] = {}
    for name, value in answer.getheaders():
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return Response(status=answer.status, headers=found, body=body)


class Client:
    """Requests to one server over one connection, reopened when the server closes it."""

    def __init__(self, base: str, *, timeout: float = 60) -> None:
        self.base = base.rstrip("/")
        parts = urllib.parse.urlsplit(base)
        assert parts.hostname
        self._connection = _Connection(parts.hostname, parts.port or 80, timeout=timeout)

    def close(self) -> None:
        self._connection.close()

    def request(
        self,
        target: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Response:
        """The answer to ``method`` on ``target`` (a path, or a URL of this server)."""
        target = target.removeprefix(self.base)
        connection = self._connection
        for attempt in (1, 2):
            try:
                connection.request(method, target, body=body, headers=dict(headers or {}))
                answer = connection.getresponse()
                break
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                connection.close()
                if attempt == 2:
                    raise
        return _read(answer)

    def send(self, target: str) -> None:
        """Sends GET ``target``; ``receive`` has the answer."""
        self._connection.request("GET", target.removeprefix(self.base))

    def receive(self) -> Response:
        """The answer to what was sent last."""
        return _read(self._connection.getresponse())

    @property
    def port(self) -> int:
        """This end's port, once something was sent."""
        number: int = self._connection.sock.getsockname()[1]
        return number

    def get(self, target: str) -> Response:
        """GET that must answer 200 with as many bytes as it announces."""
        response = self.request(target)
        assert response.status == 200, f"{target}: {response.status} {response.body[:200]!r}"
        assert int(response.headers["content-length"]) == len(response.body)
        return response
