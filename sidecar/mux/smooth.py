"""Smooth Streaming fragments of one track ([MS-SSTR] 2.2.4): moof and mdat, times of 100 ns.

Smooth has no edit lists, and its clients take a fragment's time for the decode time of its first
sample and composition offsets for unsigned. So everything is presented later than in the other
formats, by as much as lets no offset and no time be negative (``clock_for``): the delay of
reordered pictures or the priming of audio, whatever is more. Video's composition offsets grow by
that, so that its fragment times are those of the other formats; of audio and text the times
themselves grow. Sound and picture stay exactly as far apart as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sidecar.boxes.piff import tfrf, tfxd
from sidecar.errors import UnsupportedMedia
from sidecar.media.track import Kind, Track
from sidecar.mux.plan import FileRanges, Inline, Part
from sidecar.mux.ranges import byte_ranges
from sidecar.mux.runs import MFHD, Run, column_slice, mdat_header, run_boxes

TIMESCALE = 10_000_000

_UINT32_MAX = 0xFFFFFFFF
_INT32_MAX = 0x7FFFFFFF
_INT32_MIN = -0x80000000
# Times stay within 62 bits, so that sums of two do within 63.
_LATEST = 1 << 62
_BOX = struct.Struct(">I4s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """``timescale``: ticks per second that fragments are written in. ``shift``: ticks of it by
    which they are presented later than in the other formats."""

    timescale: int = TIMESCALE
    shift: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Samples ``first`` .. ``last``-1 as one fragment from ``start`` to ``end``, ticks of a Clock:
    decode times, which follow each other without gaps. ``following``: begin and duration of the
    fragments that come next, for clients that are told so by fragments; None where the manifest
    lists all there will be."""

    first: int
    last: int
    start: int
    end: int
    following: Sequence[tuple[int, int]] | None = None


def clock_for(tracks: Iterable[Track]) -> Clock:
    """The clock that all fragments of ``tracks``, a presentation, are written by."""
    shift = 0
    for track in tracks:
        if track.kind is Kind.TEXT or not len(track.samples):
            continue
        if delayed_by_offset(track):
            delay = track.samples.composition_delay
            shift = max(shift, -(-delay * TIMESCALE // track.timescale))
        shift = max(shift, -at_clock(first_time(track), track.timescale, TIMESCALE))
    return Clock(shift=shift)


def delayed_by_offset(track: Track) -> bool:
    """Whether ``Clock.shift`` goes into the composition offsets of ``track``, not its times."""
    return track.kind is Kind.VIDEO


def first_time(track: Track) -> int:
    """Decode time of the first sample as presentations count, ticks: negative when it primes."""
    return int(track.samples.decode_time[0]) - track.edit_media_time


def at_clock(ticks: int, timescale: int, target: int) -> int:
    """``ticks`` of ``timescale`` in ticks of ``target``, rounded to nearest, halves up.

    Raises ``UnsupportedMedia`` when the result has more than 62 bits.
    """
    scaled = (2 * ticks * target + timescale) // (2 * timescale)
    if abs(scaled) > _LATEST:
        raise UnsupportedMedia("a time is too large for Smooth Streaming")
    return scaled


def column_at_clock(ticks: NDArray[np.int64], timescale: int, target: int) -> NDArray[np.int64]:
    """``at_clock`` of times that lie between the first and the last, or little beyond; int64[n]."""
    if timescale == target:
        return ticks
    if len(ticks):
        at_clock(int(ticks[0]), timescale, target)
        at_clock(int(ticks[-1]), timescale, target)
    whole, rest = np.divmod(ticks, timescale)
    # In two parts: the product of a large time and the timescale would not fit 64 bits.
    scaled: NDArray[np.int64] = whole * target
    scaled += (2 * target * rest + timescale) // (2 * timescale)
    return scaled


def fragment(
    track: Track, span: Span, clock: Clock, sequence_number: int
) -> tuple[tuple[Part, ...], int]:
    """The parts of a fragment, and how many bytes of them are the ``moof``.

    Durations come from absolute times: they add up to exactly ``span.end - span.start``. The
    samples are ranges of the source.
    """
    return _of_samples(track, span, _run(track, span, clock), sequence_number)


def key_frame(
    track: Track, span: Span, clock: Clock, sequence_number: int
) -> tuple[tuple[Part, ...], int]:
    """As ``fragment``, of the first sample of ``span`` alone, which lasts all of it."""
    first = track.samples.decode_time[span.first : span.first + 1]
    start = np.array([span.start], dtype=np.int64)
    run = Run(
        base_time=span.start,
        duration=np.array([min(span.end - span.start, _UINT32_MAX)], dtype=np.int64),
        size=track.samples.size[span.first : span.first + 1],
        composition=_composition(track, span.first, first, start, clock),
        sync=None,
    )
    alone = replace(span, last=span.first + 1)
    return _of_samples(track, alone, run, sequence_number)


def document(data: bytes, span: Span, sequence_number: int) -> tuple[tuple[Part, ...], int]:
    """As ``fragment``, of one sample ``data`` that lasts all of ``span`` (text)."""
    run = Run(
        base_time=span.start,
        duration=np.array([min(span.end - span.start, _UINT32_MAX)], dtype=np.int64),
        size=np.array([len(data)], dtype=np.uint32),
        composition=None,
        sync=None,
    )
    head, moof_size = _head(span, run, len(data), sequence_number)
    return (Inline(head + data),), moof_size


def sample_data(track: Track, span: Span) -> tuple[Part, ...]:
    """The samples of a fragment without any box."""
    offset, length = byte_ranges(track.samples, span.first, span.last)
    return (FileRanges(track.source, offset, length),) if len(offset) else (Inline(b""),)


def _run(track: Track, span: Span, clock: Clock) -> Run:
    samples = track.samples
    decode_time = samples.decode_time[span.first : span.last + 1]
    base = column_at_clock(decode_time - track.edit_media_time, track.timescale, clock.timescale)
    if not delayed_by_offset(track):
        base = base + clock.shift
    # Where decode times do not meet the boundaries (uneven pictures), the samples next to them
    # do: fragments follow each other without gaps whatever happens inside.
    base = np.clip(base, span.start, span.end)
    base[0], base[-1] = span.start, span.end
    return Run(
        base_time=span.start,
        # A subtitle may last longer than 32 bits of 100 ns hold: tfxd says until when.
        duration=np.minimum(np.diff(base), _UINT32_MAX),
        size=samples.size[span.first : span.last],
        composition=_composition(track, span.first, decode_time[:-1], base[:-1], clock),
        sync=column_slice(samples.sync, span.first, span.last),
    )


def _composition(
    track: Track,
    first: int,
    decode_time: NDArray[np.int64],
    base: NDArray[np.int64],
    clock: Clock,
) -> NDArray[np.int32] | None:
    """Composition offsets of the samples from ``first`` on that are decoded at ``base``, ticks of
    ``clock``; ``decode_time``: the same in the track's terms."""
    offset = column_slice(track.samples.composition_offset, first, first + len(base))
    if offset is None and not (delayed_by_offset(track) and clock.shift):
        return None
    presented = decode_time - track.edit_media_time
    if offset is not None:
        presented = presented + offset
    late = column_at_clock(presented, track.timescale, clock.timescale) + clock.shift - base
    if int(late.min()) < _INT32_MIN or int(late.max()) > _INT32_MAX:
        raise UnsupportedMedia(
            "a composition offset is too large for Smooth Streaming", path=track.source.path
        )
    return late.astype(np.int32)


def _of_samples(
    track: Track, span: Span, run: Run, sequence_number: int
) -> tuple[tuple[Part, ...], int]:
    offset, length = byte_ranges(track.samples, span.first, span.last)
    head, moof_size = _head(span, run, int(np.add.reduce(length)), sequence_number)
    if not len(offset):
        return (Inline(head),), moof_size
    return (Inline(head), FileRanges(track.source, offset, length)), moof_size


def _head(span: Span, run: Run, payload: int, sequence_number: int) -> tuple[bytes, int]:
    """``moof`` and the header of ``mdat`` before ``payload`` bytes; and the size of the former."""
    mdat = mdat_header(payload)
    # Version 0, whose offsets are unsigned, is all that PIFF knows.
    signed = run.composition is not None and int(run.composition.min()) < 0
    tfhd, trun = run_boxes(run, version=1 if signed else 0)
    times = tfxd(span.start, span.end - span.start)
    if span.following is not None:
        times += tfrf(span.following)
    traf_size = _BOX.size + len(tfhd) + trun.size + len(times)
    moof_size = _BOX.size + MFHD.size + traf_size
    head = b"".join(
        (
            _BOX.pack(moof_size, b"moof"),
            MFHD.pack(MFHD.size, b"mfhd", 0, sequence_number & _UINT32_MAX),
            _BOX.pack(traf_size, b"traf"),
            tfhd,
            trun.box(moof_size + len(mdat)),
            times,
            mdat,
        )
    )
    return head, moof_size
