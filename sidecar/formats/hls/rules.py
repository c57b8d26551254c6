"""What all request kinds of HLS go by."""

from __future__ import annotations

from fractions import Fraction

from sidecar.errors import NotFound
from sidecar.formats.spec import Request
from sidecar.timeline.segmenter import SegmentPolicy

_DEFAULT_LENGTH = Fraction(4)


def policy(request: Request) -> SegmentPolicy:
    """HLS segments last 4 s unless told otherwise, whatever the source and the kind; live ones are
    what the encoder sends, so that they can be played as soon as they are there."""
    length = request.options.hls_minimum_fragment_length
    if length is None:
        length = _DEFAULT_LENGTH if request.live is None else Fraction(0)
    return SegmentPolicy(video=length, audio=length, text=length)


def require_playout(request: Request) -> None:
    """Raises ``NotFound`` when HLS is switched off."""
    if not request.options.hls_playout:
        raise NotFound("HLS is switched off for this presentation")
