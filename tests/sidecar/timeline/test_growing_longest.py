"""How long segments of a presentation that grows are told to be."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from sidecar.timeline.growing_cells import EraBegin, Grid, longest_of

TWO = Fraction(2)


def grid(longest: Fraction | int, *eras: int, nominal: Fraction = TWO) -> Grid:
    return Grid(
        time=np.arange(0, 22, 2, dtype=np.float64),
        sequence=np.arange(10),
        gap=np.zeros(10, bool),
        nominal=nominal,
        longest=Fraction(longest),
        tolerance=0.01,
        begins=True,
        until=20,
        edge=20,
        end=20,
        rest=False,
        chunked=False,
        eras=tuple(EraBegin(number=at, sequence=one) for at, one in enumerate(eras, 1)),
    )


@pytest.mark.parametrize(
    ("made", "step", "expected"),
    [
        (grid(0), 1, 2),
        (grid(0), 3, 6),
        (grid(0, nominal=Fraction(0)), 1, 0),
        # By a frame of sound, or where a little hole was: no more than that.
        (grid(Fraction("2.3")), 1, Fraction("2.3")),
        # Not even: another one may be longer. Several together are not all the longest.
        (grid(3), 1, Fraction("3.375")),
        (grid(3), 2, 6),
        # The first segment of an era may begin anywhere among those that would be one.
        (grid(0, 3), 1, 2),
        (grid(0, 3), 3, 10),
        (grid(0, -7), 3, 10),
    ],
)
def test_longest(made: Grid, step: int, expected: Fraction | int) -> None:
    assert longest_of(made, step) == expected
