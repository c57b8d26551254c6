"""A presentation: named renditions of tracks, as a server manifest or a media file lists them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from sidecar.codecs.facts import AudioFacts, TextFacts, VideoFacts
from sidecar.media.track import Kind, Track
from sidecar.storage.source import SourceIdentity

# Ordinary renditions differ in their picture rates by a factor of two, or of 2.5 (50, 25, 20).
_TRICK_PLAY_INTERVALS = 4


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rendition:
    """A track with the identity that it has in URLs.

    ``name``: trackName; ``bitrate``: systemBitrate, bit/s. Both together, as ``name=bitrate``, are
    unique in a presentation. ``language``: as the server manifest says, else the track's; None when
    unknown. ``label``: human-readable name or None. ``role``: DASH role value, or None for default.
    """

    name: str
    bitrate: int
    language: str | None
    label: str | None
    role: str | None
    track: Track

    @property
    def selector(self) -> str:
        """As it stands in URLs: ``video_eng=401000``."""
        return f"{self.name}={self.bitrate}"

    @property
    def kind(self) -> Kind:
        return self.track.kind

    @property
    def video(self) -> VideoFacts:
        """Facts of a video rendition; raises TypeError for another kind."""
        if not isinstance(self.track.facts, VideoFacts):
            raise TypeError(f"{self.selector} is not video")
        return self.track.facts

    @property
    def audio(self) -> AudioFacts:
        """Facts of an audio rendition; raises TypeError for another kind."""
        if not isinstance(self.track.facts, AudioFacts):
            raise TypeError(f"{self.selector} is not audio")
        return self.track.facts

    @property
    def text(self) -> TextFacts:
        """Facts of a text rendition; raises TypeError for another kind."""
        if not isinstance(self.track.facts, TextFacts):
            raise TypeError(f"{self.selector} is not text")
        return self.track.facts


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Presentation:
    """Everything that a format needs to answer.

    ``name``: base name for derived URLs (``video`` of ``video.ism``). ``renditions``: audio, text,
    video, each by ascending bitrate. ``options``: playout options of the manifest's head, names
    with underscores. ``sources``: every file that this was made from (server manifest first, when
    there is one). ``last_modified_ns``: of the server manifest, or of the media file without one.
    ``warnings``: sentences on tracks that were left out, for the log.
    """

    name: str
    renditions: tuple[Rendition, ...]
    options: dict[str, str]
    sources: tuple[SourceIdentity, ...]
    last_modified_ns: int
    warnings: tuple[str, ...] = ()

    def of_kind(self, kind: Kind) -> tuple[Rendition, ...]:
        """Renditions of ``kind``, in their order; of video those for ordinary playback."""
        found = tuple(rendition for rendition in self.renditions if rendition.kind is kind)
        return found if kind is not Kind.VIDEO else tuple(_split(found)[0])

    @property
    def trick_play(self) -> tuple[Rendition, ...]:
        """Video for fast forward and rewind: sync samples only, at a fraction of the picture rate
        of the other video renditions. They are no part of any ladder."""
        video = [rendition for rendition in self.renditions if rendition.kind is Kind.VIDEO]
        return tuple(_split(video)[1])

    def find(self, selector: str) -> Rendition | None:
        """The rendition ``name=bitrate``, or None."""
        for rendition in self.renditions:
            if rendition.selector == selector:
                return rendition
        return None

    @property
    def duration(self) -> Fraction:
        """Seconds, of the longest rendition."""
        return max((rendition.track.duration for rendition in self.renditions), default=Fraction(0))


def _split(video: Sequence[Rendition]) -> tuple[Sequence[Rendition], Sequence[Rendition]]:
    """(ordinary, trick play)"""
    if len(video) < 2:
        return video, ()
    intervals = [_interval(one) for one in video]
    slow = _TRICK_PLAY_INTERVALS * min(filter(None, intervals), default=0.0)
    ordinary: list[Rendition] = []
    trick_play: list[Rendition] = []
    for one, interval in zip(video, intervals, strict=True):
        sync = one.track.samples.sync
        is_trick_play = 0 < slow <= interval and (sync is None or bool(sync.all()))
        (trick_play if is_trick_play else ordinary).append(one)
    return ordinary, trick_play


def _interval(rendition: Rendition) -> float:
    """Seconds from picture to picture, on average; 0 without pictures."""
    track = rendition.track
    count = len(track.samples)
    ticks = int(track.samples.decode_time[-1] - track.samples.decode_time[0])
    return ticks / track.timescale / count if count else 0.0
