"""Names of playlists and segments that hold one track, or the sound and the picture together."""

from __future__ import annotations

from sidecar.errors import NotFound
from sidecar.formats.urls import encoded
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind


def muxed_stem(presentation: Presentation, audio: Rendition, video: Rendition) -> str:
    """``video-audio_eng=64008-video_eng=401000``, encoded."""
    return encoded(f"{presentation.name}-{audio.selector}-{video.selector}")


def find_renditions(presentation: Presentation, decoded_stem: str) -> tuple[Rendition, ...]:
    """What ``<any basename>-<selector>`` or ``<any basename>-<audio>-<video>`` names: the video, or
    the audio; of both the video first.

    trackNames and basenames may hold dashes, and look like selectors. So what follows the name of
    the presentation counts first, then whatever takes most of the name. Raises ``NotFound``.
    """
    named = [r for r in presentation.renditions if decoded_stem.endswith(f"-{r.selector}")]
    found: list[tuple[str, tuple[Rendition, ...]]] = [(one.selector, (one,)) for one in named]
    for video in named:
        if video.kind is Kind.VIDEO:
            rest = decoded_stem.removesuffix(f"-{video.selector}")
            found += [
                (f"{audio.selector}-{video.selector}", (video, audio))
                for audio in presentation.of_kind(Kind.AUDIO)
                if rest.endswith(f"-{audio.selector}")
            ]
    if not found:
        raise NotFound("the presentation has no such track")
    return max(
        found, key=lambda one: (decoded_stem == f"{presentation.name}-{one[0]}", len(one[0]))
    )[1]
