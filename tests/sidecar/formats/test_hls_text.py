"""Text in HLS: the group of subtitles, playlists, and segments of WebVTT."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from sidecar.errors import FragmentNotAvailable, NotFound
from sidecar.media.index import index_media
from sidecar.media.presentation import Presentation, Rendition
from sidecar.timeline.clips import Clip
from tests.support.hls import read_master, read_media
from tests.support.memory_source import MemorySource
from tests.support.requests import ask, text
from tests.support.text import stored_track
from tests.support.tracks import audio_track, presentation, rendition, video_track

BASE = "http://origin/video.ism/"
VTT = b"""WEBVTT

00:01.000 --> 00:02.000
a

00:03.000 --> 00:09.000
b

00:21.000 --> 00:22.000
after the video
"""


def of_file(
    name: str = "textstream_eng",
    *,
    language: str | None = "eng",
    role: str | None = None,
    label: str | None = None,
) -> Rendition:
    track = index_media(MemorySource(VTT)).tracks[0]
    return rendition(track, name=name, language=language, role=role, label=label)


def shown(*texts: Rendition) -> Presentation:
    return presentation(
        rendition(video_track(seconds=20), bitrate=1000),
        rendition(audio_track(seconds=20), bitrate=100),
        *texts,
    )


def subtitles(*texts: Rendition, **options: object) -> list[dict[str, str]]:
    master = read_master(text(ask(shown(*texts), ".m3u8", **options).plan), BASE)
    return [
        {name: value for name, value in one.items() if name not in ("TYPE", "GROUP-ID")}
        for one in master.media
        if one["TYPE"] == "SUBTITLES"
    ]


def test_the_group() -> None:
    assert subtitles(
        of_file("textstream_fra", language="fra", role="forced-subtitle"),
        of_file("textstream_eng_cc", role="caption"),
        of_file(),
        of_file("textstream_eng_1"),
        of_file("textstream_zh-Hans", language="zh-Hans", label='Mandarin "simple"'),
        of_file("textstream", language=None),
    ) == [
        {
            "LANGUAGE": "fr",
            "NAME": "French (forced)",
            "AUTOSELECT": "YES",
            "FORCED": "YES",
            "URI": f"{BASE}video-textstream_fra=1000.m3u8",
        },
        {
            "LANGUAGE": "en",
            "NAME": "English (captions)",
            "AUTOSELECT": "YES",
            "CHARACTERISTICS": "public.accessibility.transcribes-spoken-dialog,"
            "public.accessibility.describes-music-and-sound",
            "URI": f"{BASE}video-textstream_eng_cc=1000.m3u8",
        },
        {
            "LANGUAGE": "en",
            "NAME": "English",
            "DEFAULT": "YES",
            "AUTOSELECT": "YES",
            "URI": f"{BASE}video-textstream_eng=1000.m3u8",
        },
        {
            "LANGUAGE": "en",
            "NAME": "English 2",
            "URI": f"{BASE}video-textstream_eng_1=1000.m3u8",
        },
        {
            "LANGUAGE": "zh-Hans",
            "NAME": "Mandarin 'simple'",
            "AUTOSELECT": "YES",
            "URI": f"{BASE}video-textstream_zh-Hans=1000.m3u8",
        },
        {
            "NAME": "textstream",
            "AUTOSELECT": "YES",
            "URI": f"{BASE}video-textstream=1000.m3u8",
        },
    ]


def test_captions_are_the_default_where_there_is_nothing_else() -> None:
    (forced, captions) = subtitles(
        of_file("a", role="forced-subtitle"), of_file("b", role="caption")
    )
    assert "DEFAULT" not in forced
    assert captions["DEFAULT"] == "YES"
    (alone,) = subtitles(of_file("a", role="forced-subtitle"))
    assert "DEFAULT" not in alone


@pytest.mark.parametrize("options", [{}, {"hls_fmp4": True}], ids=["ts", "fmp4"])
def test_variants_name_the_group_and_count_its_bits(options: dict[str, object]) -> None:
    with_text = read_master(text(ask(shown(of_file()), ".m3u8", **options).plan), BASE)
    without = read_master(text(ask(shown(), ".m3u8", **options).plan), BASE)
    assert {one["SUBTITLES"] for one in with_text.variants} == {"textstream"}
    assert all("SUBTITLES" not in one for one in without.variants)
    for one, other in zip(with_text.variants, without.variants, strict=True):
        assert int(one["BANDWIDTH"]) == int(other["BANDWIDTH"]) + 1000
        assert int(one["AVERAGE-BANDWIDTH"]) == int(other["AVERAGE-BANDWIDTH"]) + 1000


def test_the_oldest_versions_have_no_groups() -> None:
    assert subtitles(of_file(), hls_client_manifest_version=3) == []


@pytest.mark.parametrize(
    ("options", "folder", "mpegts"), [({}, "", 900_000), ({"hls_fmp4": True}, "hls/", 0)]
)
def test_playlists_and_segments(options: dict[str, object], folder: str, mpegts: int) -> None:
    one = shown(of_file())
    playlist = text(ask(one, "video-textstream_eng=1000.m3u8", **options).plan)
    media = read_media(playlist, BASE)
    # As long as the sound, which ends with its last frame.
    assert [float(segment.duration) for segment in media.segments] == [4, 4, 4, 4, 4.011]
    assert not media.map
    paths = [segment.url.removeprefix(BASE) for segment in media.segments]
    assert paths == [f"{folder}video-textstream_eng=1000-{n}.webvtt" for n in range(1, 6)]
    head = f"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{mpegts},LOCAL:00:00:00.000\n\n"
    a = "00:00:01.000 --> 00:00:02.000\na\n\n"
    b = "00:00:03.000 --> 00:00:09.000\nb\n\n"
    plans = [ask(one, path).plan for path in paths]
    assert [text(plan) for plan in plans] == [head + a + b, head + b, head + b, head, head]
    assert plans[0].content_type == "text/vtt; charset=utf-8"
    assert plans[0].headers == (("Link", '<video-textstream_eng=1000-2.webvtt>; rel="next"'),)
    assert plans[4].headers == ()


def test_read_ahead_is_what_is_asked_for_next() -> None:
    one = shown(of_file())
    path = "hls/video-textstream_eng=1000-{}.webvtt"
    answer = ask(one, path.format(2), read_ahead=2)
    assert [name for name, _ in answer.ahead] == [path.format(3), path.format(4)]
    for name, plan in answer.ahead:
        assert text(plan) == text(ask(one, name).plan)
    assert len(ask(one, path.format(4), read_ahead=9).ahead) == 1


def test_clips_list_a_part_under_the_same_names() -> None:
    clip = Clip(begin=Fraction(9), end=Fraction(12))
    playlist = text(ask(shown(of_file()), "video-textstream_eng=1000.m3u8", clip=clip).plan)
    media = read_media(playlist, BASE)
    assert [segment.url.removeprefix(BASE) for segment in media.segments] == [
        "video-textstream_eng=1000-3.webvtt"
    ]


def test_query_and_lengths() -> None:
    options = {"hls_minimum_fragment_length": Fraction(10), "queries": {"hls": "a=b"}}
    one = shown(of_file())
    playlist = text(ask(one, "video-textstream_eng=1000.m3u8", **options).plan)
    media = read_media(playlist, BASE)
    assert [float(segment.duration) for segment in media.segments] == [10, 10.011]
    assert all(segment.url.endswith(".webvtt?a=b") for segment in media.segments)
    answer = ask(one, "video-textstream_eng=1000-1.webvtt", **options)
    assert answer.plan.headers[0][1] == '<video-textstream_eng=1000-2.webvtt?a=b>; rel="next"'


def test_text_that_begins_before_the_video_is_in_the_first_segment() -> None:
    late = presentation(rendition(video_track(seconds=8, start=5 * 12800)), of_file())
    first = text(ask(late, "video-textstream_eng=1000-1.webvtt").plan)
    assert "\na\n" in first
    assert "\nb\n" in first


def test_samples_of_media_files() -> None:
    sample = b"\0\0\0\x13vttc\0\0\0\x0bpaylxyz"
    track, file, _ = stored_track(
        [(3000, b"\0\0\0\x08vtte"), (6000, sample)], entry="wvtt", timescale=1000
    )
    one = presentation(rendition(video_track(seconds=12)), rendition(track))
    found = [
        text(
            ask(
                one,
                f"video-textstream=1000-{number}.webvtt",
                read=lambda _, offset, length: file[offset : offset + length],
            ).plan
        )
        for number in (1, 2, 3)
    ]
    cue = "00:00:03.000 --> 00:00:09.000\nxyz\n\n"
    assert [one.partition("\n\n")[2] for one in found] == [cue, cue, cue]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("video-video=1000-1.webvtt", NotFound),
        ("video-textstream_eng=1-1.webvtt", NotFound),
        ("video-textstream_eng=1000-6.webvtt", FragmentNotAvailable),
        ("hls/video-textstream_eng=1000-1.m4s", NotFound),
        ("hls/video-textstream_eng=1000.m4s", NotFound),
    ],
)
def test_what_is_not_there(path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        ask(shown(of_file()), path)


def test_hls_can_be_switched_off() -> None:
    with pytest.raises(NotFound, match="switched off"):
        ask(shown(of_file()), "video-textstream_eng=1000-1.webvtt", hls_playout=False)


def test_text_alone_is_no_hls() -> None:
    with pytest.raises(NotFound, match="neither video nor audio"):
        ask(presentation(replace(of_file(), name="a")), ".m3u8")
