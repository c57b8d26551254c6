"""Audio groups: which audio renditions stand for each other, and which video plays with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.formats.choices import audio_choices
from sidecar.media.languages import english_name
from sidecar.media.presentation import Presentation, Rendition


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A choice of the listener: ``name`` is unique in the presentation."""

    name: str
    rendition: Rendition
    default: bool
    autoselect: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioGroup:
    """One encoding (codec, channels, bitrate) of every choice that has that codec."""

    id: str
    members: tuple[Member, ...]

    @property
    def codecs(self) -> tuple[str, ...]:
        """RFC 6381 strings of the members, each once."""
        return tuple(dict.fromkeys(member.rendition.audio.codec for member in self.members))


def audio_families(presentation: Presentation) -> list[list[AudioGroup]]:
    """The groups of each codec and channel layout, by ascending bitrate.

    Renditions of one trackName are bitrates of the same choice; different trackNames are different
    choices (languages, commentary). Every group of a family has the same choices (RFC 8216
    4.3.4.1.1): one with fewer bitrates repeats its highest. A choice that lacks the channel layout
    of a family stands in it with the nearest one that it has, or listeners could not switch to it.
    """
    audio = audio_choices(presentation)
    titles = _titles(audio)
    families: dict[tuple[str, int], dict[str, list[Rendition]]] = {}
    for rendition in audio:
        facts = rendition.audio
        choices = families.setdefault((facts.fourcc, facts.channels), {})
        choices.setdefault(rendition.name, []).append(rendition)
    used: set[str] = set()
    made: list[list[AudioGroup]] = []
    complete: list[tuple[str, dict[str, list[Rendition]]]] = []
    for fourcc, channels in sorted(families, key=lambda key: _lowest(families[key])):
        found = {name: _nearest(families, fourcc, channels, name) for name in titles}
        choices = {name: encodings for name, encodings in found.items() if encodings}
        if (fourcc, choices) not in complete:
            complete.append((fourcc, choices))
    for fourcc, choices in complete:
        ranks = max(map(len, choices.values()))
        made.append(
            [
                _group(
                    [encodings[min(rank, len(encodings) - 1)] for encodings in choices.values()],
                    titles,
                    fourcc,
                    used,
                )
                for rank in range(ranks)
            ]
        )
    return made


def _nearest(
    families: dict[tuple[str, int], dict[str, list[Rendition]]],
    fourcc: str,
    channels: int,
    name: str,
) -> list[Rendition]:
    """Encodings of the choice ``name`` in the codec, ascending bitrates, with the channels nearest
    to ``channels``; empty without any."""
    layouts = [key[1] for key, choices in families.items() if key[0] == fourcc and name in choices]
    if not layouts:
        return []
    nearest = min(layouts, key=lambda layout: (abs(layout - channels), layout))
    return sorted(families[fourcc, nearest][name], key=lambda rendition: rendition.bitrate)


def pairs(video: Sequence[Rendition], family: Sequence[AudioGroup]) -> list[list[AudioGroup]]:
    """The groups of ``family`` that play with each of ``video`` (one codec, ascending bitrates).

    The lowest video goes with the lowest audio, the next with the next, and the others with the
    highest; where there are more groups than videos, the last video goes with all that are left.
    """
    last = len(family) - 1
    paired = [[family[min(index, last)]] for index in range(len(video))]
    if paired and len(family) > len(video):
        paired[-1] = list(family[len(video) - 1 :])
    return paired


def _group(
    renditions: list[Rendition], titles: dict[str, str], fourcc: str, used: set[str]
) -> AudioGroup:
    wanted = f"audio-{fourcc.lower()}-{renditions[0].bitrate // 1000}"
    identity, number = wanted, 2
    while identity in used:
        identity, number = f"{wanted}-{number}", number + 1
    used.add(identity)
    heard: set[tuple[str | None, str | None]] = set()
    members: list[Member] = []
    for rendition in renditions:
        # AUTOSELECT only where language and role tell the choices apart (RFC 8216 4.3.4.1.1).
        manner = (rendition.language, _described(rendition))
        members.append(
            Member(
                name=titles[rendition.name],
                rendition=rendition,
                default=not members,
                autoselect=manner not in heard,
            )
        )
        heard.add(manner)
    return AudioGroup(id=identity, members=tuple(members))


def _described(rendition: Rendition) -> str | None:
    return rendition.role if rendition.role == "description" else None


def _lowest(choices: dict[str, list[Rendition]]) -> int:
    return min(rendition.bitrate for encodings in choices.values() for rendition in encodings)


def _titles(audio: list[Rendition]) -> dict[str, str]:
    """trackName -> NAME, each used once."""
    titles: dict[str, str] = {}
    for rendition in audio:
        if rendition.name in titles:
            continue
        language = rendition.language
        wanted = rendition.label or (english_name(language) if language else None) or "audio"
        title, number = wanted, 2
        while title in titles.values():
            title, number = f"{wanted} {number}", number + 1
        titles[rendition.name] = title
    return titles
