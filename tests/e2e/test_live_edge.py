"""Players that come a moment too early wait for what the encoder is just sending."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import groupby

import pytest

from tests.support.http import Response
from tests.support.live_media import SMOOTH, pushed
from tests.support.live_origin import pieces, without_end
from tests.support.live_players import hls
from tests.support.prometheus import Scrape
from tests.support.stack import Stack, eventually, origin, start

# Seconds before a segment is sent.
EARLY = 0.2


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    media = tmp_path_factory.mktemp("media")
    running = start(tmp_path_factory.mktemp("run"), media, directives="origin_blocking_edge 2s;")
    try:
        yield running
    finally:
        running.stop()


class Channel:
    """A channel, and its encoder, which sends segments of a second, each with a request."""

    def __init__(self, stack: Stack, name: str) -> None:
        made = origin("create", "-o", stack.media / f"{name}.isml", "--dvr_window_length=60")
        assert made.returncode == 0, made.stderr
        self.path = f"/{name}.isml"
        self.client = stack.client()
        seconds = groupby(pieces(without_end(pushed(SMOOTH))), key=lambda one: one[0])
        self._bodies = [b"".join(piece for _, piece in group) for _, group in seconds]
        self.send(4)

    def send(self, count: int) -> None:
        """Sends so many more requests, the first of which is the header."""
        for body in self._bodies[:count]:
            answer = self.client.request(f"{self.path}/Streams(main)", method="POST", body=body)
            assert answer.status == 200, answer.text
        del self._bodies[:count]

    def next(self, by: int = 1) -> str:
        """The URL of the segment that comes ``by`` behind the newest one."""
        head, _, rest = self.listed()[-1].rpartition("-")
        number, dot, end = rest.partition(".")
        return f"{self.path}/{head}-{int(number) + by}{dot}{end}"

    def listed(self) -> list[str]:
        """The URLs of the segments of the picture."""
        (track,) = [one for one in hls(self._get, "hls_fmp4") if one.kind == "video"]
        return track.urls

    def _get(self, url: str) -> bytes:
        return self.client.get(f"{self.path}/{url}").body


@pytest.fixture
def channel(stack: Stack, request: pytest.FixtureRequest) -> Channel:
    return Channel(stack, request.node.name)


def is_held(stack: Stack) -> bool:
    return Scrape(stack.admin)("origin_sidecar_calls_running") > 0


def at_once(stack: Stack, url: str, count: int, work: Callable[[], None]) -> list[Response]:
    """The answers to so many requests for ``url``; ``work`` is done while they are held."""
    clients = [stack.client() for _ in range(count)]
    try:
        for client in clients:
            client.send(url)
        work()
        return [client.receive() for client in clients]
    finally:
        for client in clients:
            client.close()


def test_a_request_that_is_early_gets_the_segment(stack: Stack, channel: Channel) -> None:
    def come() -> None:
        time.sleep(EARLY)
        assert is_held(stack)
        channel.send(1)

    url = channel.next()
    (answer,) = at_once(stack, url, 1, come)
    assert answer.status == 200
    assert answer.body == channel.client.get(url).body
    assert b"moof" in answer.body[:100]
    assert url.removeprefix(f"{channel.path}/") in channel.listed()


def test_what_is_further_away_is_answered_at_once(stack: Stack, channel: Channel) -> None:
    refused = []

    def ask() -> None:
        refused.append(channel.client.request(channel.next(2)))
        assert is_held(stack), "the other one goes on"
        channel.send(1)

    (answer,) = at_once(stack, channel.next(), 1, ask)
    assert [one.status for one in refused] == [404]
    assert answer.status == 200


def test_all_who_wait_cost_one_plan(stack: Stack, channel: Channel) -> None:
    def planned() -> float:
        return Scrape(stack.admin)("origin_sidecar_calls_total")

    url = channel.next()
    before = planned()

    def come() -> None:
        eventually(lambda: is_held(stack), "the first request is held")
        channel.send(1)

    answers = at_once(stack, url, 100, come)
    assert {one.status for one in answers} == {200}
    assert len({one.body for one in answers}) == 1
    assert planned() == before + 1


def test_at_the_limit_the_answer_is_the_usual_one(stack: Stack, channel: Channel) -> None:
    began = time.monotonic()
    answer = channel.client.request(channel.next())
    assert answer.status == 404
    assert time.monotonic() - began > 1.9
    eventually(lambda: not is_held(stack), "nothing is held any more")
