"""Requests for the segment that comes next: which are held, for how long, and what ends that."""

from __future__ import annotations

import asyncio
import os
import re
import urllib.parse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sidecar.clock import monotonic_ns
from sidecar.formats.directives import seconds
from sidecar.rpc import origin_pb2
from sidecar.service.edges import Edges, set_at
from sidecar.service.metrics import Metrics
from sidecar.service.observed import SLOW_SECONDS, ObservedServicer
from sidecar.service.presentations import PresentationCache
from sidecar.service.spool import Spool
from tests.support.license import licensed
from tests.support.live_media import SMOOTH, pushed
from tests.support.live_origin import NOW, SECOND, Origin, Reply, opened, pieces, without_end
from tests.support.live_players import FORMATS

EDGE = "origin_blocking_edge"
# Longer than anything takes here, and nothing waits for it in vain.
PATIENT = "60s"
# (format, query)
LISTINGS = {
    "transport streams": ("hls", ""),
    "fragmented MP4": ("hls", "hls_fmp4"),
    "DASH": ("dash", ""),
    "DASH numbers": ("dash", "mpd_segment_template=number"),
    "Smooth Streaming": ("smooth", ""),
}
KINDS = (*LISTINGS, "HDS")
# Of a segment: number or time, and what is around it.
NAMED = re.compile(r"(.*?)(\d+)(\.\w+|\)|)")


def at(seconds: float) -> int:
    return monotonic_ns() + int(seconds * SECOND)


@pytest.fixture
def stamp(tmp_path: Path) -> Path:
    path = tmp_path / "ch.db3-stamp"
    path.touch()
    return path


def change(stamp: Path) -> None:
    os.utime(stamp, ns=(0, set_at(stamp) + 1))


def test_all_who_wait_are_told_of_a_change(stamp: Path) -> None:
    async def run() -> None:
        edges = Edges()
        waiters = [
            asyncio.create_task(edges.changed(stamp, set_at(stamp), at(60))) for _ in range(20)
        ]
        await asyncio.sleep(0)
        assert len(edges) == 20
        change(stamp)
        assert await asyncio.gather(*waiters) == [True] * 20
        assert len(edges) == 0
        # And again, by a watch that has ended meanwhile or has not.
        again = asyncio.create_task(edges.changed(stamp, set_at(stamp), at(60)))
        await asyncio.sleep(0.05)
        assert not again.done()
        change(stamp)
        assert await again

    asyncio.run(run())


def test_what_changed_before_is_seen_at_once(stamp: Path) -> None:
    seen = set_at(stamp)
    change(stamp)
    assert asyncio.run(Edges().changed(stamp, seen, at(60)))


def test_at_the_limit_nothing_has_changed(stamp: Path) -> None:
    seen = set_at(stamp)
    assert not asyncio.run(Edges().changed(stamp, seen, at(0.03)))
    assert not asyncio.run(Edges().changed(stamp, seen, at(-1)))


def test_what_is_waited_for_is_no_work(stamp: Path) -> None:
    class Holding:
        async def Plan(self, request: object, context: object) -> origin_pb2.PlanReply:  # noqa: N802
            assert not await edges.changed(stamp, set_at(stamp), at(1.2 * SLOW_SECONDS))
            return origin_pb2.PlanReply(plan=origin_pb2.Plan(kind="hls.segment"))

    edges = Edges()
    metrics = Metrics("0", PresentationCache(1, ThreadPoolExecutor(1)), Spool(None, 0), licensed())
    observed = ObservedServicer(Holding(), licensed(), metrics, None)  # type: ignore[arg-type]
    with capture_logs() as logged:
        asyncio.run(observed.Plan(origin_pb2.PlanRequest(), None))
    assert [one["event"] for one in logged] == ["planned"]
    counted = metrics.registry.get_sample_value(
        "origin_sidecar_call_duration_seconds_sum", {"kind": "hls.segment"}
    )
    assert counted is not None and counted < SLOW_SECONDS


def test_who_goes_away_is_not_held(stamp: Path) -> None:
    async def run() -> None:
        edges = Edges()
        task = asyncio.create_task(edges.changed(stamp, set_at(stamp), at(60)))
        await asyncio.sleep(0)
        assert len(edges) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(edges) == 0

    asyncio.run(run())


def test_there_is_an_end_to_how_many_are_held(stamp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.service.edges._MOST", 3)

    async def run() -> None:
        edges = Edges()
        seen = set_at(stamp)
        held = [asyncio.create_task(edges.changed(stamp, seen, at(60))) for _ in range(3)]
        await asyncio.sleep(0)
        assert not await edges.changed(stamp, seen, at(60))
        change(stamp)
        assert await asyncio.gather(*held) == [True] * 3

    asyncio.run(run())


@pytest.mark.parametrize(
    ("text", "found"), [("500ms", 0.5), ("2s", 2.0), ("1", 1.0), ("off", 0.0), (None, 0.0)]
)
def test_times_are_those_of_nginx(text: str | None, found: float) -> None:
    assert seconds({} if text is None else {EDGE: (text,)}, EDGE) == found


@pytest.fixture
def point(tmp_path: Path) -> Origin:
    """A point with segments of a second, the first 8 of which have come."""
    with opened(tmp_path / "media", dvr_window_length=60) as opened_point:
        for now, piece in _pieces():
            if now <= 8:
                opened_point.push(piece, now=now)
        yield opened_point  # type: ignore[misc]


def _pieces() -> list[tuple[float, bytes]]:
    return pieces(without_end(pushed(SMOOTH)))


def _pushes(point: Origin) -> Callable[[], None]:
    """What pushes the second behind the first 8."""
    (*rest,) = ((now, piece) for now, piece in _pieces() if 8 < now <= 9.1)

    def push() -> None:
        for now, piece in rest:
            point.push(piece, now=now)

    return push


def following(point: Origin, kind: str, by: int = 1) -> str:
    """The virtual path of the segment that comes ``by`` behind the newest one."""
    if kind == "HDS":
        (stem,) = re.findall(r'<media\b[^>]* url="([^"]*)-"', point.get(".f4m").text)
        return f"{urllib.parse.unquote(stem)}-Seg1-Frag{8 + by}"
    of, query = LISTINGS[kind]
    tracks = FORMATS[of](lambda url: point.get(url).body, query)
    track = next(one for one in tracks if one.kind != "audio")
    before, newest = (NAMED.fullmatch(url.partition("?")[0]) for url in track.urls[-2:])
    assert before and newest
    step = int(newest[2]) - int(before[2])
    return urllib.parse.unquote(f"{newest[1]}{int(newest[2]) + by * step}{newest[3]}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_is_early_gets_the_segment(point: Origin, kind: str) -> None:
    early = following(point, kind)
    assert point.ask(early).result == "FMP4_FRAGMENT_NOT_AVAILABLE"
    held = point.ask_while(early, _pushes(point), **{EDGE: PATIENT})
    assert held.result == "FMP4_OK"
    assert held.body
    assert held.body == point.ask(early).body


def answered_at_once(point: Origin, url: str, **directives: str) -> Reply:
    def nobody() -> None:
        raise AssertionError("it is held")

    return point.ask_while(url, nobody, **directives)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_further_away_is_answered_at_once(point: Origin, kind: str) -> None:
    far = following(point, kind, 2)
    reply = answered_at_once(point, far, **{EDGE: PATIENT})
    assert reply.result == "FMP4_FRAGMENT_NOT_AVAILABLE"


@pytest.mark.parametrize(("early_ms", "held"), [(200, True), (700, False), (-300, True)])
def test_only_what_is_due_is_waited_for(
    point: Origin, early_ms: int, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The next one is there a second after the newest.
    now = NOW + 9 * SECOND - early_ms * 1_000_000
    monkeypatch.setattr("sidecar.service.servicer.now_ns", lambda: now)
    monkeypatch.setattr("sidecar.service.servicer.monotonic_ns", lambda: 0)
    # However long it takes to push something.
    monkeypatch.setattr("sidecar.service.edges.monotonic_ns", lambda: -60 * SECOND)
    early = following(point, "fragmented MP4")
    if held:
        reply = point.ask_while(early, _pushes(point), **{EDGE: "500ms"})
        assert reply.result == "FMP4_OK"
    else:
        reply = answered_at_once(point, early, **{EDGE: "500ms"})
        assert reply.result == "FMP4_FRAGMENT_NOT_AVAILABLE"


def test_a_segment_of_several_fragments_is_due_when_all_of_it_is(
    point: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.service.servicer.monotonic_ns", lambda: 0)
    monkeypatch.setattr("sidecar.service.edges.monotonic_ns", lambda: -60 * SECOND)
    early = following(point, "fragmented MP4").replace("-9.m4s", "-5.m4s")
    query = "hls_minimum_fragment_length=2"
    for second, held in ((9.3, False), (9.7, True)):
        now = NOW + int(second * SECOND)
        monkeypatch.setattr("sidecar.service.servicer.now_ns", lambda now=now: now)

        def come() -> None:
            assert held, "it is held"  # noqa: B023 - called within this turn
            for when, piece in _pieces():
                if 8 < when <= 10.1:
                    point.push(piece, now=when)

        reply = point.ask_while(early, come, query, **{EDGE: "500ms"})
        assert (reply.result == "FMP4_OK") == held


def test_other_changes_end_nothing(point: Origin) -> None:
    early = following(point, "fragmented MP4")
    (*rest,) = ((now, piece) for now, piece in _pieces() if 8 < now <= 9.1)

    def one_after_the_other() -> None:
        now, piece = rest.pop(0)
        point.push(piece, now=now)

    reply = point.ask_while(early, one_after_the_other, **{EDGE: PATIENT})
    assert reply.result == "FMP4_OK"
    assert not rest, "neither without sound nor without picture"


def test_nothing_is_waited_for_when_it_is_over(point: Origin) -> None:
    early = following(point, "fragmented MP4")
    point.point.stop(0)
    reply = answered_at_once(point, early, **{EDGE: PATIENT})
    assert reply.result == "FMP4_FRAGMENT_NOT_AVAILABLE"


def test_the_limit_is_kept(point: Origin) -> None:
    early = following(point, "fragmented MP4")
    waited = []
    reply = point.ask_while(early, lambda: waited.append(True), **{EDGE: "50ms"})
    assert reply.result == "FMP4_FRAGMENT_NOT_AVAILABLE"
    assert waited
