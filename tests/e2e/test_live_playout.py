"""Encoders push in real time, players watch at the same time: the whole stack, one push for all.

How long that lasts is ``ORIGIN_LIVE_SECONDS``: 37 unless said otherwise.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import LiveJob, missing, watch
from tests.support.frames import Frame, decode, dropped
from tests.support.http import Client
from tests.support.live_encoder import CMAF, SMOOTH, Ladder, ladder, push
from tests.support.live_players import FORMATS, Listing, dash, hls
from tests.support.media import FRAME_RATE
from tests.support.stack import Stack, eventually, origin, start

# With the wait for the machine.
pytestmark = pytest.mark.timeout(840)

SECONDS = int(os.environ.get("ORIGIN_LIVE_SECONDS", "37"))
# Each player plays so much of that without a stall, at the speed of life.
PLAYED = SECONDS - 6
# What two encoders post, of which either dies once, as Smooth Streaming; and what one posts.
POINTS = {"two": SMOOTH, "one": CMAF}
# Players go on to the end although the window moves.
WINDOW = 8
# Players begin when so many segments are listed: before that they have nothing to stay behind.
AT_HAND = 4
PLAYERS = {
    "hls.js, transport streams": ("hls", "two.isml/.m3u8"),
    "hls.js, fragmented MP4": ("hls", "one.isml/.m3u8?hls_fmp4"),
    "dash.js": ("dash", "one.isml/.mpd"),
    "dash.js, Smooth": ("smooth", "two.isml/Manifest"),
    "shaka-player": ("shaka", "two.isml/.mpd"),
}
# dash.js wants nothing to be in its buffer until there are four fragments of Smooth Streaming,
# which is told of them two later than others.
AFTER = {"dash.js, Smooth": 3.0}
START_OVER = ("hls", "hls_fmp4", "dash", "smooth")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What has happened. ``reports``: of browser players; ``read``: frames that ffmpeg decoded
    meanwhile, of (point, format); ``statistics``: of points, just before the end."""

    stack: Stack
    source: Ladder
    reports: dict[str, dict[str, Any]]
    read: dict[tuple[str, str], list[list[Frame]]]
    statistics: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def pushed(
    tmp_path_factory: pytest.TempPathFactory, alone: Callable[[], AbstractContextManager[None]]
) -> Iterator[Pushed]:
    source = ladder(SECONDS)
    media = tmp_path_factory.mktemp("live")
    for name in POINTS:
        path = media / f"{name}.isml"
        made = origin("create", "-o", path, "--archiving=true", f"--dvr_window_length={WINDOW}")
        assert made.returncode == 0, made.stderr
    stack = start(tmp_path_factory.mktemp("run"), media)
    try:
        with alone(), ThreadPoolExecutor() as executor:
            found = _push(stack, source, executor)
        yield found
    finally:
        stack.stop()


def _push(stack: Stack, source: Ladder, executor: ThreadPoolExecutor) -> Pushed:
    loaded, begin = threading.Event(), threading.Event()
    jobs = [
        LiveJob(
            player=player,
            url=f"{stack.base}/{path}",
            seconds=SECONDS,
            after=AFTER.get(name, 0),
        )
        for name, (player, path) in PLAYERS.items()
    ]
    watched: Future[list[dict[str, Any]]] | None = None
    if missing() is None:
        watched = executor.submit(watch, jobs, loaded, begin, timeout=SECONDS + 90)
        assert loaded.wait(60), "the browser has not begun"
    urls = {name: f"{stack.base}/{name}.isml/Streams(main)" for name in POINTS}
    first, second = (push(urls["two"], source, SMOOTH) for _ in range(2))
    alone = push(urls["one"], source, CMAF)
    client = stack.client()

    def listed(name: str) -> int:
        answer = client.request(f"/{name}.isml/.m3u8")
        if answer.status != 200:
            return 0
        return max(len(one.segments) for one in hls(_get(client, name), ""))

    eventually(lambda: all(listed(name) >= AT_HAND for name in POINTS), "segments to begin with")
    begin.set()
    # The first encoder dies, and is back three segments later, by the clock of the second one: what
    # is brought earlier would leave a hole, and later would be a stall. Then the second one dies.
    first.kill()
    before = listed("two")
    eventually(lambda: listed("two") > before, "the second encoder goes on")
    back, at = before + 3, time.monotonic() + 2
    # Later than the players: to begin is what takes most of a machine.
    readers = {
        (name, of): executor.submit(_read_live, f"{stack.base}/{name}.isml/{path}", of)
        for name in POINTS
        for of, path in (("hls", ".m3u8"), ("dash", ".mpd"))
    }
    time.sleep(max(0.0, at - time.monotonic()))
    first = push(urls["two"], source, SMOOTH, begin=back)
    eventually(lambda: _brought(client, "two") == 3, "the first encoder is back")
    second.kill()
    statistics = {}
    for encoder, name in ((first, "two"), (alone, "one")):
        encoder.finish(SECONDS + 30)
        # It does not wait until all that it has sent is taken in.
        eventually(lambda name=name: _has_ended(client, name), "the end of the stream")
        statistics[name] = _statistics(client, name)
    client.close()
    reports = watched.result() if watched else []
    return Pushed(
        stack=stack,
        source=source,
        reports=dict(zip(PLAYERS, reports, strict=bool(reports))),
        read={key: reader.result() for key, reader in readers.items()},
        statistics=statistics,
    )


def _read_live(url: str, of: str) -> list[list[Frame]]:
    if of == "hls":
        return decode(url, "0:v:0", "0:a:0", timeout=SECONDS + 60)
    # It does not see the end of a live MPD, and at the edge asks for it hundreds of times a second.
    return decode(
        url, "0:v:0", seconds=SECONDS - AT_HAND - 2, in_real_time=True, timeout=SECONDS + 60
    )


def _get(client: Client, name: str) -> Callable[[str], bytes]:
    return lambda url: client.get(f"/{name}.isml/{url}").body


def _statistics(client: Client, name: str) -> dict[str, Any]:
    wanted = {"Accept": "application/json"}
    answer = client.request(f"/{name}.isml/statistics", headers=wanted)
    found: dict[str, Any] = json.loads(answer.body)
    return found


def _has_ended(client: Client, name: str) -> bool:
    return any(one["state"] == "ended" for one in _statistics(client, name)["connections"])


def _brought(client: Client, name: str) -> int:
    """Encoders that have brought anything, if only what was there already."""
    connections = _statistics(client, name)["connections"]
    return sum(
        any(track["fragments"] + track["duplicates"] for track in one["tracks"])
        for one in connections
    )


@cache
def _sent(source: Ladder) -> dict[str, list[Frame]]:
    """What encoders send, decoded: the two pictures by their height, and the sound."""
    picture, sound = decode(str(source.high), "0:v:0", "0:a:0", ignore_edits=True)
    (small,) = decode(str(source.low), "0:v:0", ignore_edits=True)
    return {"high": picture, "low": small, "audio": sound}


def _which(source: Ladder, frames: list[Frame]) -> str:
    """Which of the things sent ``frames`` are of."""
    hashes = {frame.hash for frame in frames}
    return max(
        _sent(source),
        key=lambda one: len(hashes & {frame.hash for frame in _sent(source)[one]}),
    )


def _zero(report: dict[str, Any]) -> float:
    """When the player's time 0 is, seconds. dash.js counts Smooth Streaming from the first fragment
    that its manifest lists; after the first picture that is known."""
    if report["player"] != "smooth" or not report["frames"]:
        return 0
    time, number = report["frames"][0]
    return float(number / FRAME_RATE - time)


@pytest.mark.browser
@pytest.mark.parametrize("player", PLAYERS)
class TestPlayers:
    @pytest.fixture
    def report(self, pushed: Pushed, player: str) -> dict[str, Any]:
        reason = missing()
        if reason is not None:
            pytest.skip(reason)
        return pushed.reports[player]

    def test_plays_from_the_live_edge_to_the_end(self, report: dict[str, Any], player: str) -> None:
        # hls.js has loaded a segment in two qualities, and notes that this brought nothing new.
        errors = [one for one in report["errors"] if "bufferAppendNoProgress" not in one]
        assert errors == []
        # dash.js does not know how the end of Smooth Streaming is said, and waits there.
        waits = player == "dash.js, Smooth"
        stalls = [one for one in report["stalls"] if not waits or one[1] < SECONDS - 0.5]
        assert stalls == []
        ((begin, end),) = [[at + _zero(report) for at in played] for played in report["played"]]
        assert begin <= AT_HAND + 3 + AFTER.get(player, 0), "it begins near the edge of then"
        assert end - begin >= PLAYED
        assert 0.9 < (end - begin) / report["watched"] < 1.05, "as fast as it was sent"
        # The last picture is shown until then.
        assert report["ended"] != waits
        assert abs(end - SECONDS) < 0.2
        # Too early is no accident: players of Smooth Streaming ask again.
        failed = [one for one in report["failed"] if not one.startswith("412 ")]
        assert failed == []

    def test_the_picture_is_that_of_the_media_time(
        self, report: dict[str, Any], player: str
    ) -> None:
        # hls.js takes the first decoding time of transport streams for 0: two frames before the
        # picture's.
        early = 2 if player == "hls.js, transport streams" else 0
        late = {
            round((time + _zero(report)) * FRAME_RATE - number) for time, number in report["frames"]
        }
        assert late == {early}
        assert len({number for _, number in report["frames"]}) > 4


@pytest.mark.parametrize("of", ["hls", "dash"])
@pytest.mark.parametrize("name", POINTS)
def test_ffmpeg_reads_what_is_sent_meanwhile(pushed: Pushed, name: str, of: str) -> None:
    sent = _sent(pushed.source)
    found = set()
    for read in pushed.read[name, of]:
        # Told that a segment is not there yet, ffmpeg reads the one before in DASH once more.
        frames = list({frame.hash: frame for frame in read}.values())
        which = _which(pushed.source, frames)
        found.add(which)
        start, end = dropped(_from(sent[which], frames), frames)
        assert start <= 1
        # From DASH no more was wanted.
        assert end == 0 or of == "dash"
    assert len(found) == (2 if of == "hls" else 1)


def _from(sent: list[Frame], frames: list[Frame]) -> list[Frame]:
    """``sent`` from just before the first of ``frames`` on; which, of sound, is inexact."""
    hashes = [frame.hash for frame in sent]
    return sent[max(0, hashes.index(frames[1].hash) - 2) :]


@pytest.mark.parametrize("of", START_OVER)
@pytest.mark.parametrize("name", POINTS)
def test_start_over_is_what_encoders_have_sent(
    pushed: Pushed, name: str, of: str, tmp_path: Path
) -> None:
    client = pushed.stack.client()
    get = _get(client, name)
    listings, query = FORMATS[of.partition("_")[0]], "vbegin=0"
    query += {"hls": "&hls_fmp4=false", "hls_fmp4": "&hls_fmp4"}.get(of, "")
    inits = {one.name: one.init for one in dash(get)}
    sent = _sent(pushed.source)
    found = set()
    for one in listings(get, query):
        assert not one.live
        assert not any(segment.gap for segment in one.segments)
        init = one.init or (inits[one.name] if of == "smooth" else "")
        file = tmp_path / "served"
        file.write_bytes(b"".join(map(get, [*([init] if init else []), *one.urls])))
        for frames in decode(str(file), *_maps(one)):
            which = _which(pushed.source, frames)
            found.add(which)
            start, end = dropped(sent[which], frames)
            # Sound that is presented before 0.
            assert start <= (which == "audio" and name == "two")
            assert end == 0
    assert found == set(sent)


def _maps(one: Listing) -> tuple[str, ...]:
    return {"video": ("0:v:0",), "audio": ("0:a:0",), "muxed": ("0:v:0", "0:a:0")}[one.kind]


def test_either_encoder_may_die(pushed: Pushed) -> None:
    statistics = pushed.statistics["two"]
    for track in statistics["tracks"]:
        assert track["gaps"] == 0
        assert track["fragments"] == SECONDS
        assert track["duplicates"] > 0
    states = [one["state"] for one in statistics["connections"]]
    assert sorted(states) == ["broken", "broken", "ended"]


@pytest.mark.parametrize("name", POINTS)
def test_what_is_over_is_written_as_what_is_stored(pushed: Pushed, name: str) -> None:
    client = pushed.stack.client()
    for listings in FORMATS.values():
        for one in listings(_get(client, name), ""):
            assert not one.live
            # Three stay before the window; sound has its rest in a segment of its own.
            count = min(SECONDS, WINDOW + 3)
            assert count <= len(one.segments) <= count + 1
    for manifest in (".m3u8", ".mpd", "Manifest"):
        assert "cache-control" not in client.get(f"/{name}.isml/{manifest}").headers
