"""HLS playlists and segments, asked for by their URLs."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from typing import Any
from urllib.parse import unquote

import pytest

from sidecar.errors import FragmentNotAvailable, FragmentNotFound, NotFound
from sidecar.formats.spec import Answer
from sidecar.media.presentation import Presentation
from sidecar.mux.plan import CacheClass, FileRanges
from sidecar.storage.source import SourceIdentity
from sidecar.timeline.segmenter import Timeline
from tests.support import requests
from tests.support.golden import Golden, golden  # noqa: F401
from tests.support.requests import text
from tests.support.tracks import (
    audio_facts,
    audio_track,
    policy,
    presentation,
    rendition,
    text_track,
    video_facts,
    video_track,
)


def ask(shown: Presentation, virtual_path: str, **given: Any) -> Answer:
    """Of HLS with fragmented MP4, unless the test says otherwise."""
    return requests.ask(shown, virtual_path, **({"hls_fmp4": True} | given))


def ladder(seconds: float = 30) -> Presentation:
    """Two bitrates of video, English in two bitrates, German in one."""
    return presentation(
        rendition(
            video_track(
                seconds=seconds,
                size=2000,
                b_frames=True,
                facts=video_facts(width=640, height=360, codec="avc1.4D401E", video_range="SDR"),
            ),
            bitrate=401_000,
        ),
        rendition(
            video_track(seconds=seconds, b_frames=True, facts=video_facts(video_range="SDR")),
            bitrate=2_500_000,
        ),
        rendition(
            audio_track(seconds=seconds, edit_media_time=1024, size=170),
            name="audio_eng",
            bitrate=64_008,
            language="eng",
        ),
        rendition(
            audio_track(seconds=seconds, edit_media_time=1024),
            name="audio_eng",
            bitrate=128_002,
            language="eng",
        ),
        rendition(
            audio_track(seconds=seconds, track_id=3, size=170),
            name="audio_deu",
            bitrate=63_990,
            language="deu",
        ),
        name="sintel",
    )


def attributes(line: str) -> dict[str, str]:
    listed = line.partition(":")[2]
    return dict(re.findall(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)', listed))


def tags(playlist: str, name: str) -> list[dict[str, str]]:
    return [attributes(line) for line in playlist.splitlines() if line.startswith(f"#{name}:")]


def test_master_playlist(golden: Golden) -> None:  # noqa: F811
    answer = ask(ladder(), ".m3u8")
    assert answer.plan.content_type == "application/vnd.apple.mpegurl"
    assert answer.plan.cache_class is CacheClass.MANIFEST
    golden.check("hls/master.m3u8", text(answer.plan))


def test_media_playlist(golden: Golden) -> None:  # noqa: F811
    golden.check("hls/video.m3u8", text(ask(ladder(), "sintel-video=401000.m3u8").plan))
    golden.check("hls/audio.m3u8", text(ask(ladder(), "sintel-audio_eng=64008.m3u8").plan))
    golden.check(
        "hls/keyframes.m3u8", text(ask(ladder(), "keyframes/sintel-video=401000.m3u8").plan)
    )


def test_any_basename_is_accepted_and_the_presentations_is_written() -> None:
    shown = ladder()
    assert text(ask(shown, "foo.m3u8").plan) == text(ask(shown, ".m3u8").plan)
    assert "hls/sintel-video=401000-1.m4s" in text(ask(shown, "foo-video=401000.m3u8").plan)


def test_every_url_of_every_playlist_answers() -> None:
    shown, timeline = ladder(), None
    timeline = Timeline(shown)
    master = text(ask(shown, ".m3u8", timeline=timeline).plan)
    playlists = {line for line in master.splitlines() if line and not line.startswith("#")}
    playlists |= {entry["URI"].strip('"') for entry in tags(master, "EXT-X-MEDIA")}
    playlists |= {entry["URI"].strip('"') for entry in tags(master, "EXT-X-I-FRAME-STREAM-INF")}
    assert len(playlists) == 7
    for path in playlists:
        playlist = text(ask(shown, unquote(path), timeline=timeline).plan)
        folder = path.rpartition("/")[0]
        for line in playlist.splitlines():
            if line.startswith("#"):
                continue
            inside = f"{folder}/{line}" if folder else line
            answer = ask(shown, unquote(inside), timeline=timeline)
            assert answer.plan.cache_class is CacheClass.MEDIA
            assert answer.plan.length > 0
        init = tags(playlist, "EXT-X-MAP")[0]["URI"].strip('"')
        init = init.removeprefix("../") if folder else init
        assert ask(shown, unquote(init), timeline=timeline).plan.length > 300


def test_master_rates_cover_the_segments() -> None:
    shown = ladder()
    timeline = Timeline(shown)
    master = text(ask(shown, ".m3u8", timeline=timeline).plan)

    def peak(selector: str) -> Fraction:
        track = shown.find(selector)
        assert track is not None
        segments = timeline.segments(track, policy(4))
        return max(
            8
            * ask(shown, f"hls/x-{selector}-{k + 1}.m4s", timeline=timeline).plan.length
            / segments.duration(k)
            for k in range(len(segments) - 1)
        )

    variants = [entry for entry in tags(master, "EXT-X-STREAM-INF") if "RESOLUTION" in entry]
    assert [entry["AUDIO"] for entry in variants] == ['"audio-aacl-64"', '"audio-aacl-128"']
    for entry, video, audio in zip(
        variants,
        ("video=401000", "video=2500000"),
        ("audio_eng=64008", "audio_eng=128002"),
        strict=True,
    ):
        wanted = peak(video) + peak(audio)
        assert wanted <= int(entry["BANDWIDTH"]) <= wanted * Fraction(102, 100)
        assert int(entry["AVERAGE-BANDWIDTH"]) < int(entry["BANDWIDTH"])


def test_a_group_with_fewer_bitrates_repeats_its_highest() -> None:
    media = tags(text(ask(ladder(), ".m3u8").plan), "EXT-X-MEDIA")
    groups: dict[str, list[tuple[str, str]]] = {}
    for entry in media:
        groups.setdefault(entry["GROUP-ID"], []).append((entry["NAME"], entry["LANGUAGE"]))
    members = [('"English"', '"en"'), ('"German"', '"de"')]
    assert groups == {'"audio-aacl-64"': members, '"audio-aacl-128"': members}
    assert [entry.get("DEFAULT") for entry in media] == ["YES", None, "YES", None]


def test_codecs_make_groups_of_their_own() -> None:
    dolby = audio_facts(codec="ec-3", fourcc="EC-3", channels=6)
    shown = presentation(
        rendition(video_track(seconds=8), bitrate=1000),
        rendition(video_track(seconds=8), bitrate=2000),
        rendition(audio_track(seconds=8), bitrate=128_000, language="eng"),
        rendition(audio_track(seconds=8, facts=dolby), bitrate=384_000, language="eng"),
    )
    master = text(ask(shown, ".m3u8").plan)
    variants = [entry for entry in tags(master, "EXT-X-STREAM-INF") if "RESOLUTION" in entry]
    assert [(entry["CODECS"], entry["AUDIO"]) for entry in variants] == [
        ('"avc1.64001F,mp4a.40.2"', '"audio-aacl-128"'),
        ('"avc1.64001F,ec-3"', '"audio-ec-3-384"'),
    ] * 2
    assert [entry["CHANNELS"] for entry in tags(master, "EXT-X-MEDIA")] == ['"2"', '"6"']


def test_one_video_plays_with_every_bitrate_of_audio() -> None:
    shown = presentation(
        rendition(video_track(seconds=8)),
        *(rendition(audio_track(seconds=8), bitrate=rate) for rate in (32_000, 64_000, 128_000)),
    )
    variants = tags(text(ask(shown, ".m3u8", hls_no_audio_only=True).plan), "EXT-X-STREAM-INF")
    assert [entry["AUDIO"] for entry in variants] == [
        '"audio-aacl-32"',
        '"audio-aacl-64"',
        '"audio-aacl-128"',
    ]


def test_names_are_unique_in_a_group() -> None:
    source = [SourceIdentity(f"/media/{n}.mp4", 1 << 40, 1, n) for n in range(4)]
    shown = presentation(
        *(
            rendition(
                audio_track(seconds=8, source=source[number]),
                name=name,
                bitrate=bitrate,
                language=language,
                label=label,
                role=role,
            )
            for number, (name, bitrate, language, label, role) in enumerate(
                [
                    ("audio_eng", 128_000, "eng", None, None),
                    ("audio_eng_1", 128_001, "eng", None, "commentary"),
                    ("audio", 128_002, None, None, None),
                    ("audio_eng_2", 128_003, "eng", 'Described "all"', "description"),
                ]
            )
        )
    )
    media = tags(text(ask(shown, ".m3u8").plan), "EXT-X-MEDIA")
    assert [entry["NAME"] for entry in media] == [
        '"English"',
        '"audio"',
        '"English 2"',
        "\"Described 'all'\"",
    ]
    assert [entry.get("DEFAULT") for entry in media] == ["YES", None, None, None]
    assert [entry.get("AUTOSELECT") for entry in media] == ["YES", "YES", None, "YES"]
    assert media[3]["CHARACTERISTICS"] == '"public.accessibility.describes-video"'


def test_video_alone_and_audio_alone() -> None:
    silent = text(ask(presentation(rendition(video_track(seconds=8))), ".m3u8").plan)
    assert "EXT-X-MEDIA:" not in silent
    assert [entry.get("AUDIO") for entry in tags(silent, "EXT-X-STREAM-INF")] == [None]
    radio = text(ask(presentation(rendition(audio_track(seconds=8))), ".m3u8").plan)
    (variant,) = tags(radio, "EXT-X-STREAM-INF")
    assert variant["CODECS"] == '"mp4a.40.2"'
    assert "RESOLUTION" not in variant
    only = text(
        ask(presentation(rendition(audio_track(seconds=8))), ".m3u8", hls_no_audio_only=True).plan
    )
    assert only == radio, "there is nothing else to play"


def test_audio_only_variants_can_be_left_out() -> None:
    shown = ladder()
    assert len(tags(text(ask(shown, ".m3u8").plan), "EXT-X-STREAM-INF")) == 4
    without = text(ask(shown, ".m3u8", hls_no_audio_only=True).plan)
    assert len(tags(without, "EXT-X-STREAM-INF")) == 2


def test_open_gops_are_not_called_independent() -> None:
    track = video_track(seconds=8, b_frames=True, open_gop=True)
    shown = presentation(rendition(track))
    assert "INDEPENDENT" not in text(ask(shown, ".m3u8").plan)
    assert "INDEPENDENT" not in text(ask(shown, "video-video=1000.m3u8").plan)


@pytest.mark.parametrize(("asked", "written"), [(None, 7), (1, 6), (4, 6), (6, 6), (9, 9)])
def test_the_version_is_never_too_low_for_fmp4(asked: int | None, written: int) -> None:
    for path in (".m3u8", "sintel-video=401000.m3u8", "keyframes/sintel-video=401000.m3u8"):
        playlist = text(ask(ladder(), path, hls_client_manifest_version=asked).plan)
        assert playlist.splitlines()[1] == f"#EXT-X-VERSION:{written}"


@pytest.mark.parametrize(
    ("rate", "timescale", "gop"),
    [(Fraction(24000, 1001), 24000, 47), (Fraction(30), 1000, 31), (Fraction(25), 10_000_000, 7)],
)
def test_durations_never_drift(rate: Fraction, timescale: int, gop: int) -> None:
    track = video_track(seconds=600, fps=rate, timescale=timescale, gop=gop)
    shown = presentation(rendition(track))
    playlist = text(
        ask(shown, "video-video=1000.m3u8", hls_minimum_fragment_length=Fraction(2)).plan
    )
    written = [Fraction(found) for found in re.findall(r"#EXTINF:([0-9.]+),", playlist)]
    segments = Timeline(shown).segments(shown.renditions[0], policy(2))
    assert len(written) == len(segments)
    total = Fraction(0)
    for index, duration in enumerate(written):
        total += duration
        assert abs(duration - segments.duration(index)) <= Fraction(1, 1_000_000)
        real = Fraction(int(segments.start[index + 1]), timescale)
        assert abs(total - real) <= Fraction(1, 2_000_000)
    target = int(re.findall(r"TARGETDURATION:(\d+)", playlist)[0])
    assert max(int(duration + Fraction(1, 2)) for duration in written) == target


def test_times_since_1970_do_not_overflow() -> None:
    epoch = 1_700_000_000 * 10_000_000
    track = video_track(seconds=20, timescale=10_000_000, start=epoch)
    playlist = text(ask(presentation(rendition(track)), "video-video=1000.m3u8").plan)
    assert re.findall(r"#EXTINF:([0-9.]+),", playlist) == ["4"] * 5


def test_a_segment_names_the_next_and_brings_it_along() -> None:
    shown = ladder()
    answer = ask(shown, "hls/sintel-video=401000-2.m4s", read_ahead=3)
    assert answer.plan.content_type == "video/mp4"
    assert answer.plan.headers == (("Link", '<sintel-video=401000-3.m4s>; rel="next"'),)
    assert [path for path, _ in answer.ahead] == [
        f"hls/sintel-video=401000-{number}.m4s" for number in (3, 4, 5)
    ]
    for path, plan in answer.ahead:
        alone = ask(shown, path).plan
        assert plan.headers == alone.headers
        assert [_content(part) for part in plan.parts] == [_content(part) for part in alone.parts]
    end = ask(shown, "hls/sintel-video=401000-7.m4s", read_ahead=5)
    assert len(end.ahead) == 1
    assert end.ahead[0][1].headers == ()
    assert ask(shown, "hls/sintel-audio_eng=64008-1.m4s").plan.content_type == "audio/mp4"


def _content(part: object) -> object:
    if isinstance(part, FileRanges):
        return part.source, part.offset.tolist(), part.lengths.tolist()
    return part.data  # type: ignore[attr-defined]


def test_key_frames_have_urls_of_their_own() -> None:
    shown = ladder()
    playlist = text(ask(shown, "keyframes/sintel-video=401000.m3u8").plan)
    assert playlist.count("#EXTINF:2, no desc") == 15
    plan = ask(shown, "keyframes/sintel-video=401000-2.m4s").plan
    (_, sample) = plan.parts
    assert isinstance(sample, FileRanges)
    track = shown.find("video=401000").track  # type: ignore[union-attr]
    assert sample.offset.tolist() == [int(track.samples.offset[50])]
    assert sample.lengths.tolist() == [int(track.samples.size[50])]
    assert plan.headers == (("Link", '<sintel-video=401000-3.m4s>; rel="next"'),)
    assert ask(shown, "keyframes/sintel-video=401000-15.m4s").plan.headers == ()


def test_names_are_percent_encoded_and_found_again() -> None:
    odd = 'Füße & "co"/$x:1 %'
    shown = presentation(
        rendition(video_track(seconds=12), name=odd, bitrate=5),
        rendition(video_track(seconds=12), name="video_zh-Hans", bitrate=6),
        name="a b#c?d",
    )
    master = text(ask(shown, ".m3u8").plan)
    (line, other) = [line for line in master.splitlines() if line and not line.startswith("#")]
    assert re.fullmatch(r"[A-Za-z0-9._~%=-]+", line)
    playlist = text(ask(shown, unquote(line)).plan)
    segment = playlist.splitlines()[-2]
    answer = ask(shown, unquote(segment))
    assert answer.plan.length
    first = ask(shown, unquote(segment.replace("-3.m4s", "-1.m4s"))).plan.headers[0][1]
    assert first == f'<{segment.removeprefix("hls/").replace("-3.m4s", "-2.m4s")}>; rel="next"'
    assert "hls/a%20b%23c%3Fd-video_zh-Hans=6-1.m4s" in text(ask(shown, unquote(other)).plan)


def test_the_longest_selector_is_meant() -> None:
    shown = presentation(
        rendition(video_track(seconds=8), name="video", bitrate=1),
        rendition(audio_track(seconds=8), name="my-video", bitrate=1),
    )
    assert ask(shown, "hls/x-video=1-1.m4s").plan.content_type == "video/mp4"
    assert ask(shown, "hls/x-my-video=1-1.m4s").plan.content_type == "audio/mp4"


def test_the_query_travels_to_every_segment() -> None:
    shown = ladder()
    given = {
        "queries": {"hls": "hls_minimum_fragment_length=6"},
        "playlist_query": "hls_minimum_fragment_length=6",
        "hls_minimum_fragment_length": Fraction(6),
    }
    master = text(ask(shown, ".m3u8", **given).plan)
    for line in master.splitlines():
        if "keyframes/" in line:
            assert "?" not in line
        elif (line and not line.startswith("#")) or "URI=" in line:
            assert ".m3u8?hls_minimum_fragment_length=6" in line
    playlist = text(ask(shown, "x-video=401000.m3u8", **given).plan)
    assert playlist.count(".m4s?hls_minimum_fragment_length=6") == 5
    assert playlist.count("#EXTINF:6, no desc") == 5
    headers = ask(shown, "hls/x-video=401000-1.m4s", **given).plan.headers
    assert headers[0][1] == '<x-video=401000-2.m4s?hls_minimum_fragment_length=6>; rel="next"'


@pytest.mark.parametrize(
    ("path", "error", "sentence"),
    [
        ("hls/x-video=401000-0.m4s", FragmentNotFound, "segment 0 lies before the first"),
        ("hls/x-video=401000-9.m4s", FragmentNotAvailable, "segment 9 lies after the last, 8"),
        ("hls/x-video=401000-99999999999999999.m4s", FragmentNotAvailable, "after the last"),
        ("keyframes/x-video=401000-16.m4s", FragmentNotAvailable, "after the last, 15"),
        ("hls/x-video=401001-1.m4s", NotFound, "no such track"),
        ("hls/x-video=401001.m4s", NotFound, "no such track"),
        ("x-video=401001.m3u8", NotFound, "no such track"),
        ("hls/video=401000-1.m4s", NotFound, "no such track"),
        ("keyframes/x-audio_eng=64008.m3u8", NotFound, "only video"),
        ("keyframes/x-audio_eng=64008-1.m4s", NotFound, "only video"),
    ],
)
def test_what_is_not_there(path: str, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        ask(ladder(), path)


def test_hls_can_be_switched_off() -> None:
    for path in (".m3u8", "x-video=401000.m3u8", "hls/x-video=401000-1.m4s"):
        with pytest.raises(NotFound, match="switched off"):
            ask(ladder(), path, hls_playout=False)


def test_text_is_not_served_as_fragmented_mp4() -> None:
    shown = presentation(rendition(text_track(cues=[(0, 9000)])), rendition(video_track(seconds=9)))
    assert "textstream" in text(ask(shown, ".m3u8").plan)
    with pytest.raises(NotFound):
        ask(shown, "hls/x-textstream=1000-1.m4s")
    with pytest.raises(NotFound):
        ask(presentation(rendition(text_track(cues=[(0, 9000)]))), ".m3u8")


@pytest.mark.parametrize("fmp4", [True, False])
def test_variants_say_that_there_are_no_closed_captions(fmp4: bool) -> None:
    variants = tags(text(ask(ladder(), ".m3u8", hls_fmp4=fmp4).plan), "EXT-X-STREAM-INF")
    assert len(variants) == 4
    assert {entry["CLOSED-CAPTIONS"] for entry in variants} == {"NONE"}
    old = text(ask(ladder(), ".m3u8", hls_fmp4=False, hls_client_manifest_version=3).plan)
    assert "CLOSED-CAPTIONS" not in old


def test_variants_say_nothing_where_pictures_hold_closed_captions() -> None:
    captioned = replace(video_track(seconds=8), closed_captions=True)
    shown = presentation(
        rendition(video_track(seconds=8), bitrate=1000),
        rendition(captioned, bitrate=2000),
        rendition(audio_track(seconds=8)),
    )
    assert "CLOSED-CAPTIONS" not in text(ask(shown, ".m3u8").plan)
