"""One segmenter for all formats, so that they cannot disagree about boundaries."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from sidecar.media.presentation import Presentation, Rendition
from sidecar.timeline.segments import SegmentList


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPolicy:
    """Shortest segment by kind, seconds; 0 = every GOP (video) or source fragment."""

    video: Fraction
    audio: Fraction
    text: Fraction


class Timeline:
    """The segment lists of a presentation, made once for each policy."""

    def __init__(self, presentation: Presentation) -> None:
        self.presentation = presentation

    def segments(self, rendition: Rendition, policy: SegmentPolicy) -> SegmentList:
        """Segments of ``rendition`` under ``policy``."""
        raise NotImplementedError
