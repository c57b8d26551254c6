"""Some processes are killed while encoders push; ``tests/kill/run.py`` kills two hundred."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from tests.kill.committed import Committed
from tests.kill.run import Scale, run
from tests.kill.sent import Sent, encoded
from tests.support.live_origin import Origin, opened


@pytest.mark.timeout(840)  # with the wait for the machine
def test_nothing_that_was_committed_is_lost(
    alone: Callable[[], AbstractContextManager[None]],
) -> None:
    figures = run(Scale(kills=10, workers=3, pause=0.3, speed=1, seed=20261123), alone)
    assert figures.wrong == []
    assert sum(figures.kills.values()) == 10
    assert figures.reconnects
    assert figures.committed > 50
    assert figures.manifests > 20
    assert figures.segments > 100


@pytest.fixture(scope="module")
def sent() -> Sent:
    return encoded(8)["muxed"]


@pytest.fixture
def pushed(sent: Sent, tmp_path: Path) -> tuple[Origin, Committed]:
    """A point to which all was sent, and what is known of it from outside."""
    with opened(tmp_path / "media", archiving="true") as origin:
        origin.push(sent.header)
        for piece in sent.pieces:
            origin.push(piece.data, now=piece.due)
        committed = Committed(origin.root / "ch.db3", {"main": sent})
        committed.look()
        yield origin, committed


def faults(origin: Origin, committed: Committed) -> list[str]:
    return [*committed.faults(), *committed.unserved(lambda url: origin.get(url).body)]


def remove(origin: Origin) -> None:
    with closing(sqlite3.connect(origin.root / "ch.db3")) as database:
        database.execute("DELETE FROM fragment WHERE id = 5")
        database.execute("INSERT INTO setting VALUES ('removed', 1)")
        database.commit()
    origin.point.stop(1)


def repeat(origin: Origin) -> None:
    with closing(sqlite3.connect(origin.root / "ch.db3")) as database:
        database.execute("UPDATE fragment SET duration = duration + 1000 WHERE id = 5")
        database.commit()


def spoil(origin: Origin) -> None:
    path = origin.root / "ch-main-1.mp4"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_nothing_is_found_where_nothing_is_wrong(pushed: tuple[Origin, Committed]) -> None:
    origin, committed = pushed
    assert len(committed.rows) == 32
    assert committed.missing == 0
    assert faults(origin, committed) == []


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (remove, ("has gone", "are not served")),
        (repeat, ("is there twice",)),
        (spoil, ("is not what was sent", "are not as sent")),
    ],
)
def test_what_is_wrong_is_found(
    harm: Callable[[Origin], None], found: tuple[str, ...], pushed: tuple[Origin, Committed]
) -> None:
    origin, committed = pushed
    harm(origin)
    lines = faults(origin, committed)
    for text in found:
        assert any(text in line for line in lines), lines
