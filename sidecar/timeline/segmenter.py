"""One segmenter for all formats, so that they cannot disagree about boundaries."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from fractions import Fraction

from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind
from sidecar.timeline.boundaries import Boundaries, video_boundaries, without_video
from sidecar.timeline.muxed import MuxedSegments, muxed
from sidecar.timeline.segments import SegmentList
from sidecar.timeline.split import key_frames, split
from sidecar.timeline.text import text_segments

# Policies come from the query too: a client that varies them must not fill the memory.
_POLICIES_KEPT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPolicy:
    """Shortest segment by kind, seconds; 0 = every GOP (video) or source fragment."""

    video: Fraction
    audio: Fraction
    text: Fraction

    def of_kind(self, kind: Kind) -> Fraction:
        """The shortest segment of tracks of ``kind``, seconds."""
        return {Kind.VIDEO: self.video, Kind.AUDIO: self.audio, Kind.TEXT: self.text}[kind]


class _Cut:
    """What was made for one policy."""

    def __init__(self, shared: Boundaries, aligned: bool) -> None:
        self.shared = shared
        self.aligned = aligned
        self.lists: dict[str, SegmentList] = {}
        self.muxed: dict[tuple[str, str], MuxedSegments] = {}


class Timeline:
    """The segment lists of a presentation, made once for each policy; may be used by threads."""

    def __init__(self, presentation: Presentation) -> None:
        self.presentation = presentation
        self._lock = threading.Lock()
        self._cuts: OrderedDict[SegmentPolicy, _Cut] = OrderedDict()
        self._key_frames: dict[str, SegmentList | None] = {}

    def segments(self, rendition: Rendition, policy: SegmentPolicy) -> SegmentList:
        """Segments of ``rendition`` under ``policy``.

        Those of audio and video hold every sample once. Video begins at sync samples that all
        video renditions share, audio at the sample nearest to such a boundary, text at the boundary
        itself (``timeline.text``). Raises ``MissingTfra`` when audio or video has no samples.
        """
        cut = self._cut(policy)
        found = cut.lists.get(rendition.selector)
        if found is None:
            shared = cut.shared
            if rendition.kind is Kind.VIDEO and not cut.aligned:
                shared = video_boundaries((rendition,), self.presentation, policy.video)[0]
            minimum = policy.of_kind(rendition.kind)
            if rendition.kind is Kind.TEXT:
                found = text_segments(rendition, self.presentation, shared, float(minimum))
            else:
                found = split(rendition, shared, minimum)
            cut.lists[rendition.selector] = found
        return found

    def muxed(self, video: Rendition, audio: Rendition, policy: SegmentPolicy) -> MuxedSegments:
        """Segments of both renditions together: those of ``video``, and of ``audio`` alone where it
        reaches further. Raises ``MissingTfra`` when either has no samples."""
        cut = self._cut(policy)
        key = video.selector, audio.selector
        found = cut.muxed.get(key)
        if found is None:
            found = muxed(
                video.track,
                self.segments(video, policy),
                audio.track,
                self.segments(audio, policy),
            )
            cut.muxed[key] = found
        return found

    def aligned(self, policy: SegmentPolicy) -> bool:
        """Whether the video renditions share their boundaries."""
        return self._cut(policy).aligned

    def key_frames(self, rendition: Rendition) -> SegmentList | None:
        """The sync samples of a video rendition: entry k begins with the k-th and lasts to the
        next one. None when the rendition has none."""
        if rendition.selector not in self._key_frames:
            self._key_frames[rendition.selector] = key_frames(rendition)
        return self._key_frames[rendition.selector]

    def duration(self, policy: SegmentPolicy) -> Fraction:
        """Seconds from presentation time 0 to the end of the last segment of any rendition."""
        renditions = self.presentation.renditions
        return max((self.segments(r, policy).end for r in renditions), default=Fraction(0))

    def longest(self, policy: SegmentPolicy) -> Fraction:
        """Seconds that segments of any rendition are told to be no longer than, whether they are
        listed or not; 0: nothing but what is listed is known, or counts."""
        return Fraction(0)

    def _cut(self, policy: SegmentPolicy) -> _Cut:
        with self._lock:
            cut = self._cuts.get(policy)
            if cut is not None:
                self._cuts.move_to_end(policy)
                return cut
        video = self.presentation.of_kind(Kind.VIDEO)
        if video:
            cut = _Cut(*video_boundaries(video, self.presentation, policy.video))
        else:
            cut = _Cut(without_video(self.presentation, policy.audio), True)
        with self._lock:
            cut = self._cuts.setdefault(policy, cut)
            while len(self._cuts) > _POLICIES_KEPT:
                self._cuts.popitem(last=False)
        return cut
