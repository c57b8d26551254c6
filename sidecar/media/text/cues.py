"""Timed text as formats need it: cues in WebVTT's terms and, of TTML, its own paragraphs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

# Ticks per second of all times here: WebVTT has no finer ones.
TIMESCALE = 1000
# Two hours of karaoke have some ten thousand; each is an object in memory.
MAX_CUES = 100_000
# 9999 hours: no file says more, and sums of such times stay far from 64 bits.
LATEST = 9999 * 3600 * TIMESCALE


class Timed(Protocol):
    """Something that is shown from ``begin`` to ``end``, milliseconds."""

    @property
    def begin(self) -> int: ...

    @property
    def end(self) -> int: ...


T = TypeVar("T", bound=Timed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """A WebVTT cue. ``begin``, ``end``: milliseconds, begin before end.

    ``payload``: cue text (WebVTT 4.2.2, markup and escapes), lines joined by line feeds, none of
    them blank. ``settings``: cue settings as text, may be empty. ``identifier``: may be empty.
    """

    begin: int
    end: int
    payload: str
    settings: str = ""
    identifier: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """A ``p`` of TTML. ``begin``, ``end``: milliseconds of the document's timeline.

    ``name``: of the element, with its prefix. ``rest``: the element as text without ``<``, name,
    times and the namespaces of the root; with all that its ancestors in the body say of it.
    """

    begin: int
    end: int
    name: str
    rest: str


class Schedule(Generic[T]):
    """Items in the order of their begins, found by time without looking at all of them."""

    def __init__(self, items: Iterable[T] = ()) -> None:
        self.items: tuple[T, ...] = tuple(sorted(items, key=lambda item: item.begin))
        self._begin = np.array([item.begin for item in self.items], dtype=np.int64)
        ends: NDArray[np.int64] = np.array([item.end for item in self.items], dtype=np.int64)
        self._latest = np.maximum.accumulate(ends)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def end(self) -> int:
        """The latest end, milliseconds; 0 without items."""
        return int(self._latest[-1]) if self.items else 0

    def overlapping(self, begin: int, end: int) -> list[T]:
        """The items that are shown at any time from ``begin`` to before ``end``, milliseconds."""
        first = int(np.searchsorted(self._latest, begin, side="right"))
        last = int(np.searchsorted(self._begin, end, side="left"))
        return [item for item in self.items[first:last] if item.end > begin]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Ttml:
    """What documents with some of the paragraphs are made of.

    ``opening``: the root's start tag; ``prefix``: of element names (``tt:`` or empty); ``head``:
    the head element as text or empty.
    """

    opening: str
    prefix: str
    head: str
    paragraphs: Schedule[Paragraph]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TimedText:
    """The content of a text file.

    ``header``: blocks of WebVTT (STYLE, REGION) that stand before all cues, may be empty.
    ``ttml``: of TTML only. ``language``: BCP 47 as the file says, or None. ``skipped``: sentences
    on what was left out.
    """

    cues: Schedule[Cue]
    header: str = ""
    ttml: Ttml | None = None
    language: str | None = None
    skipped: tuple[str, ...] = ()
    nbytes: int = field(init=False)

    def __post_init__(self) -> None:
        # Text that is ASCII takes a byte a character; objects and columns some 250 an item.
        size = len(self.header) + sum(250 + len(cue.payload) for cue in self.cues.items)
        if self.ttml is not None:
            size += len(self.ttml.head)
            size += sum(250 + len(one.rest) for one in self.ttml.paragraphs.items)
        object.__setattr__(self, "nbytes", size)

    @property
    def end(self) -> int:
        """Milliseconds at which the last cue ends."""
        return self.cues.end if self.ttml is None else self.ttml.paragraphs.end
