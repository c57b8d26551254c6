"""start, run, stop and check-conf with the real nginx and the real sidecar."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.cli.instance import PROJECT, admin_port_of
from sidecar.cli.processes import Process, read_state
from tests.support.media import generated
from tests.support.ports import free_port
from tests.support.tls import listen

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        shutil.which("openresty") is None
        and shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") is None,
        reason="neither openresty nor nginx is installed",
    ),
]

Result = subprocess.CompletedProcess[str]


def origin(*arguments: object) -> Result:
    return subprocess.run(
        [sys.executable, "-m", "sidecar", *map(str, arguments)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


class Instances:
    """Starts instances, and stops at the end what the test has left."""

    def __init__(self, folder: Path, media: Path) -> None:
        self.folder = folder
        self.media = media
        self.ports: dict[str, int] = {}

    def start(self, name: str, *more: object, port: int | None = None, workers: int = 1) -> Result:
        self.ports[name] = port or free_port()
        return origin(
            *("start", "--run", self.folder / name, "--port", self.ports[name]),
            *("--media", self.media, "--workers", workers, *more),
        )

    def stop(self, name: str) -> Result:
        return origin("stop", "--run", self.folder / name)

    def processes(self, name: str) -> dict[str, Process]:
        return read_state(self.folder / name / "stack.json")

    def status(self, name: str, path: str = "/clip.mp4/.m3u8", *, admin: bool = False) -> int:
        port = admin_port_of(self.ports[name]) if admin else self.ports[name]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", path)
        status = connection.getresponse().status
        connection.close()
        return status


@pytest.fixture
def instances(tmp_path: Path) -> Iterator[Instances]:
    media = tmp_path / "media"
    media.mkdir()
    shutil.copyfile(generated("bframes_closed.mp4"), media / "clip.mp4")
    made = Instances(tmp_path, media)
    yield made
    for name in made.ports:
        made.stop(name)


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_start_serves_and_stop_leaves_nothing(instances: Instances) -> None:
    started = instances.start("one", workers=2)
    assert started.returncode == 0, started.stderr
    port = instances.ports["one"]
    assert f"http://localhost:{port}/clip.mp4/.m3u8" in started.stdout
    assert f"http://localhost:{port}/clip.mp4/.mpd" in started.stdout
    assert f"http://localhost:{port}/clip.mp4/Manifest" in started.stdout
    assert instances.status("one") == 200
    running = instances.processes("one")
    assert {name for name, process in running.items() if process.is_alive} == {"nginx", "sidecar"}

    again = instances.start("one", port=port)
    assert again.returncode == 1
    assert "running already" in again.stderr
    assert instances.status("one") == 200

    stopped = instances.stop("one")
    assert (stopped.returncode, stopped.stdout) == (0, "stopped\n")
    assert not any(process.is_alive for process in running.values())
    assert list((instances.folder / "one" / "sockets").glob("*.sock")) == []
    assert instances.stop("one").stdout.startswith("nothing runs in")


def test_two_instances_live_side_by_side(instances: Instances) -> None:
    assert instances.start("one", workers=2).returncode == 0
    assert instances.start("two").returncode == 0
    for name in ("one", "two"):
        assert instances.status(name, "/readyz", admin=True) == 200
    assert instances.stop("one").returncode == 0
    assert instances.status("two") == 200


def test_a_taken_port_is_named_and_nothing_is_left(instances: Instances) -> None:
    assert instances.start("one").returncode == 0
    refused = instances.start("two", port=instances.ports["one"])
    assert refused.returncode == 1
    assert f"port {instances.ports['one']} is in use" in refused.stderr
    taken = admin_port_of(instances.ports["one"])
    refused = instances.start("two", "--admin-port", taken)
    assert refused.returncode == 1
    assert f"port {taken} is in use: --admin-port names another" in refused.stderr
    assert instances.processes("two") == {}
    assert instances.status("one") == 200


def test_what_a_kill_left_behind_is_cleared(instances: Instances) -> None:
    assert instances.start("one", workers=2).returncode == 0
    before = instances.processes("one")
    for process in before.values():
        os.kill(process.pid, signal.SIGKILL)
    # nginx's workers live on without their master, and hold the port
    again = instances.start("one", port=instances.ports["one"], workers=2)
    assert again.returncode == 0, again.stderr
    assert instances.status("one") == 200
    assert instances.processes("one") != before


def test_the_reason_is_told_when_nothing_can_be_served(instances: Instances) -> None:
    (instances.media / "broken.ism").write_text("<smil")
    refused = instances.start("one")
    assert refused.returncode == 1
    assert "/broken.ism/.m3u8 answers 415" in refused.stderr
    assert instances.processes("one") == {}


def test_one_presentation_that_can_be_served_is_enough(instances: Instances) -> None:
    (instances.media / "a.ism").write_text("<smil")
    (instances.media / "b.ism").write_text(
        '<smil><body><switch><video src="clip.mp4" systemBitrate="1"/></switch></body></smil>'
    )
    assert instances.start("one").returncode == 0
    assert instances.status("one", "/b.ism/.mpd") == 200


def test_an_empty_folder_can_be_served(instances: Instances) -> None:
    (instances.media / "clip.mp4").unlink()
    assert instances.start("one").returncode == 0


def test_a_trial_beside_a_server_that_has_the_ports(instances: Instances) -> None:
    text = (PROJECT / "openresty.conf").read_text()
    secure = listen(instances.folder, 443)
    conf = instances.folder / "openresty.conf"
    conf.write_text(text.replace("listen 8080;\n", f"listen 80;\n{secure}", 1))
    started = instances.start("one", "--conf", conf)
    assert started.returncode == 0, started.stderr
    assert instances.status("one") == 200
    moved = re.search(
        r"^port 443 of the configuration is (\d+) here$", started.stdout, re.MULTILINE
    )
    assert moved
    context = ssl.create_default_context(cafile=instances.folder / "cert.pem")
    with (
        socket.create_connection(("127.0.0.1", int(moved[1])), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        assert connection.version()


def broken_conf(folder: Path) -> Path:
    text = (PROJECT / "openresty.conf").read_text()
    conf = folder / "openresty.conf"
    conf.write_text(text.replace("usp_handle_ism on", "usp_handle_isn on"))
    assert conf.read_text() != text
    return conf


def test_a_directive_error_stops_the_start_with_its_text(instances: Instances) -> None:
    conf = broken_conf(instances.folder)
    refused = instances.start("one", "--conf", conf)
    assert refused.returncode == 1
    assert 'directive "usp_handle_isn"' in refused.stderr
    assert instances.processes("one") == {}


def test_check_conf_runs_what_nginx_does_not_test(tmp_path: Path) -> None:
    good = origin("check-conf")
    assert good.returncode == 0, good.stderr
    bad = origin("check-conf", "--conf", broken_conf(tmp_path))
    assert bad.returncode == 1
    assert 'directive "usp_handle_isn"' in bad.stderr
    head, said = bad.stderr.splitlines()
    assert head.endswith("openresty.conf does not start")
    assert re.match(r"nginx: \[error\] init_by_lua error: openresty\.conf:\d+: directive ", said)


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "stop"])
def test_run_serves_until_told_to_stop(instances: Instances, how: str) -> None:
    port = instances.ports["one"] = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "sidecar", "run", "--run", str(instances.folder / "one")),
            *("--port", str(port), "--media", str(instances.media), "--workers", "1"),
        ],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout as output:
        for line in output:
            if line.startswith("Logs are"):
                break
        running = instances.processes("one")
        assert set(running) == {"nginx", "sidecar", "run"}
        assert instances.status("one") == 200
        if how == "stop":
            assert instances.stop("one").stdout == "stopped\n"
        else:
            process.send_signal(signal.Signals[how])
        assert output.read() == "stopped\n"
        assert process.wait(60) == 0
    assert not any(one.is_alive for one in running.values())
    assert not (instances.folder / "one" / "stack.json").exists()


def test_run_ends_when_one_of_the_two_ends(instances: Instances) -> None:
    instances.ports["one"] = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "sidecar", "run", "--run", str(instances.folder / "one")),
            *("--port", str(instances.ports["one"]), "--media", str(instances.media)),
        ],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Logs are"):
            break
    running = instances.processes("one")
    os.kill(running["nginx"].pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "nginx ended" in errors
    assert not running["sidecar"].is_alive


def test_the_state_names_processes_for_other_tools(instances: Instances) -> None:
    assert instances.start("one").returncode == 0
    state = json.loads((instances.folder / "one" / "stack.json").read_text())
    assert set(state) == {"nginx", "sidecar"}
    command = Path(f"/proc/{state['nginx']['pid']}/cmdline").read_text()
    assert command.startswith("nginx: master process")
