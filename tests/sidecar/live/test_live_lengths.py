"""The longest fragment of a track: what is written down, in whichever order fragments come."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from sidecar.live.index import PointIndex
from sidecar.live.lengths import longest_of
from sidecar.live.model import SampleTable, TrackFragment
from sidecar.live.retention import expire_all

# begin, duration, whether it can be decoded by itself
Part = tuple[int, int, bool]


def longest(folder: Path, parts: list[Part]) -> int:
    """What an index knows that got ``parts``, and has lost them again."""
    index = PointIndex.open(folder / "ch.db3", create=True)
    index.run("INSERT INTO header VALUES (1, 'main', x'00', x'00', 0)")
    index.run("INSERT INTO track (stream, track_ID, header) VALUES ('main', 1, 1)")
    index.add_file("main", 1, "ch-1.mp4", 0)
    for time, duration, begins in parts:
        table = SampleTable(
            duration=np.array([duration], np.uint32),
            size=np.array([10], np.uint32),
            composition_offset=None,
            sync=None,
            offset=np.array([0], np.int64),
        )
        fragment = TrackFragment(
            track_ID=1, time=time, duration=duration, begins=begins, samples=table
        )
        with index.transaction():
            (track,) = index.tracks()
            assert index.add(track, fragment, header=1, file=1, offset=0, length=1, now_ms=0)
    with index.transaction():
        index.remove_file(1)
    found = longest_of(index, 1)
    with index.transaction():
        expire_all(index, 0)
    assert longest_of(index, 1) == 0
    index.close()
    return found


def whole(*spans: tuple[int, int]) -> list[Part]:
    return [(begin, end - begin, True) for begin, end in spans]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (whole((1000, 1100)), 100),
        (whole((1000, 1100), (1100, 1200), (1200, 1280)), 100),
        (whole((1000, 1100), (1100, 1200), (1200, 1360), (1360, 1460)), 160),
        # A little hole belongs to what lies before it.
        (whole((1000, 1100), (1100, 1200), (1210, 1300)), 110),
        # One is missing, and another is cut where it would not have been.
        (whole((1000, 1100), (1100, 1200), (1300, 1400)), 100),
        (whole((1000, 1100), (1100, 1200), (1320, 1420)), 120),
        # Chunks: of what has come of a fragment nothing follows for what lies behind it.
        ([(1000, 50, True), (1050, 50, False), (1100, 50, True), (1150, 50, False)], 100),
        ([(1000, 99, True), (1099, 1, False), (1100, 50, True), (1300, 50, True)], 100),
    ],
)
def test_what_is_known(parts: list[Part], expected: int, tmp_path: Path) -> None:
    assert longest(tmp_path, parts) == expected


def test_the_order_does_not_matter(tmp_path: Path) -> None:
    first, *rest = whole((1000, 1100), (1100, 1220), (1220, 1340), (1340, 1480), (1480, 1580))
    found = set()
    for number, order in enumerate(itertools.permutations(rest[1:])):
        folder = tmp_path / str(number)
        folder.mkdir()
        found.add(longest(folder, [first, rest[0], *order]))
    assert found == {140}
