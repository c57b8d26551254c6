"""What a line of the sidecar's log looks like."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import Any

import pytest

# In a process of its own: the first line of a logger settles how all others look.
SPEAK = """
import structlog
from sidecar.clock import monotonic_ns
from sidecar.service.logging import call_started_ns, configure_logging
configure_logging({format!r}, "info")
log = structlog.get_logger()
log.debug("unheard")
log.info("of no call", file="a")
call_started_ns.set(monotonic_ns() - 2_500_000_000)
log.warning("of a call", request_id="r1", path="/a b.ism")
log.info("beside it", file="b")
try:
    raise ValueError("why")
except ValueError:
    log.exception("fault", request_id="r1")
"""


def lines(log_format: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SPEAK.format(format=log_format)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


@pytest.fixture(scope="module")
def spoken() -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines("json")]


def test_one_object_a_line(spoken: list[dict[str, Any]]) -> None:
    assert [event["event"] for event in spoken] == ["of no call", "of a call", "beside it", "fault"]
    assert [event["level"] for event in spoken] == ["info", "warning", "info", "error"]
    assert all(event["time"].endswith("Z") for event in spoken)
    assert "ValueError: why" in spoken[3]["exception"]


def test_lines_of_a_request_say_how_long_it_took_so_far(spoken: list[dict[str, Any]]) -> None:
    assert spoken[1]["request_id"] == "r1"
    assert 2500 <= spoken[1]["milliseconds"] < 60_000
    assert ["milliseconds" in event for event in spoken] == [False, True, False, True]


def test_for_eyes() -> None:
    first, second, *_ = lines("console")
    assert "of no call" in first and "file=a" in first
    assert "request_id=r1" in second and "path='/a b.ism'" in second and "\x1b" not in second


def test_lines_of_several_processes_do_not_mix() -> None:
    """Each is one write, where Python does not gather them either."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        subprocess.run(
            [sys.executable, "-c", SPEAK.format(format="json")],
            stderr=theirs.fileno(),
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            check=True,
        )
        writes = [ours.recv(1 << 16) for _ in range(4)]
    for write in writes:
        assert write.endswith(b"}\n") and json.loads(write)


def test_nobody_listens() -> None:
    """A log that cannot be written ends nobody."""
    program = SPEAK.format(format="console") + "\nprint('goes on')"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stderr.close()
        assert process.stdout.read() == "goes on\n"
    assert process.returncode in (0, 120), "120: Python could not flush at its end"
