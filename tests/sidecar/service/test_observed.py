"""Calls are counted and told of; a process says what it has counted, and whether it would serve."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health
from structlog.testing import capture_logs

from sidecar.errors import Result
from sidecar.rpc import origin_pb2, origin_pb2_grpc
from sidecar.service import observed
from sidecar.service.licensing import DIRECTIVE
from sidecar.service.presentations import PresentationCache
from sidecar.service.server import make_server
from tests.support.license import DAY, issued, licensed
from tests.support.media import generated


@dataclass(kw_only=True)
class Process:
    """A server of this process. ``root``: its document root."""

    stub: Any
    health: health.aio.HealthServicer
    root: Path

    async def plan(self, virtual_path: str, path: str = "/clip.mp4", **fields: Any) -> Any:
        request = origin_pb2.PlanRequest(
            document_root=str(self.root), path=path, virtual_path=virtual_path,
            request_id="r1", method="GET", **fields,
        )  # fmt: skip
        return await self.stub.Plan(request, timeout=20)

    async def lines(self) -> list[str]:
        reply = await self.stub.Metrics(origin_pb2.MetricsRequest())
        return [line for family in reply.families for line in family.samples.splitlines()]

    async def ready(self, *key: str) -> tuple[str, str]:
        directives = [origin_pb2.Directive(name=DIRECTIVE, args=key)] if key else []
        reply = await self.stub.Ready(origin_pb2.ReadyRequest(directives=directives))
        return Result(reply.result).name, reply.sentence


@pytest.fixture
async def process(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Process]:
    shutil.copyfile(generated("bframes_closed.mp4"), tmp_path / "clip.mp4")
    with ThreadPoolExecutor(1) as executor:
        server, health_servicer = await make_server(
            PresentationCache(1 << 20, executor), licensed(), worker="5"
        )
        address = f"unix:{tmp_path_factory.mktemp('s')}/s"
        server.add_insecure_port(address)
        await server.start()
        async with grpc.aio.insecure_channel(address) as channel:
            stub = origin_pb2_grpc.OriginStub(channel)
            yield Process(stub=stub, health=health_servicer, root=tmp_path)
        await server.stop(None)


def of_calls(logged: list[Any]) -> list[Any]:
    return [event for event in logged if "request_id" in event]


async def test_each_call_is_counted_under_its_kind(process: Process) -> None:
    assert (await process.plan(".m3u8")).plan.kind == "hls.master"
    assert (await process.plan(".mpd")).plan.kind == "dash.mpd"
    assert (await process.plan("dash/no-v=1.dash")).plan.kind == "dash.init"
    assert (await process.plan("nothing")).plan.kind == ""
    assert (await process.plan(".mpd", "/none.ism")).plan.kind == "dash.mpd"
    lines = await process.lines()
    head = 'origin_sidecar_calls_total{worker="5",kind='
    assert {line for line in lines if line.startswith(head)} == {
        head + '"hls.master",result="FMP4_OK"} 1',
        head + '"dash.mpd",result="FMP4_OK"} 1',
        head + '"dash.mpd",result="FMP4_NOT_FOUND"} 1',
        head + '"dash.init",result="FMP4_NOT_FOUND"} 1',
        head + '"other",result="FMP4_NOT_FOUND"} 1',
    }
    assert 'origin_sidecar_calls_running{worker="5"} 0' in lines


async def test_plans_ahead_have_the_kind_of_their_row(process: Process) -> None:
    manifest = (await process.plan(".mpd")).plan
    text = manifest.parts[0].inline.decode()
    track = text.partition('<Representation id="')[2].partition('"')[0]
    reply = await process.plan(f"dash/clip-{track}-0.dash", read_ahead=4)
    assert reply.plan.result == 0 and reply.ahead
    assert {reply.plan.kind, *(one.plan.kind for one in reply.ahead)} == {"dash.segment"}
    lines = await process.lines()
    assert f'origin_sidecar_plans_ahead_total{{worker="5"}} {len(reply.ahead)}' in lines


async def test_one_line_for_a_call_that_failed(process: Process) -> None:
    (process.root / "bad.mp4").write_bytes(b"\0\0\0\x08ftyp" * 4)
    for path, virtual_path, event in (
        ("/clip.mp4", "nothing", "refused"),
        ("/none.ism", ".mpd", "refused"),
        ("/bad.mp4", ".mpd", "failed"),
    ):
        with capture_logs() as logged:
            assert (await process.plan(virtual_path, path)).plan.result != 0
        (line,) = logged
        assert line["event"] == event
        assert (line["request_id"], line["path"]) == ("r1", path)
        assert line["result"].startswith("FMP4_") and line["reason"]
        assert line.get("kind") == (None if virtual_path == "nothing" else "dash.mpd")


async def test_one_line_for_a_defect(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("sidecar.service.servicer.find", broken)
    with capture_logs() as logged:
        assert (await process.plan(".mpd")).plan.result == origin_pb2.FMP4_INTERNAL_ERROR
    (line,) = logged
    assert (line["event"], line["log_level"], line["request_id"]) == ("fault", "error", "r1")


async def test_a_slow_call_is_told_of_once(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observed, "SLOW_SECONDS", 0.0)
    with capture_logs() as logged:
        await process.plan(".mpd")
        await process.plan("nothing")
    first, second = of_calls(logged)
    assert (first["event"], first["log_level"]) == ("slow", "warning")
    assert first["kind"] == "dash.mpd" and first["result"] == "FMP4_OK" and first["parts"] == 1
    assert second["event"] == "refused", "failures have a line already"


async def test_other_calls_are_told_of_in_detail_only(process: Process) -> None:
    with capture_logs() as logged:
        await process.plan(".mpd")
    (line,) = of_calls(logged)
    assert (line["event"], line["log_level"]) == ("planned", "debug")


async def test_who_waits_no_longer_is_counted(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = asyncio.Event()

    async def never(*_: object, **how: object) -> None:
        began.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(PresentationCache, "get", never)
    call = asyncio.create_task(process.plan(".mpd"))
    await asyncio.wait_for(began.wait(), 20)
    assert 'origin_sidecar_calls_running{worker="5"} 1' in await process.lines()
    call.cancel()
    for _ in range(6000):
        lines = await process.lines()
        if 'origin_sidecar_calls_running{worker="5"} 0' in lines:
            break
        await asyncio.sleep(0.01)
    counted = 'origin_sidecar_calls_total{worker="5",kind="other",result="CANCELLED"} 1'
    assert counted in lines


async def test_ready_with_a_key(process: Process) -> None:
    assert await process.ready(issued()) == ("FMP4_OK", "")
    assert await process.ready() == ("FMP4_OK", ""), "the one of the environment"


async def test_not_ready_without_one(process: Process) -> None:
    result, sentence = await process.ready(issued(begins=-2 * DAY, ends=-DAY))
    assert result == "FMP4_NO_LICENSE" and sentence.startswith("streaming needs a license key: ")
    assert (await process.ready(issued("live")))[0] == "FMP4_NO_LICENSE"
    assert (await process.ready("nonsense"))[0] == "FMP4_NO_LICENSE"


async def test_not_ready_when_stopping(process: Process) -> None:
    await process.health.enter_graceful_shutdown()
    assert await process.ready(issued()) == ("FMP4_UNAVAILABLE", "the process is stopping")
