"""HLS with transport streams: every segment checked packet by packet, and decoded."""

from __future__ import annotations

import itertools
import re
import subprocess
from collections import Counter
from dataclasses import fields, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from sidecar.errors import NotFound, UnsupportedMedia
from sidecar.formats.hls import transport
from sidecar.formats.hls.selectors import find_renditions
from sidecar.media.build import presentation_from_media
from sidecar.media.index import index_media
from sidecar.media.presentation import Presentation, Rendition
from sidecar.media.track import Kind
from sidecar.mux.plan import CacheClass
from sidecar.mux.ts_segment import TrackSpan, ts_segments
from sidecar.storage.local import open_local
from sidecar.timeline.clips import Clip
from sidecar.timeline.segmenter import Timeline
from tests.support import requests
from tests.support.frames import decode, dropped
from tests.support.hls import read_master
from tests.support.media import generated
from tests.support.mpegts import (
    WRAP,
    Program,
    adts_frames,
    check_clock,
    nal_units,
    read_ts,
)
from tests.support.plans import body
from tests.support.requests import text
from tests.support.tracks import (
    audio_facts,
    audio_track,
    presentation,
    rendition,
    video_facts,
    video_track,
)

SOURCES = (
    "bframes_closed.mp4",
    "bframes_open.mp4",
    "hevc.mp4",
    "variable_rate.mp4",
    "frag_sidx.mp4",
    "frag_partial.mp4",
    "two_audio.mp4",
    "audio_delayed.mp4",
    "video_delayed.mp4",
    "dolby.mp4",
)
VIDEO_TYPES, SOUND_TYPES = (0x1B, 0x24), (0x0F, 0x81, 0x87)
LENGTH = {"hls_minimum_fragment_length": Fraction(2)}


@cache
def opened(file: str) -> Presentation:
    source = open_local(str(generated(file)))
    try:
        return presentation_from_media("clip", index_media(source))
    finally:
        source.close()


def stream_of(shown: Presentation, one: Rendition) -> str:
    """The source's stream of a rendition: renditions are sorted by bitrate, streams by number."""
    if one.kind is Kind.VIDEO:
        return "0:v:0"
    numbers = sorted(r.track.track_id for r in shown.of_kind(Kind.AUDIO))
    return f"0:a:{numbers.index(one.track.track_id)}"


def listed(playlist: str) -> list[str]:
    return [unquote(line) for line in re.findall(r"^[^#\n].*$", playlist, re.MULTILINE)]


@cache
def segments(file: str, selectors: str) -> tuple[bytes, ...]:
    """All segments of a playlist with the minimum length ``LENGTH``, as they are served."""
    shown = opened(file)
    timeline = Timeline(shown)
    answer = requests.ask(
        shown, f"clip-{selectors}.m3u8", timeline=timeline, hls_fmp4=False, **LENGTH
    )
    playlist = text(answer.plan)
    plans = [requests.ask(shown, url, timeline=timeline, **LENGTH).plan for url in listed(playlist)]
    assert len(plans) > 2
    return tuple(body(plan) for plan in plans)


def muxed_selectors(shown: Presentation, sound: int = 0) -> str:
    (video,) = shown.of_kind(Kind.VIDEO)
    return f"{shown.of_kind(Kind.AUDIO)[sound].selector}-{video.selector}"


def samples(one: Rendition) -> list[bytes]:
    """The samples of a track, from its file."""
    columns = one.track.samples
    data = Path(one.track.source.path).read_bytes()
    return [
        data[at : at + size]
        for at, size in zip(columns.offset.tolist(), columns.size.tolist(), strict=True)
    ]


def source_units(one: Rendition) -> list[bytes]:
    units = []
    for sample in samples(one):
        at = 0
        while at < len(sample):
            size = int.from_bytes(sample[at : at + 4])
            units.append(sample[at + 4 : at + 4 + size].rstrip(b"\0"))
            at += 4 + size
    return units


@pytest.mark.parametrize("file", SOURCES)
def test_the_structure_of_every_segment_and_of_all_together(file: str) -> None:
    shown = opened(file)
    pieces = segments(file, muxed_selectors(shown))
    for piece in pieces:
        program = read_ts(piece)
        check_clock(program)
        assert piece[2 * 188 + 5] & 0x10, "the clock comes first"
        assert {stream.pes[0].random_access for stream in program.streams.values() if stream.pes
                and stream.stream_type in VIDEO_TYPES} <= {True}  # fmt: skip
    whole = read_ts(b"".join(pieces))
    check_clock(whole)
    # The counters of elementary streams go on from any segment to any other.
    for one, other in itertools.permutations(pieces[:3], 2):
        counters = {pid: n for pid, n in read_ts(one).counters.items() if pid in whole.streams}
        read_ts(other, counters)


@pytest.mark.parametrize("file", SOURCES)
def test_every_nal_unit_and_every_frame_is_there_once(file: str) -> None:
    shown = opened(file)
    (video,) = shown.of_kind(Kind.VIDEO)
    sound = shown.of_kind(Kind.AUDIO)[0]
    program = read_ts(b"".join(segments(file, muxed_selectors(shown))))
    pictures = program.of_type(*VIDEO_TYPES)
    assert len(pictures.pes) == len(video.track.samples)
    hevc = pictures.stream_type == 0x24
    added = {32, 33, 34, 35} if hevc else {7, 8, 9}

    def kind(unit: bytes) -> int:
        return unit[0] >> 1 & 0x3F if hevc else unit[0] & 0x1F

    found = [unit for pes in pictures.pes for unit in nal_units(pes.payload)]
    wanted = source_units(video)
    assert [u for u in found if kind(u) not in added] == [u for u in wanted if kind(u) not in added]
    census = Counter(map(kind, found))
    for number in added - {9, 35}:
        assert census[number] >= len([p for p in pictures.pes if p.random_access])
    assert census[35 if hevc else 9] == len(pictures.pes), "a delimiter for each access unit"
    for pes in pictures.pes:
        kinds = [kind(unit) for unit in nal_units(pes.payload)]
        assert kinds[0] == (35 if hevc else 9)
        if pes.random_access:
            assert {32, 33, 34} <= set(kinds) if hevc else {7, 8} <= set(kinds)

    heard = program.of_type(*SOUND_TYPES)
    if heard.stream_type == 0x0F:
        assert [frame for _, frame in adts_frames(heard.payload)] == samples(sound)
    else:
        assert heard.payload == b"".join(samples(sound))


@pytest.mark.parametrize("file", SOURCES)
def test_timestamps_are_those_of_the_presentation(file: str) -> None:
    shown = opened(file)
    (video,) = shown.of_kind(Kind.VIDEO)
    sound = shown.of_kind(Kind.AUDIO)[0]
    program = read_ts(b"".join(segments(file, muxed_selectors(shown))))
    pictures = program.of_type(*VIDEO_TYPES)
    times = [Fraction(int(t), video.track.timescale) for t in video.track.presentation_time()]
    for pes, time in zip(pictures.pes, times, strict=True):
        assert abs(pes.pts - 900_000 - time * 90_000) <= Fraction(1, 2)
    decoding = [pes.dts for pes in pictures.pes]
    assert decoding == sorted(set(decoding))
    assert all(pes.dts <= pes.pts for pes in pictures.pes)
    heard = program.of_type(*SOUND_TYPES)
    frames = {Fraction(int(t), sound.track.timescale) for t in sound.track.presentation_time()}
    near = {round(time * 90_000) + 900_000 for time in frames}
    for pes in heard.pes:
        assert near & {pes.pts - 1, pes.pts, pes.pts + 1}
    assert heard.pes[0].pts == min(near)


def complaints(path: Path) -> str:
    """What ffmpeg says while it decodes all of ``path``."""
    command = ["ffmpeg", "-nostdin", "-v", "warning", "-i", path, "-f", "null", "-"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return run.stderr


@pytest.mark.parametrize("file", SOURCES)
def test_decodes_to_the_frames_of_the_source(file: str, tmp_path: Path) -> None:
    shown = opened(file)
    path = str(generated(file))
    (video,) = shown.of_kind(Kind.VIDEO)
    sound = shown.of_kind(Kind.AUDIO)[0]
    pieces = segments(file, muxed_selectors(shown))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(pieces))
    assert complaints(joined) == ""
    found = decode(str(joined), "0:v:0", "0:a:0")
    wanted = decode(path, stream_of(shown, video), stream_of(shown, sound))
    assert [frame.hash for frame in found[0]] == [frame.hash for frame in wanted[0]]
    # ffmpeg plays the priming too, which has no place before 0 in the source.
    heard = [frame for frame in found[1] if frame.time >= 10 - Fraction(1, 1000)]
    left_out, _ = dropped(wanted[1], heard)
    shifts = [
        {a.time - b.time for a, b in zip(found[0], wanted[0], strict=True)},
        {a.time - b.time for a, b in zip(heard, wanted[1][left_out:], strict=False)},
    ]
    # 10 s by the offset of 900000, and pictures and sound equally.
    for shift in shifts:
        assert all(abs(one - 10) < Fraction(3, 1000) for one in shift), shift


@pytest.mark.parametrize("file", ["bframes_closed.mp4", "variable_rate.mp4", "frag_sidx.mp4"])
def test_every_segment_decodes_alone(file: str, tmp_path: Path) -> None:
    shown = opened(file)
    (wanted,) = decode(str(generated(file)), "0:v:0")
    rest = [frame.hash for frame in wanted]
    for number, piece in enumerate(segments(file, muxed_selectors(shown))):
        path = tmp_path / f"{number}.ts"
        path.write_bytes(piece)
        assert complaints(path) == ""
        found = [frame.hash for frame in decode(str(path), "0:v:0")[0]]
        assert found == rest[: len(found)], f"segment {number + 1}"
        del rest[: len(found)]
    assert not rest


def test_open_gops_lose_only_their_leading_pictures_alone(tmp_path: Path) -> None:
    shown = opened("bframes_open.mp4")
    (wanted,) = decode(str(generated("bframes_open.mp4")), "0:v:0")
    every = {frame.hash for frame in wanted}
    for number, piece in enumerate(segments("bframes_open.mp4", muxed_selectors(shown))):
        path = tmp_path / f"{number}.ts"
        path.write_bytes(piece)
        run = subprocess.run(
            ["ffmpeg", "-v", "error", "-i", path, "-map", "0:v", "-f", "framemd5", "-"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        found = [row.split(",")[-1].strip() for row in run.stdout.splitlines() if row[0] != "#"]
        count = len(read_ts(piece).of_type(0x1B).pes)
        assert count - 5 <= len(found) <= count
        assert set(found[5:]) <= every


@pytest.mark.parametrize("file", ["bframes_closed.mp4", "two_audio.mp4", "dolby.mp4"])
def test_packed_audio_is_the_sound_of_the_source(file: str, tmp_path: Path) -> None:
    shown = opened(file)
    for sound in shown.of_kind(Kind.AUDIO):
        extension = {"ac-3": "ac3", "ec-3": "ec3"}.get(sound.audio.sample_entry, "aac")
        pieces = segments(file, sound.selector)
        offset = sound.track.samples
        first = 0
        payload = b""
        for piece in pieces:
            assert piece[:4] == b"ID3\x04"
            size = piece[6] << 21 | piece[7] << 14 | piece[8] << 7 | piece[9]
            tag, frames = piece[10 : 10 + size], piece[10 + size :]
            owner = b"com.apple.streaming.transportStreamTimestamp\0"
            assert tag[:4] == b"PRIV" and tag[10:].startswith(owner)
            stamp = int.from_bytes(tag[10 + len(owner) :])
            time = int(offset.decode_time[first]) - sound.track.edit_media_time
            expected = Fraction(time, sound.track.timescale) * 90_000 + 900_000
            assert abs(stamp - expected) <= Fraction(1, 2)
            payload += frames
            if extension == "aac":
                first += len(adts_frames(frames))
            else:
                whole = 0
                while whole < len(frames):
                    whole += int(offset.size[first])
                    first += 1
        path = tmp_path / f"{sound.name}.{extension}"
        path.write_bytes(payload)
        found = [frame.hash for frame in decode(str(path), "0:a:0")[0]]
        (wanted,) = decode(str(generated(file)), stream_of(shown, sound))
        hashes = [frame.hash for frame in wanted]
        lead = len(found) - len(hashes)
        assert 0 <= lead <= 2 and found[lead + 1 :] == hashes[1:]


def test_key_frames_are_those_pictures(tmp_path: Path) -> None:
    shown = opened("bframes_open.mp4")
    (video,) = shown.of_kind(Kind.VIDEO)
    playlist = text(
        requests.ask(shown, f"keyframes/clip-{video.selector}.m3u8", hls_fmp4=False).plan
    )
    assert "#EXT-X-I-FRAMES-ONLY" in playlist and "EXT-X-MAP" not in playlist
    urls = listed(playlist)
    assert len(urls) == 5 and all(url.endswith(".ts") for url in urls)
    pieces = [body(requests.ask(shown, f"keyframes/{url}").plan) for url in urls]
    read_ts(b"".join(pieces))
    (wanted,) = decode(str(generated("bframes_open.mp4")), "0:v:0")
    by_time = {round(frame.time * 90_000) + 900_000: frame.hash for frame in wanted}
    for number, piece in enumerate(pieces):
        (pes,) = read_ts(piece).of_type(0x1B).pes
        assert pes.pts == pes.dts and pes.random_access
        path = tmp_path / f"{number}.ts"
        path.write_bytes(piece)
        (found,) = decode(str(path), "0:v:0")
        assert [frame.hash for frame in found] == [by_time[pes.pts]]


def ladder(**other: Any) -> Presentation:
    return presentation(
        rendition(
            video_track(seconds=30, size=2000, b_frames=True,
                        facts=video_facts(width=640, height=360, codec="avc1.42C01E")),
            bitrate=401_000,
        ),
        rendition(video_track(seconds=30, b_frames=True), bitrate=2_500_000),
        rendition(audio_track(seconds=30, size=170), name="audio_eng", bitrate=64_008,
                  language="eng"),
        rendition(audio_track(seconds=30), name="audio_eng", bitrate=128_002, language="eng"),
        rendition(audio_track(seconds=30, track_id=3, size=170), name="audio_deu", bitrate=63_990,
                  language="deu"),
        name="sintel",
        **other,
    )  # fmt: skip


def master(shown: Presentation, **options: Any) -> Any:
    return read_master(text(requests.ask(shown, ".m3u8", **options).plan), "http://x/")


def uris(entries: list[dict[str, str]]) -> list[str]:
    return [unquote(entry["URI"]).removeprefix("http://x/") for entry in entries if "URI" in entry]


def test_the_layout_of_version_4() -> None:
    found = master(ladder())
    assert found.version == 4
    assert uris(found.variants) == [
        "sintel-audio_eng=64008-video=401000.m3u8",
        "sintel-audio_eng=128002-video=2500000.m3u8",
        "sintel-audio_eng=64008.m3u8",
        "sintel-audio_eng=128002.m3u8",
    ]
    for entry in found.media:
        # Without a URI: the sound is in the variants.
        assert ("URI" in entry) == (entry.get("DEFAULT") != "YES")
    assert uris(found.media) == ["sintel-audio_deu=63990.m3u8"] * 2
    assert uris(found.iframes) == [
        "keyframes/sintel-video=401000.m3u8",
        "keyframes/sintel-video=2500000.m3u8",
    ]
    assert found.variants[0]["CODECS"] == "avc1.42C01E,mp4a.40.2"
    assert found.variants[0]["AUDIO"] == "audio-aacl-64"


def test_the_layout_of_version_1() -> None:
    found = master(ladder(), hls_client_manifest_version=1)
    assert found.version == 1
    assert not found.media and not found.iframes
    assert uris(found.variants) == uris(master(ladder()).variants)
    assert found.variants[0]["CODECS"] == "avc1.66.30,mp4a.40.2"
    assert all("AUDIO" not in entry for entry in found.variants)
    without = master(ladder(), hls_client_manifest_version=1, hls_no_audio_only=True)
    assert uris(without.variants) == uris(found.variants)[:2]


def test_without_multiplexing_sound_is_apart() -> None:
    for version in (None, 1, 4):
        found = master(ladder(), hls_no_multiplex=True, hls_client_manifest_version=version)
        assert uris(found.variants)[:2] == [
            "sintel-video=401000.m3u8",
            "sintel-video=2500000.m3u8",
        ]
        assert all("URI" in entry for entry in found.media) and len(found.media) == 4
        playlist = text(requests.ask(ladder(), "sintel-video=401000.m3u8").plan)
        assert "sintel-video=401000-1.ts" in playlist


@pytest.mark.parametrize(
    ("options", "fmp4"),
    [
        ({}, False),
        ({"hls_client_manifest_version": 1}, False),
        ({"hls_client_manifest_version": 5}, False),
        ({"hls_client_manifest_version": 6}, True),
        ({"hls_client_manifest_version": 7, "hls_fmp4": False}, False),
        ({"hls_client_manifest_version": 3, "hls_fmp4": True}, True),
        ({"hls_fmp4": True}, True),
    ],
)
def test_which_kind_of_segments(options: dict[str, Any], fmp4: bool) -> None:
    shown = ladder()
    playlist = text(requests.ask(shown, "sintel-video=401000.m3u8", **options).plan)
    assert ("EXT-X-MAP" in playlist) == fmp4
    assert (listed(playlist)[0] == "hls/sintel-video=401000-1.m4s") == fmp4
    iframes = text(requests.ask(shown, "keyframes/sintel-video=401000.m3u8", **options).plan)
    assert (".m4s" in iframes) == fmp4
    muxed = "sintel-audio_eng=64008-video=401000.m3u8"
    if fmp4:
        with pytest.raises(NotFound):
            requests.ask(shown, muxed, **options)
    else:
        assert listed(text(requests.ask(shown, muxed, **options).plan))[0].endswith("-1.ts")


@pytest.mark.parametrize(
    ("options", "fmp4"),
    [
        ({}, True),
        ({"hls_no_multiplex": True}, True),
        ({"hls_client_manifest_version": 4}, False),
        ({"hls_client_manifest_version": 7}, True),
        ({"hls_fmp4": False}, False),
    ],
)
@pytest.mark.parametrize("codec", ["hvc1.1.6.L93.B0", "hev1.1.6.L93.B0"])
def test_h265_is_in_fragmented_mp4_unless_said_otherwise(
    codec: str, options: dict[str, Any], fmp4: bool
) -> None:
    shown = presentation(
        rendition(video_track(seconds=8), bitrate=1000),
        rendition(video_track(seconds=8, facts=video_facts(codec=codec)), bitrate=2000),
    )
    for path in ("video-video=1000.m3u8", "video-video=2000.m3u8"):
        assert ("EXT-X-MAP" in text(requests.ask(shown, path, **options).plan)) == fmp4
    assert len(master(shown, **options).variants) == 2


def with_opus() -> Presentation:
    return presentation(
        rendition(video_track(seconds=9), bitrate=9),
        rendition(audio_track(seconds=9, facts=audio_facts(codec="Opus", fourcc="Opus"))),
    )


def test_what_transport_streams_cannot_carry_is_fragmented_mp4() -> None:
    shown = with_opus()
    assert "EXT-X-MAP" in text(requests.ask(shown, "x-video=9.m3u8").plan)
    # Asked for, they carry what they can.
    found = master(shown, hls_fmp4=False)
    assert uris(found.variants) == ["video-video=9.m3u8"] and not found.media
    av1 = video_facts(codec="av01.0.04M.08")
    alone = presentation(rendition(video_track(seconds=9, facts=av1)))
    with pytest.raises(UnsupportedMedia, match="none of the tracks"):
        requests.ask(alone, ".m3u8", hls_client_manifest_version=4)


def test_versions_are_high_enough_for_what_playlists_hold() -> None:
    shown = ladder()
    assert "#EXT-X-VERSION:1\n" in text(
        requests.ask(shown, "x-video=401000.m3u8", hls_client_manifest_version=1).plan
    )
    sound = text(requests.ask(shown, "x-audio_eng=64008.m3u8", hls_client_manifest_version=1).plan)
    assert "." in "".join(re.findall(r"#EXTINF:([^,]*)", sound))
    assert "#EXT-X-VERSION:3\n" in sound, "durations with decimals need 3"
    iframes = requests.ask(shown, "keyframes/x-video=401000.m3u8", hls_client_manifest_version=1)
    assert "#EXT-X-VERSION:4\n" in text(iframes.plan)


def test_clips_keep_numbers_and_say_their_time() -> None:
    shown = ladder()
    clip = Clip(Fraction(9), Fraction(17))
    path = "x-audio_eng=64008-video=401000.m3u8"
    playlist = text(requests.ask(shown, path, clip=clip).plan)
    assert "#EXT-X-MEDIA-SEQUENCE:3\n" in playlist
    assert [url.rpartition("-")[2] for url in listed(playlist)] == ["3.ts", "4.ts", "5.ts"]
    assert "#USP-X-TIMESTAMP-MAP:MPEGTS=1620000,LOCAL=1970-01-01T00:00:08Z\n" in playlist
    assert "MPEGTS=900000,LOCAL=1970-01-01T00:00:00Z\n" in text(requests.ask(shown, path).plan)


def test_a_segment_names_the_next_and_what_may_be_made_ahead() -> None:
    shown = opened("bframes_closed.mp4")
    name = f"x-{muxed_selectors(shown)}"
    answer = requests.ask(shown, f"{name}-2.ts", **LENGTH)
    assert answer.plan.content_type == "video/mp2t"
    assert answer.plan.cache_class is CacheClass.MEDIA
    assert unquote(answer.plan.headers[0][1]) == f'<{name}-3.ts>; rel="next"'
    assert answer.following == (f"{name}-3.ts", f"{name}-4.ts", f"{name}-5.ts")
    last = requests.ask(shown, f"{name}-5.ts", **LENGTH)
    assert not last.plan.headers and not last.following
    assert answer.plan.made_from != last.plan.made_from
    assert requests.ask(shown, f"{name}-2.ts", **LENGTH).plan.made_from == answer.plan.made_from


@pytest.mark.parametrize("file", SOURCES)
def test_segments_made_together_are_those_made_alone(file: str) -> None:
    shown = opened(file)
    alone = segments(file, muxed_selectors(shown))
    name = f"x-{muxed_selectors(shown)}"
    together = requests.ask(shown, f"{name}-2.ts", read_ahead=2, **LENGTH)
    paths = [path for path, _ in together.ahead]
    assert paths == [f"{name}-{n}.ts" for n in (3, 4) if n <= len(alone)]
    plans = [together.plan, *(plan for _, plan in together.ahead)]
    assert [body(plan) for plan in plans] == list(alone[1 : 1 + len(plans)])
    for path, plan in zip(paths, plans[1:], strict=True):
        one = requests.ask(shown, path, **LENGTH)
        assert (one.plan.made_from, one.plan.headers) == (plan.made_from, plan.headers)
        assert one.following == together.following[together.following.index(path) + 1 :][:4]


def test_no_more_is_made_together_than_fits_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = opened("bframes_closed.mp4")
    name = f"x-{muxed_selectors(shown)}-1.ts"
    monkeypatch.setattr(transport, "_TOGETHER", 1)
    assert not requests.ask(shown, name, read_ahead=4, **LENGTH).ahead
    size = len(body(requests.ask(shown, name, **LENGTH).plan))
    monkeypatch.setattr(transport, "_TOGETHER", int(2.2 * size))
    assert len(requests.ask(shown, name, read_ahead=4, **LENGTH).ahead) in (1, 2)


def test_selectors_with_dashes_and_basenames_like_selectors() -> None:
    shown = presentation(
        rendition(video_track(seconds=9), name="video-2", bitrate=100),
        rendition(audio_track(seconds=9), name="audio-zh-Hans", bitrate=64),
        rendition(audio_track(seconds=9), name="zh-Hans", bitrate=64),
        name="movie-zh-Hans=64",
    )
    video, (low, high) = shown.of_kind(Kind.VIDEO)[0], shown.of_kind(Kind.AUDIO)
    assert {low.name, high.name} == {"audio-zh-Hans", "zh-Hans"}
    by_name = {one.name: one for one in (low, high)}
    assert find_renditions(shown, "any-audio-zh-Hans=64-video-2=100") == (
        video,
        by_name["audio-zh-Hans"],
    )
    # The presentation's own name comes before what looks like a selector in it.
    assert find_renditions(shown, "movie-zh-Hans=64-video-2=100") == (video,)
    assert find_renditions(shown, "other-zh-Hans=64-video-2=100") == (video, by_name["zh-Hans"])
    for wrong in ("video-2=100", "x-video-2=1000", "x-video-3=100", "x-video-2=100-"):
        with pytest.raises(NotFound):
            find_renditions(shown, wrong)


def test_sound_that_outlasts_the_picture_goes_on_alone() -> None:
    shown = opened("bframes_closed.mp4")
    (video,) = shown.of_kind(Kind.VIDEO)
    sound = shown.of_kind(Kind.AUDIO)[0]
    read = requests.MediaReader()
    picture = TrackSpan(track=video.track, first=(250, 250))
    heard = TrackSpan(track=sound.track, first=(300, 470))
    (made,) = ts_segments(read, picture, heard, 3)
    program: Program = read_ts(bytes(made.data))
    check_clock(program)
    assert not program.of_type(0x1B).pes
    assert len(adts_frames(program.of_type(0x0F).payload)) == 170


def test_what_comes_later_changes_no_segment() -> None:
    """Sound is ahead of the pictures, then more of them come."""
    shown = opened("bframes_closed.mp4")
    (video,) = shown.of_kind(Kind.VIDEO)
    sound = TrackSpan(track=shown.of_kind(Kind.AUDIO)[0].track, first=(0, 200))
    made = set()
    for count in (100, 250):
        track = replace(video.track, samples=first_samples(video, count))
        picture = TrackSpan(track=track, first=(0, 100))
        (segment,) = ts_segments(requests.MediaReader(), picture, sound, 0, grows=True)
        made.add(bytes(segment.data))
    assert len(made) == 1


def test_times_beyond_33_bits() -> None:
    """26.5 hours after the offset the timestamps begin again from 0."""
    shown = opened("bframes_closed.mp4")
    (video,) = shown.of_kind(Kind.VIDEO)
    sound = shown.of_kind(Kind.AUDIO)[0]
    seconds = Fraction(WRAP - 900_000, 90_000) - 5
    spans = []
    for one in (video, sound):
        shift = int(seconds * one.track.timescale)
        columns = replace_columns(one, shift)
        spans.append(replace(one.track, samples=columns))
    pieces = ts_segments(
        requests.MediaReader(),
        TrackSpan(track=spans[0], first=(0, 100, 200, 250)),
        TrackSpan(track=spans[1], first=(0, 188, 375, 470)),
        0,
    )
    program = read_ts(b"".join(piece.data for piece in pieces))
    check_clock(program)
    stamps = [pes.pts for pes in program.of_type(0x1B).pes]
    assert max(stamps) > WRAP - 90_000 and min(stamps) < 90_000
    base = stamps[0]
    times = [(stamp - base) % WRAP for stamp in stamps]
    ticks = video.track.presentation_time() - video.track.presentation_time()[0]
    for found, wanted in zip(times, ticks.tolist(), strict=True):
        time = found if found < WRAP // 2 else found - WRAP
        assert abs(time - Fraction(wanted * 90_000, video.track.timescale)) <= 1


def replace_columns(one: Rendition, shift: int) -> Any:
    columns = one.track.samples
    given = {field.name: getattr(columns, field.name) for field in fields(columns) if field.init}
    given["decode_time"] = columns.decode_time + shift
    return type(columns)(**given)


def first_samples(one: Rendition, count: int) -> Any:
    columns = one.track.samples
    given = {field.name: getattr(columns, field.name) for field in fields(columns) if field.init}
    for name, values in given.items():
        if values is not None and name != "fragment_start":
            given[name] = values[: count + (name == "decode_time")]
    return type(columns)(**given)
