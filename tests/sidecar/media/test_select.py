"""Tracks that a query selects."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from sidecar.errors import NotFound
from sidecar.media.options import parse_options
from sidecar.media.presentation import Presentation
from sidecar.media.select import attributes, select, variant_sets
from tests.support.tracks import (
    audio_facts,
    audio_track,
    presentation,
    rendition,
    text_track,
    video_facts,
    video_track,
)

LADDER = presentation(
    rendition(video_track(seconds=4), bitrate=400_000),
    rendition(
        video_track(
            seconds=4,
            facts=video_facts(width=720, height=576, pixel_aspect=(64, 45), codec="hvc1.1"),
        ),
        bitrate=900_000,
    ),
    rendition(video_track(seconds=4), bitrate=2_000_000),
    rendition(audio_track(seconds=4), bitrate=64_000, name="audio_eng", language="eng"),
    rendition(
        audio_track(seconds=4, facts=audio_facts(codec="ac-3", fourcc="ac-3", channels=6)),
        bitrate=384_000,
        name="audio_deu",
        language="deu",
    ),
    rendition(text_track(cues=[(0, 4000)]), bitrate=1000),
)


def chosen(query: str, shown: Presentation = LADDER) -> list[str]:
    selected = select(shown, parse_options({}, query))
    return [one.selector for one in selected.renditions]


def everything(*except_: str) -> list[str]:
    return [one.selector for one in LADDER.renditions if one.selector not in except_]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("true", everything()),
        ('type!="video"||systemBitrate<500000',
         everything("video=900000", "video=2000000")),
        ('systemLanguage=="eng"', ["audio_eng=64000", "textstream=1000"]),
        ('FourCC=="AVC1"', ["video=400000", "video=2000000"]),
        ("AVC_PROFILE==AVC_PROFILE_HIGH&&AVC_LEVEL==31", ["video=400000", "video=2000000"]),
        ("DisplayWidth==1024", ["video=900000"]),
        ("MaxWidth==720&&MaxHeight==576&&DisplayHeight==576", ["video=900000"]),
        ("Channels==6", ["audio_deu=384000"]),
        ("SamplingRate==48000&&BitsPerSample==16&&AudioTag==255", [
            "audio_eng=64000", "audio_deu=384000",
        ]),
        ('trackName=="audio_deu"', ["audio_deu=384000"]),
        ("trackID==3", ["textstream=1000"]),
        ("TimeScale==12800", ["video=400000", "video=900000", "video=2000000"]),
        ('type=="textstream"', ["textstream=1000"]),
    ],
)  # fmt: skip
def test_filters(expression: str, expected: list[str]) -> None:
    assert chosen(f"filter={quote(expression)}") == expected


@pytest.mark.parametrize(
    ("query", "left_out"),
    [
        ("max_bitrate=900000", ["video=2000000"]),
        ("max_bitrate=899999", ["video=900000", "video=2000000"]),
        ("min_bitrate=900000", ["video=400000"]),
        ("min_bitrate=400001&max_bitrate=1999999", ["video=400000", "video=2000000"]),
    ],
)
def test_bounds_concern_video(query: str, left_out: list[str]) -> None:
    assert chosen(query) == everything(*left_out)


def test_bounds_concern_audio_where_there_is_no_video() -> None:
    assert chosen("filter=type==%22audio%22&max_bitrate=100000") == ["audio_eng=64000"]


@pytest.mark.parametrize(
    "query",
    ["filter=false", "filter=type==%22data%22", "max_bitrate=1", "min_bitrate=3&max_bitrate=2",
     "filter=type==%22textstream%22&max_bitrate=5000"],
)  # fmt: skip
def test_nothing_left_is_not_found(query: str) -> None:
    with pytest.raises(NotFound):
        chosen(query)


def test_nothing_asked_changes_nothing() -> None:
    assert select(LADDER, parse_options({}, "")) is LADDER
    assert select(LADDER, parse_options({}, "filter=true")) is LADDER


def test_the_query_overrides_the_filter_of_the_manifest() -> None:
    head = {"filter": 'type=="audio"'}
    assert all(one.kind == "audio" for one in select(LADDER, parse_options(head, "")).renditions)
    assert select(LADDER, parse_options(head, "filter=true")) is LADDER


def test_variant_sets_follow_each_other() -> None:
    first = "variant_set=systemBitrate==2000000||type!=%22video%22"
    second = "variant_set=systemBitrate!=2000000||type!=%22video%22"
    sets = variant_sets(LADDER, parse_options({}, f"{first}&{second}"))
    assert [one.selector for one in sets[0].renditions] == everything(
        "video=400000", "video=900000"
    )
    assert [one.selector for one in sets[1].renditions] == everything("video=2000000")
    assert variant_sets(LADDER, parse_options({}, "")) == [LADDER]
    only = variant_sets(LADDER, parse_options({}, "variant_set=false&variant_set=true"))
    assert [one.renditions for one in only] == [LADDER.renditions]
    with pytest.raises(NotFound):
        variant_sets(LADDER, parse_options({}, "variant_set=false"))


def test_variant_sets_of_a_manifest() -> None:
    head = {"variant_set": 'type=="audio";type=="video"'}
    kinds = [
        {r.kind for r in one.renditions} for one in variant_sets(LADDER, parse_options(head, ""))
    ]
    assert kinds == [{"audio"}, {"video"}]


def test_attributes_have_names_in_lower_case() -> None:
    for one in LADDER.renditions:
        assert all(name == name.lower() for name in attributes(one))


def test_sync_sample_tracks_are_no_part_of_the_ladder() -> None:
    slow = rendition(video_track(seconds=4, fps=2, all_sync=True), bitrate=50_000, name="trick")
    shown = presentation(*LADDER.renditions, slow)
    assert shown.trick_play == (slow,)
    assert slow not in shown.of_kind(slow.kind)
    alone = presentation(slow)
    assert (alone.trick_play, alone.of_kind(slow.kind)) == ((), (slow,))
    # A third of the rate, or slow without being sync samples only, is an ordinary rendition.
    for track in (
        video_track(seconds=4, fps=9, all_sync=True),
        video_track(seconds=4, fps=2, gop=2),
    ):
        assert not presentation(*LADDER.renditions, rendition(track, name="slow")).trick_play
