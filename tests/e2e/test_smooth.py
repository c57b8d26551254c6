"""Smooth Streaming through the whole stack: yt-dlp's downloader, dash.js in Chromium, raw HTTP."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.support import yt_dlp
from tests.support.assets import ASSETS, Asset, SourceStream, presented, source_of, whole
from tests.support.browser import Job, assert_moves, missing, play
from tests.support.frames import decode, dropped
from tests.support.http import Client
from tests.support.isobmff import boxes
from tests.support.media import FRAME_RATE, place
from tests.support.smooth import ClientManifest, StreamIndex, read_fragment, read_manifest
from tests.support.stack import Stack, origin, start

SECOND = 10_000_000
# That in which a file states its empty edits.
MOVIE_TICK = Fraction(1, 1000)
# yt-dlp knows no H.265 in Smooth Streaming.
PLAYED = [asset for asset in ASSETS if asset.path != "/hevc.mp4"]


def manifest(client: Client, path: str, query: str = "") -> ClientManifest:
    answer = client.get(f"{path}/Manifest{query}")
    assert answer.status == 200, answer.text
    assert answer.headers["content-type"] == "application/vnd.ms-sstr+xml"
    return read_manifest(answer.body)


def presentation_times(
    client: Client, path: str, stream: StreamIndex, level: dict[str, str]
) -> list[Fraction]:
    """When the samples of all fragments are presented, by the manifest's times of these, sorted."""
    times: list[int] = []
    for time, duration in stream.chunks:
        answer = client.get(f"{path}/{stream.url(level, time)}")
        assert answer.status == 200
        found = read_fragment(answer.body)
        assert (found.time, found.duration) == (time, duration)
        assert sum(found.durations) == duration
        assert found.trun_version == 0
        times += found.presentation(time)
    return sorted(Fraction(one, stream.timescale) for one in times)


def source_of_level(asset: Asset, stream: StreamIndex, level: dict[str, str]) -> SourceStream:
    video = stream.kind == "video"
    return source_of(
        asset,
        stream.kind,
        height=int(level["MaxHeight"]) if video else None,
        channels=None if video else int(level["Channels"]),
    )


def downloaded(
    url: str, folder: Path, listed: ClientManifest
) -> Iterator[tuple[StreamIndex, dict[str, str], Path]]:
    """Every quality of ``listed`` as yt-dlp downloads it; it must have found all fragments."""
    found = {
        tuple(one.format.get(key) for key in ("width", "audio_channels", "language")): one
        for one in yt_dlp.download(url, folder)
    }
    for stream in listed.streams:
        for level in stream.levels:
            one = found.pop(
                (
                    int(level["MaxWidth"]) if stream.kind == "video" else None,
                    int(level["Channels"]) if stream.kind == "audio" else None,
                    stream.attributes.get("Language", "und"),
                )
            )
            assert one.fragments == len(stream.chunks)
            yield stream, level, one.file
    assert not found


@pytest.mark.parametrize("asset", PLAYED, ids=lambda asset: asset.name)
def test_what_yt_dlp_downloads_is_the_source_in_step(
    stack: Stack, client: Client, asset: Asset, tmp_path: Path
) -> None:
    """The same frames; and, by the times of fragments, all tracks later by the same."""
    url = f"{stack.base}{asset.path}/Manifest"
    late: list[Fraction] = []
    for stream, level, file in downloaded(url, tmp_path, manifest(client, asset.path)):
        source = source_of_level(asset, stream, level)
        every, shown = whole(source), presented(source)
        served = decode(str(file), "0:0")[0]
        before, behind = dropped(every, served)
        # Priming and what leads a trimmed start may be there too.
        assert before == 0 or before < min(shown)
        assert len(every) - behind > max(shown)

        times = presentation_times(client, asset.path, stream, level)
        # A decoder may say nothing of the first sample.
        times = times[len(times) - len(served) :]
        misread = asset.misread[0 if stream.kind == "video" else 1]
        late += [times[index - before] - (at - misread + asset.lead) for index, at in shown.items()]
    assert min(late) >= 0 and max(late) < Fraction(1, 5)
    assert max(late) - min(late) <= MOVIE_TICK


def test_h265_is_described_and_whole(client: Client) -> None:
    """Parameter sets of the manifest and samples of all fragments, as a plain H.265 stream."""
    asset = next(asset for asset in ASSETS if asset.path == "/hevc.mp4")
    (video,) = manifest(client, asset.path).of("video")
    (level,) = video.levels
    assert level["FourCC"] == "hvc1"
    data = bytes.fromhex(level["CodecPrivateData"])
    for time, _ in video.chunks:
        url = f"{asset.path}/{video.url(level, time)}".replace("Fragments", "RawFragments")
        raw = client.get(url).body
        at = 0
        while at < len(raw):
            length = int.from_bytes(raw[at : at + 4])
            data += b"\0\0\0\1" + raw[at + 4 : at + 4 + length]
            at += 4 + length
        assert at == len(raw)
    run = subprocess.run(
        ["ffmpeg", "-v", "warning", "-f", "hevc", "-i", "-", "-f", "framemd5", "-"],
        input=data, capture_output=True, check=True,
    )  # fmt: skip
    lines = [line for line in run.stdout.decode().splitlines() if not line.startswith("#")]
    source = whole(source_of_level(asset, video, level))
    assert [line.split(",")[-1].strip() for line in lines] == [frame.hash for frame in source]


def test_statuses_and_links_of_fragments(client: Client) -> None:
    (video,) = manifest(client, "/ladder.ism").of("video")
    level = video.levels[0]
    first, second = (time for time, _ in video.chunks[:2])

    def get(level: dict[str, str], time: int) -> Any:
        return client.request("/ladder.ism/" + video.url(level, time))

    answer = get(level, first)
    assert answer.headers["link"] == f'<Fragments(video={second})>; rel="next"'
    assert answer.headers["content-type"] == "video/mp4"
    last = get(level, video.chunks[-1][0])
    assert last.status == 200 and "link" not in last.headers
    assert get(level, first + 1).status == 412
    assert get(level, 10**15).status == 412
    assert get({"Bitrate": "1"}, first).status == 404
    url = "/ladder.ism/" + video.url(level, second)
    encoded = url.replace("=", "%3d").replace("(", "%28").replace(")", "%29")
    assert client.get(encoded).body == client.get(url).body
    assert get({"Bitrate": level["Bitrate"] + ",a=b"}, second).body == client.get(url).body


def test_the_nouns_are_parts_of_the_fragment(client: Client) -> None:
    (video,) = manifest(client, "/bframes_closed.mp4").of("video")
    url = "/bframes_closed.mp4/" + video.url(video.levels[0], video.chunks[1][0])
    body = client.get(url).body
    (_, _, moof_end), (_, mdat, mdat_end) = boxes(body)
    assert client.get(url.replace("Fragments", "FragmentInfo")).body == body[:moof_end]
    raw = client.get(url.replace("Fragments", "RawFragments")).body
    assert raw == body[mdat:mdat_end]
    key = client.get(url.replace("Fragments", "KeyFrames")).body
    (size,) = read_fragment(key).sizes
    assert key[-size:] == raw[:size]


def test_fragments_have_ranges_and_validators(client: Client) -> None:
    (video,) = manifest(client, "/bframes_closed.mp4").of("video")
    url = "/bframes_closed.mp4/" + video.url(video.levels[0], 0)
    full = client.get(url)
    part = client.request(url, headers={"Range": "bytes=100-2099"})
    assert part.status == 206 and part.body == full.body[100:2100]
    again = client.request(url, headers={"If-None-Match": full.headers["etag"]})
    assert again.status == 304 and not again.body


def test_options_of_the_query(client: Client) -> None:
    path = "/bframes_closed.mp4"
    newer = client.get(f"{path}/manifest?iss_client_manifest_version=22").text
    assert 'MinorVersion="2"' in newer and ' r="' in newer
    long = manifest(client, path, "?iss_minimum_fragment_length=4")
    (video,) = long.of("video")
    assert video.chunks[0] == (0, 4 * SECOND)
    for time, duration in video.chunks:
        body = client.get(f"{path}/{video.url(video.levels[0], time)}").body
        assert read_fragment(body).duration == duration
    clip = manifest(client, path, "?vbegin=4&vend=8")
    assert clip.of("video")[0].chunks == ((4 * SECOND, 2 * SECOND), (6 * SECOND, 2 * SECOND))
    only = manifest(client, path, "?filter=type==%22video%22")
    assert [stream.kind for stream in only.streams] == ["video"]
    assert client.request(f"{path}/Manifest?iss_client_manifest_version=7").status == 400


# A location that hands out what is there.


@pytest.fixture(scope="module")
def passing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Fragmented sources, one track to a fragment; stored fragments and files come first."""
    media = tmp_path_factory.mktemp("passing")
    sources = {
        "stored": "frag_stored.mp4",
        "piff": "frag_piff.ismv",
        # Whose fragments say where in this file their samples are.
        "separate": "frag_separate.mp4",
        "closed": "bframes_closed.mp4",
    }
    place(media, *sources.values())
    for name, file in sources.items():
        made = origin("create", "-o", media / f"{name}.ism", media / file)
        assert made.returncode == 0, made.stdout + made.stderr
    run = tmp_path_factory.mktemp("passing-run")
    directives = "usp_iss_pass_through on; usp_prefer_static on;"
    running = start(run, media, workers=1, directives=directives)
    try:
        yield running
    finally:
        running.stop()


@pytest.mark.parametrize(
    ("name", "file"), [("stored", "frag_stored.mp4"), ("piff", "frag_piff.ismv")]
)
def test_stored_fragments_are_handed_out_byte_for_byte(
    passing: Stack, name: str, file: str
) -> None:
    client = passing.client()
    source = (passing.media / file).read_bytes()
    top = list(boxes(source))
    stored = {
        source[top[at][1] - 8 : top[at + 1][2]]
        for at, (kind, _, _) in enumerate(top)
        if kind == "moof"
    }
    listed = manifest(client, f"/{name}.ism")
    got = set()
    for stream in listed.streams:
        for time, _ in stream.chunks:
            answer = client.get(f"/{name}.ism/{stream.url(stream.levels[0], time)}")
            assert answer.status == 200
            got.add(answer.body)
    assert got == stored
    client.close()


def test_stored_fragments_decode_to_the_source(passing: Stack, tmp_path: Path) -> None:
    asset = Asset(path="/stored.ism", files=("frag_stored.mp4",))
    client = passing.client()
    listed = manifest(client, asset.path)
    for stream, level, file in downloaded(f"{passing.base}/stored.ism/Manifest", tmp_path, listed):
        source = whole(source_of_level(asset, stream, level))
        served = [frame.hash for frame in decode(str(file), "0:0")[0]]
        assert served == [frame.hash for frame in source]
    client.close()


@pytest.mark.parametrize("path", ["/closed.ism", "/separate.ism"])
def test_fragments_that_cannot_be_passed_are_made(passing: Stack, path: str) -> None:
    client = passing.client()
    (video,) = manifest(client, path).of("video")
    assert presentation_times(client, path, video, video.levels[0])
    client.close()


def test_files_that_exist_are_served_as_they_are(passing: Stack) -> None:
    client = passing.client()
    folder = passing.media / "dash"
    folder.mkdir()
    (folder / "closed-video=1-0.dash").write_bytes(b"a segment of old")
    url = "/closed.ism/dash/closed-video=1-0.dash"
    answer = client.get(url)
    assert (answer.status, answer.body) == (200, b"a segment of old")
    assert answer.headers["content-type"] == "video/mp4"
    assert client.request(url, headers={"Range": "bytes=2-8"}).body == b"segment"
    assert client.request(url, headers={"If-None-Match": answer.headers["etag"]}).status == 304

    made = client.get("/closed.ism/Manifest")
    assert made.headers["content-type"] == "application/vnd.ms-sstr+xml"
    assert b"StreamIndex" in made.body
    (passing.media / "other.ism").write_bytes((passing.media / "closed.ism").read_bytes())
    (passing.media / "closed.ismc").write_bytes(b"<SmoothStreamingMedia/>")
    static = client.get("/other.ism/Manifest")
    assert static.body == b"<SmoothStreamingMedia/>"
    (passing.media / "live.db3").write_bytes(b"an index")
    for name in ("closed.ism", "live.db3", "../closed.ism", "%2e%2e/live.db3"):
        assert client.request(f"/closed.ism/{name}").status in (400, 403, 404), name
    client.close()


# dash.js. What its clock shows is later by what moves all tracks: two pictures where they are
# reordered, else the priming of the sound.

PRESENTATIONS = {
    "/bframes_closed.mp4/Manifest": -2,
    "/two_audio.ism/Manifest?iss_client_manifest_version=22": -2,
    "/audio_delayed.mp4/Manifest": -2,
    "/frag_sidx.mp4/Manifest": -2,
    "/ladder.ism/Manifest": -2,
    # From 4 s on; dash.js counts from there.
    "/bframes_closed.mp4/Manifest?vbegin=4&vend=10": 98,
}


@pytest.fixture(scope="module")
def reports(stack: Stack) -> dict[str, dict[str, Any]]:
    """Every presentation as dash.js plays it, in one browser."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    jobs = [
        Job(player="smooth", url=stack.base + path, early="ladder" in path)
        for path in PRESENTATIONS
    ]
    return dict(zip(PRESENTATIONS, play(jobs), strict=True))


@pytest.fixture
def report(reports: dict[str, dict[str, Any]], path: str) -> dict[str, Any]:
    found = reports[path]
    assert not found["failed"], "\n".join(found["failed"])
    return found


@pytest.mark.browser
@pytest.mark.parametrize("path", PRESENTATIONS)
def test_dash_js_plays_seeks_and_ends(report: dict[str, Any], path: str) -> None:
    assert report["errors"] == []
    assert report["ended"]
    assert len(report["seeks"]) == 2
    for wanted, shown in report["seeks"]:
        assert wanted - 0.05 <= shown <= wanted + 1.5, "the picture after a seek"
    assert report["end"] == pytest.approx(report["duration"], abs=0.1)
    assert report["played"][-1][1] == pytest.approx(report["end"], abs=0.1)


@pytest.mark.browser
@pytest.mark.parametrize("path", PRESENTATIONS)
def test_the_picture_in_dash_js_is_that_of_the_media_time(
    report: dict[str, Any], path: str
) -> None:
    def late(time: float, number: int) -> float:
        """In frames: how much later the picture comes than its number says."""
        return time * FRAME_RATE - (number - PRESENTATIONS[path])

    for time, number in report["stills"]:
        assert 0 <= late(time, number) < 1, f"paused at {time}: picture {number}"
    assert {round(late(time, number)) for time, number in report["frames"]} == {0}
    assert_moves(report)


@pytest.mark.browser
@pytest.mark.parametrize("path", ["/two_audio.ism/Manifest?iss_client_manifest_version=22"])
def test_dash_js_switches_the_language(report: dict[str, Any], path: str) -> None:
    assert sorted(report["languages"]) == ["eng", "ger"]
    assert report["switches"]["audio"] >= 1


@pytest.mark.browser
@pytest.mark.parametrize("path", ["/ladder.ism/Manifest"])
def test_dash_js_switches_the_quality(report: dict[str, Any], path: str) -> None:
    assert sorted(report["sizes"]) == [90, 136, 180]
