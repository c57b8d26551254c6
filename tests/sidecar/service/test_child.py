"""One process as its supervisor sees it: beats, silence, deaths in a row."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.service import child as child_module
from sidecar.service.child import Child

SECOND = 1_000_000_000


class Clock:
    """Stands for the monotonic clock of the module."""

    def __init__(self) -> None:
        self.now = 100 * SECOND

    def __call__(self) -> int:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(child_module, "monotonic_ns", made)
    return made


class Started:
    """A child whose process sleeps; the test beats for it."""

    def __init__(self) -> None:
        self.child = Child(number=3, socket=Path("/nowhere"))
        self.descriptor = -1

    def start(self, command: str = "/bin/sleep", argument: str = "60") -> Child:
        def spawn(child: Child, beats: int) -> subprocess.Popen[bytes]:
            self.descriptor = os.dup(beats)
            return subprocess.Popen([command, argument], stdin=subprocess.PIPE)

        self.child.start(spawn)
        return self.child

    def beat(self) -> None:
        os.write(self.descriptor, b".")

    def end(self) -> None:
        if self.child.process is not None:
            self.child.process.kill()
            self.child.process.wait()
            self.child.reap()
        os.close(self.descriptor)


@pytest.fixture
def started() -> Iterator[Started]:
    made = Started()
    yield made
    made.end()


def test_it_serves_when_it_has_answered(clock: Clock, started: Started) -> None:
    child = started.start()
    child.listen()
    assert not child.serves and not child.is_well
    started.beat()
    child.listen()
    assert child.serves and child.is_well
    clock.forward(9)
    child.listen()
    assert child.serves and not child.is_well, "silent for too long to be well"
    started.beat()
    child.listen()
    assert child.is_well


@pytest.mark.parametrize(("beaten", "silence"), [(True, 20), (False, 60)])
def test_a_silent_one_is_killed(
    clock: Clock, started: Started, beaten: bool, silence: float
) -> None:
    child = started.start()
    if beaten:
        started.beat()
        child.listen()
    clock.forward(silence)
    child.listen()
    assert child.process is not None and child.process.poll() is None, "not yet"
    clock.forward(0.1)
    child.listen()
    assert child.process.wait(10) == -9
    assert child.reap() == -9
    assert child.due_ns == clock.now, "its successor starts at once"


def test_one_that_was_told_to_end_is_given_its_time(clock: Clock, started: Started) -> None:
    child = started.start()
    started.beat()
    child.listen()
    child.retire()
    assert not child.serves
    clock.forward(100)
    child.listen()
    assert child.process is not None
    assert child.process.wait(10) == -15, "terminated, not killed"
    assert child.reap() == -15
    assert child.due_ns <= clock.now


def test_what_a_predecessor_said_does_not_count(clock: Clock, started: Started) -> None:
    child = started.start(command="/bin/true", argument="")
    started.beat()
    assert child.process is not None
    child.process.wait()
    child.reap()
    os.close(started.descriptor)
    child = started.start()
    child.listen()
    assert not child.serves


def test_deaths_in_a_row_are_answered_more_and_more_slowly(clock: Clock) -> None:
    child = Child(number=0, socket=Path("/nowhere"))
    waits = []
    for life in [1, 1, 1, 1, 1, 1, 1, 1, 60, 1]:
        child.process = subprocess.Popen(["/bin/false"], stdin=subprocess.PIPE)
        child.process.wait()
        child.started_ns = clock.now
        clock.forward(life)
        assert child.reap() == 1
        waits.append((child.due_ns - clock.now) / SECOND)
    assert waits == [0, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 0, 0]
