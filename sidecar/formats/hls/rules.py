"""What all request kinds of HLS go by."""

from __future__ import annotations

from fractions import Fraction

from sidecar.errors import NotFound
from sidecar.formats.spec import Request
from sidecar.media.options import Options
from sidecar.timeline.segmenter import SegmentPolicy

_DEFAULT_LENGTH = Fraction(4)


def policy(options: Options) -> SegmentPolicy:
    """HLS segments last 4 s unless told otherwise, whatever the source and the kind."""
    length = options.hls_minimum_fragment_length
    if length is None:
        length = _DEFAULT_LENGTH
    return SegmentPolicy(video=length, audio=length, text=length)


def require_playout(request: Request) -> None:
    """Raises ``NotFound`` when HLS is switched off."""
    if not request.options.hls_playout:
        raise NotFound("HLS is switched off for this presentation")
