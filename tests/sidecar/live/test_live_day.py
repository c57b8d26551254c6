"""A channel that runs for long, written and watched; ``tests/bench/day.py`` makes a day of it."""

from __future__ import annotations

import gc
import sqlite3
from pathlib import Path

import pytest

from sidecar.live.playable import Playable
from tests.support.live_day import LENGTH, MOST_FILES, Channel, Figures, Scale, most_rows, run
from tests.support.live_origin import opened

_STEP = 10


def test_windows_numbers_and_files_stay_right() -> None:
    figures = run(Scale(length=720, window=240, short=60, early=240, each=40))
    assert figures.wrong == []
    assert figures.looks == 2 * 3 * len(figures.memory) > 80
    assert figures.files <= MOST_FILES
    assert 3 * 240 / LENGTH <= figures.rows <= most_rows(240)


@pytest.mark.parametrize(
    "harm", ["UPDATE fragment SET sequence = sequence + 1", "DELETE FROM file"]
)
def test_what_is_wrong_is_found(harm: str, tmp_path: Path) -> None:
    figures = Figures()
    with opened(tmp_path / "media", dvr_window_length=60) as origin:
        channel = Channel(origin, 60)
        for second in range(0, 120, LENGTH):
            channel.push(second)
        with sqlite3.connect(tmp_path / "media" / "ch.db3") as database:
            database.execute(harm)
        channel.look(116, figures)
    assert figures.wrong


def test_what_was_made_of_an_earlier_index_is_let_go(tmp_path: Path) -> None:
    before = _playables()
    with opened(tmp_path / "media", dvr_window_length=60, archiving=1) as origin:
        channel = Channel(origin, 60)
        for second in range(0, 400, LENGTH):
            channel.push(second)
            if second >= 380:
                channel.get(".mpd?vbegin=0&vend=60")
        assert _playables() - before == 2  # the newest, and what was asked for


def _playables() -> int:
    gc.collect()
    return sum(type(one) is Playable for one in gc.get_objects())


def test_as_much_is_read_of_a_long_archive_as_of_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What SQLite does for a fragment and the manifests after it, in steps of its machine."""
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    connect = sqlite3.connect

    def counting(*args: object, **given: object) -> sqlite3.Connection:
        connection = connect(*args, **given)  # type: ignore[call-overload]
        connection.set_progress_handler(count, _STEP)
        return connection

    monkeypatch.setattr(sqlite3, "connect", counting)
    figures = Figures()
    spent = {}
    with opened(tmp_path / "media", dvr_window_length=60, archiving=1) as origin:
        channel = Channel(origin, 60)
        for second in range(0, 1200, LENGTH):
            if second in (200, 1196):
                channel.look(second - LENGTH, figures)
                steps = 0
                channel.push(second)
                channel.look(second, figures)
                channel.get(".mpd?vbegin=0&vend=60")
                spent[second] = steps
            else:
                channel.push(second)
    assert figures.wrong == []
    assert 100 < spent[1196] < 1.2 * spent[200], spent
