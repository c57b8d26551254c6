"""Which tracks are encodings of one content, and what tracks are called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.media.naming import Described, names, unique_names
from sidecar.media.track import Kind


def sound(bitrate: int, **given: object) -> Described:
    usual: dict[str, object] = {
        "kind": Kind.AUDIO,
        "given": None,
        "language": "eng",
        "role": None,
        "label": None,
        "bitrate": bitrate,
        "encoding": ("AACL", 2),
        "source": "a.mp4",
        "position": 2,
        "handler_name": "SoundHandler",
    }
    return Described(**(usual | given))  # type: ignore[arg-type]


def called(*tracks: Described) -> list[tuple[str, str]]:
    return [(name.track_name, name.choice) for name in names(tracks)]


ONE = [("audio_eng", "audio_eng")] * 2
TWO = [("audio_eng", "audio_eng"), ("audio_eng_1", "audio_eng_1")]


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ({"bitrate": 64_000}, ONE),
        ({"bitrate": 160_000, "source": "b.mp4"}, ONE),
        ({"bitrate": 128_412}, TWO),
        ({"bitrate": 128_000}, TWO),
        ({"bitrate": 128_412, "source": "commentary.mp4"}, TWO),
        ({"bitrate": 384_000, "encoding": ("AC-3", 6)}, ONE),
        ({"bitrate": 128_000, "encoding": ("AACL", 6)}, ONE),
        ({"bitrate": 64_000, "label": "Commentary"}, TWO),
        ({"bitrate": 64_000, "role": "commentary"}, TWO),
        ({"bitrate": 64_000, "handler_name": "Commentary"}, TWO),
        ({"bitrate": 64_000, "handler_name": "Other", "source": "b.mp4"}, ONE),
        ({"bitrate": 64_000, "given": "director"}, [TWO[0], ("director", "director")]),
    ],
)
def test_a_second_track_of_a_language(
    second: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    other = sound(**({"position": 3, "bitrate": 0} | second))  # type: ignore[arg-type]
    assert called(sound(128_000), other) == expected


def test_the_first_track_of_the_file_has_the_plain_name_whatever_its_bitrate() -> None:
    tracks = [sound(127_000, position=3), sound(128_000, position=2)]
    assert called(*tracks) == [TWO[1], TWO[0]]
    commentary = sound(127_000, position=1, role="commentary")
    assert called(commentary, sound(128_000)) == [TWO[1], TWO[0]]


def test_the_same_sound_beside_every_bitrate_of_video_is_one_content() -> None:
    tracks = [
        one
        for source, rate in (("low.mp4", 127_990), ("high.mp4", 128_034))
        for one in (
            sound(rate, source=source),
            sound(1_000_000, kind=Kind.VIDEO, encoding="AVC1", source=source, language=None),
        )
    ]
    assert called(*tracks)[::2] == ONE


def test_a_copy_of_the_sound_beside_another_video_is_no_second_content() -> None:
    def file(source: str, name: str, **other: object) -> list[Described]:
        video = {"kind": Kind.VIDEO, "encoding": "AVC1", "language": None, "source": source}
        return [
            sound(128_000, source=source, given=name, **other),
            sound(1000, **video),
        ]

    tracks = [*file("high.mp4", "audio_eng_1"), *file("low.mp4", "audio_eng")]
    assert called(*tracks)[::2] == [("audio_eng_1", "audio_eng"), ("audio_eng", "audio_eng")]
    other = file("high.mp4", "audio_eng_1", role="commentary")
    assert called(*other, *file("low.mp4", "audio_eng"))[0] == ("audio_eng_1", "audio_eng_1")


def test_encodings_of_two_contents_find_each_other() -> None:
    dolby = {"encoding": ("EC-3", 6)}
    tracks = [
        sound(128_000, position=2),
        sound(128_500, position=3),
        sound(384_000, position=4, **dolby),
        sound(384_100, position=5, **dolby),
    ]
    assert called(*tracks) == TWO * 2


def test_names_that_are_given_stay() -> None:
    eng = sound(128_000, given="audio")
    assert called(eng, sound(128_001, given="audio", position=3)) == [("audio", "audio")] * 2
    deu = sound(128_001, given="audio", position=3, language="deu")
    assert called(eng, deu) == [("audio", "audio"), ("audio", "audio_1")]
    taken = sound(64_000, given="audio_eng_1", position=9)
    assert called(sound(128_000), sound(128_001, position=3), taken) == [
        ("audio_eng", "audio_eng"),
        ("audio_eng_2", "audio_eng_2"),
        ("audio_eng_1", "audio_eng_1"),
    ]


def test_text_has_no_bitrates_and_video_has_nothing_else() -> None:
    def text(position: int, bitrate: int) -> Described:
        return sound(bitrate, kind=Kind.TEXT, encoding="WVTT", position=position)

    assert called(text(1, 1000), text(2, 2000)) == [
        ("textstream_eng", "textstream_eng"),
        ("textstream_eng_1", "textstream_eng_1"),
    ]
    video = {"kind": Kind.VIDEO, "encoding": "AVC1", "language": None}
    assert called(sound(1000, **video), sound(1001, **video)) == [("video", "video")] * 2


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ([("a", 1), ("a", 2)], ["a", "a"]),
        ([("a", 1), ("a", 1), ("a", 1)], ["a", "a_1", "a_2"]),
        ([("a", 1), ("a", 1), ("a_1", 1)], ["a", "a_2", "a_1"]),
        ([("video", 1), ("x-video", 1)], ["video", "x-video_1"]),
        ([("x-video", 1), ("video", 1), ("video", 2)], ["x-video", "video_1", "video"]),
        ([("video", 1), ("xvideo", 1)], ["video", "xvideo"]),
    ],
)
def test_unique_names(named: list[tuple[str, int]], expected: list[str]) -> None:
    assert unique_names(named) == expected


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "a_1", "a_2", "b-a", "b-a_1", "c-b-a", "_1"]), st.integers(1, 2)
        ),
        max_size=12,
    )
)
def test_selectors_are_unique_and_none_ends_another(named: list[tuple[str, int]]) -> None:
    names = unique_names(named)
    found = [f"-{name}={bitrate}" for name, (_, bitrate) in zip(names, named, strict=True)]
    for index, one in enumerate(found):
        for other in found[index + 1 :]:
            assert not one.endswith(other) and not other.endswith(one)
