"""Edit lists: from the composition times of a file to the presentation times that are served.

ISO/IEC 14496-12 8.6.6. Times are ticks of the track's timescale unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sidecar.boxes.leaf import Leaf
from sidecar.boxes.movie import Edit, read_elst
from sidecar.errors import InvalidMedia, UnsupportedMedia
from sidecar.media.columns import Columns
from sidecar.media.track import Kind, Samples, StoredFragments
from sidecar.units import rescale

Scalar = TypeVar("Scalar", bound=np.generic)

_NORMAL_RATE = 0x10000
# Decoders need some frames before the first that is heard (Opus: 80 ms): what ends more than a
# tenth of a second before is of no use to them.
_AUDIO_LEADS_PER_SECOND = 10
# Sums of a few times must stay within 64 bits.
_LATEST = 1 << 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What of the media is presented, and where: one stretch.

    ``media_time``: the composition time that is presented at ``delay``. ``end``: samples composed
    at or after it are not presented; None = up to the last.
    """

    media_time: int = 0
    delay: int = 0
    end: int | None = None


def edit_window(
    elst: Leaf | None, *, movie_timescale: int, timescale: int, fragmented: bool
) -> Window:
    """The stretch that an edit list presents; all of the media without one.

    Empty edits before it delay it. Edits that continue each other within one tick of the movie
    count as one. The end is one tick of the movie late, so that a rounded duration costs no sample.
    ``fragmented``: the durations cover only what the moov knew, so there is no end.

    Raises ``UnsupportedMedia`` for gaps, jumps, repetitions and a rate other than 1,
    ``InvalidMedia`` for times out of range.
    """
    if elst is None:
        return Window()
    edits = read_elst(elst)
    positions = [index for index, edit in enumerate(edits) if edit.media_time != -1]
    leading = edits[: positions[0]] if positions else edits
    delay = rescale(sum(edit.segment_duration for edit in leading), movie_timescale, timescale)
    if delay > _LATEST:
        raise elst.damaged("an empty edit is longer than any media", 8)
    if not positions:
        return Window(delay=delay)

    stretch = edits[positions[0] : positions[-1] + 1]
    # Only the last may have no duration ("to the end"); before others it presents nothing.
    media = [edit for edit in stretch[:-1] if edit.segment_duration] + [stretch[-1]]
    tick = -(-timescale // movie_timescale)
    for before, after in pairwise(media):
        jump = after.media_time - _end(before, movie_timescale, timescale)
        if after.media_time == -1 or abs(jump) > tick:
            raise _unsupported("the edit list has parts that do not join", elst)
    for edit in media:
        if not 0 <= edit.media_time <= _LATEST:
            raise elst.damaged(f"an edit begins at media time {edit.media_time}", 8)
        if edit.media_rate != _NORMAL_RATE:
            raise _unsupported("an edit changes the speed", elst)
    end = _end(media[-1], movie_timescale, timescale) + tick
    endless = fragmented or not media[-1].segment_duration or end > _LATEST
    return Window(media_time=media[0].media_time, delay=delay, end=None if endless else end)


def _end(edit: Edit, movie_timescale: int, timescale: int) -> int:
    return edit.media_time + rescale(edit.segment_duration, movie_timescale, timescale)


def _unsupported(sentence: str, elst: Leaf) -> UnsupportedMedia:
    return UnsupportedMedia(sentence, box_path=elst.box_path, offset=elst.offset)


def _damaged(sentence: str, where: tuple[str, int]) -> InvalidMedia:
    return InvalidMedia(sentence, box_path=where[0], offset=where[1])


def begin_with_picture(columns: Columns, window: Window) -> Window:
    """The window of an edited video, moved so that its first whole picture is presented first.

    An edit may begin inside a picture, or before the first one (media_time 0 and reordered
    pictures). Players then begin with the first picture composed in the edit, without a gap or a
    part of the picture before it, and so do we: sound and picture stay as far apart as they show
    it, which is up to one picture from the letter of 8.6.6.
    """
    composed = columns.composition_time
    inside = composed[composed >= window.media_time]
    return replace(window, media_time=int(inside.min())) if inside.size else window


def video_lead(columns: Columns, window: Window) -> int:
    """By how much a presentation must move later so that no sample of this video is before 0.

    More than 0 when the stretch begins between sync samples: decoding then begins at the sync
    sample before, and what that adds is shown.
    """
    bounds = _video_bounds(columns, window)
    if bounds is None:
        return 0
    earliest = int(columns.composition_time[bounds[0] : bounds[1]].min())
    return max(0, window.media_time - window.delay - earliest)


def present(
    columns: Columns,
    window: Window,
    *,
    kind: Kind,
    timescale: int,
    shift: int,
    where: tuple[str, int],
) -> tuple[Samples, int] | None:
    """The samples to serve, times normalised as ``Samples`` says, and ``edit_media_time``.

    ``columns`` are used up: their arrays become those of the result where they can.
    ``shift``: moves the presentation later (``video_lead`` of the file in this timescale). None
    when nothing is presented. Raises ``InvalidMedia`` (about ``where``: box path, byte offset) for
    times out of range.
    """
    if shift > _LATEST:
        raise _damaged("a presentation time is out of range", where)
    move = window.delay + shift - window.media_time
    if kind is Kind.VIDEO:
        bounds = _video_bounds(columns, window)
    else:
        lead = timescale // _AUDIO_LEADS_PER_SECOND if kind is Kind.AUDIO else 0
        bounds = _bounds(columns, window, -lead - move)
    if bounds is None:
        return None
    first, last = bounds
    start = int(columns.composition_time[first]) + move
    decode_time = _own(columns.decode_time, first, last + 1)
    if kind is Kind.TEXT:
        # What is shown already when the presentation begins needs no priming: it begins there.
        decode_time += start - int(decode_time[0])
        np.maximum(decode_time, 0, out=decode_time)
        start = max(0, start)
    decode_time += max(0, start) - int(decode_time[0])
    _lengthen_last(decode_time)
    sync: NDArray[np.bool_] | None = None
    if kind is Kind.VIDEO and columns.sync is not None and not columns.sync[first:last].all():
        sync = _own(columns.sync, first, last)
    fragment_start = columns.fragment_start
    if fragment_start is not None:
        fragment_start = np.unique(np.maximum(fragment_start, first) - first)
        fragment_start = fragment_start[fragment_start < last - first]
    samples = Samples(
        decode_time=decode_time,
        composition_offset=_relative_offsets(columns, first, last, where),
        size=_own(columns.size, first, last),
        offset=_own(columns.offset, first, last),
        sync=sync,
        fragment_start=fragment_start,
        stored=_stored(columns, first, last, move),
    )
    return samples, max(0, -start)


def _stored(columns: Columns, first: int, last: int, move: int) -> StoredFragments | None:
    """The stored fragments, unless something in one of them is not presented."""
    if columns.stored is None or first > 0 or last < len(columns):
        return None
    return replace(columns.stored, moved=move)


def _own(column: NDArray[Scalar], first: int, last: int) -> NDArray[Scalar]:
    """The part of a column, in memory of its own: a view would keep all of it."""
    return column if last - first == column.shape[0] else column[first:last].copy()


def _video_bounds(columns: Columns, window: Window) -> tuple[int, int] | None:
    """First and last + 1 sample: from the sync sample at or before the start of the window."""
    bounds = _bounds(columns, window, window.media_time)
    if bounds is None:
        return None
    composed = columns.composition_time
    if int(composed[0]) >= window.media_time:
        return 0, bounds[1]
    usable = composed <= window.media_time
    if columns.sync is not None:
        usable &= columns.sync
    before = np.flatnonzero(usable)
    first = int(before[-1]) if before.size else 0
    return (first, bounds[1]) if first < bounds[1] else None


def _bounds(columns: Columns, window: Window, start: int) -> tuple[int, int] | None:
    """First sample that ends after composition time ``start``, last + 1 before the window's end."""
    if not len(columns):
        return None
    composed = columns.composition_time
    last = len(columns)
    if window.end is not None and int(composed.max()) >= window.end:
        inside = np.flatnonzero(composed < window.end)
        if not inside.size:
            return None
        last = int(inside[-1]) + 1
    # A sample without a duration counts as one tick: it is there to be shown.
    first_length = max(1, int(columns.decode_time[1] - columns.decode_time[0]))
    if int(composed[0]) + first_length > start:
        return 0, last
    ends = np.maximum(np.diff(columns.decode_time), 1)
    ends += composed
    heard = np.flatnonzero(ends[:last] > start)
    return (int(heard[0]), last) if heard.size else None


def _lengthen_last(decode_time: NDArray[np.int64]) -> None:
    """Gives a last sample without a duration that of the last one that has one, or one tick.

    Muxers that do not know when the last picture ends write 0; players drop such a picture.
    """
    if decode_time[-1] == decode_time[-2]:
        lengths = np.diff(decode_time)
        known = np.flatnonzero(lengths)
        decode_time[-1] += lengths[known[-1]] if known.size else 1


def _relative_offsets(
    columns: Columns, first: int, last: int, where: tuple[str, int]
) -> NDArray[np.int32] | None:
    """Composition offsets against that of the first sample; None when all are 0."""
    if columns.composition_offset is None:
        return None
    offsets = columns.composition_offset[first:last]
    base = int(offsets[0])
    low, high = int(offsets.min()) - base, int(offsets.max()) - base
    if low == high == 0:
        return None
    # Fragments are written with offsets that are not negative: the whole spread must fit.
    if high - low >= 1 << 31:
        raise _damaged("composition offsets differ by more than 32 bits hold", where)
    return offsets - np.int32(base)
