"""Fragments of packaged HDS in the document root."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing

from sidecar.errors import NotFound
from sidecar.formats.directives import is_on
from sidecar.formats.hds.packaged import packaged_fragment
from sidecar.mux.plan import Plan
from sidecar.service.content import PACKAGED_EXTENSIONS, open_content
from sidecar.storage.remote import RemoteStore
from sidecar.storage.source import ReadRange, SourceIdentity

DIRECTIVE = "usp_handle_f4f"
_VIRTUAL_PATH = re.compile(r"(?P<segment>Seg[1-9][0-9]{0,8})-Frag(?P<fragment>[1-9][0-9]{0,8})")


def is_packaged(path: str, directives: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether a request for ``path`` is one for a packaged fragment, and its location has some."""
    return path.endswith(".f4f") and is_on(directives, DIRECTIVE)


def packaged_answer(
    document_root: str,
    path: str,
    virtual_path: str,
    read: ReadRange,
    store: RemoteStore | None = None,
) -> tuple[Plan, tuple[SourceIdentity, ...]]:
    """The plan of ``Seg1-Frag7`` of ``/dir/nameSeg1.f4f``, and the files that it depends on.

    Raises ``NotFound`` when the segment, its index or the fragment does not exist, and what
    ``open_content`` and ``packaged_fragment`` raise.
    """
    match = _VIRTUAL_PATH.fullmatch(virtual_path)
    if match is None or not path.endswith(f"{match['segment']}.f4f"):
        raise NotFound("no fragment has this name")
    file, index = (
        _identity(document_root, name, store) for name in (path, path.removesuffix(".f4f") + ".f4x")
    )
    segment = int(match["segment"].removeprefix("Seg"))
    plan = packaged_fragment(index, file, segment, int(match["fragment"]), read)
    return plan, (file, index)


def _identity(document_root: str, path: str, store: RemoteStore | None) -> SourceIdentity:
    with closing(open_content(document_root, path, PACKAGED_EXTENSIONS, store)) as source:
        return source.identity
