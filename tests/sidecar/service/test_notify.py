"""What the service manager hears: from the protocol alone, and from the real "origin serve"."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from sidecar.rpc import origin_pb2, origin_pb2_grpc
from sidecar.service.notify import Notifier

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 60.0


class Manager:
    """The socket of a service manager, which is read at once whatever the test does, and all that
    was said to it: one list of lines a message."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.heard: list[list[str]] = []
        self._read = 0
        self._news = threading.Condition()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while data := self._socket.recv(4096):
            with self._news:
                self.heard.append(data.decode().splitlines())
                self._news.notify()

    def next(self) -> list[str]:
        """The next message that was not read yet."""
        with self._news:
            there = self._news.wait_for(lambda: self._read < len(self.heard), PATIENCE)
            assert there, f"nothing more after {self.heard}"
            self._read += 1
            return self.heard[self._read - 1]

    def until(self, assignment: str) -> list[list[str]]:
        """The messages up to the one with ``assignment``."""
        found = [self.next()]
        while assignment not in found[-1]:
            found.append(self.next())
        return found

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.close()


@pytest.mark.parametrize("abstract", [False, True])
def test_a_message_is_lines_in_one_datagram(tmp_path: Path, abstract: bool) -> None:
    address = f"@openorigin-{os.getpid()}" if abstract else str(tmp_path / "notify")
    manager = Manager(address)
    environment = {"NOTIFY_SOCKET": address, "HOME": "/"}
    Notifier.from_environment(environment).send("READY=1", "STATUS=well")
    assert manager.next() == ["READY=1", "STATUS=well"]
    assert environment == {"HOME": "/"}, "not for the children"
    manager.close()


@pytest.mark.parametrize(
    ("given", "watchdog_ns"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30_000_000_000),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30_000_000_000),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "often"}, None),
    ],
)
def test_the_watchdog_is_who_it_is_meant_for(
    given: dict[str, str], watchdog_ns: int | None
) -> None:
    made = Notifier.from_environment({"NOTIFY_SOCKET": "/run/x", **given})
    assert made.watchdog_ns == watchdog_ns


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234"])
def test_other_addresses_are_no_manager(address: str) -> None:
    made = Notifier.from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"})
    assert made == Notifier()
    made.send("READY=1")


def test_a_manager_that_is_gone_is_survived(tmp_path: Path) -> None:
    Notifier(address=str(tmp_path / "absent")).send("READY=1")


class Serve:
    """``origin serve`` under ``manager``."""

    def __init__(self, folder: Path, manager: Manager) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "sidecar", "serve", "--workers", "2", "--grace", "5"),
                *("--sockets", str(folder / "sockets"), "--spool", str(folder / "spool")),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stderr=(folder / "log").open("wb"),
            env={
                **os.environ,
                "NOTIFY_SOCKET": manager.address,
                "UspLicenseKey": "license/license.key",
                "WATCHDOG_USEC": "600000",
            },
        )

    def children(self) -> list[int]:
        pid = self.process.pid
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in listed.split()]

    def answers(self, number: int) -> bool:
        request = origin_pb2.PlanRequest(
            document_root=str(self.folder), path="/absent.ism", virtual_path=".m3u8", method="GET"
        )
        with grpc.insecure_channel(f"unix:{self.folder}/sockets/sidecar-{number}.sock") as channel:
            try:
                reply = origin_pb2_grpc.OriginStub(channel).Plan(request, timeout=30)
            except grpc.RpcError:
                return False
            return bool(reply.plan.status == 404)


@pytest.fixture
def serve(tmp_path: Path, manager: Manager) -> Iterator[Callable[[], Serve]]:
    running: list[Serve] = []

    def start() -> Serve:
        running.append(Serve(tmp_path, manager))
        return running[-1]

    yield start
    for one in running:
        one.process.kill()
        one.process.wait()


def test_from_start_to_stop(manager: Manager, serve: Callable[[], Serve]) -> None:
    started = time.monotonic()
    running = serve()
    manager.until("READY=1")
    assert running.answers(0) and running.answers(1), "ready means that all of them serve"
    assert "STATUS=2 of 2 processes serve" in manager.heard[-1]
    for _ in range(4):
        manager.until("WATCHDOG=1")

    # One is replaced at a time: the other one answers meanwhile.
    before = running.children()
    running.process.send_signal(signal.SIGHUP)
    *_, last = manager.until("RELOADING=1")
    assert any(line.startswith("MONOTONIC_USEC=") for line in last)
    told = []
    while "READY=1" not in (told[-1] if told else ()):
        told.append(manager.next())
        assert running.answers(0) or running.answers(1)
    assert ["STATUS=1 of 2 processes serve"] in [
        [line for line in message if line.startswith("STATUS")] for message in told
    ]
    assert not set(before) & set(running.children())
    assert running.answers(0) and running.answers(1)

    # One that is killed is replaced without a word about readiness, and the watchdog goes on.
    os.kill(running.children()[0], signal.SIGKILL)
    manager.until("STATUS=1 of 2 processes serve")
    messages = manager.until("STATUS=2 of 2 processes serve")
    assert all("READY=1" not in message for message in messages)
    manager.until("WATCHDOG=1")

    running.process.terminate()
    manager.until("STOPPING=1")
    assert running.process.wait(PATIENCE) == 0
    signs = sum("WATCHDOG=1" in message for message in manager.heard)
    most = (time.monotonic() - started) / 0.2 + 2
    assert signs <= most, "as often as it wants, a third of its interval, not as fast as it can"
    log = (running.folder / "log").read_text()
    assert "cannot be told" not in log
    assert log.count("a sidecar process died") == 1


def test_a_reload_that_fails_leaves_who_serves(
    tmp_path: Path, manager: Manager, serve: Callable[[], Serve]
) -> None:
    running = serve()
    manager.until("READY=1")
    before = running.children()
    # A folder where the first one's socket must come keeps its successor from serving.
    for one in before:
        os.kill(one, signal.SIGSTOP)
    running.process.send_signal(signal.SIGHUP)
    manager.until("RELOADING=1")
    (tmp_path / "sockets" / "sidecar-0.sock").unlink()
    (tmp_path / "sockets" / "sidecar-0.sock").mkdir()
    for one in before:
        os.kill(one, signal.SIGCONT)
    manager.until("READY=1")
    assert before[1] in running.children()
    assert running.answers(1)
    assert "the reload is given up" in (running.folder / "log").read_text()
    running.process.terminate()
    assert running.process.wait(PATIENCE) == 0
