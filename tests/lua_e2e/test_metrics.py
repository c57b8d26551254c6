"""What nginx counts, and how it tells of itself and of the sidecar."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from sidecar.rpc import origin_pb2 as pb
from tests.support.fake_sidecar import FakeStack, fake_stack, inline, ranges, refusal
from tests.support.prometheus import Scrape
from tests.support.stack import eventually

BOUNDS = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeStack]:
    """Of its own: other modules would be counted too. Its access log is of JSON."""

    def edit(text: str) -> str:
        text, count = re.subn(r"(access_log logs/access\.log) origin\b", r"\1 origin_json", text)
        assert count == 1
        return text

    with fake_stack(tmp_path_factory.mktemp("metrics"), workers=2, edit=edit) as running:
        (running.media / "a.bin").write_bytes(b"x" * 5000)
        yield running


def answer(stack: FakeStack, plan: pb.Plan) -> None:
    stack.sidecar.answer = lambda request, context: pb.PlanReply(plan=plan)


def settled(stack: FakeStack, name: str, count: float, **labels: str) -> Scrape:
    """The metrics once all workers have added up so many of ``name``."""
    found = Scrape(stack.admin)

    def arrived() -> bool:
        nonlocal found
        found = Scrape(stack.admin)
        return found(name, **labels) >= count

    with contextlib.suppress(AssertionError):
        eventually(arrived, name)
    assert found(name, **labels) == count, found.text
    return found


def test_requests_of_all_workers_are_counted(stack: FakeStack) -> None:
    answer(stack, inline(b"x" * 1000, kind="hls.media_playlist"))
    for number in range(40):
        with contextlib.closing(stack.client()) as client:  # some worker's
            assert client.request(f"/a.ism/{number}.m3u8").status == 200
    found = settled(
        stack, "origin_requests_total",
        40, kind="hls.media_playlist", result="FMP4_OK", status="200",
    )  # fmt: skip
    assert 40_000 < found("origin_sent_bytes_total", kind="hls.media_playlist") < 80_000
    duration = "origin_request_duration_seconds"
    assert found(f"{duration}_count", kind="hls.media_playlist") == 40
    counts = [
        found(f"{duration}_bucket", kind="hls.media_playlist", le=le) for le in (*BOUNDS, "+Inf")
    ]
    assert counts == sorted(counts) and counts[-1] == 40
    assert found.labels(f"{duration}_bucket", "le") == {*BOUNDS, "+Inf"}
    assert 0 < found(f"{duration}_sum", kind="hls.media_playlist") < 40


def test_results_statuses_and_kinds(stack: FakeStack) -> None:
    client = stack.client()
    refused = refusal(pb.FMP4_FRAGMENT_MISSING, 412, "No.")
    refused.kind = "smooth.fragment"
    answer(stack, refused)
    assert client.request("/a.ism/QualityLevels(1)/Fragments(v=1)").status == 412
    answer(stack, inline(b"x", kind='odd"kind'))
    client.request("/a.ism/odd.mpd")
    client.request("/a.ism/odd.mpd", method="OPTIONS")
    client.request("/a.ism/odd.mpd", method="DELETE")
    client.request("/none.html")
    client.request("/.git/config")
    found = settled(stack, "origin_requests_total", 1, kind="smooth.fragment")
    requests = "origin_requests_total"
    assert found(requests, result="FMP4_FRAGMENT_MISSING", status="412") == 1
    assert found(requests, kind="other", result="FMP4_OK", status="200") == 1
    assert found(requests, kind="other", result="FMP4_OK", status="204") == 1
    assert found(requests, kind="other", result="FMP4_METHOD_NOT_ALLOWED", status="405") == 1
    assert found(requests, kind="static", result="-", status="404") >= 2
    assert "odd" not in found.text


def test_what_no_request_was(stack: FakeStack) -> None:
    """Clients that send no HTTP, or nothing."""
    before = Scrape(stack.admin)("origin_requests_total", kind="static", status="400")
    with contextlib.closing(stack.client()) as client:
        assert client.request("/ a b").status == 400
    settled(stack, "origin_requests_total", before + 1, kind="static", status="400")


def test_where_plans_come_from_and_bodies(stack: FakeStack) -> None:
    answer(
        stack,
        ranges(
            stack.media / "a.bin", [(number * 100, 50) for number in range(40)], kind="hls.init"
        ),
    )
    client = stack.client()  # one worker's
    before = Scrape(stack.admin)
    for _ in range(5):
        assert client.request("/bodies.ism/hls/a-v=1.m4s").status == 200
    for source, count in (("sidecar", 1), ("hit", 4)):
        settled(
            stack, "origin_plans_total",
            before("origin_plans_total", source=source) + count, source=source,
        )  # fmt: skip
    found = Scrape(stack.admin)
    for memory, count in (("miss", 2), ("hit", 3)):
        was = before("origin_bodies_total", memory=memory)
        assert found("origin_bodies_total", memory=memory) - was == count
    waited = "origin_plan_wait_seconds_count"
    assert found(waited, source="sidecar") - before(waited, source="sidecar") == 1


def test_the_access_log_of_json(stack: FakeStack) -> None:
    answer(stack, inline(b"12345", kind="dash.init"))
    agent = 'a "quoted" \\ one'
    stack.client().request('/j%22.ism/x.mpd?q="', headers={"User-Agent": agent})
    (line,) = stack.access_log("j%22")
    fields = json.loads(line)
    assert re.fullmatch(r"[\dT:+-]{25}", fields.pop("time"))
    assert re.fullmatch(r"[0-9a-f]{32}", fields.pop("request_id"))
    assert 0 <= fields.pop("seconds") < 60
    assert fields == {
        "client": "127.0.0.1",
        "request": 'GET /j%22.ism/x.mpd?q=" HTTP/1.1',
        "status": 200,
        "bytes": 5,
        "result": "FMP4_OK",
        "plan": "sidecar",
        "parts": "1",
        "asset": '/j".ism',
        "range": "",
        "agent": agent,
    }


def test_calls_by_outcome(stack: FakeStack) -> None:
    before = Scrape(stack.admin)

    def fail(request: pb.PlanRequest, context: grpc.ServicerContext) -> pb.PlanReply:
        context.abort(grpc.StatusCode.INTERNAL, "no")
        raise AssertionError

    stack.sidecar.answer = fail
    client = stack.client()
    assert client.request("/fault.ism/.mpd").status == 500
    calls = "origin_calls_total"
    found = settled(stack, calls, before(calls, outcome="fault") + 1, outcome="fault")
    took = "origin_call_duration_seconds_count"
    assert found(took, outcome="fault") == found(calls, outcome="fault")
    assert found(took, outcome="ok") == found(calls, outcome="ok") > 0


def test_gauges(stack: FakeStack) -> None:
    found = Scrape(stack.admin)
    assert found("origin_workers") == 2
    assert found("origin_connections", state="active") >= 1
    assert found("origin_dictionary_bytes", dictionary="origin_plans") == 64 << 20
    assert 0 < found("origin_dictionary_free_bytes", dictionary="origin_metrics") < 1 << 20


def test_a_reload_forgets_nothing(stack: FakeStack) -> None:
    answer(stack, inline(b"x", kind="dash.mpd"))
    for _ in range(3):
        stack.client().request("/reload.ism/.mpd")
    # Workers add up what they have counted when they end.
    old = stack.workers
    os.kill(stack.process.pid, signal.SIGHUP)
    eventually(lambda: not set(old) & set(stack.workers), "new workers")
    settled(stack, "origin_requests_total", 3, kind="dash.mpd")


def test_processes_of_the_sidecar_are_told_apart(stack: FakeStack) -> None:
    head = "# HELP origin_sidecar_calls_total Calls.\n# TYPE origin_sidecar_calls_total counter\n"
    stack.sidecar.metrics = pb.MetricsReply(
        families=[
            pb.MetricFamily(
                name="origin_sidecar_calls_total",
                head=head,
                samples='origin_sidecar_calls_total{worker="0",kind="a"} 4\n',
            )
        ]
    )
    # One that has died leaves its socket behind.
    dead = stack.sidecar.socket.with_name("sidecar-1.sock")
    with _bound(dead):
        found = Scrape(stack.admin)
    assert found("origin_sidecar_up", worker="0") == 1
    assert found("origin_sidecar_up", worker="1") == 0
    assert found.labels("origin_sidecar_up", "worker") == {"0", "1"}
    assert found("origin_sidecar_calls_total", worker="0", kind="a") == 4
    assert not [line for line in stack.complaints() if "sidecar-1.sock" in line]


def test_metrics_without_a_sidecar(stack: FakeStack) -> None:
    stack.sidecar.stop()
    try:
        found = Scrape(stack.admin)
        assert "origin_sidecar_up{" not in found.text
        assert "origin_sidecar_calls_total" not in found.types
        assert found("origin_requests_total") > 0
        response = stack.admin.request("/readyz")
        assert (response.status, response.text) == (
            503,
            "not ready: the sidecar cannot be reached\n",
        )
        assert stack.admin.request("/healthz").status == 200
    finally:
        stack.sidecar.start()


def test_ready(stack: FakeStack) -> None:
    response = stack.admin.request("/readyz")
    assert (response.status, response.text) == (200, "ready\nsidecar 0: serves\n")
    assert response.headers["cache-control"] == "no-store"
    with _bound(stack.sidecar.socket.with_name("sidecar-1.sock")):
        response = stack.admin.request("/readyz")
    assert response.status == 200, "the other one takes its share"
    assert response.text.splitlines()[:2] == ["ready", "sidecar 0: serves"]
    assert response.text.splitlines()[2].startswith("sidecar 1: does not answer (")


def test_not_ready_without_a_license(stack: FakeStack) -> None:
    stack.sidecar.ready = pb.ReadyReply(
        result=pb.FMP4_NO_LICENSE, sentence="streaming needs a license key: it has expired"
    )
    try:
        response = stack.admin.request("/readyz")
    finally:
        stack.sidecar.ready = pb.ReadyReply()
    assert response.status == 503
    assert response.text.splitlines() == [
        "not ready: FMP4_NO_LICENSE: streaming needs a license key: it has expired",
        "sidecar 0: streaming needs a license key: it has expired",
    ]


def test_not_ready_when_no_process_answers(stack: FakeStack) -> None:
    stack.sidecar.stop()
    try:
        with _bound(stack.sidecar.socket):
            response = stack.admin.request("/readyz")
    finally:
        stack.sidecar.start()
    assert response.status == 503
    assert response.text.startswith("not ready: no sidecar process answers\nsidecar 0: does not")


def test_alive(stack: FakeStack) -> None:
    response = stack.admin.request("/healthz")
    assert (response.status, response.text) == (200, "alive\n")
    assert stack.admin.request("/").status == 404
    assert stack.client().request("/metrics").status == 404, "not where clients are served"


@contextlib.contextmanager
def _bound(path: Path) -> Iterator[None]:
    """A socket that nobody listens on: its process has been killed."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
