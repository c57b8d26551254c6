"""How long segments are where nobody says how long they shall be."""

from __future__ import annotations

from fractions import Fraction

from sidecar.media.presentation import Presentation
from sidecar.media.track import Kind
from sidecar.timeline.segmenter import SegmentPolicy

_SOURCE_FRAGMENTS = SegmentPolicy(video=Fraction(0), audio=Fraction(0), text=Fraction(0))
_GOPS = SegmentPolicy(video=Fraction(0), audio=Fraction(2), text=Fraction(2))


def source_policy(presentation: Presentation, length: Fraction | None) -> SegmentPolicy:
    """Segments are the source's fragments; those of a progressive source are its GOPs, and 2 s of
    audio and text. ``length``, in seconds unless None or 0, merges either until it is reached."""
    if length:
        return SegmentPolicy(video=length, audio=length, text=length)
    first = (presentation.of_kind(Kind.VIDEO) or presentation.renditions)[0]
    return _GOPS if first.track.samples.fragment_start is None else _SOURCE_FRAGMENTS
