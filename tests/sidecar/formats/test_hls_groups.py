"""Audio groups of HLS: every one offers the same choices (RFC 8216 4.3.4.1.1)."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from sidecar.codecs.facts import AudioFacts
from sidecar.media.presentation import Presentation, Rendition
from tests.support.requests import ask, text
from tests.support.tracks import audio_facts, audio_track, presentation, rendition, video_track

AAC = audio_facts()
SURROUND = audio_facts(channels=6)
AC3 = audio_facts(codec="ac-3", fourcc="AC-3", channels=6)
EC3 = audio_facts(codec="ec-3", fourcc="EC-3", channels=6)


def sound(language: str, facts: AudioFacts, bitrate: int, **given: Any) -> Rendition:
    # English comes first in the file.
    track = audio_track(seconds=8, facts=facts, track_id=2 if language == "eng" else 3)
    named = {"name": f"audio_{language}", "language": language} | given
    return rendition(track, bitrate=bitrate, **named)


def film(*sounds: Rendition) -> Presentation:
    return presentation(
        rendition(video_track(seconds=8), bitrate=1_000_000),
        rendition(video_track(seconds=8), bitrate=2_000_000),
        *sounds,
    )


def attributes(line: str) -> dict[str, str]:
    found = {}
    rest = line.partition(":")[2]
    while rest:
        key, _, rest = rest.partition("=")
        if rest.startswith('"'):
            value, _, rest = rest[1:].partition('"')
            rest = rest.removeprefix(",")
        else:
            value, _, rest = rest.partition(",")
        found[key] = value
    return found


def read(master: str) -> tuple[dict[str, list[dict[str, str]]], list[dict[str, str]]]:
    """The groups, and the variants with pictures."""
    groups: dict[str, list[dict[str, str]]] = defaultdict(list)
    variants = []
    for line in master.splitlines():
        if line.startswith("#EXT-X-MEDIA:"):
            entry = attributes(line)
            groups[entry["GROUP-ID"]].append(entry)
        elif line.startswith("#EXT-X-STREAM-INF:") and "RESOLUTION" in line:
            variants.append(attributes(line))
    return groups, variants


CASES = {
    "each in a codec of its own": [("eng", AAC, 128_000), ("fra", AC3, 384_000)],
    "one in both": [("eng", AAC, 128_000), ("eng", AC3, 384_000), ("fra", AC3, 384_001)],
    "three codecs": [
        ("eng", AAC, 128_000),
        ("deu", AC3, 384_000),
        ("fra", EC3, 192_000),
        ("eng", EC3, 192_001),
    ],
    "a ladder in one language": [
        ("eng", AAC, 64_000),
        ("eng", AAC, 128_000),
        ("deu", AC3, 384_000),
    ],
    "more channels in one language": [
        ("eng", AAC, 128_000),
        ("eng", SURROUND, 320_000),
        ("deu", AC3, 384_000),
    ],
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("fmp4", [True, False])
def test_all_groups_have_the_same_members_and_variants_name_all_codecs(
    case: str, fmp4: bool
) -> None:
    shown = film(*(sound(*one) for one in CASES[case]))
    groups, variants = read(text(ask(shown, ".m3u8", hls_fmp4=fmp4).plan))
    wanted = {language for language, _, _ in CASES[case]}
    described = {
        name: [
            tuple(
                sorted((k, v) for k, v in one.items() if k not in ("GROUP-ID", "URI", "CHANNELS"))
            )
            for one in members
        ]
        for name, members in groups.items()
    }
    first, *others = described.values()
    assert len(first) == len(wanted)
    assert all(members == first for members in others)
    by_uri = {f"video-{one.selector}.m3u8": one.audio.codec for one in shown.renditions[:-2]}
    for variant in variants:
        members = groups[variant["AUDIO"]]
        codecs = {by_uri[one["URI"]] for one in members if "URI" in one}
        assert codecs <= set(variant["CODECS"].split(",")[1:])


def test_languages_in_unlike_codecs_are_one_group() -> None:
    shown = film(*(sound(*one) for one in CASES["each in a codec of its own"]))
    groups, variants = read(text(ask(shown, ".m3u8", hls_fmp4=True).plan))
    assert {name: [one["LANGUAGE"] for one in each] for name, each in groups.items()} == {
        "audio-aacl-128": ["en", "fr"]
    }
    assert [one["CODECS"] for one in variants] == ["avc1.64001F,mp4a.40.2,ac-3"] * 2


def test_what_stands_in_is_aac_where_there_is_a_choice() -> None:
    listed = [("eng", AAC, 128_000), ("eng", AC3, 384_000), ("fra", EC3, 192_000)]
    shown = film(*(sound(*one) for one in listed))
    _, variants = read(text(ask(shown, ".m3u8", hls_fmp4=True).plan))
    # English AAC beside French E-AC-3, whichever of the two the group is for.
    assert [(one["AUDIO"], one["CODECS"]) for one in variants[:2]] == [
        ("audio-aacl-128", "avc1.64001F,mp4a.40.2,ec-3"),
        ("audio-ac-3-384", "avc1.64001F,ac-3,ec-3"),
    ]


def test_codecs_that_have_every_language_stay_apart() -> None:
    shown = film(
        *(sound(language, facts, rate + at)
          for at, language in enumerate(("eng", "fra"))
          for facts, rate in ((AAC, 128_000), (AC3, 384_000)))
    )  # fmt: skip
    _, variants = read(text(ask(shown, ".m3u8", hls_fmp4=True).plan))
    assert [one["CODECS"] for one in variants] == [
        "avc1.64001F,mp4a.40.2",
        "avc1.64001F,ac-3",
    ] * 2


def test_the_same_sound_of_several_files_is_listed_once() -> None:
    one = sound("eng", AAC, 128_000)
    copy = sound("eng", AAC, 128_000, name="audio_eng_1")
    object.__setattr__(copy, "choice", one.choice)
    groups, _ = read(text(ask(film(one, copy), ".m3u8", hls_fmp4=True).plan))
    assert [len(members) for members in groups.values()] == [1]
