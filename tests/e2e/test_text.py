"""Text files beside a video: what ffmpeg reads of them, and what browser players show, and when."""

from __future__ import annotations

import html
import math
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import TextJob, missing, show
from tests.support.hls import read_master, read_media
from tests.support.http import Client
from tests.support.media import FRAME_RATE
from tests.support.stack import Stack
from tests.support.subtitles import SUBTITLES, TEXTS, place_texts

PATH = "/texts.ism"
# A delay of two pictures: where they are reordered, transport streams and Smooth Streaming begin
# with the decoding of the first; its presentation, and all text, is that much later.
REORDERED = 2 / FRAME_RATE
CUE = re.compile(r"(\d+):(\d\d):(\d\d),(\d{3}) --> (\d+):(\d\d):(\d\d),(\d{3})\n((?:.+\n)+)")


@pytest.fixture(scope="module", autouse=True)
def texts(stack: Stack) -> None:
    place_texts(stack.media)


def srt(*arguments: str) -> list[tuple[int, int, str]]:
    """(begin ms, end ms, text) of what ffmpeg reads of an input."""
    run = subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-copyts", *arguments, "-f", "srt", "-"],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = []
    for match in CUE.finditer(run.stdout):
        begin, end = (
            ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(rest)
            for hours, minutes, seconds, rest in (match.groups()[:4], match.groups()[4:8])
        )
        found.append((begin, end, match[9].rstrip("\n")))
    return found


def wanted(slanted: str = "<i>{}</i>") -> list[tuple[int, int, str]]:
    return [
        (
            one.begin,
            one.end,
            "\n".join(
                slanted.format(line) if one.slanted and not at else line
                for at, line in enumerate(one.lines)
            ),
        )
        for one in SUBTITLES
    ]


# Style sheets end what ffmpeg 5 reads of WebVTT, so the text whose source is WebVTT is not here.
@pytest.mark.parametrize("name", ["textstream_deu", "textstream_fra"])
@pytest.mark.parametrize("query", ["", "?hls_fmp4"])
def test_ffmpeg_reads_the_playlists(stack: Stack, name: str, query: str) -> None:
    url = f"{stack.base}{PATH}/texts-{name}=1000.m3u8{query}"
    assert srt("-extension_picky", "0", "-i", url) == wanted()


def test_ffmpeg_reads_the_sidecar_of_the_mpd(stack: Stack) -> None:
    url = f"{stack.base}{PATH}/.mpd?mpd_sidecar_webvtt"
    streams = subprocess.run(
        ["ffprobe", "-v", "error", "-of", "csv=p=0", "-select_streams", "s",
         "-show_entries", "stream=index:stream_tags=language", url],
        capture_output=True, text=True, timeout=180, check=True,
    ).stdout.split()  # fmt: skip
    index = next(line.split(",")[0] for line in streams if line.endswith(",de"))
    assert srt("-i", url, "-map", f"0:{index}") == wanted()


@pytest.mark.parametrize("query", ["", "?hls_fmp4"])
def test_subtitles_of_the_master_playlist(stack: Stack, client: Client, query: str) -> None:
    url = f"{stack.base}{PATH}/.m3u8{query}"
    master = read_master(client.get(f"{PATH}/.m3u8{query}").body.decode(), url)
    group = [one for one in master.media if one["TYPE"] == "SUBTITLES"]
    said = [(one["LANGUAGE"], one["NAME"], one.get("DEFAULT"), one.get("FORCED")) for one in group]
    assert said == [
        ("en", "English", "YES", None),
        ("de", "German (captions)", None, None),
        ("fr", "French (forced)", None, "YES"),
    ]
    assert "transcribes-spoken-dialog" in group[1]["CHARACTERISTICS"]
    assert {one["SUBTITLES"] for one in master.variants} == {group[0]["GROUP-ID"]}
    for one in group:
        path = one["URI"].removeprefix(stack.base)
        media = read_media(client.get(path).body.decode(), one["URI"])
        assert [float(segment.duration) for segment in media.segments] == [4, 4, 2]
        for segment in media.segments:
            answer = client.get(segment.url.removeprefix(stack.base))
            assert answer.status == 200
            assert answer.headers["content-type"] == "text/vtt; charset=utf-8"
            body = answer.body.decode()
            mpegts = 0 if query else 900_000
            assert body.startswith(
                f"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{mpegts},LOCAL:00:00:00.000\n\n"
            )


JOBS = {
    "hls ts webvtt": ("hls", "/.m3u8", "en", ""),
    "hls ts ttml": ("hls", "/.m3u8", "fr", ""),
    "hls fmp4 srt": ("hls", "/.m3u8?hls_fmp4", "de", ""),
    "dash wvtt": ("dash", "/.mpd", "en", "wvtt"),
    "dash stpp": ("dash", "/.mpd", "fr", "stpp"),
    "smooth ttml": ("smooth", "/Manifest", "fra", ""),
    "smooth webvtt": ("smooth", "/Manifest", "eng", ""),
}


# Just before and after each change, well inside of a picture: some change in the middle of one.
# Time in seconds, what is shown.
LOOKS = [
    look
    for one in SUBTITLES
    for at, before, after in (
        (one.begin / 1000, "", "".join(one.lines)),
        (one.end / 1000, "".join(one.lines), ""),
    )
    for look in ((at - 0.25 / FRAME_RATE, before), (at + 0.25 / FRAME_RATE, after))
]


def moved(name: str) -> float:
    return REORDERED if name.startswith(("hls ts", "smooth")) else 0.0


def plain(text: str) -> str:
    """The characters of a cue, as WebVTT and TTML have them in common."""
    return re.sub(r"<[^>]+>|\s", "", html.unescape(re.sub(r"</?i>", "", text)))


@pytest.fixture(scope="module")
def reports(stack: Stack, texts: None) -> dict[str, dict[str, Any]]:
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    jobs = [
        TextJob(
            player=player,
            url=stack.base + PATH + path,
            language=language,
            codec=codec,
            count=len(SUBTITLES),
            looks=tuple((time + moved(name), bool(text)) for time, text in LOOKS),
        )
        for name, (player, path, language, codec) in JOBS.items()
    ]
    return dict(zip(JOBS, show(jobs), strict=True))


@pytest.mark.browser
@pytest.mark.parametrize("name", JOBS)
def test_players_show_the_text_with_its_pictures(
    reports: dict[str, dict[str, Any]], name: str
) -> None:
    report = reports[name]
    assert not report["failed"], "\n".join(report["failed"])
    assert report["errors"] == []
    assert report["ended"]
    listed = [track["lang"] for track in report["tracks"]]
    assert len(set(listed)) == len(listed) == len(TEXTS), "each once: one entry of the menu each"
    late = moved(name)
    # Cues that segments have in common are there once, and whole.
    found = [(begin - late, end - late) for begin, end, _ in report["cues"]]
    assert found == [
        (pytest.approx(one.begin / 1000, abs=0.002), pytest.approx(one.end / 1000, abs=0.002))
        for one in SUBTITLES
    ]
    wanted = ["".join(one.lines).replace(" ", "") for one in SUBTITLES]
    assert [plain(text) for *_, text in report["cues"]] == wanted
    assert [plain(text) for text in report["entered"]] == wanted, "as it plays"
    assert [(number, plain(text)) for _, number, text in report["shown"]] == [
        (math.floor(time * FRAME_RATE), text.replace(" ", "")) for time, text in LOOKS
    ]


def test_a_text_file_that_is_replaced_is_read_anew(stack: Stack, client: Client) -> None:
    folder = Path(stack.media) / "replaced"
    folder.mkdir()
    place_texts(folder)
    path = "/replaced/texts.ism/texts-textstream_eng=1000-1.webvtt"
    before = client.get(path)
    (folder / "subs.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000\nnew\n")
    after = client.get(path)
    assert b"zwei" in before.body
    assert after.body.endswith(b"new\n\n")
    assert before.headers["etag"] != after.headers["etag"]
