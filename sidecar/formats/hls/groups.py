"""Audio groups: which audio renditions stand for each other, and which video plays with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sidecar.formats.choices import audio_choices
from sidecar.media.languages import bcp47, english_name
from sidecar.media.presentation import Presentation, Rendition


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A choice of the listener: ``name`` is unique in the presentation. ``language``: BCP 47 or
    None. ``described``: for those who do not see. ``rendition``: the encoding of a group."""

    name: str
    language: str | None
    described: bool
    rendition: Rendition
    default: bool
    autoselect: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioGroup:
    """One encoding (codec, channels, bitrate) of every choice that has it, and the likest encoding
    of the others."""

    id: str
    members: tuple[Member, ...]

    @property
    def codecs(self) -> tuple[str, ...]:
        """RFC 6381 strings of the members, each once."""
        return tuple(dict.fromkeys(member.rendition.audio.codec for member in self.members))


# choice -> its renditions of one codec and channel layout, by ascending bitrate
_Encodings = dict[str, list[Rendition]]
_Family = tuple[str, int]  # FourCC and number of channels
# Codecs that almost all players know come first where one has to stand in for another.
_PORTABLE = ("AACL", "AACH")


def audio_families(presentation: Presentation) -> list[list[AudioGroup]]:
    """The groups of each codec and channel layout, by ascending bitrate.

    Every group has the same choices, languages or commentaries (RFC 8216 4.3.4.1.1): one with fewer
    bitrates repeats its highest, and one that lacks the codec or the channels of a family stands in
    it as it is, its codec among those of the group. Otherwise listeners could not switch to it, or
    would lose it with the next change of bandwidth.
    """
    audio = audio_choices(presentation)
    members = _members(audio)
    families: dict[_Family, _Encodings] = {}
    for rendition in audio:
        facts = rendition.audio
        choices = families.setdefault((facts.fourcc, facts.channels), {})
        choices.setdefault(rendition.choice, []).append(rendition)
    for choices in families.values():
        for choice, encodings in choices.items():
            # The same sound may lie beside each of several videos: once is enough.
            by_rate = {one.bitrate: one for one in reversed(encodings)}
            choices[choice] = [by_rate[rate] for rate in sorted(by_rate)]
    used: set[str] = set()
    made: list[list[AudioGroup]] = []
    complete: list[_Encodings] = []
    for family in sorted(families, key=lambda key: _lowest(families[key])):
        choices = {choice: _likest(families, family, choice) for choice in members}
        if choices in complete:
            continue
        complete.append(choices)
        ranks = max(len(encodings) for encodings in choices.values())
        made.append(
            [
                _group(
                    [encodings[min(rank, len(encodings) - 1)] for encodings in choices.values()],
                    members,
                    family[0],
                    used,
                )
                for rank in range(ranks)
            ]
        )
    return made


def _likest(
    families: Mapping[_Family, _Encodings], wanted: _Family, choice: str
) -> list[Rendition]:
    """Encodings of ``choice``, ascending bitrates: in the codec ``wanted`` if there is one, with
    the number of channels nearest to it."""
    having = [family for family, choices in families.items() if choice in choices]
    fourcc, channels = wanted

    def unlikeness(family: _Family) -> tuple[bool, int, str, int, int]:
        portable = _PORTABLE.index(family[0]) if family[0] in _PORTABLE else len(_PORTABLE)
        return family[0] != fourcc, portable, family[0], abs(family[1] - channels), family[1]

    return families[min(having, key=unlikeness)][choice]


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
    renditions: list[Rendition], members: Mapping[str, Member], fourcc: str, used: set[str]
) -> AudioGroup:
    wanted = f"audio-{fourcc.lower()}-{renditions[0].bitrate // 1000}"
    identity, number = wanted, 2
    while identity in used:
        identity, number = f"{wanted}-{number}", number + 1
    used.add(identity)
    return AudioGroup(
        id=identity,
        members=tuple(replace(members[one.choice], rendition=one) for one in renditions),
    )


def _lowest(choices: _Encodings) -> int:
    return min(rendition.bitrate for encodings in choices.values() for rendition in encodings)


def _members(audio: list[Rendition]) -> dict[str, Member]:
    """choice -> what every group says of it: that of its first rendition."""
    members: dict[str, Member] = {}
    titles: set[str] = set()
    heard: set[tuple[str | None, bool]] = set()
    for rendition in audio:
        if rendition.choice in members:
            continue
        language = rendition.language
        wanted = rendition.label or (english_name(language) if language else None) or "audio"
        title, number = wanted, 2
        while title in titles:
            title, number = f"{wanted} {number}", number + 1
        titles.add(title)
        described = rendition.role == "description"
        members[rendition.choice] = Member(
            name=title,
            language=bcp47(language) if language else None,
            described=described,
            rendition=rendition,
            default=not members,
            # Only where language and role tell the choices apart (RFC 8216 4.3.4.1.1).
            autoselect=(language, described) not in heard,
        )
        heard.add((language, described))
    return members
