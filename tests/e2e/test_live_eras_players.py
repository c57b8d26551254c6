"""An encoder is replaced by one with another resolution while players watch: they play on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.support.browser import LiveJob, missing, watch
from tests.support.live_encoder import CMAF, Ladder, ladder, push
from tests.support.live_players import hls
from tests.support.media import FRAME_RATE
from tests.support.stack import Stack, eventually, origin, start

# With the wait for the machine.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(840)]

SECONDS = 12
# Players begin when so many segments are listed, and the first encoder dies behind so many.
AT_HAND, BEFORE = 4, 6
# Of an encoder that begins later and says so.
GOES_ON = (*CMAF[:-1], f"{CMAF[-1]}+frag_discont")
PLAYERS = {
    "hls.js, transport streams": ("hls", ".m3u8"),
    "hls.js, fragmented MP4": ("hls", ".m3u8?hls_fmp4"),
    "dash.js": ("dash", ".mpd"),
    "shaka-player": ("shaka", ".mpd"),
}
# Where a discontinuity is, hls.js puts what is decoded first where what was presented last ends: a
# little later than it is.
NOTES = {"hls.js, fragmented MP4": "mediaError buffer"}
# In transport streams that is the sound from the begin on. In pictures.
LATE = {"hls.js, fragmented MP4": range(6), "hls.js, transport streams": range(2, 8)}


@pytest.fixture(scope="module")
def reports(
    tmp_path_factory: pytest.TempPathFactory, alone: Callable[[], AbstractContextManager[None]]
) -> dict[str, dict[str, Any]]:
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    source = ladder(SECONDS)
    other = ladder(SECONDS, high=(640, 360), low=(200, 112))
    media = tmp_path_factory.mktemp("live")
    made = origin("create", "-o", media / "ch.isml", "--archiving=true", "--dvr_window_length=60")
    assert made.returncode == 0, made.stderr
    stack = start(tmp_path_factory.mktemp("run"), media)
    try:
        with alone(), ThreadPoolExecutor() as executor:
            return _watched(stack, source, other, executor)
    finally:
        stack.stop()


def _watched(
    stack: Stack, source: Ladder, other: Ladder, executor: ThreadPoolExecutor
) -> dict[str, dict[str, Any]]:
    loaded, begin = threading.Event(), threading.Event()
    jobs = [
        LiveJob(player=player, url=f"{stack.base}/ch.isml/{path}", seconds=SECONDS)
        for player, path in PLAYERS.values()
    ]
    watched = executor.submit(watch, jobs, loaded, begin, timeout=SECONDS + 90)
    assert loaded.wait(60), "the browser has not begun"
    url = f"{stack.base}/ch.isml/Streams(main)"
    first = push(url, source, CMAF)
    client = stack.client()

    def listed() -> int:
        if client.request("/ch.isml/.m3u8").status != 200:
            return 0
        found = hls(lambda url: client.get(f"/ch.isml/{url}").body, "")
        return max(len(one.segments) for one in found)

    eventually(lambda: listed() >= AT_HAND, "segments to begin with")
    begin.set()
    eventually(lambda: listed() >= BEFORE, "segments before the change")
    first.kill()
    # It sends what was sent last once more, or a part of the sound would be missing.
    second = push(url, other, GOES_ON, begin=listed() - 1)
    second.finish(SECONDS + 30)
    client.close()
    return dict(zip(PLAYERS, watched.result(), strict=True))


@pytest.mark.parametrize("player", PLAYERS)
def test_plays_from_one_side_to_the_other(reports: dict[str, dict[str, Any]], player: str) -> None:
    report = reports[player]
    errors = [one for one in report["errors"] if not one.startswith(NOTES.get(player, "-"))]
    # It has loaded a segment in two qualities, and notes that this brought nothing new.
    assert [one for one in errors if "bufferAppendNoProgress" not in one] == []
    assert report["failed"] == []
    stalls = [one for one in report["stalls"] if one[1] < SECONDS - 0.5]
    # The one of hls.js is over when it has seen that there is a hole.
    assert [one for one in stalls if player not in NOTES or one[2] is None or one[2] > 2] == []
    assert report["played"][0][0] <= AT_HAND + 3
    assert report["played"][-1][1] >= SECONDS - 0.9
    assert len(report["played"]) <= 1 + (player in NOTES)
    late = {round(time * FRAME_RATE - number) for time, number in report["frames"]}
    assert late <= set(LATE.get(player, (0,)))
    assert any(number > (BEFORE + 1) * FRAME_RATE for _, number in report["frames"])
