"""The live server manifest: a SMIL that encoders send ahead of their media ([MS-SSTR], PIFF)."""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.errors import InvalidMedia
from sidecar.media.playable import Playable
from sidecar.media.server_manifest import Entry, ServerManifest, read_server_manifest


def read_live_server_manifest(body: bytes) -> ServerManifest:
    """The manifest in the ``body`` of its uuid box, behind the extended type.

    Version and flags come before the text; some encoders leave them out, or end it with a NUL.
    Raises ``InvalidMedia`` for anything that is not a usable SMIL.
    """
    text = body.removeprefix(bytes(4)).rstrip(b"\0")
    if not text:
        raise InvalidMedia("the live server manifest is empty", box_path="uuid")
    return read_server_manifest(text, path="", announced=True)


def is_sparse(entry: Entry) -> bool:
    """Whether ``entry`` announces a track of events rather than of text."""
    return (entry.param("subtype") or "").upper() == "DATA"


def announced_track(
    manifest: ServerManifest, track: Playable, tracks: Sequence[Playable]
) -> Entry | None:
    """The entry about ``track``, one of ``tracks``: by trackID, or the only one of its kind."""
    of_kind = [
        entry for entry in manifest.entries if entry.kind is track.kind and not is_sparse(entry)
    ]
    for entry in of_kind:
        if entry.track_id == track.track_id:
            return entry
    alone = sum(other.kind is track.kind for other in tracks) == 1
    if alone and len(of_kind) == 1 and of_kind[0].track_id is None:
        return of_kind[0]
    return None
