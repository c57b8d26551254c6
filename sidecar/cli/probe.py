"""What can be played below a media folder, and whether the first of it can be served."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Container, Iterator
from pathlib import Path
from urllib.parse import quote

MANIFESTS = (".ism",)
MEDIA = (".mp4", ".m4v", ".mov", ".ismv", ".cmfv", ".m4a", ".isma", ".cmfa")
# Asked when there is nothing to play: the sidecar's answer is 404, but it is an answer.
NOTHING = "/nothing.ism"


def playable(media: Path, limit: int) -> list[str]:
    """Up to ``limit`` URL paths below ``media``: its server manifests, else its media files."""
    for extensions in (MANIFESTS, MEDIA):
        found = []
        for path in _files(media, extensions):
            found.append(quote(f"/{path.relative_to(media)}"))
            if len(found) == limit:
                break
        if found:
            return found
    return []


def _files(media: Path, extensions: tuple[str, ...]) -> Iterator[Path]:
    for folder, folders, names in os.walk(media):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.endswith(extensions) and not name.startswith("."):
                yield Path(folder, name)


def get(port: int, path: str, seconds: float) -> tuple[int, str]:
    """Status and first line of the body of ``path`` on this machine; raises ``OSError``."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace").partition("\n")[0]
    except http.client.HTTPException as error:
        raise OSError(f"not HTTP: {error}") from error
    finally:
        connection.close()


def port_is_free(port: int) -> bool:
    """Whether nobody listens on ``port``."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def spare_port(taken: Container[int]) -> int:
    """A port that nobody uses now on any address, and that is not in ``taken``."""
    while (port := free_port()) in taken or not port_is_free(port):
        pass
    return port


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
