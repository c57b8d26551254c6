"""Which tracks a download holds, and in which order."""

from __future__ import annotations

from sidecar.formats.choices import audio_choices
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind
from sidecar.storage.source import SourceIdentity


def all_tracks(presentation: Presentation) -> list[Rendition]:
    """Every rendition with samples: video by descending bitrate, then audio and text.

    Players take the first of each kind. Text files have no samples that could be left where they
    are.
    """
    video = sorted(presentation.of_kind(Kind.VIDEO), key=lambda one: -one.bitrate)
    text = [one for one in presentation.of_kind(Kind.TEXT) if one.track.text is None]
    return [*video, *audio_choices(presentation), *text]


def usual_tracks(presentation: Presentation) -> list[Rendition]:
    """What a download holds when nobody chose: the video of the highest bitrate, and of each
    language and role one audio, from the same file as the video, else of the highest bitrate.
    """
    video = all_tracks(presentation)[: 1 if presentation.of_kind(Kind.VIDEO) else 0]
    beside = {one.track.source for one in video}
    audio: dict[tuple[str | None, str | None], Rendition] = {}
    for rendition in audio_choices(presentation):
        alike = (rendition.language, rendition.role)
        best = audio.get(alike)
        if best is None or _rank(rendition, beside) > _rank(best, beside):
            audio[alike] = rendition
    return [*video, *audio.values()]


def _rank(rendition: Rendition, beside: set[SourceIdentity]) -> tuple[bool, int]:
    return rendition.track.source in beside, rendition.bitrate
