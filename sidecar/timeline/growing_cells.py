"""Between which times segments of what grows lie: so many source fragments of a grid each.

Stored content is cut greedily from its first sample on. A live one has no first sample that all
requests agree on: what is at hand is a window. Its source fragments stand on a grid, though
(``sequence``), and every ``k`` of them, counted from 0, make a segment, whatever was at hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

# A minimum length of 4 s is met by two fragments of 1.96 s each.
_SLACK = Fraction(1, 20)
# One that is longer than usual by so much says that its encoder cuts where it likes: of such, so
# much is left for longer ones, that what players are told does not change again and again.
_UNEVEN, _LEFT = Fraction(5, 4), Fraction(9, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class EraBegin:
    """Era ``number`` begins with the source fragment ``sequence``, so that no segment lies on both
    sides of it. ``cuts``: of each selector whose samples are decoded otherwise from there on, the
    decode time of the first such, ticks."""

    number: int
    sequence: int
    cuts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Grid:
    """The source fragments that all segments follow: those of the first video, or else audio.

    ``time``: float64[n+1], decode times at which they begin, seconds, the last is the end;
    ``sequence``: int64[n], without a hole; ``gap``: bool[n], never received; ``nominal``: usual
    length of a fragment, seconds. ``longest``: that none has been longer than since the
    presentation began, seconds. ``tolerance``: seconds by which a fragment may be shorter than is
    usual. ``begins``: whether nothing lies before the first of them, so that a segment may begin
    there with fewer fragments than usual. ``until``: seconds up to which segments are complete in
    all tracks; infinite when no more will come. ``edge``: seconds up to which anything has been
    received, here or further on. ``end``: seconds at which the last sample of any track ends;
    ``rest``: whether a track has more than what belongs to the last fragment, however short.
    ``eras``: that begin here, or before it, in their order.
    """

    time: NDArray[np.float64]
    sequence: NDArray[np.int64]
    gap: NDArray[np.bool_]
    nominal: Fraction
    longest: Fraction
    tolerance: float
    begins: bool
    until: float
    edge: float
    end: float
    rest: bool
    chunked: bool
    eras: tuple[EraBegin, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Cells:
    """Segments of a policy: the times (m+1, seconds) between which they lie, the number of the
    first, how many source fragments make one, and their eras (int64[m], None = all 0). ``cuts``: of
    a selector, (which of ``time`` it is, decode time at which it is cut there, ticks)."""

    time: NDArray[np.float64]
    first_number: int
    step: int
    era: NDArray[np.int64] | None
    cuts: Mapping[str, tuple[tuple[int, int], ...]]


# Times of cells, which of them stay, fragments in one -> times, how many of the first are left out.
Move = Callable[[NDArray[np.float64], NDArray[np.bool_], int], tuple[NDArray[np.float64], int]]


def step_of(grid: Grid, minimum: Fraction) -> int:
    """How many fragments last at least ``minimum`` seconds."""
    if not minimum or not grid.nominal:
        return 1
    return max(1, math.ceil(minimum / grid.nominal - _SLACK))


def longest_of(grid: Grid, step: int) -> Fraction:
    """Seconds that no cell of ``step`` fragments is longer than, now or before; 0 when that is not
    known yet. Where fragments are not even, one of them may be longer than that by an eighth before
    this changes; several together have more room anyway. Where an era began, whenever that was, a
    cell may have taken in what is left of the one before it."""
    longest = max(grid.nominal, grid.longest)
    if step > 1:
        return longest * (2 * step - 1 if grid.eras else step)
    return longest * _LEFT if longest > grid.nominal * _UNEVEN else longest


def cells_of(grid: Grid, step: int, move: Move) -> Cells:
    """The complete cells of ``grid`` of ``step`` fragments each, their boundaries moved by
    ``move``."""
    count = len(grid.sequence)
    # With the fragment before the first, and the one behind the last.
    group = _groups(grid, step)
    begins = group[1:-1] != group[:-2]
    if count and grid.begins:
        begins[0] = True
    at = np.flatnonzero(begins)
    time = grid.time[at]
    number = group[1:-1][at]
    # The last cell is complete when all of its fragments are there.
    complete = count and (
        math.isinf(grid.until)
        or (
            # Not known: the first may be the first chunk of a longer one.
            grid.nominal
            and group[-1] != group[-2]
            and (
                not grid.chunked
                or grid.time[-1] - grid.time[-2] >= float(grid.nominal) - grid.tolerance
            )
        )
    )
    if complete:
        time = np.append(time, grid.time[-1])
    if math.isinf(grid.until) and len(time):
        # What is left of sound is no part of the last segment, which has been listed without.
        length = step * float(grid.nominal) or 1.0
        left = grid.end - float(time[-1])
        more = max(int(grid.rest), math.ceil((left - grid.tolerance) / length))
        time = np.append(time, time[-1] + length * np.arange(1, more + 1))
        time[-1] = max(time[-1], grid.end)
    reached = int(np.searchsorted(time, grid.until, side="right"))
    time, lead = move(time[:reached], _at_eras(grid, time[:reached]), step)
    time = time[: int(np.searchsorted(time, grid.until, side="right"))]
    at, number = at[lead:], number[lead:]
    begun = np.array([one.sequence for one in grid.eras], np.int64)
    era = None
    if len(begun) and len(time) > 1:
        numbers = np.array([0, *(one.number for one in grid.eras)])
        held = grid.sequence[at][: len(time) - 1]
        # What is left of sound has no fragment of the grid.
        held = np.append(held, np.full(len(time) - 1 - len(held), grid.sequence[-1]))
        era = numbers[np.searchsorted(begun, held, side="right")]
    return Cells(
        time=time,
        first_number=int(number[0]) + 1 if len(number) else 1,
        step=step,
        era=era,
        cuts=_cuts(grid, time),
    )


def _at_eras(grid: Grid, time: NDArray[np.float64]) -> NDArray[np.bool_]:
    """bool[len(time)]: where an era begins."""
    first = int(grid.sequence[0]) if len(grid.sequence) else 0
    begun = [one.sequence - first for one in grid.eras]
    return np.isin(time, grid.time[[at for at in begun if 0 <= at < len(grid.time)]])


def _groups(grid: Grid, step: int) -> NDArray[np.int64]:
    """Number of the segment, from 0, of each source fragment, of the one before the first and of
    the one behind the last. An era begins with a segment: the one before it has what there is, and
    its own first has as much more, so that numbers remain those of time."""
    sequence = np.arange(grid.sequence[0] - 1, grid.sequence[0] + len(grid.sequence) + 1)
    group: NDArray[np.int64] = sequence // step
    least, last = 0, None
    for one in grid.eras:
        if one.sequence == last:
            continue
        least, last = max(-(-one.sequence // step), least + 1), one.sequence
        group = np.where(sequence >= one.sequence, np.maximum(group, least), group)
    return group


def _cuts(grid: Grid, time: NDArray[np.float64]) -> dict[str, tuple[tuple[int, int], ...]]:
    """``Cells.cuts`` of cells between ``time``."""
    found: dict[str, tuple[tuple[int, int], ...]] = {}
    for one in grid.eras:
        at = one.sequence - int(grid.sequence[0])
        if not 0 <= at < len(grid.time):
            continue
        which = int(np.searchsorted(time, grid.time[at]))
        if which < len(time) and time[which] == grid.time[at]:
            for selector, ticks in one.cuts.items():
                found[selector] = (*found.get(selector, ()), (which, ticks))
    return found
