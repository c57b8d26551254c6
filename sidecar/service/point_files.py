"""The server manifest of a publishing point, and when a file of it has changed."""

from __future__ import annotations

from pathlib import Path

from sidecar.errors import InvalidMedia, NotFound
from sidecar.media.server_manifest import ServerManifest, read_server_manifest
from sidecar.storage.local import open_local
from sidecar.storage.source import SourceIdentity

EXTENSIONS = frozenset({".isml"})
MAX_MANIFEST_BYTES = 4 << 20


def is_live(path: str) -> bool:
    """Whether ``path`` names a publishing point."""
    return path[-5:].lower() in EXTENSIONS


def identify_point(path: Path) -> SourceIdentity:
    """The file ``path``, a server manifest or the stamp of an index, as it is now. Raises
    ``NotFound``."""
    try:
        status = path.stat()
    except OSError:
        raise NotFound("there is no such publishing point") from None
    return SourceIdentity(str(path), status.st_size, status.st_mtime_ns, status.st_ino)


def read_point_manifest(path: Path) -> ServerManifest:
    """The server manifest of a publishing point. Raises ``NotFound``, ``InvalidMedia``,
    ``StorageError``."""
    source = open_local(str(path))
    try:
        size = source.identity.size
        if size > MAX_MANIFEST_BYTES:
            raise InvalidMedia(f"a server manifest of {size} bytes is not read", path=str(path))
        return read_server_manifest(source.read(0, size), path=str(path))
    finally:
        source.close()
