"""The segments of one rendition."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SegmentList:
    """Segments 0 .. n-1 of one rendition.

    - ``first_sample``: int64[n+1]; segment k holds samples first_sample[k] .. first_sample[k+1]-1
      (text: see ``timeline.text``).
    - ``start``: int64[n+1], ``timescale``; presentation time of segment k (its earliest, at least
      0); start[n] is the end of the last. The duration of k is start[k+1] - start[k].
    - ``closed``: no segment holds samples that are presented before its first one (SAP type 1), so
      each can be decoded by itself; an open GOP's leading pictures need the GOP before. In live
      presentations nor has any that came before.
    - ``first_number``: number of segment 0 in playlists and URLs; the others follow on. In live
      presentations a pure function of time, whatever part of them is at hand.
    - ``era``: int64[n], of live presentations: how often what samples are decoded by had changed by
      then, or encoders had begun anew; None when that never was.
    - ``gap``: bool[n], segments that were never received, or None when there are none such. They
      keep times and numbers contiguous; their samples have no bytes and cannot be served.
    - ``filled``: bool[n], segments that were told of as gaps before they came, or None when there
      are none such.
    """

    timescale: int
    first_sample: NDArray[np.int64]
    start: NDArray[np.int64]
    closed: bool = True
    first_number: int = 1
    gap: NDArray[np.bool_] | None = None
    era: NDArray[np.int64] | None = None
    filled: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return int(self.first_sample.shape[0]) - 1

    def number(self, index: int) -> int:
        """The number of segment ``index`` in playlists and URLs."""
        return self.first_number + index

    def era_of(self, index: int) -> int:
        """The era of segment ``index``."""
        return 0 if self.era is None else int(self.era[index])

    def is_gap(self, index: int) -> bool:
        """Whether segment ``index`` was never received."""
        return self.gap is not None and bool(self.gap[index])

    @property
    def never_gaps(self) -> NDArray[np.int64]:
        """Indices of those that are no gaps, and were not told of as such before they came."""
        whole = np.ones(len(self), np.bool_)
        for column in (self.gap, self.filled):
            if column is not None:
                whole &= ~column
        return np.flatnonzero(whole)

    def at_time(self, ticks: int) -> int | None:
        """Index of the segment that starts exactly at ``ticks``, or None."""
        index = int(np.searchsorted(self.start[:-1], ticks))
        return index if index < len(self) and int(self.start[index]) == ticks else None

    def duration(self, index: int) -> Fraction:
        """Seconds of segment ``index``."""
        return Fraction(int(self.start[index + 1] - self.start[index]), self.timescale)

    @property
    def end(self) -> Fraction:
        """Presentation time of the end of the last segment, seconds."""
        return Fraction(int(self.start[-1]), self.timescale)

    @property
    def longest(self) -> Fraction:
        """Seconds of the longest segment."""
        return Fraction(int(np.diff(self.start).max()), self.timescale)
