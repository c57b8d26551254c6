"""Which requests reach the sidecar, and which do not."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sidecar.rpc import origin_pb2 as pb
from tests.support.fake_sidecar import FakeStack, fake_stack, inline, ranges, refusal, source_of
from tests.support.http import Client
from tests.support.stack import eventually

# Sooner than waiting requests give up in Lua (25 s), with time for a loaded machine.
WAITED = 15.0
NAMES = (f"asset{number}" for number in itertools.count())


@pytest.fixture
def source(stack: FakeStack) -> Path:
    """A file that plans can depend on."""
    path = stack.media / f"{next(NAMES)}.mp4"
    path.write_bytes(os.urandom(200_000))
    return path


@pytest.fixture
def client(stack: FakeStack) -> Iterator[Client]:
    stack.sidecar.calls.clear()
    return stack.client()


def calls_for(stack: FakeStack, source: Path) -> list[pb.PlanRequest]:
    """What was asked about one file: another test's reading ahead may still go on."""
    return [call for call in list(stack.sidecar.calls) if call.path == f"/{source.name}"]


def test_the_request_says_everything(stack: FakeStack, client: Client) -> None:
    stack.sidecar.answer = lambda request, context: pb.PlanReply(plan=inline(b"x"))
    client.request(
        "/d%C3%A9/a%20b.ism/hls/x-video%3D1-7.m4s?z=1&mpd_segment_template=number&hls_fmp4"
    )
    (call,) = stack.sidecar.calls
    assert call.document_root == str(stack.root / "media")
    assert call.path == "/dé/a b.ism"
    assert call.virtual_path == "hls/x-video=1-7.m4s"
    assert call.args == "hls_fmp4&mpd_segment_template=number"
    assert call.method == "GET"
    assert len(call.request_id) == 32
    assert call.read_ahead == 8
    assert len(stack.access_log(call.request_id)) == 1


def test_no_header_of_the_client_reaches_the_sidecar(stack: FakeStack, client: Client) -> None:
    seen: dict[str, str] = {}

    def answer(request: pb.PlanRequest, context: Any) -> pb.PlanReply:
        seen.update(context.invocation_metadata())
        seen["deadline"] = str(context.time_remaining())
        return pb.PlanReply(plan=inline(b"x"))

    stack.sidecar.answer = answer
    hostile = {"grpc-timeout": "1n", "X-Origin-Asset": "/etc", "X-Evil": "1", "Cookie": "a=b"}
    assert client.request("/h.ism/.mpd", headers=hostile).status == 200
    assert "x-evil" not in seen
    assert "cookie" not in seen
    assert seen["x-origin-asset"] == f"{stack.root}/media/h.ism"
    assert 5 < float(seen["deadline"]) <= 10


def test_a_path_with_a_line_break_is_no_header(stack: FakeStack, client: Client) -> None:
    assert client.request("/a%0D%0AX-Y:%20z.ism/.mpd").status == 400
    assert not stack.sidecar.calls
    seen: dict[str, str] = {}

    def answer(request: pb.PlanRequest, context: Any) -> pb.PlanReply:
        seen.update(context.invocation_metadata())
        return pb.PlanReply(plan=inline(request.path.encode()))

    stack.sidecar.answer = answer
    assert client.request("/%C3%A9%25%22.ism/.mpd").text == '/é%".ism'
    assert seen["x-origin-asset"].endswith("/media/%C3%A9%25%22.ism")


def test_a_plan_is_kept_while_its_sources_hold(
    stack: FakeStack, client: Client, source: Path
) -> None:
    target = f"/{source.name}/.mpd"
    stack.sidecar.answer = lambda request, context: pb.PlanReply(
        plan=inline(b"%d" % len(stack.sidecar.calls), sources=[source_of(source)], cache_class=1)
    )
    assert [client.get(target).text for _ in range(3)] == ["1", "1", "1"]
    os.utime(source, ns=(0, source.stat().st_mtime_ns + 1))
    assert [client.get(target).text for _ in range(3)] == ["2", "2", "2"]
    copy = source.with_suffix(".new")
    copy.write_bytes(source.read_bytes())
    os.utime(copy, ns=(0, source.stat().st_mtime_ns))
    copy.rename(source)
    assert [client.get(target).text for _ in range(3)] == ["3", "3", "3"]
    assert client.get(target + "?session=2").text == "3"
    assert client.get(target + "?hls_fmp4").text == "4"


def test_a_plan_lives_as_long_as_it_says(stack: FakeStack, client: Client, source: Path) -> None:
    target = f"/{source.name}/live.mpd"
    asked: list[float] = []

    def answer(request: pb.PlanRequest, context: Any) -> pb.PlanReply:
        asked.append(time.monotonic())
        plan = inline(b"%d" % len(asked), sources=[source_of(source)], cache_class=1, ttl_ms=400)
        return pb.PlanReply(plan=plan)

    stack.sidecar.answer = answer
    eventually(lambda: client.get(target).text == "3", "the plan has ended twice")
    for before, after in itertools.pairwise(asked):
        assert after - before >= 0.39, "not sooner; nginx counts milliseconds"


def test_what_is_not_for_keeping_is_asked_for_again(stack: FakeStack, client: Client) -> None:
    stack.sidecar.answer = lambda request, context: pb.PlanReply(
        plan=refusal(pb.FMP4_NOT_FOUND, 404, "nothing")
    )
    for _ in range(3):
        assert client.request("/none.ism/.mpd").status == 404
    assert len(stack.sidecar.calls) == 3


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("which", ["stack", "workers"])
def test_concurrent_misses_make_one_call(
    which: str, kept: bool, request: pytest.FixtureRequest
) -> None:
    stack: FakeStack = request.getfixturevalue(which)
    path = stack.media / f"{next(NAMES)}.mp4"
    path.write_bytes(b"x")

    all_wait = threading.Event()

    def answer(request: pb.PlanRequest, context: Any) -> pb.PlanReply:
        all_wait.wait(60)
        if kept:
            return pb.PlanReply(plan=inline(b"ok", sources=[source_of(path)], cache_class=1))
        return pb.PlanReply(plan=refusal(pb.FMP4_NOT_FOUND, 404, "nothing"))

    stack.sidecar.answer = answer
    stack.sidecar.calls.clear()
    answers = stack.at_once([f"/{path.name}/.mpd"] * 40, all_wait)
    assert {one.status for one in answers} == {200 if kept else 404}
    assert len(stack.sidecar.calls) == 1


def test_concurrent_misses_share_a_failure(workers: FakeStack) -> None:
    all_wait = threading.Event()

    def answer(request: pb.PlanRequest, context: Any) -> pb.PlanReply:
        all_wait.wait(60)
        raise ValueError("a fault of the sidecar")

    workers.sidecar.answer = answer
    workers.sidecar.calls.clear()
    answers = workers.at_once(["/fault.ism/.mpd"] * 20, all_wait)
    failed = time.monotonic()
    assert {one.status for one in answers} == {500}
    assert len(workers.sidecar.calls) == 1
    assert time.monotonic() - failed < WAITED, "nobody waits for the end of a lock"


def test_a_waiter_goes_on_when_the_first_client_leaves(stack: FakeStack, source: Path) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def answer(request: pb.PlanRequest, context: Any) -> pb.PlanReply:
        arrived.set()
        go_on.wait(60)
        return pb.PlanReply(plan=inline(b"ok", sources=[source_of(source)], cache_class=1))

    stack.sidecar.answer = answer
    target = f"/{source.name}/.mpd"
    first = Client(stack.base)
    first.send(target)
    assert arrived.wait(60)
    first.close()
    (second,) = stack.at_once([target], go_on)
    assert (second.status, second.text) == (200, "ok")
    assert stack.sidecar.asked(".mpd") >= 1


@pytest.fixture(scope="module")
def blocking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeStack]:
    """A stack with two workers whose sidecar may hold requests for live segments."""
    given = "[[ usp_handle_ism on; ]]"
    with fake_stack(
        tmp_path_factory.mktemp("fake"),
        edit=lambda text: text.replace(
            given, "[[ usp_handle_ism on; origin_blocking_edge 500ms; ]]"
        ),
        workers=2,
    ) as running:
        yield running


def test_who_wait_for_one_segment_make_one_call_and_hold_nobody_else(blocking: FakeStack) -> None:
    path = blocking.media / "ch.isml"
    path.write_bytes(b"x")
    held, go_on = threading.Event(), threading.Event()

    def answer(request: pb.PlanRequest, context: Any) -> pb.PlanReply:
        if request.virtual_path.endswith("-8.m4s"):
            return pb.PlanReply(plan=refusal(pb.FMP4_FRAGMENT_NOT_AVAILABLE, 404, "not yet"))
        held.set()
        go_on.wait(60)
        return pb.PlanReply(plan=inline(b"seven", sources=[source_of(path)], cache_class=2))

    blocking.sidecar.answer = answer
    first = blocking.client()
    first.send("/ch.isml/hls/t=1-7.m4s")
    assert held.wait(60)
    # What is further away is answered meanwhile.
    assert blocking.client().request("/ch.isml/hls/t=1-8.m4s").status == 404
    assert not go_on.is_set()
    answers = blocking.at_once(["/ch.isml/hls/t=1-7.m4s"] * 100, go_on)
    assert {(one.status, one.text) for one in (*answers, first.receive())} == {(200, "seven")}
    assert blocking.sidecar.asked("hls/t=1-7.m4s") == 1
    (call,) = (one for one in blocking.sidecar.calls if one.virtual_path.endswith("-7.m4s"))
    assert [(one.name, list(one.args)) for one in call.directives if "edge" in one.name] == [
        ("origin_blocking_edge", ["500ms"])
    ]


class Track:
    """Segments track-1.m4s, track-2.m4s ... of a file, planned as a sidecar would."""

    def __init__(self, stack: FakeStack, source: Path, *, segments: int = 500) -> None:
        self.stack = stack
        self.source = source
        self.content = source.read_bytes()
        self.segments = segments

    def plan(self, number: int) -> pb.Plan:
        return ranges(
            self.source, [(number * 100, 60), (number * 100 + 70, 30)], head=b"moof%d" % number
        )

    def body(self, number: int) -> bytes:
        begin = number * 100
        return (
            b"moof%d" % number
            + self.content[begin : begin + 60]
            + self.content[begin + 70 : begin + 100]
        )

    def is_planned(self, number: int) -> bool:
        """Whether a call that plans that segment has arrived."""
        calls = calls_for(self.stack, self.source)
        return any(_number(call) <= number <= _number(call) + call.read_ahead for call in calls)

    def play(self, client: Client, numbers: range) -> None:
        """Gets segments one after the other, no faster than the calls that come before them."""
        for number in numbers:
            if number > numbers[0]:
                eventually(lambda n=number: self.is_planned(n), f"plan {number}")  # type: ignore[misc]
            assert client.get(self.target(number)).body == self.body(number)

    def __call__(self, request: pb.PlanRequest, context: Any) -> pb.PlanReply:
        number = _number(request)
        last = min(number + request.read_ahead, self.segments)
        return pb.PlanReply(
            plan=self.plan(number),
            ahead=[
                pb.AheadPlan(virtual_path=f"hls/t-{n}.m4s", plan=self.plan(n))
                for n in range(number + 1, last + 1)
            ],
        )

    def target(self, number: int) -> str:
        return f"/{self.source.name}/hls/t-{number}.m4s"


def _number(request: pb.PlanRequest) -> int:
    return int(request.virtual_path.rpartition("-")[2].partition(".")[0])


def test_a_sequential_client_waits_for_one_call_only(
    stack: FakeStack, client: Client, source: Path
) -> None:
    track = Track(stack, source)
    stack.sidecar.answer = track
    track.play(client, range(1, 201))
    calls = calls_for(stack, source)
    assert (calls[0].virtual_path, calls[0].read_ahead) == ("hls/t-1.m4s", 8)
    assert [call.read_ahead for call in calls[1:]] == [32] * (len(calls) - 1)
    # a few batches ahead, but each once
    assert len(calls) <= 1 + (200 + 5 * 32) // 32 + 1
    assert len({call.virtual_path for call in calls}) == len(calls)
    name = track.target(1)[:-6]
    eventually(lambda: len(stack.access_log(name)) >= 200, "the lines of all segments")
    waited = stack.access_log(name)[-200:]
    assert [line.split('"')[2].split()[-2] for line in waited].count("sidecar") == 1


def test_clients_side_by_side_share_the_calls(stack: FakeStack, source: Path) -> None:
    track = Track(stack, source)

    def answer(request: pb.PlanRequest, context: Any) -> pb.PlanReply:
        time.sleep(0.02)
        return track(request, context)

    stack.sidecar.answer = answer
    stack.sidecar.calls.clear()
    numbers = iter(range(1, 321))
    lock = threading.Lock()

    def walk() -> None:
        client = Client(stack.base)
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                break
            assert client.get(track.target(number)).body == track.body(number)
        client.close()

    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(walk) for _ in range(16)]:
            done.result(120)
    planned = sum(1 + call.read_ahead for call in calls_for(stack, source))
    assert planned <= 320 + 5 * 33 + 16 * 9


def test_nothing_is_read_ahead_of_a_single_segment(
    stack: FakeStack, client: Client, source: Path
) -> None:
    track = Track(stack, source)
    stack.sidecar.answer = track
    for number in (400, 100, 300, 200):
        assert client.get(track.target(number)).body == track.body(number)
    time.sleep(0.2)
    assert [call.read_ahead for call in calls_for(stack, source)] == [8] * 4


def test_a_player_has_one_batch_ahead_of_it(stack: FakeStack, client: Client, source: Path) -> None:
    """Who comes to a plan some time after it was made uses it at the pace of playing."""
    stack.sidecar.answer = Track(stack, source)
    for number in (1, 2, 3):
        client.get(f"/{source.name}/hls/t-{number}.m4s")
        time.sleep(0.2)
    eventually(lambda: len(calls_for(stack, source)) >= 2, "the batch ahead")
    assert [call.virtual_path for call in calls_for(stack, source)] == [
        "hls/t-1.m4s",
        "hls/t-9.m4s",
    ]


def test_plans_are_not_read_ahead_when_they_push_out_others(tmp_path: Path) -> None:
    def small(text: str) -> str:
        return text.replace("lua_shared_dict origin_plans 64m", "lua_shared_dict origin_plans 64k")

    with fake_stack(tmp_path, edit=small) as stack:
        path = stack.media / "full.mp4"
        path.write_bytes(os.urandom(100_000))
        track = Track(stack, path)

        def answer(request: pb.PlanRequest, context: Any) -> pb.PlanReply:
            reply = track(request, context)
            for plan in (reply.plan, *(ahead.plan for ahead in reply.ahead)):
                plan.headers.add(name="X-Pad", value="x" * 3000)
            return reply

        stack.sidecar.answer = answer
        client = stack.client()
        for number in range(1, 61):
            assert client.get(track.target(number)).body == track.body(number)
        planned = sum(1 + call.read_ahead for call in stack.sidecar.calls)
        assert planned < 60 * 9
        assert not stack.complaints()


def test_reading_ahead_stops_at_the_end(stack: FakeStack, client: Client, source: Path) -> None:
    track = Track(stack, source, segments=50)
    stack.sidecar.answer = track
    track.play(client, range(1, 51))
    time.sleep(0.2)
    assert len(calls_for(stack, source)) <= 4
    assert not stack.complaints()


def test_media_is_never_sent_from_a_file_that_was_replaced(
    stack: FakeStack, client: Client, source: Path
) -> None:
    track = Track(stack, source)
    stack.sidecar.answer = track
    for _ in range(4):
        assert client.get(track.target(1)).body == track.body(1)
    old = track.body(3)
    fresh = source.with_suffix(".new")
    fresh.write_bytes(os.urandom(200_000))
    fresh.rename(source)
    track.content = source.read_bytes()
    for number in (1, 2, 3, 3):
        assert client.get(track.target(number)).body == track.body(number)
    assert track.body(3) != old


def test_a_source_that_never_holds_still_is_refused(
    stack: FakeStack, client: Client, source: Path
) -> None:
    def answer(request: pb.PlanRequest, context: Any) -> pb.PlanReply:
        plan = ranges(source, [(0, 100)])
        os.utime(source, ns=(0, source.stat().st_mtime_ns + 1))
        return pb.PlanReply(plan=plan)

    stack.sidecar.answer = answer
    response = client.request(f"/{source.name}/hls/t-1.m4s")
    assert response.status == 503
    assert response.headers["retry-after"] == "1"
    assert str(source) not in response.text
    assert len(calls_for(stack, source)) == 3
    eventually(lambda: any(str(source) in line for line in stack.complaints()), "a log line")
    _forget_complaints(stack)


def _forget_complaints(stack: FakeStack) -> None:
    """What a test has provoked is not the next one's."""
    os.truncate(stack.root / "logs" / "error.log", 0)
