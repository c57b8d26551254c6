"""Streams of a presentation that grows: renditions come, fail and come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sidecar.formats.smooth.chunks import Chunks, with_lookahead
from sidecar.media.presentation import Rendition

# Fragments that a rendition may lack without being left out, and which part of all may be more.
_FEW = 5
_PART = 10


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Member:
    """A rendition and its fragments."""

    rendition: Rendition
    chunks: Chunks

    @property
    def first(self) -> int:
        """Number of the first fragment."""
        return self.chunks.segments.first_number

    @property
    def end(self) -> int:
        """Number behind the last one."""
        return self.first + len(self.chunks)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Common:
    """``members`` have the fragments ``chunks`` in common, but for those that are gaps there;
    ``apart``: those that lack too many."""

    members: tuple[Member, ...]
    apart: tuple[Member, ...]
    chunks: Chunks


def common(members: Sequence[Member], *, ended: bool) -> Common:
    """What ``members`` (at least one), which are the same in several qualities, have in common.

    A client asks for any fragment of a list in any quality, so only those can be listed that all
    have. A rendition that has fallen behind, or lacks many, is not to cost the others theirs.
    """
    end = max(one.end for one in members)
    newest = [one for one in members if one.end >= end - 1]
    reference = max(newest, key=lambda one: len(one.chunks))
    if not len(reference.chunks):
        return Common(members=tuple(members), apart=(), chunks=reference.chunks)
    numbers = range(reference.first, reference.end)
    held = {one.rendition.selector: _held(one, numbers) for one in members}
    any_has = np.logical_or.reduce(list(held.values()))
    allowed = max(_FEW, int(any_has.sum()) // _PART)

    def keeps_up(one: Member) -> bool:
        lacks = int((any_has & ~held[one.rendition.selector]).sum())
        return lacks <= allowed and (ended or one in newest)

    kept = [one for one in members if keeps_up(one)] or [reference]
    begin = max(numbers.start, *(one.first for one in kept))
    stop = min(numbers.stop, *(one.end for one in kept))
    if begin >= stop:
        kept, begin, stop = [reference], numbers.start, numbers.stop
    here = slice(begin - numbers.start, stop - numbers.start)
    gap = ~np.logical_and.reduce([held[one.rendition.selector][here] for one in kept])
    filled = np.logical_or.reduce([_filled(one, range(begin, stop)) for one in kept])
    segments = kept[0].chunks.segments
    at = begin - kept[0].first
    bounds = slice(at, at + stop - begin + 1)
    shared = replace(
        segments,
        first_sample=segments.first_sample[bounds],
        start=segments.start[bounds],
        first_number=begin,
        gap=gap if gap.any() else None,
        filled=filled if filled.any() else None,
        era=None if segments.era is None else segments.era[at : at + stop - begin],
    )
    return Common(
        members=tuple(kept),
        apart=tuple(one for one in members if one not in kept),
        chunks=with_lookahead(shared, ended=ended),
    )


def _held(member: Member, numbers: range) -> NDArray[np.bool_]:
    """bool[n]: which of the fragments ``numbers`` the rendition has."""
    held = np.zeros(len(numbers), dtype=np.bool_)
    begin, stop = max(numbers.start, member.first), min(numbers.stop, member.end)
    if begin < stop:
        gap = member.chunks.segments.gap
        there = slice(begin - member.first, stop - member.first)
        held[begin - numbers.start : stop - numbers.start] = True if gap is None else ~gap[there]
    return held


def _filled(member: Member, numbers: range) -> NDArray[np.bool_]:
    """bool[n]: which of the fragments ``numbers``, all of which it has, came when they had been
    told of as gaps."""
    filled = member.chunks.segments.filled
    if filled is None:
        return np.zeros(len(numbers), dtype=np.bool_)
    return filled[numbers.start - member.first : numbers.stop - member.first]
