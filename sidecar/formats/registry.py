"""All request kinds, and which of them a virtual path asks for."""

from __future__ import annotations

import re

from sidecar.formats.dash.handler import KINDS as DASH_KINDS
from sidecar.formats.download.handler import KINDS as DOWNLOAD_KINDS
from sidecar.formats.hds.handler import KINDS as HDS_KINDS
from sidecar.formats.hls.handler import KINDS as HLS_KINDS
from sidecar.formats.smooth.handler import KINDS as SMOOTH_KINDS
from sidecar.formats.spec import RequestKind

KINDS: tuple[RequestKind, ...] = HLS_KINDS + DASH_KINDS + HDS_KINDS + SMOOTH_KINDS + DOWNLOAD_KINDS


def find(virtual_path: str) -> tuple[RequestKind, re.Match[str]] | None:
    """The row that answers ``virtual_path`` (percent-decoded) with its match, or None."""
    for kind in KINDS:
        match = kind.pattern.fullmatch(virtual_path)
        if match is not None:
            return kind, match
    return None
