"""Adaptation sets: which renditions a player may switch between (ISO/IEC 23009-1 5.3.3)."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

from sidecar.formats.choices import audio_choices
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind

# Players choose at most one set of each group.
GROUPS = {Kind.AUDIO: 1, Kind.VIDEO: 2, Kind.TEXT: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptationSet:
    """``renditions`` (at least one, ascending bitrates) differ in quality only.

    ``trick_play_of``: the set whose pictures these are for fast forward and rewind. ``key_frames``:
    the segments are single sync samples of the renditions, which are those of that set.
    """

    kind: Kind
    renditions: tuple[Rendition, ...]
    role: str
    trick_play_of: AdaptationSet | None = None
    key_frames: bool = False

    @property
    def first(self) -> Rendition:
        return self.renditions[0]


def adaptation_sets(presentation: Presentation) -> list[AdaptationSet]:
    """The sets of ``presentation``: audio, then text, then video.

    Audio and text are told apart by content (language, commentary) and by codec; video by codec
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
        title = main.setdefault((first.kind, first.language), first.choice)
        role = "main" if first.kind is Kind.VIDEO or title == first.choice else "alternate"
        if first.kind is Kind.TEXT:
            role = "subtitle"
        sets.append(
            AdaptationSet(kind=first.kind, renditions=tuple(renditions), role=first.role or role)
        )
    return sets


def trick_play_sets(
    presentation: Presentation, sets: Sequence[AdaptationSet], key_frames: Collection[str]
) -> list[AdaptationSet]:
    """Sets for fast forward and rewind beside ``sets``, those of ``adaptation_sets``.

    Made of the presentation's own tracks for that; without any, of the key frames of ordinary
    video, as far as ``key_frames`` (selectors) names it.
    """
    video = [one for one in sets if one.kind is Kind.VIDEO]
    if not presentation.trick_play:
        return [
            AdaptationSet(
                kind=Kind.VIDEO,
                renditions=renditions,
                role=main.role,
                trick_play_of=main,
                key_frames=True,
            )
            for main in video
            if (renditions := tuple(r for r in main.renditions if r.selector in key_frames))
        ]
    together: dict[Hashable, list[Rendition]] = {}
    for rendition in presentation.trick_play:
        together.setdefault(_switchable(rendition), []).append(rendition)
    return [
        AdaptationSet(
            kind=Kind.VIDEO,
            renditions=tuple(renditions),
            role=main.role,
            trick_play_of=main,
        )
        for renditions in together.values()
        for main in _most_like(renditions[0], video)
    ]


def _most_like(trick_play: Rendition, video: Sequence[AdaptationSet]) -> list[AdaptationSet]:
    """The set that the decoder of ``trick_play`` is there for already, else the first, if any."""
    alike = [one for one in video if _switchable(one.first) == _switchable(trick_play)]
    return (alike or list(video))[:1]


def _switchable(rendition: Rendition) -> Hashable:
    facts = rendition.track.facts
    common = (rendition.kind, facts.sample_entry, rendition.role)
    if rendition.kind is Kind.VIDEO:
        return (*common, rendition.video.video_range)
    named = (*common, rendition.choice, rendition.language)
    if rendition.kind is Kind.AUDIO:
        return (*named, facts.fourcc, rendition.audio.channel_configuration)
    return named
