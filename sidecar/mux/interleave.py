"""In which order the samples of several tracks follow each other in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sidecar.mux.plan import FileRanges, MixedRanges, Part
from sidecar.storage.source import SourceIdentity
from sidecar.timeline.cuts import Cut

# Tracks take turns after this many seconds; what a chunk lasts at the most.
_CHUNK_SECONDS = 2
# How much later than that of another track media may come in its file for the order to be kept:
# a player that reads ahead this much plays it without seeking.
_MAX_LATENESS = 10.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Interleaved:
    """The payload of a file.

    ``chunk_samples``, ``chunk_position``: for each cut, int64[c]: how many samples each of its
    chunks holds (in decode order), and where it begins in the payload. ``length``: bytes of the
    payload. ``parts``: its bytes; none when no sample has any.
    """

    chunk_samples: tuple[NDArray[np.int64], ...]
    chunk_position: tuple[NDArray[np.int64], ...]
    length: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Chunks:
    """Chunks of one cut in decode order; each is one run of bytes in its source. ``time``: when
    each begins to be decoded, ticks."""

    samples: NDArray[np.int64]
    offset: NDArray[np.int64]
    length: NDArray[np.int64]
    time: NDArray[np.int64]
    timescale: int

    @property
    def seconds(self) -> NDArray[np.float64]:
        return self.time / self.timescale


def interleave(cuts: Sequence[Cut]) -> Interleaved:
    """The order of the samples of ``cuts`` (at least one) in one file, and their ranges.

    Samples of one source keep its order, so that a whole file is one range, unless it is so badly
    interleaved that no player would get along with it. Otherwise tracks take turns every two
    seconds; within these, samples keep the order of their sources. The cost is that of a few
    passes over the sample columns.
    """
    sources = list(dict.fromkeys(one.track.source for one in cuts))
    chunks = [_chunks(one) for one in cuts]
    if len(chunks) == 1 and bool((chunks[0].offset[1:] >= chunks[0].offset[:-1]).all()):
        return _alone(sources, chunks[0])
    counts = [len(one.offset) for one in chunks]
    offset = np.concatenate([one.offset for one in chunks])
    length = np.concatenate([one.length for one in chunks])
    seconds = np.concatenate([one.seconds for one in chunks])
    which: NDArray[np.int64] | None = None
    if len(sources) > 1:
        source = np.array([sources.index(one.track.source) for one in cuts], dtype=np.int64)
        which = np.repeat(source, counts)

    order = np.argsort(offset, kind="stable")
    if which is not None or _lateness(seconds.take(order)) > _MAX_LATENESS:
        turn = np.floor_divide(seconds, _CHUNK_SECONDS)
        order = np.lexsort((offset, turn) if which is None else (offset, which, turn))
    length = length.take(order)
    after = np.cumsum(length)
    position = np.empty_like(after)
    position[order] = after - length
    ordered = None if which is None else which[order]
    return Interleaved(
        chunk_samples=tuple(one.samples for one in chunks),
        chunk_position=tuple(np.split(position, np.cumsum(counts)[:-1])),
        length=int(after[-1]),
        parts=_parts(sources, ordered, offset.take(order), length),
    )


def _alone(sources: Sequence[SourceIdentity], chunks: _Chunks) -> Interleaved:
    """The only track, which lies in its source in the order of decoding."""
    after = np.cumsum(chunks.length)
    return Interleaved(
        chunk_samples=(chunks.samples,),
        chunk_position=(after - chunks.length,),
        length=int(after[-1]),
        parts=_parts(sources, None, chunks.offset, chunks.length),
    )


def _chunks(cut: Cut) -> _Chunks:
    track, samples = cut.track, cut.track.samples
    offset = samples.offset[cut.first : cut.last]
    size = samples.size[cut.first : cut.last]
    time = samples.decode_time[cut.first : cut.last] - (track.edit_media_time + cut.origin)
    begins = np.empty(len(size), dtype=np.bool_)
    np.not_equal(offset[:-1] + size[:-1], offset[1:], out=begins[1:])
    turn = _CHUNK_SECONDS * track.timescale
    first, last_turn = int(time[0]) // turn, int(time[-1]) // turn
    if last_turn - first < len(time):
        begins[np.searchsorted(time, np.arange(first, last_turn + 1) * turn)] = True
    else:  # a gap in time must not make a table of its length
        begins[1:] |= np.diff(time // turn) > 0
    begins[0] = True
    at = np.flatnonzero(begins)
    last = np.append(at[1:], len(size)) - 1
    length = offset[last] + size[last] - offset[at]
    return _Chunks(
        samples=last - at + 1,
        offset=offset[at],
        length=length,
        time=time[at],
        timescale=track.timescale,
    )


def _lateness(seconds: NDArray[np.float64]) -> float:
    """By how much media comes later in the file than media that is played after it, at most."""
    return float((np.maximum.accumulate(seconds) - seconds).max())


def _parts(
    sources: Sequence[SourceIdentity],
    which: NDArray[np.int64] | None,
    offset: NDArray[np.int64],
    length: NDArray[np.int64],
) -> tuple[Part, ...]:
    """The ranges, neighbours merged. ``which``: source of each range, None = the only one."""
    held = length > 0
    if not held.all():
        offset, length = offset[held], length[held]
        which = None if which is None else which[held]
        if not len(offset):
            return ()
    begins = np.empty(len(offset), dtype=np.bool_)
    begins[0] = True
    np.not_equal(offset[:-1] + length[:-1], offset[1:], out=begins[1:])
    if which is not None:
        begins[1:] |= which[1:] != which[:-1]
    at = np.flatnonzero(begins)
    last = np.append(at[1:], len(offset)) - 1
    ranges = offset[at], offset[last] + length[last] - offset[at]
    if which is None:
        return (FileRanges(sources[0], *ranges),)
    return (MixedRanges(tuple(sources), which[at], *ranges),)
