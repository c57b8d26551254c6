"""In which order the audio choices of a presentation stand; the first is the default."""

from __future__ import annotations

from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind


def audio_choices(presentation: Presentation) -> list[Rendition]:
    """The audio renditions: main ones first, then as sources and their tracks follow each other.

    Sorted by bitrate, a few hundred bits would decide which language is the default.
    """
    sources = {source: at for at, source in enumerate(presentation.sources)}

    def precedence(rendition: Rendition) -> tuple[bool, int, int]:
        track = rendition.track
        secondary = rendition.role not in (None, "main")
        return secondary, sources.get(track.source, len(sources)), track.track_id

    return sorted(presentation.of_kind(Kind.AUDIO), key=precedence)
