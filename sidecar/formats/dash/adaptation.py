"""Adaptation sets: which renditions a player may switch between (ISO/IEC 23009-1 5.3.3)."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from sidecar.formats.choices import audio_choices
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind

# Players choose at most one set of each group.
GROUPS = {Kind.AUDIO: 1, Kind.VIDEO: 2, Kind.TEXT: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptationSet:
    """``renditions`` (at least one, ascending bitrates) differ in quality only."""

    kind: Kind
    renditions: tuple[Rendition, ...]
    role: str

    @property
    def first(self) -> Rendition:
        return self.renditions[0]


def adaptation_sets(presentation: Presentation) -> list[AdaptationSet]:
    """The sets of ``presentation``: audio, then text, then video.

    Audio and text are told apart by trackName (language, commentary) and by codec; video by codec
    alone, since its renditions are one ladder whatever they are called.
    """
    together: dict[Hashable, list[Rendition]] = {}
    others = (*presentation.of_kind(Kind.TEXT), *presentation.of_kind(Kind.VIDEO))
    for rendition in (*audio_choices(presentation), *others):
        together.setdefault(_switchable(rendition), []).append(rendition)
    main: dict[tuple[Kind, str | None], str] = {}
    sets = []
    for renditions in together.values():
        renditions.sort(key=lambda rendition: rendition.bitrate)
        first = renditions[0]
        # One choice in two codecs has one role; a second choice of a language is an alternate.
        title = main.setdefault((first.kind, first.language), first.name)
        role = "main" if first.kind is Kind.VIDEO or title == first.name else "alternate"
        if first.kind is Kind.TEXT:
            role = "subtitle"
        sets.append(
            AdaptationSet(kind=first.kind, renditions=tuple(renditions), role=first.role or role)
        )
    return sets


def _switchable(rendition: Rendition) -> Hashable:
    facts = rendition.track.facts
    common = (rendition.kind, facts.sample_entry, rendition.role)
    if rendition.kind is Kind.VIDEO:
        return (*common, rendition.video.video_range)
    named = (*common, rendition.name, rendition.language)
    if rendition.kind is Kind.AUDIO:
        return (*named, facts.fourcc, rendition.audio.channel_configuration)
    return named
