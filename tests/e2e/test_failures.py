"""What clients see while parts of the stack are down, and that it comes back by itself."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.http import Client, Response
from tests.support.media import ROOT, place
from tests.support.stack import (
    Stack,
    children,
    end_process,
    eventually,
    is_alive,
    nginx_workers,
    start,
)

# Less than any time-out of the configuration that would show (10 s), on a loaded machine too.
AT_ONCE = 8.0
COUNTER = itertools.count(1)
NAMES = tuple(f"copy_{number}.mp4" for number in range(6))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An instance of its own, whose parts may be killed."""
    media = tmp_path_factory.mktemp("failing_media")
    for name in NAMES:
        place(media, "bframes_closed.mp4", name=name)
    place(media, "heavy.mp4")
    running = start(tmp_path_factory.mktemp("failing_run"), media)
    try:
        yield running
    finally:
        running.stop()


def answers(own: Stack, path: str) -> bool:
    """Whether a request that no cache can answer is answered."""
    client = own.client()
    try:
        return client.request(fresh(path)).status == 200
    finally:
        client.close()


def fresh(path: str) -> str:
    """A URL of the playlist or MPD ``path`` that was never asked for."""
    option = "mpd_min_buffer_time" if path.endswith(".mpd") else "hls_minimum_fragment_length"
    return f"{path}?{option}={next(COUNTER)}/1000"


class Background(threading.Thread):
    """A request whose answer is read elsewhere."""

    def __init__(self, own: Stack, target: str) -> None:
        super().__init__()
        self._client, self._target = own.client(), target
        self.answer: Response | None = None
        self.start()

    def run(self) -> None:
        self.answer = self._client.request(self._target)
        self._client.close()


def accepts(path: Path) -> bool:
    """Whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def serving(own: Stack, without: int = 0) -> list[int]:
    """The two processes, when both serve and ``without`` is neither of them."""
    supervisor = own.pid("sidecar")
    sockets = [own.run / "sockets" / f"sidecar-{number}.sock" for number in range(2)]
    # A process that was killed is a child until all its threads have ended, and its sockets with
    # them.
    eventually(lambda: without not in children(supervisor), "the end of one")
    eventually(lambda: len(children(supervisor)) == 2, "two sidecar processes")
    eventually(lambda: all(map(accepts, sockets)), "both serve")
    return children(supervisor)


def test_a_worker_killed_in_the_middle_of_a_call(own: Stack) -> None:
    supervisor = own.pid("sidecar")
    hit = before = 0
    for victim in serving(own):
        serving(own, without=before)
        before = victim
        eventually(lambda: all(answers(own, f"/{name}/.mpd") for name in NAMES), "answers")
        target = fresh("/copy_0.mp4/.m3u8")
        os.kill(victim, signal.SIGSTOP)
        request = Background(own, target)
        request.join(0.7)
        in_flight = request.is_alive()
        hit += in_flight
        begun = time.monotonic()
        end_process(victim, signal.SIGKILL)
        request.join(60)
        assert request.answer is not None
        assert request.answer.status == 200, request.answer.body
        assert request.answer.body.startswith(b"#EXTM3U")
        assert time.monotonic() - begun < AT_ONCE
    assert hit >= 1, "the call was in flight at one of the two when it was killed"
    eventually(lambda: len(children(supervisor)) == 2, "the dead are replaced")


def resident(pid: int) -> int:
    """Private resident memory of ``pid``, bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(pid)


def test_a_slow_client_costs_no_memory_and_a_gone_one_no_work(own: Stack) -> None:
    target = "/heavy.mp4/hls/heavy-video={}-1.m4s"
    client = own.client()
    (playlist,) = [
        line
        for line in client.get("/heavy.mp4/.m3u8?hls_fmp4").text.splitlines()
        if line and not line.startswith("#")
    ]
    selector = playlist.partition("=")[2].partition(".m3u8")[0]
    target = target.format(selector)
    size = int(client.request(target, method="HEAD").headers["content-length"])
    assert size > 40_000_000
    workers = nginx_workers(own.pid("nginx"))
    before = {pid: resident(pid) for pid in workers}

    host, port = own.base.removeprefix("http://").split(":")
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    slow.connect((host, int(port)))
    slow.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert slow.recv(1000).startswith(b"HTTP/1.1 200")
    time.sleep(0.5)
    grown = sum(resident(pid) - before[pid] for pid in workers)
    # The collector lets what Lua has used double before it looks for what is left of it.
    assert grown < size / 5, f"{grown} bytes for a client that does not read"
    logged = len(own.access_log())
    slow.close()
    eventually(lambda: "heavy-video" in own.access_log()[logged:], "the request ends")
    line = own.access_log()[logged:]
    assert str(size) not in line, f"all of it was sent: {line}"


def test_a_client_that_leaves_while_the_sidecar_thinks(own: Stack) -> None:
    supervisor = own.pid("sidecar")
    workers = children(supervisor)
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    try:
        host, port = own.base.removeprefix("http://").split(":")
        for name in NAMES:
            with socket.create_connection((host, int(port))) as gone:
                gone.sendall(f"GET {fresh(f'/{name}/.m3u8')} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
                time.sleep(0.05)
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
    for name in NAMES:
        client = own.client()
        assert client.get(fresh(f"/{name}/.m3u8")).body.startswith(b"#EXTM3U")
        client.close()
    assert "Traceback" not in own.log()


def test_many_clients_for_one_new_thing(own: Stack) -> None:
    target = fresh("/copy_3.mp4/.m3u8")
    logged = len(own.access_log())
    clients = [Background(own, target) for _ in range(20)]
    for client in clients:
        client.join()
    bodies = {client.answer.body for client in clients if client.answer}
    assert {client.answer.status for client in clients if client.answer} == {200}
    assert len(bodies) == 1

    def lines() -> list[str]:
        return [line for line in own.access_log()[logged:].splitlines() if f" {target} " in line]

    eventually(lambda: len(lines()) == 20, "the access log")
    calls = [line for line in lines() if " FMP4_OK sidecar " in line]
    assert len(calls) == 1, "one call of the sidecar for all that asked meanwhile"


def test_a_process_that_was_away_is_asked_when_the_other_one_goes(own: Stack) -> None:
    """Whatever nginx remembers: no request fails while one of the two is there."""
    for victim in serving(own):
        end_process(victim, signal.SIGKILL)
        for _ in range(3):
            for name in NAMES:
                assert answers(own, f"/{name}/.m3u8")
        # Now it is back, and nobody has asked it since.
        serving(own, without=victim)


def test_a_reload_when_processes_have_just_died(own: Stack) -> None:
    """It waits for those that start, so that somebody is there all the time."""
    supervisor = own.pid("sidecar")
    first, second = serving(own)
    end_process(first, signal.SIGKILL)
    os.kill(supervisor, signal.SIGHUP)
    while second in children(supervisor):
        assert all(answers(own, f"/{name}/.m3u8") for name in NAMES)
    serving(own, without=second)
    eventually(lambda: all(answers(own, f"/{name}/.m3u8") for name in NAMES), "answers")


# The last one with ``own``: the sidecar that the launcher started is gone after it.
def test_the_sidecar_down_and_back(own: Stack) -> None:
    client = own.client()
    segment = "/copy_1.mp4/.m3u8"
    known = client.get(segment)
    nginx = own.pid("nginx")
    end_process(own.pid("sidecar"), signal.SIGTERM)

    for name in NAMES:
        begun = time.monotonic()
        answer = client.request(fresh(f"/{name}/.m3u8"))
        assert time.monotonic() - begun < AT_ONCE
        assert answer.status == 503, answer.body
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert answer.headers["access-control-allow-origin"] == "*"
    again = client.get(segment)
    assert again.body == known.body, "what nginx knows it goes on answering"

    log = (own.run / "logs" / "restarted.log").open("wb")
    serve = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "sidecar",
            "serve",
            "--workers",
            "2",
            "--sockets",
            str(own.run / "sockets"),
        ],
        cwd=ROOT,
        stdout=log,
        stderr=log,
    )
    try:
        eventually(lambda: all(answers(own, f"/{name}/.mpd") for name in NAMES), "recovery")
        for name in NAMES:
            assert client.get(fresh(f"/{name}/.m3u8")).body.startswith(b"#EXTM3U")
        assert own.pid("nginx") == nginx
    finally:
        serve.send_signal(signal.SIGTERM)
        serve.wait(60)
        log.close()
    assert "Traceback" not in own.log()


def test_stop_leaves_nothing_behind(tmp_path: Path) -> None:
    place(tmp_path / "media", "frag_plain.mp4")
    running = start(tmp_path / "run", tmp_path / "media", workers=1)
    pids = [running.pid(name) for name in ("nginx", "sidecar")]
    pids += [child for pid in pids for child in children(pid)]
    assert Client(running.base).get("/frag_plain.mp4/.mpd").status == 200
    running.stop()
    for pid in pids:
        assert not is_alive(pid)
    assert not list((tmp_path / "run" / "sockets").glob("*.sock"))
