"""What tracks are called in URLs, and which of them are encodings of one content."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sidecar.codecs.facts import AudioFacts
from sidecar.media.track import Kind, Track

# The rates of a ladder are a quarter apart or more (96, 128, 160, 192 kbit/s); two contents that
# were encoded alike differ by less.
_STEP = 1.2
_NUMBERED = re.compile(r"(.+)_[0-9]{1,3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A track as far as its name depends on it.

    ``given``: the trackName that a server manifest or a user says, or None. ``bitrate``: bit/s.
    ``encoding``: tracks of unlike ones are no bitrates of each other. ``source``: the file that it
    is from; ``position``: where it stands there. ``handler_name``: of its hdlr, may be empty.
    """

    kind: Kind
    given: str | None
    language: str | None
    role: str | None
    label: str | None
    bitrate: int
    encoding: Hashable
    source: Hashable
    position: int
    handler_name: str


def described(
    track: Track,
    *,
    given: str | None,
    language: str | None,
    role: str | None,
    label: str | None,
    bitrate: int,
    source: Hashable,
) -> Described:
    """``track`` under what is said of it, as ``Described`` has it."""
    facts = track.facts
    return Described(
        kind=track.kind,
        given=given,
        language=language,
        role=role,
        label=label,
        bitrate=bitrate,
        encoding=(facts.fourcc, facts.channels) if isinstance(facts, AudioFacts) else facts.fourcc,
        source=source,
        position=track.track_id,
        handler_name=track.handler_name,
    )


def default_name(kind: Kind, language: str | None) -> str:
    """trackName where none is given: the kind and the language (``audio_eng``, ``video``)."""
    return f"{kind.value}_{language}" if language else kind.value


@dataclass(frozen=True, slots=True)
class Name:
    """``track_name``: before it is made unique (``unique_names``). ``choice``: the same for tracks
    that hold one content, for no others."""

    track_name: str
    choice: str


def names(tracks: Sequence[Described]) -> list[Name]:
    """What each of ``tracks`` is called.

    Audio of one language and role is one content in several bitrates, codecs or channel layouts,
    unless it is labelled unlike, or encoded alike at nearly the same bitrate: then a second content
    gets a name of its own, ``audio_eng_1``. But sound of nearly the same bitrate that lies beside
    pictures, in several files, is one content. Names that are given stay: there, only another
    language or role makes another content, and ``audio_eng_1`` is ``audio_eng`` where it is the
    same sound beside another video. Video is one content whatever it is called, every text
    another. The first content in the order of files and tracks, those of a special role last, has
    the plain name.
    """
    pictures = {track.source for track in tracks if track.kind is Kind.VIDEO}
    files: dict[Hashable, int] = {}
    for track in tracks:
        files.setdefault(track.source, len(files))
    order = sorted(
        range(len(tracks)),
        key=lambda at: (
            tracks[at].given is None,
            _NUMBERED.fullmatch(tracks[at].given or "") is not None,
            tracks[at].role not in (None, "main"),
            files[tracks[at].source],
            tracks[at].position,
        ),
    )
    taken = {track.given for track in tracks if track.given is not None}
    contents: dict[str, list[_Content]] = {}
    found: dict[int, Name] = {}
    for at in order:
        track = tracks[at]
        wanted = track.given or default_name(track.kind, track.language)
        same_name = contents.setdefault(wanted, [])
        content = next((one for one in same_name if one.may_hold(track, pictures)), None)
        numbered = _NUMBERED.fullmatch(track.given or "")
        if content is None and numbered is not None:
            of_name = contents.get(numbered[1], [])
            content = next((one for one in of_name if one.is_copy(track, pictures)), None)
        if content is None:
            number = len(same_name)
            while number and f"{wanted}_{number}" in taken:
                number += 1
            choice = f"{wanted}_{number}" if number else wanted
            taken.add(choice)
            content = _Content(choice)
            same_name.append(content)
        content.held.append(track)
        found[at] = Name(track.given or content.choice, content.choice)
    return [found[at] for at in range(len(tracks))]


class _Content:
    """One content, and the tracks that hold it."""

    def __init__(self, choice: str) -> None:
        self.choice = choice
        self.held: list[Described] = []

    def may_hold(self, track: Described, pictures: Collection[Hashable]) -> bool:
        first = self.held[0]
        if track.kind is not first.kind:
            return False
        if track.kind is Kind.VIDEO:
            return True
        if (track.language, track.role) != (first.language, first.role):
            return False
        if track.given is not None and track.kind is Kind.AUDIO:
            return True
        return all(_may_be_one(track, other, pictures) for other in self.held)

    def is_copy(self, track: Described, pictures: Collection[Hashable]) -> bool:
        """Whether ``track`` only has a number in its name because its bitrate is taken: the same
        sound lies beside several videos."""
        return track.kind is Kind.AUDIO and any(
            track.source != other.source
            and {track.source, other.source} <= set(pictures)
            and (track.language, track.role, track.label, track.encoding, track.bitrate)
            == (other.language, other.role, other.label, other.encoding, other.bitrate)
            for other in self.held
        )


def _may_be_one(track: Described, other: Described, pictures: Collection[Hashable]) -> bool:
    """Whether two tracks of one language and role, at least one without a name, are encodings of
    one content, as far as one can tell. ``pictures``: the files with video."""
    if track.kind is Kind.TEXT or track.label != other.label:
        return False
    if track.encoding != other.encoding:
        return True
    if track.source != other.source and track.source in pictures and other.source in pictures:
        return True
    if track.source == other.source and track.handler_name != other.handler_name:
        return False
    low, high = sorted((track.bitrate, other.bitrate))
    return high >= low * _STEP


def unique_names(named: Iterable[tuple[str, int]]) -> list[str]:
    """The trackName of each (trackName, bitrate): the same, with ``_1``, ``_2`` ... behind it
    where an earlier ``name=bitrate`` is the same, or where one would end in ``-`` and the other:
    URLs join basenames and selectors with dashes."""
    pairs = list(named)
    given = {f"{name}={bitrate}" for name, bitrate in pairs}
    used: dict[str, set[str]] = {}
    unique = []
    for name, bitrate in pairs:
        chosen, suffix = name, 0
        selector = f"{chosen}={bitrate}"
        while _collides(selector, used) or (suffix and selector in given):
            suffix += 1
            chosen = f"{name}_{suffix}"
            selector = f"{chosen}={bitrate}"
        used.setdefault(_last_part(selector), set()).add(selector)
        unique.append(chosen)
    return unique


def _last_part(selector: str) -> str:
    return selector.rpartition("-")[2]


def _collides(selector: str, used: Mapping[str, set[str]]) -> bool:
    return any(
        f"-{selector}".endswith(f"-{other}") or f"-{other}".endswith(f"-{selector}")
        for other in used.get(_last_part(selector), ())
    )
