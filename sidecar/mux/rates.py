"""Rates measured from the samples: bits and pictures per second."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sidecar.media.track import Track
from sidecar.timeline.segments import SegmentList

# Bytes of a CMAF segment beside its samples and their rows, at the most.
_SEGMENT_OVERHEAD = 180
_FRACTION_LIMIT = 1001
# Windows that start at one segment and are looked at, from the shortest that counts.
_WINDOWS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class BitRates:
    """Bits per second of a segment list, rounded up: ``peak`` and ``average`` as RFC 8216
    4.3.4.2 defines the peak segment bit rate and the average segment bit rate."""

    peak: int
    average: int


def bit_rates(track: Track, segments: SegmentList) -> BitRates:
    """Bit rates of the CMAF segments of ``track``, boxes included.

    The peak is the largest rate of contiguous segments that last 0.5 to 1.5 target durations.
    """
    samples = track.samples
    first = segments.first_sample
    count = np.diff(first)
    size = np.add.reduceat(samples.size, first[:-1], dtype=np.int64)
    has_offsets = samples.composition_offset is not None or samples.composition_delay > 0
    row = np.full(len(segments), 8 if has_offsets else 4)
    span = np.diff(samples.decode_time[first])
    duration = samples.decode_time[first[:-1] + 1] - samples.decode_time[first[:-1]]
    row[span != duration * count] += 4
    if samples.sync is not None and np.count_nonzero(samples.sync) > len(segments):
        row += 4
    return measured(size + row * count + _SEGMENT_OVERHEAD, segments)


def key_frame_rates(track: Track, key_frames: SegmentList) -> BitRates:
    """Bit rates of the one-sample segments of an I-frame playlist of ``track``."""
    size = track.samples.size[key_frames.first_sample[:-1]].astype(np.int64)
    return measured(size + _SEGMENT_OVERHEAD, key_frames)


def measured(size: NDArray[np.int64], segments: SegmentList) -> BitRates:
    """Bit rates of segments of ``size`` bytes (int64[n])."""
    count = len(segments)
    bits = np.concatenate(([0], np.cumsum(8 * size)))
    time = (segments.start - segments.start[0]) / segments.timescale
    average = float(bits[-1]) / float(time[-1])

    target = max(1.0, np.floor(np.diff(time).max() + 0.5))
    begin = np.arange(count)
    end = np.searchsorted(time, time[:-1] + 0.5 * target)
    peak = 0.0
    for _ in range(_WINDOWS):
        inside = end <= count
        inside[inside] &= time[end[inside]] - time[begin[inside]] <= 1.5 * target
        if not inside.any():
            break
        begin, end = begin[inside], end[inside]
        peak = max(peak, float(((bits[end] - bits[begin]) / (time[end] - time[begin])).max()))
        end = end + 1
    return BitRates(peak=int(np.ceil(max(peak, average))), average=int(np.ceil(average)))


def frame_rate(track: Track) -> Fraction:
    """Pictures per second of a video track: its average, or the usual rate next to it.

    Timestamps of coarse timescales make 23.976 look like 23.97597: within 0.03 % of a whole
    number n, or of n/1.001, it is that. Of a live track, pauses do not count, or each picture that
    an encoder leaves out would make it another one for as long as it is at hand.
    """
    decode_time, size = track.samples.decode_time, track.samples.size
    count, span = len(size), int(decode_time[-1] - decode_time[0])
    is_live = track.samples.delay is not None
    if is_live or not size.all():
        # What was never received of a live track is there as samples without bytes.
        held, duration = size > 0, np.diff(decode_time)
        if is_live and held.any():
            held &= duration <= 1.5 * np.median(duration[held])
        count, span = int(held.sum()), int(duration[held].sum())
    if not span:
        return Fraction(0)
    average = Fraction(count * track.timescale, span)
    whole = round(average)
    for usual in (Fraction(whole), Fraction(whole * 1000, 1001)):
        if usual and abs(average - usual) <= usual * 3 / 10000:
            return usual
    return average.limit_denominator(_FRACTION_LIMIT)
