"""Clips, filters and trick play through the whole stack, read by ffmpeg and dash.js."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from tests.support import mpd
from tests.support.assets import SourceStream, streams, whole
from tests.support.browser import Job, missing, play
from tests.support.frames import decode, probe
from tests.support.hls import read_master
from tests.support.http import Client
from tests.support.media import FRAME_RATE
from tests.support.stack import Stack

PATH = "/bframes_closed.mp4"
FILTER = "filter=type==%22video%22"


@pytest.fixture(scope="module")
def pictures() -> list[str]:
    """Hashes of the source's pictures."""
    return [frame.hash for frame in whole(source("video"))]


def source(kind: str) -> SourceStream:
    return next(one for one in streams("bframes_closed.mp4") if one.kind == kind)


def shown(url: str, pictures: list[str], stream: str = "0:v:0") -> tuple[int, int]:
    """(first, last + 1) of the source's pictures that ffmpeg decodes from ``url``, in one piece."""
    (frames,) = decode(url, stream)
    found = [frame.hash for frame in frames]
    first = pictures.index(found[0])
    assert found == pictures[first : first + len(found)]
    return first, first + len(found)


@pytest.mark.parametrize("template", ["time", "number", "number_timeline"])
def test_ffmpeg_gets_the_pictures_of_a_dash_clip(
    client: Client, stack: Stack, pictures: list[str], template: str
) -> None:
    path = f"{PATH}/.mpd?t=3-00:00:07.5&mpd_segment_template={template}"
    manifest = mpd.read(client.get(path).body, stack.base + path)
    video = next(one for one in manifest.representations if one.content_type == "video")
    first = Fraction(video.offset, video.timescale) * FRAME_RATE
    last = first + manifest.duration * FRAME_RATE
    assert first <= 3 * FRAME_RATE
    assert last >= Fraction(15, 2) * FRAME_RATE
    begin, end = shown(stack.base + path, pictures)
    assert begin == first
    # Where there is one duration for all segments, libavformat 5.1 asks for one segment more.
    beyond = Fraction(video.template_duration or 0, video.timescale) * FRAME_RATE
    assert end in (last, last + beyond)


@pytest.mark.parametrize(
    "kind", ["hls_fmp4=true", "hls_fmp4=false", "hls_client_manifest_version=1"]
)
def test_ffmpeg_gets_the_pictures_of_an_hls_clip(
    stack: Stack, pictures: list[str], kind: str
) -> None:
    query = f"t=5-9&{kind}&hls_minimum_fragment_length=2&{FILTER}"
    first, last = shown(f"{stack.base}{PATH}/.m3u8?{query}", pictures)
    assert 3 * FRAME_RATE <= first <= 5 * FRAME_RATE
    assert 9 * FRAME_RATE <= last <= 10 * FRAME_RATE


@pytest.mark.parametrize("manifest", [".mpd", ".m3u8"])
def test_a_filter_leaves_what_it_selects(stack: Stack, manifest: str) -> None:
    url = f"{stack.base}/ladder.ism/{manifest}?filter="
    heights = {stream["height"] for stream in probe(f"{url}MaxHeight%3C180%26%26type==%22video%22")}
    assert heights == {90, 136}
    assert {stream["codec_type"] for stream in probe(f"{url}type==%22audio%22")} == {"audio"}


def test_variant_sets_put_a_variant_first(client: Client, stack: Stack) -> None:
    first = "variant_set=MaxHeight==136%7C%7Ctype!=%22video%22"
    others = "variant_set=MaxHeight!=136%7C%7Ctype!=%22video%22"
    url = f"/ladder.ism/.m3u8?{first}&{others}"
    resolutions = [
        line.partition("RESOLUTION=")[2].partition(",")[0].partition("x")[2]
        for line in client.get(url).text.splitlines()
        if line.startswith("#EXT-X-STREAM-INF") and "RESOLUTION" in line
    ]
    assert list(dict.fromkeys(resolutions)) == ["136", "90", "180"]


def test_ffmpeg_reads_key_frames_as_pictures(
    client: Client, stack: Stack, pictures: list[str]
) -> None:
    path = f"{PATH}/.mpd?fixed_gop"
    manifest = mpd.read(client.get(path).body, stack.base + path)
    trick = next(one for one in manifest.representations if one.id.startswith("keyframes-"))
    (frames,) = decode(stack.base + path, "0:v:1")
    numbers = [pictures.index(frame.hash) for frame in frames]
    starts = [Fraction(one.time or 0, trick.timescale) * FRAME_RATE for one in trick.segments]
    assert numbers == starts
    assert [frame.time * FRAME_RATE for frame in frames] == starts


def test_segments_know_nothing_of_clips(client: Client, stack: Stack) -> None:
    urls = {}
    for query in ("", "?t=3-7", f"?{FILTER}", "?max_bitrate=900000000", "?fixed_gop"):
        path = f"{PATH}/.mpd{query}"
        manifest = mpd.read(client.get(path).body, stack.base + path)
        urls[query] = {one.url for each in manifest.representations for one in each.segments}
        assert not any("?" in url for url in urls[query])
    assert urls["?t=3-7"] < urls[""]
    assert urls[f"?{FILTER}"] < urls[""] < urls["?fixed_gop"]
    playlists = read_master(client.get(f"{PATH}/.m3u8?t=3-7").text, f"{stack.base}{PATH}/.m3u8")
    for playlist in playlists.playlists:
        assert playlist.endswith("?vbegin=3&vend=7")
        listed = client.get(playlist.removeprefix(stack.base)).text.splitlines()
        segments = [line for line in listed if line and not line.startswith("#")]
        assert segments
        assert not any("?" in line for line in segments)


@pytest.mark.parametrize(
    ("query", "status", "word"),
    [
        ("filter=type==", 400, "character 7"),
        ("filter=false", 404, "none of the tracks"),
        ("vbegin=ten", 400, "vbegin"),
        ("t=7-3", 400, "must end after it begins"),
        ("vbegin=3600", 400, "3600"),
        ("max_bitrate=1", 404, "bounds"),
        ("variant_set=(", 400, "variant_set"),
    ],
)
@pytest.mark.parametrize("manifest", [".mpd", ".m3u8"])
def test_refusals_have_a_sentence(
    client: Client, manifest: str, query: str, status: int, word: str
) -> None:
    answer = client.request(f"{PATH}/{manifest}?{query}")
    assert answer.status == status
    assert word in answer.text


BROWSER = {
    "/bframes_closed.mp4/.mpd?t=3-8": 50,
    "/bframes_closed.mp4/.mpd?t=3-8&mpd_segment_template=number": 50,
    "/bframes_closed.mp4/.mpd?fixed_gop": 0,
}


@pytest.fixture(scope="module")
def reports(stack: Stack) -> dict[str, dict[str, Any]]:
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    jobs = [Job(player="dash", url=stack.base + path) for path in BROWSER]
    return dict(zip(BROWSER, play(jobs), strict=True))


@pytest.mark.browser
@pytest.mark.parametrize("path", BROWSER)
def test_dash_js_plays_clips_and_ignores_trick_play(
    reports: dict[str, dict[str, Any]], path: str
) -> None:
    report = reports[path]
    assert not report["failed"], "\n".join(report["failed"])
    assert report["ended"]
    assert report["levels"] == [180]
    assert not [error for error in report["errors"] if "ABANDONED" not in error]
    for time, number in report["stills"]:
        assert 0 <= time * FRAME_RATE - (number - BROWSER[path]) < 1
