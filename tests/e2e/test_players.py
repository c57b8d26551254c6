"""hls.js, dash.js and shaka-player in Chromium: play, seek, switch, end; show the right picture."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.browser import Job, assert_moves, missing, play
from tests.support.media import FRAME_RATE
from tests.support.stack import Stack

pytestmark = pytest.mark.browser

# The frame on screen at presentation time 0.
PRESENTATIONS = {
    "/bframes_closed.mp4": 0,
    "/bframes_open.mp4": 0,
    "/two_audio.ism": 0,
    "/trimmed.mp4": 50,
    "/audio_delayed.mp4": 0,
    "/frag_sidx.mp4": 0,
    "/frag_plain.mp4": -2,
    "/ladder.ism": 0,
}
# Chromium's decoder fails at the pictures that lead the sync sample of an open GOP after a seek,
# whoever packaged it: this one is played in one go.
WITHOUT_SEEKS = {"/bframes_open.mp4"}
# Short segments, so that several fit into the clip.
TRANSPORT = "/.m3u8?hls_minimum_fragment_length=48/25"
FMP4 = f"{TRANSPORT}&hls_fmp4"
PLAYERS = {"hls": FMP4, "dash": "/.mpd"}
# These play a few only. In transport streams one sound is within the variants, and that in another
# language beside them.
OTHERS = {
    "hls ts": TRANSPORT,
    "shaka dash": "/.mpd",
    "shaka fmp4": FMP4,
    "shaka ts": TRANSPORT,
}
CASES = [
    *((player, path) for player in PLAYERS for path in PRESENTATIONS),
    ("hls ts", "/bframes_closed.mp4"),
    *((player, path) for player in OTHERS for path in ("/two_audio.ism", "/ladder.ism")),
]


@pytest.fixture(scope="module")
def reports(stack: Stack) -> dict[tuple[str, str], dict[str, Any]]:
    """Every presentation played by every player, in one browser."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    jobs = [
        Job(
            player=player.partition(" ")[0],
            url=stack.base + path + (PLAYERS | OTHERS)[player],
            seeks=path not in WITHOUT_SEEKS,
        )
        for player, path in CASES
    ]
    return dict(zip(CASES, play(jobs, timeout=290), strict=True))


@pytest.fixture
def report(
    reports: dict[tuple[str, str], dict[str, Any]], player: str, path: str
) -> dict[str, Any]:
    found = reports[player, path]
    assert not found["failed"], "\n".join(found["failed"])
    return found


each = pytest.mark.parametrize(("player", "path"), CASES)


@each
def test_plays_seeks_and_ends_without_an_error(
    report: dict[str, Any], player: str, path: str
) -> None:
    errors = report["errors"]
    if (player, path) == ("hls ts", "/two_audio.ism"):
        # Leaving the sound that is within the variants, hls.js appends a segment again and notes
        # that this brought nothing new.
        errors = [one for one in errors if "bufferAppendNoProgress fatal=false" not in one]
    assert errors == []
    assert report["ended"]
    assert len(report["seeks"]) == (0 if path in WITHOUT_SEEKS else 2)
    for wanted, shown in report["seeks"]:
        assert wanted - 0.05 <= shown <= wanted + 1.5, "the picture after a seek"
    assert abs(report["end"] - report["duration"]) < 0.1
    # After the seek back to 1.3 s it went through to the end in one piece.
    assert report["played"][-1][0] <= 1.31
    assert report["played"][-1][1] == pytest.approx(report["end"], abs=0.1)


@each
def test_the_picture_is_that_of_the_media_time(
    report: dict[str, Any], player: str, path: str
) -> None:
    frames = report["frames"]
    # hls.js lets the first segment begin at 0; this video's first frame belongs at 0.08.
    moved = 0.08 if (player, path) == ("hls", "/frag_plain.mp4") else 0.0
    # hls.js and shaka-player take the first decoding time of transport streams for 0: two frames
    # before the picture's.
    moved = -0.08 if player.endswith("ts") else moved

    def late(time: float, number: int) -> float:
        """In frames: how much later the picture comes than its number says."""
        return (time + moved) * FRAME_RATE - (number - PRESENTATIONS[path])

    for time, number in report["stills"]:
        assert 0 <= late(time, number) < 1, f"paused at {time}: picture {number}"
    assert {round(late(time, number)) for time, number in frames} == {0}
    assert_moves(report)


@pytest.mark.parametrize("player", [*PLAYERS, *OTHERS])
@pytest.mark.parametrize("path", ["/two_audio.ism"])
def test_switches_the_audio_language(report: dict[str, Any], player: str, path: str) -> None:
    assert sorted(report["languages"]) == ["de", "en"]
    assert report["switches"]["audio"] >= 1


@pytest.mark.parametrize("player", [*PLAYERS, *OTHERS])
@pytest.mark.parametrize("path", ["/ladder.ism"])
def test_switches_between_renditions(report: dict[str, Any], player: str, path: str) -> None:
    assert sorted(report["levels"]) == [90, 136, 180]
    assert sorted(report["sizes"]) == [90, 136, 180]
