"""Renditions as they are in one era of a presentation that grows, and names of init segments."""

from __future__ import annotations

from sidecar.errors import NotFound
from sidecar.formats.spec import Request
from sidecar.media.presentation import Rendition

# At the end of names of init segments; those of the first era have none.
ERA = r"(?:-era(?P<era>[1-9][0-9]{0,8}))?"


def suffixed(name: str, era: int) -> str:
    """``name`` of an init segment in ``era``."""
    return f"{name}-era{era}" if era else name


def described_in(request: Request, rendition: Rendition, era: int) -> Rendition:
    """``rendition`` as it is in ``era``, one of those of what is at hand."""
    if request.live is None or era not in request.live.eras:
        return rendition
    return request.live.eras[era].presentation.find(rendition.selector) or rendition


def asked_for(request: Request, rendition: Rendition) -> Rendition:
    """``rendition`` as it is in the era that the virtual path names. Raises ``NotFound`` for an era
    of stored content, which has none."""
    era = int(request.match["era"] or 0)
    if era and request.live is None:
        raise NotFound(f"there is no era {era}")
    return described_in(request, rendition, era)
