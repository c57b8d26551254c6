"""Decode times that are early enough: of what is presented when it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.media.track import Samples, Track
from sidecar.mux.decoding import decoding
from tests.support.tracks import video_track

PICTURE = 512
START = 10 * PICTURE


def track(offsets: list[int] | None, delay: int | None, timescale: int = 12_800) -> Track:
    """Pictures of 512 ticks with these composition offsets."""
    whole = video_track(seconds=2, timescale=timescale)
    count = 50 if offsets is None else len(offsets)
    samples = whole.samples
    kept = Samples(
        decode_time=START + PICTURE * np.arange(count + 1, dtype=np.int64),
        composition_offset=None if offsets is None else np.array(offsets, np.int32),
        size=samples.size[:count],
        offset=samples.offset[:count],
        sync=np.arange(count) == 0,
        fragment_start=None,
        delay=delay,
    )
    return replace(whole, samples=kept)


def presented(one: Track, first: int, last: int) -> list[int]:
    """As ``decoding`` has it."""
    times, offsets = decoding(one, first, last)
    offsets = np.zeros(last - first, np.int32) if offsets is None else offsets
    assert len(offsets) == last - first == len(times) - 1
    return (times[:-1] + offsets).tolist()


@pytest.mark.parametrize("delay", [None, 0, 1024])
def test_pictures_without_offsets_are_all_presented_so_much_later(delay: int | None) -> None:
    one = track(None, delay)
    times, offsets = decoding(one, 3, 9)
    assert times.tolist() == one.samples.decode_time[3:10].tolist()
    assert (offsets is None) == (not delay)
    later = delay or 0
    assert presented(one, 3, 9) == [time + later for time in times[:-1].tolist()]


def test_a_delay_that_is_enough_changes_no_decode_time() -> None:
    one = track([0, 1536, 0, -1024, -512, 512], 1024)
    times, offsets = decoding(one, 0, 6)
    assert times.tolist() == one.samples.decode_time.tolist()
    assert offsets is not None
    assert offsets.tolist() == [1024, 2560, 1024, 0, 512, 1536]


def test_a_picture_that_needs_more_is_decoded_when_it_is_presented() -> None:
    one = track([0, 1536, 0, -1024, -512, 512], 512)
    times, offsets = decoding(one, 0, 6)
    # The fourth is presented a picture after the second was to be decoded.
    assert (times - START).tolist() == [0, 512, 1023, 1024, 2048, 2560, 3072]
    assert offsets is not None
    assert offsets.tolist() == [512, 2048, 513, 0, 0, 1024]


def test_nothing_is_decoded_before_the_segment_begins() -> None:
    one = track([0, 0, -2048, 0], 0)
    times, _ = decoding(one, 0, 4)
    assert (times - START).tolist() == [0, 1, 2, 1536, 2048]
    assert presented(one, 0, 4) == [START, START + 512, START - 1024, START + 1536]


@given(
    offsets=st.lists(st.integers(-5, 5), min_size=1, max_size=40),
    delay=st.integers(0, 3),
    timescale=st.sampled_from([1000, 12_800, 10_000_000]),
    data=st.data(),
)
def test_times_ascend_and_pictures_stay_where_they_were(
    offsets: list[int], delay: int, timescale: int, data: st.DataObject
) -> None:
    one = track([PICTURE * at for at in offsets], PICTURE * delay, timescale)
    first = data.draw(st.integers(0, len(offsets) - 1))
    last = data.draw(st.integers(first + 1, len(offsets)))
    times, found = decoding(one, first, last)
    assert found is not None
    sent = one.samples.decode_time[first : last + 1]
    assert (times[0], times[-1]) == (sent[0], sent[-1])
    # Clocks of 90 kHz tell them apart, where there is room for that.
    assert int(np.diff(times).min()) >= min(PICTURE, max(1, timescale // 90_000))
    assert (times <= sent).all()
    shown = np.array(offsets[first:last]) * PICTURE + sent[:-1] + PICTURE * delay
    assert presented(one, first, last) == shown.tolist()
    # Each is decoded when it is presented at the latest, unless that is no later than the segment
    # begins, or what lies between has no room.
    steps = max(1, -(-timescale // 90_000)) * np.arange(last - first)
    late = np.minimum.accumulate((shown - steps)[::-1])[::-1] >= times[0]
    assert (found[late] >= 0).all()
