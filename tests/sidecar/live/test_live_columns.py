"""Columns that a window moves over: what was dropped is as if it had never been there."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from sidecar.live.columns import FragmentColumns, TrackColumns
from sidecar.live.index import FragmentRow
from sidecar.live.model import SampleTable
from sidecar.media.track import Samples

_LENGTH, _FRAME = 1000, 40


def row(
    number: int,
    *,
    parts: int = 1,
    part: int = 0,
    offsets: int | None = None,
    dependent: bool = False,
) -> FragmentRow:
    """Fragment ``number`` of a second, or a part of it."""
    count = _LENGTH // _FRAME // parts
    table = SampleTable(
        duration=np.full(count, _FRAME, np.uint32),
        size=np.arange(count, dtype=np.uint32) + 1,
        composition_offset=None if offsets is None else np.full(count, offsets, np.int32),
        sync=np.arange(count) == 0 if dependent else None,
        offset=np.arange(count, dtype=np.int64) * 100,
    )
    return FragmentRow(
        id=number * 10 + part,
        track=1,
        time=number * _LENGTH + part * count * _FRAME,
        duration=count * _FRAME,
        sequence=number,
        begins=part == 0,
        header=1,
        file=1,
        offset=number * 4000,
        length=1,
        received_ms=number * 1000 + 7,
        late=number % 3,
        samples=table,
    )


def filled(rows: list[FragmentRow], *, sparse: bool = False) -> TrackColumns:
    columns = TrackColumns(sparse=sparse)
    for one in rows:
        columns.append(one)
    return columns


def contents(columns: TrackColumns) -> dict[str, Any]:
    """All that players' lists are made of."""
    found: dict[str, Any] = {"chunked": columns.is_chunked, "begin": columns.begin}
    found["rows"] = [columns.rows_from(at * _LENGTH) for at in range(60)]
    for part in (columns.fragments(), columns.samples(0), columns.samples(len(columns) // 2)):
        found |= {f"{len(part)} {name}": value for name, value in values(part).items()}
    return found


def values(part: Samples | FragmentColumns) -> dict[str, Any]:
    found = {one.name: getattr(part, one.name) for one in fields(part)}
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in found.items()
    }


def _whole() -> list[FragmentRow]:
    """Fragments 0 to 49: at first in parts and reordered, then plain; 20 to 22 never came."""
    early = [
        row(number, parts=5, part=part, offsets=80, dependent=True)
        for number in range(10)
        for part in range(5)
    ]
    return early + [row(number) for number in range(10, 50) if not 20 <= number <= 22]


@pytest.mark.parametrize(
    ("until", "first"),
    [(0, 0), (4 * _LENGTH + 500, 4), (10 * _LENGTH, 10), (21_500, 23), (49_900, 49), (10**9, 49)],
)
def test_what_is_left_is_as_if_it_were_all(until: int, first: int) -> None:
    columns = filled(_whole())
    columns.drop(until)
    assert contents(columns) == contents(filled([one for one in _whole() if one.sequence >= first]))


def test_more_is_appended_to_what_is_left() -> None:
    columns = filled(_whole()[:60])
    columns.drop(5 * _LENGTH)
    for one in _whole()[60:]:
        columns.append(one)
    columns.drop(8 * _LENGTH)
    assert contents(columns) == contents(filled([one for one in _whole() if one.sequence >= 8]))


def test_of_a_silence_what_was_said_before_stays() -> None:
    rows = [row(number) for number in (1, 2, 40)]
    columns = filled(rows, sparse=True)
    columns.drop(30 * _LENGTH)
    assert contents(columns) == contents(filled(rows[1:], sparse=True))


def test_what_was_returned_stays_as_it_is() -> None:
    columns = filled([row(number, offsets=80, dependent=True) for number in range(100)])
    before = columns.samples(50), columns.fragments(50)
    known = [values(part) for part in before]
    for number in range(100, 1000):
        columns.append(row(number, dependent=True))
        columns.drop((number - 50) * _LENGTH)
    assert known == [values(part) for part in before]


def test_a_window_that_moves_on_takes_no_more_room() -> None:
    columns = filled([row(number) for number in range(200)])
    rooms = set()
    for number in range(200, 3000):
        columns.append(row(number))
        columns.drop((number - 200) * _LENGTH)
        rooms.add(len(columns.samples(0).size.base))
    held = len(columns.samples(0))
    assert held == 201 * _LENGTH // _FRAME
    # Always the same, so that what was given back is taken again.
    assert len(rooms - {max(rooms)}) <= 1
    assert held < max(rooms) <= 1.5 * held
