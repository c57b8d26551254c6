"""A presentation: named renditions of tracks, as a server manifest or a media file lists them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
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
    ``choice``: what a viewer chooses: the same for renditions that hold one content in several
    encodings, for no others; the name where nothing else is said.
    """

    name: str
    bitrate: int
    language: str | None
    label: str | None
    role: str | None
    track: Track
    choice: str = ""

    def __post_init__(self) -> None:
        if not self.choice:
            object.__setattr__(self, "choice", self.name)

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
    ``trick_play``: video for fast forward and rewind, part of no ladder: sync samples only,
    at a fraction of the picture rate of the other video renditions; found here.
    """

    name: str
    renditions: tuple[Rendition, ...]
    options: dict[str, str]
    sources: tuple[SourceIdentity, ...]
    last_modified_ns: int
    warnings: tuple[str, ...] = ()
    trick_play: tuple[Rendition, ...] = field(init=False)

    def __post_init__(self) -> None:
        video = [rendition for rendition in self.renditions if rendition.kind is Kind.VIDEO]
        object.__setattr__(self, "trick_play", _trick_play(video))

    def of_kind(self, kind: Kind) -> tuple[Rendition, ...]:
        """Renditions of ``kind``, in their order; of video those for ordinary playback."""
        return tuple(r for r in self.renditions if r.kind is kind and r not in self.trick_play)

    def find(self, selector: str) -> Rendition | None:
        """The rendition ``name=bitrate``, or None."""
        for rendition in self.renditions:
            if rendition.selector == selector:
                return rendition
        return None

    @property
    def duration(self) -> Fraction:
        """Seconds, of the longest audio or video; text alone lasts as long as it does."""
        media = [one for one in self.renditions if one.kind is not Kind.TEXT] or self.renditions
        return max((rendition.track.duration for rendition in media), default=Fraction(0))


def _trick_play(video: Sequence[Rendition]) -> tuple[Rendition, ...]:
    if len(video) < 2:
        return ()
    intervals = [_interval(one) for one in video]
    slow = _TRICK_PLAY_INTERVALS * min(filter(None, intervals), default=0.0)
    return tuple(
        one
        for one, interval in zip(video, intervals, strict=True)
        if 0 < slow <= interval and _only_sync(one)
    )


def _only_sync(rendition: Rendition) -> bool:
    sync = rendition.track.samples.sync
    return sync is None or bool(sync.all())


def _interval(rendition: Rendition) -> float:
    """Seconds from picture to picture, on average; 0 without pictures."""
    track = rendition.track
    count = len(track.samples)
    ticks = int(track.samples.decode_time[-1] - track.samples.decode_time[0])
    return ticks / track.timescale / count if count else 0.0
