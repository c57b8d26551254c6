"""The streams of a presentation: which video is muxed with which audio, and their names."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.errors import NotFound, UnsupportedMedia
from sidecar.formats.choices import audio_choices
from sidecar.formats.urls import find_rendition
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind
from sidecar.mux.flv import is_supported


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Stream:
    """``video`` muxed with ``audio``, or one of them alone."""

    video: Rendition | None
    audio: Rendition | None

    @property
    def renditions(self) -> tuple[Rendition, ...]:
        """One or both, audio first as in URLs."""
        return tuple(one for one in (self.audio, self.video) if one is not None)

    @property
    def name(self) -> str:
        """``audio_eng=64000-video_eng=401000``, as in URLs."""
        return "-".join(rendition.selector for rendition in self.renditions)

    @property
    def bitrate(self) -> int:
        """Bits per second of all together."""
        return sum(rendition.bitrate for rendition in self.renditions)


def streams(presentation: Presentation) -> tuple[Stream, ...]:
    """The streams that a manifest lists, by ascending bitrate of their video.

    Every H.264 rendition goes with the default audio, the first of its choices that is AAC. Where
    that has several bitrates, the lowest goes with the lowest video and the highest with the
    others. Without video, the bitrates of the default audio are the streams. Renditions of other
    codecs, and text, are left out.

    Raises ``UnsupportedMedia`` when nothing is left.
    """
    video = [one for one in presentation.of_kind(Kind.VIDEO) if is_supported(one)]
    choices = [one for one in audio_choices(presentation) if is_supported(one)]
    ladder = sorted(
        (one for one in choices if one.choice == choices[0].choice), key=lambda one: one.bitrate
    )
    if not video and not ladder:
        raise UnsupportedMedia("the presentation has neither H.264 nor AAC, which HDS is made of")
    if not video:
        return tuple(Stream(video=None, audio=audio) for audio in ladder)
    return tuple(
        Stream(
            video=one,
            audio=ladder[0 if at == 0 and len(video) > 1 else -1] if ladder else None,
        )
        for at, one in enumerate(video)
    )


def find_stream(presentation: Presentation, stem: str) -> Stream:
    """The stream that ``<any basename>-audio=1-video=2``, or one of the two selectors, names.

    Raises ``NotFound`` when there is no such rendition, ``UnsupportedMedia`` when FLV cannot hold
    it.
    """
    last = find_rendition(presentation, stem)
    audio = last if last.kind is Kind.AUDIO else None
    if last.kind is Kind.VIDEO:
        rest = stem.removesuffix(f"-{last.selector}")
        named = [
            one for one in presentation.of_kind(Kind.AUDIO) if rest.endswith(f"-{one.selector}")
        ]
        audio = max(named, key=lambda one: len(one.selector), default=None)
    if last.kind is Kind.TEXT:
        raise NotFound("text tracks are not served as HDS")
    stream = Stream(video=last if last.kind is Kind.VIDEO else None, audio=audio)
    for rendition in stream.renditions:
        if not is_supported(rendition):
            raise UnsupportedMedia(f"track {rendition.selector} is not H.264 or AAC, as in HDS")
    return stream
