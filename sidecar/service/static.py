"""Files that stand where a virtual path would be made: served as they are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

import numpy as np

from sidecar.errors import Forbidden, InvalidMedia, NotFound, StorageError
from sidecar.formats.directives import is_on
from sidecar.media.server_manifest import MAX_BYTES, read_server_manifest
from sidecar.mux.plan import CacheClass, FileRanges, Inline, Part, Plan
from sidecar.rpc import origin_pb2
from sidecar.service.content import (
    Content,
    RemoteContent,
    remote_content,
    resolve,
    resolve_source,
)
from sidecar.storage.local import open_local
from sidecar.storage.remote import RemoteStore
from sidecar.storage.source import SourceIdentity

DIRECTIVE = "usp_prefer_static"
# What is made is kept for so long; then it is looked again whether a file stands there.
LOOK_AGAIN_MS = 5000

_CLIENT_MANIFEST = "clientManifestRelativePath"
# Indexes of media and the media that they name: as openresty.conf has it for plain files.
_DENIED = re.compile(r"\.(?:[is]sml?|ism[vat]|cmf[vatm]|db3(?:-(?:wal|shm|stamp))?)", re.IGNORECASE)
_DEFAULT_TYPE = "application/octet-stream"
_TYPES = {
    ".aac": "audio/aac",
    ".abst": "video/abst",
    ".ac3": "audio/ac3",
    ".dash": "video/mp4",
    ".ec3": "audio/eac3",
    ".f4m": "application/f4m+xml",
    ".ismc": "application/vnd.ms-sstr+xml",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".m4a": "audio/mp4",
    ".m4s": "video/mp4",
    ".m4v": "video/mp4",
    ".mp4": "video/mp4",
    ".mpd": "application/dash+xml",
    ".png": "image/png",
    ".srt": "application/x-subrip",
    ".ts": "video/mp2t",
    ".ttml": "application/ttml+xml",
    ".vtt": "text/vtt; charset=utf-8",
    ".webvtt": "text/vtt; charset=utf-8",
    ".xml": "application/xml",
}


def prefers_static(directives: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether the location serves files that exist rather than what would be made."""
    return is_on(directives, DIRECTIVE)


def static_answer(
    document_root: str, path: str, virtual_path: str, store: RemoteStore | None = None
) -> tuple[Plan, tuple[SourceIdentity, ...]] | None:
    """The file that ``virtual_path`` names in the folder of the content ``path``, or None.

    For ``Manifest`` of a server manifest, the file that this one calls its client manifest. Files
    outside the document root, hidden ones and those that no location serves count as absent.
    The answer's sources, of which the last one is the file. ``store``: what stands for the document
    root. Raises what ``resolve`` and ``remote_content`` raise about ``path``.
    """
    folder: _LocalFolder | _RemoteFolder
    if store is not None and store.access.base:
        folder = _RemoteFolder(remote_content(store.access, path), store)
    else:
        folder = _LocalFolder(resolve(document_root, path))
    sources: list[SourceIdentity] = []
    name: str | None = virtual_path
    if folder.content.is_manifest and virtual_path in ("Manifest", "manifest"):
        manifest, data = folder.manifest()
        sources.append(manifest)
        name = _client_manifest(data, manifest.path)
    found = None if name is None or not _may_be_file(name) else folder.file(name)
    if found is None:
        return None
    size = np.array([found.size], dtype=np.int64)
    part: Part = FileRanges(found, np.zeros(1, dtype=np.int64), size) if found.size else Inline(b"")
    plan = Plan(
        parts=(part,),
        content_type=_TYPES.get(PurePosixPath(found.path).suffix.lower(), _DEFAULT_TYPE),
        cache_class=CacheClass.MEDIA,
    )
    return plan, (*sources, found)


def yield_to_static(
    request: origin_pb2.PlanRequest, store: RemoteStore | None, reply: origin_pb2.PlanReply
) -> None:
    """Takes those plans out of ``reply`` that were read ahead and whose file stands there already.

    A file that appears later is served instead too, as plans last LOOK_AGAIN_MS only."""
    kept = [
        ahead
        for ahead in reply.ahead
        if static_answer(request.document_root, request.path, ahead.virtual_path, store) is None
    ]
    if len(kept) < len(reply.ahead):
        del reply.ahead[:]
        reply.ahead.extend(kept)


class _LocalFolder:
    """The folder of ``content`` on this computer."""

    def __init__(self, content: Content) -> None:
        self.content = content

    def manifest(self) -> tuple[SourceIdentity, bytes]:
        """The server manifest; no bytes when it has too many."""
        with open_local(self.content.path) as source:
            identity = source.identity
            return identity, source.read(0, identity.size if identity.size <= MAX_BYTES else 0)

    def file(self, name: str) -> SourceIdentity | None:
        try:
            path = resolve_source(self.content, name)
            # A link may lead where its name does not show.
            inside = os.path.relpath(path, self.content.root).split("/")
            if any(part.startswith(".") for part in inside) or _is_denied(path):
                return None
            with open_local(path) as source:
                return source.identity
        except (Forbidden, NotFound, StorageError):
            return None


class _RemoteFolder:
    """The folder of ``content`` in ``store``."""

    def __init__(self, content: RemoteContent, store: RemoteStore) -> None:
        self.content = content
        self._store = store

    def manifest(self) -> tuple[SourceIdentity, bytes]:
        data, identity = self._store.document(self.content.url, MAX_BYTES)
        return identity, data

    def file(self, name: str) -> SourceIdentity | None:
        try:
            url = self._store.access.url_of_source(self.content.url, name)
        except Forbidden:
            return None
        return self._store.found(url)


def _client_manifest(data: bytes, path: str) -> str | None:
    """The name of the client manifest as the server manifest ``data`` gives it, or None."""
    try:
        manifest = read_server_manifest(data, path=path)
    except InvalidMedia:
        # Whoever makes the manifest says what is wrong with it.
        return None
    return next((text for name, text in manifest.metas if name == _CLIENT_MANIFEST), None)


def _may_be_file(name: str) -> bool:
    parts = name.split("/")
    is_hidden = any(part.startswith(".") or not part for part in parts)
    return not (name.startswith("/") or is_hidden or _is_denied(name))


def _is_denied(path: str) -> bool:
    return _DENIED.fullmatch(PurePosixPath(path).suffix) is not None
