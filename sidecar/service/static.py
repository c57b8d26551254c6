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
from sidecar.service.content import Content, resolve, resolve_source
from sidecar.service.convert import SourceTable
from sidecar.storage.local import open_local
from sidecar.storage.source import SourceIdentity

DIRECTIVE = "usp_prefer_static"
# What is made is kept for so long; then it is looked again whether a file stands there.
LOOK_AGAIN_MS = 5000

_CLIENT_MANIFEST = "clientManifestRelativePath"
# Indexes of media and the media that they name: as openresty.conf has it for plain files.
_DENIED = re.compile(r"\.(?:[is]sml?|ism[vat]|cmf[vatm]|db3|db3-wal|db3-shm)", re.IGNORECASE)
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
    document_root: str, path: str, virtual_path: str
) -> tuple[Plan, SourceTable] | None:
    """The file that ``virtual_path`` names in the folder of the content ``path``, or None.

    For ``Manifest`` of a server manifest, the file that this one calls its client manifest. Files
    outside the document root, hidden ones and those that no location serves count as absent.
    Raises what ``resolve`` raises about ``path``.
    """
    content = resolve(document_root, path)
    sources: list[SourceIdentity] = []
    name: str | None = virtual_path
    if content.is_manifest and virtual_path in ("Manifest", "manifest"):
        name, manifest = _client_manifest(content)
        sources.append(manifest)
    found = None if name is None else _file(content, name)
    if found is None:
        return None
    size = np.array([found.size], dtype=np.int64)
    part: Part = FileRanges(found, np.zeros(1, dtype=np.int64), size) if found.size else Inline(b"")
    plan = Plan(
        parts=(part,),
        content_type=_TYPES.get(PurePosixPath(found.path).suffix.lower(), _DEFAULT_TYPE),
        cache_class=CacheClass.MEDIA,
    )
    return plan, SourceTable((*sources, found), found.mtime_ns // 1_000_000_000)


def yield_to_static(request: origin_pb2.PlanRequest, reply: origin_pb2.PlanReply) -> None:
    """Takes those plans out of ``reply`` that were read ahead and whose file stands there already.

    A file that appears later is served instead too, as plans last LOOK_AGAIN_MS only."""
    kept = [
        ahead
        for ahead in reply.ahead
        if static_answer(request.document_root, request.path, ahead.virtual_path) is None
    ]
    if len(kept) < len(reply.ahead):
        del reply.ahead[:]
        reply.ahead.extend(kept)


def _client_manifest(content: Content) -> tuple[str | None, SourceIdentity]:
    """The name of the client manifest as the server manifest ``content`` gives it, or None; and
    the file that says so."""
    with open_local(content.path) as source:
        identity = source.identity
        if identity.size > MAX_BYTES:
            return None, identity
        try:
            manifest = read_server_manifest(source.read(0, identity.size), path=content.path)
        except InvalidMedia:
            # Whoever makes the manifest says what is wrong with it.
            return None, identity
    return next((text for name, text in manifest.metas if name == _CLIENT_MANIFEST), None), identity


def _file(content: Content, name: str) -> SourceIdentity | None:
    parts = name.split("/")
    if name.startswith("/") or any(part.startswith(".") or not part for part in parts):
        return None
    try:
        path = resolve_source(content, name)
        # A link may lead where its name does not show.
        inside = os.path.relpath(path, content.root).split("/")
        if any(part.startswith(".") for part in inside) or _is_denied(name) or _is_denied(path):
            return None
        with open_local(path) as source:
            return source.identity
    except (Forbidden, NotFound, StorageError):
        return None


def _is_denied(path: str) -> bool:
    return _DENIED.fullmatch(PurePosixPath(path).suffix) is not None
