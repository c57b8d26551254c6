"""The ``listen`` lines of a configuration, shipped or of somebody's own, and its other ties to the
machine: changed line by line, so that a copy is read like the original."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

# The server of metrics and health in openresty.conf.
ADMIN = "127.0.0.1:18080"
# The server for clients in openresty.conf.
SHIPPED_PORT = 8080
_HTTP_PORT = 80

_LISTEN = re.compile(r"^([ \t]*(?:server[ \t]*\{[ \t]*)?listen[ \t]+)([^\s;#]+)", re.MULTILINE)
_PORT = re.compile(r"(?:^|:)(\d+)$")  # "[::1]" has none: it ends with a bracket
_HTTP = re.compile(r"^[ \t]*http\s*\{", re.MULTILINE)
# Directives of the main context that an instance decides itself: it runs as whoever started it,
# in the foreground, and notes its process in its own folder.
_DECIDED = re.compile(r"^[ \t]*(user|daemon|master_process|pid)[ \t][^;\n]*;", re.MULTILINE)
PID = "logs/nginx.pid"


def public_ports(text: str) -> list[int]:
    """The TCP ports on which the configuration ``text`` listens for clients, each once, in its
    order. Those of included files are not seen."""
    found = (_port(match[2]) for match in _LISTEN.finditer(text) if match[2] != ADMIN)
    return list(dict.fromkeys(port for port in found if port is not None))


def replaced_port(text: str, port: int) -> int | None:
    """The port of ``text`` in whose place ``port`` comes: itself if it is one of them, else 8080,
    else 80, else the only one. None when that is not clear."""
    ports = public_ports(text)
    for old in (port, SHIPPED_PORT, _HTTP_PORT):
        if old in ports:
            return old
    return ports[0] if len(ports) == 1 else None


def moved(text: str, ports: Mapping[int, int]) -> str:
    """``text`` that listens for clients on ``ports[p]`` in place of each port p in ``ports``,
    whatever else the ``listen`` says (address, ``ssl``)."""

    def replacement(match: re.Match[str]) -> str:
        port = _port(match[2])
        if port is None or match[2] == ADMIN or ports.get(port, port) == port:
            return match[0]
        host = _PORT.sub("", match[2])
        return f"{match[1]}{f'{host}:' if host else ''}{ports[port]}"

    return _LISTEN.sub(replacement, text)


def isolated(text: str, port_for: Callable[[int], int]) -> str:
    """``text`` that listens on this machine only: on ``port_for(p)`` in place of port p, and in
    ``sockets/`` in place of sockets elsewhere."""

    def replacement(match: re.Match[str]) -> str:
        address = match[2]
        if address.startswith("unix:sockets/"):
            return match[0]
        if address.startswith("unix:"):
            name = re.sub(r"\W+", "-", address.removeprefix("unix:")).strip("-")
            return f"{match[1]}unix:sockets/{name}.sock"
        host = "[::1]" if address.startswith("[") else "127.0.0.1"
        port = _port(address)
        return match[0] if port is None else f"{match[1]}{host}:{port_for(port)}"

    return _LISTEN.sub(replacement, text)


def settled(text: str) -> str:
    """``text`` for an instance: it runs in the foreground as its user, with the pid file ``PID``.
    Lines keep their numbers."""
    http = _HTTP.search(text)
    end = http.start() if http else len(text)
    main = _DECIDED.sub(_decided, text[:end])
    if not re.search(r"^[ \t]*pid[ \t]", main, re.MULTILINE):
        main = f"pid {PID}; {main}"
    return main + text[end:]


def _decided(match: re.Match[str]) -> str:
    if match[1] != "pid":
        return f"# {match[0].strip()}"
    return match[0] if match[0].split() == ["pid", f"{PID};"] else f"pid {PID};"


def _port(address: str) -> int | None:
    """The TCP port of the address of a ``listen``; None of sockets and of what is none."""
    if address.startswith("unix:"):
        return None
    port = _PORT.search(address)
    return int(port[1]) if port else 80
