"""Recorded processes are only ever those that were started here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sidecar.cli.processes import Process, identify, locked, read_state, write_state


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def test_a_process_lives_until_it_is_stopped() -> None:
    child = sleeper()
    process = identify(child.pid)
    assert process.is_alive
    process.stop(((signal.SIGTERM, 10.0),))
    assert not process.is_alive, "a zombie is not alive"
    assert child.wait() == -signal.SIGTERM


def test_one_that_ignores_signals_is_killed() -> None:
    child = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import signal, time; signal.signal(15, signal.SIG_IGN);"
            "print(flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.readline()
    identify(child.pid).stop(((signal.SIGTERM, 0.1),))
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()


def test_a_stranger_with_the_same_number_is_left_alone() -> None:
    child = sleeper()
    try:
        stranger = Process(child.pid, identify(child.pid).started - 1)
        assert not stranger.is_alive
        stranger.stop(((signal.SIGTERM, 0.1),))
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_the_state_tells_the_living_from_their_successors(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    me = identify(os.getpid())
    write_state(path, {"nginx": me, "sidecar": Process(me.pid, me.started + 1)})
    recorded = read_state(path)
    assert [name for name, process in recorded.items() if process.is_alive] == ["nginx"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"nginx": 1}', '{"nginx": {"pid": "x"}}'])
def test_a_broken_state_is_no_state(tmp_path: Path, text: str) -> None:
    path = tmp_path / "stack.json"
    path.write_text(text)
    assert read_state(path) == {}
    assert read_state(tmp_path / "absent.json") == {}


def test_the_state_is_json_with_process_ids(tmp_path: Path) -> None:
    write_state(tmp_path / "stack.json", {"nginx": Process(7, 8)})
    assert json.loads((tmp_path / "stack.json").read_text())["nginx"]["pid"] == 7


def test_one_command_at_a_time(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "lock"),
        pytest.raises(click.ClickException, match="another command"),
        locked(tmp_path / "lock"),
    ):
        pass
    with locked(tmp_path / "lock"):
        pass


def test_nobody_is_not_identified() -> None:
    child = sleeper()
    child.kill()
    child.wait()
    with pytest.raises(ProcessLookupError):
        identify(child.pid)


def test_a_child_that_has_ended_at_once_is_dead_rather_than_nobody() -> None:
    child = sleeper()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    process = identify(child.pid)
    assert not process.is_alive
    process.stop(((signal.SIGTERM, 0.1),))
    assert child.wait() == -signal.SIGKILL
