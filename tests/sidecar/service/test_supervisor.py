"""The sidecar as processes: sockets, restarts, one owner, and nobody left behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sidecar.rpc import origin_pb2, origin_pb2_grpc
from sidecar.service import supervisor
from sidecar.service.notify import Notifier

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 60.0


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


class Serve:
    """A running ``origin serve``."""

    def __init__(self, sockets: Path, workers: int) -> None:
        self.sockets = sockets
        self.workers = workers
        self.log = sockets.parent / f"{sockets.name}.log"
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "sidecar", "serve", "--sockets", str(sockets)),
                    *("--workers", str(workers), "--grace", "5", "--log-format", "json"),
                ],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stderr=output,
                env={**os.environ, "UspLicenseKey": "license/license.key"},
            )

    def socket(self, number: int) -> Path:
        return self.sockets / f"sidecar-{number}.sock"

    def children(self) -> list[int]:
        pid = self.process.pid
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]

    def answers(self, number: int) -> bool:
        """Whether worker ``number`` says that it is healthy."""
        with grpc.insecure_channel(f"unix:{self.socket(number)}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                reply = stub.Check(
                    health_pb2.HealthCheckRequest(service="origin.v1.Origin"), timeout=20
                )
            except grpc.RpcError:
                return False
            return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    def wait(self) -> None:
        for number in range(self.workers):
            eventually(lambda n=number: self.answers(n), self.log.read_text())  # type: ignore[misc]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Serve]]:
    running: list[Serve] = []

    def start(workers: int = 1, name: str = "sockets") -> Serve:
        running.append(Serve(tmp_path / name, workers))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.process.terminate()
            one.process.wait(PATIENCE)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_each_process_has_its_private_socket(serve: Callable[..., Serve]) -> None:
    running = serve(2)
    running.wait()
    assert len(running.children()) == 2
    assert stat.S_IMODE(running.sockets.stat().st_mode) & 0o027 == 0
    for number in range(2):
        status = running.socket(number).stat()
        assert stat.S_ISSOCK(status.st_mode)
        assert stat.S_IMODE(status.st_mode) == 0o660


def test_a_stop_ends_everything_and_removes_the_sockets(serve: Callable[..., Serve]) -> None:
    running = serve(2)
    running.wait()
    children = running.children()
    running.process.terminate()
    assert running.process.wait(PATIENCE) == 0
    assert not any(map(alive, children))
    assert list(running.sockets.glob("*.sock")) == []


def test_a_dead_process_is_replaced(serve: Callable[..., Serve]) -> None:
    running = serve(2)
    running.wait()
    before = running.children()
    os.kill(before[0], signal.SIGKILL)
    eventually(
        lambda: len(running.children()) == 2 and before[0] not in running.children(),
        "no successor",
    )
    running.wait()
    assert before[1] in running.children(), "the other one goes on"
    assert "a sidecar process died" in running.log.read_text()


def test_workers_do_not_outlive_a_killed_supervisor(serve: Callable[..., Serve]) -> None:
    running = serve(2)
    running.wait()
    children = running.children()
    running.process.kill()
    running.process.wait(PATIENCE)
    eventually(lambda: not any(map(alive, children)), "workers are left")
    # and what they left does not stop the next one
    again = serve(2)
    again.wait()


def test_one_directory_has_one_owner(serve: Callable[..., Serve]) -> None:
    running = serve(1)
    running.wait()
    second = serve(1)
    assert second.process.wait(PATIENCE) == 1
    assert "another sidecar serves" in running.log.read_text()
    assert running.answers(0)


def test_a_stale_socket_is_replaced(serve: Callable[..., Serve], tmp_path: Path) -> None:
    (tmp_path / "sockets").mkdir()
    (tmp_path / "sockets" / "sidecar-0.sock").write_text("")
    serve(1).wait()


def test_paths_longer_than_a_socket_address(serve: Callable[..., Serve]) -> None:
    running = serve(1, name="n" * 120)
    eventually(lambda: running.socket(0).exists(), "no socket")
    assert len(str(running.socket(0))) > 108


def test_reflection_and_the_origin_itself(serve: Callable[..., Serve], tmp_path: Path) -> None:
    running = serve(1)
    running.wait()
    with grpc.insecure_channel(f"unix:{running.socket(0)}") as channel:
        reply = origin_pb2_grpc.OriginStub(channel).Plan(
            origin_pb2.PlanRequest(
                document_root=str(tmp_path),
                path="/absent.ism",
                virtual_path=".m3u8",
                method="GET",
                request_id="r-1",
            ),
            timeout=60,
        )
    assert reply.plan.result == origin_pb2.FMP4_NOT_FOUND
    assert reply.plan.status == 404
    assert '"request_id": "r-1"' in running.log.read_text()


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A process as the watchdog sees it."""

    serves: bool = True
    is_well: bool = True


@pytest.mark.parametrize(
    ("children", "well"),
    [
        ([Seen(), Seen()], True),
        ([Seen(), Seen(is_well=False)], False),  # one hangs
        ([Seen(), Seen(serves=False, is_well=False)], True),  # one is being replaced
        ([Seen(serves=False, is_well=False)], False),  # nobody answers
    ],
)
def test_the_watchdog_hears_of_us_while_calls_are_answered(
    tmp_path: Path, children: list[Seen], well: bool
) -> None:
    settings = supervisor.SupervisorSettings(
        sockets=tmp_path, workers=1, index_budget=1, issuers=()
    )
    watched = supervisor.Supervisor(settings, tmp_path, Notifier())
    watched._children = children  # type: ignore[assignment]
    assert watched._is_well() is well
