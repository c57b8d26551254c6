"""What becomes of fragments whose times are a little off: only what lies at their boundaries moves,
and nothing adds up."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.live.connection import Outcome
from sidecar.live.index import FragmentRow, PointIndex
from sidecar.live.model import Fragment, Header, TrackFragment
from sidecar.live.point import Point
from sidecar.media.track import Kind
from tests.support.pushed import NOW, SECOND, audio, header, manifest, part, track, video, wrapped

ADDED, DUPLICATE, LATE = Outcome.ADDED, Outcome.DUPLICATE, Outcome.LATE
SAMPLE, COUNT = 40, 12
# By how many samples those of a fragment are shown later than they are decoded.
ORDERS = {
    "as decoded": None,
    "closed": [2, 4, 1, 1, 4, 1, 1, 4, 1, 1, 2, 2],
    "closed, none late": [0, 2, -1, -1, 2, -1, -1, 2, -1, -1, 0, 0],
    "open": [4, 1, 1, 4, 1, 1, 4, 1, 1, 4, 1, 1],
    "open, two deep": [5, 2, 0, 1, 5, 2, 0, 1, 5, 2, 0, 1],
}
PICTURES = header(track(1, Kind.VIDEO))
SOUND = header(track(2, Kind.AUDIO), digest=b"2")
WORDS = header(track(1, Kind.VIDEO), replace(track(3, Kind.AUDIO), kind=Kind.TEXT, timescale=1000))


def pictures(number: int, late: int = 0, order: str = "as decoded") -> TrackFragment:
    made = part(1, number * COUNT * SAMPLE + late, COUNT, SAMPLE, 16, video=True)
    offsets = ORDERS[order]
    if offsets is not None:
        shown = SAMPLE * np.array(offsets, np.int32)
        made = replace(made, samples=replace(made.samples, composition_offset=shown))
    return made


@contextmanager
def point_of(
    first: Header,
) -> Iterator[tuple[list[Outcome], Callable[..., None], PointIndex]]:
    """Outcomes of what is pushed, what pushes it, and the index."""
    with tempfile.TemporaryDirectory() as folder:
        path, options = manifest(Path(folder))
        point = Point.open(path, options, NOW)
        index = PointIndex.open(path.with_suffix(".db3"))
        connection = point.connect("main", "a")
        connection.take(first, NOW)
        outcomes: list[Outcome] = []

        def push(*fragments: Fragment) -> None:
            outcomes.extend(
                connection.take(one, NOW + (len(outcomes) + at) * SECOND).outcome
                for at, one in enumerate(fragments)
            )

        try:
            yield outcomes, push, index
        finally:
            index.close()
            point.close(NOW)


def rows_of(
    first: Header, fragments: Sequence[TrackFragment], number: int = 1
) -> tuple[list[Outcome], list[FragmentRow]]:
    """What became of ``fragments``, and the rows of track ``number`` then."""
    with point_of(first) as (outcomes, push, index):
        push(*(wrapped(one) for one in fragments))
        return outcomes, list(index.fragments(number, -(1 << 40), 1 << 40))


def columns(row: FragmentRow | TrackFragment) -> tuple[np.ndarray, np.ndarray]:
    """When samples are decoded, and when they are shown."""
    table = row.samples
    decoded = row.time + np.cumsum(table.duration, dtype=np.int64) - table.duration
    offsets = table.composition_offset
    return decoded, decoded if offsets is None else decoded + offsets


def shown_until(row: FragmentRow) -> int:
    _, shown = columns(row)
    return int((shown + row.samples.duration).max())


# Two that follow each other are less than half a sample apart.
jitters = st.lists(st.integers(-8, 8), min_size=2, max_size=8)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(ORDERS)), jitters, st.integers(-2, 2))
def test_only_the_boundary_moves(order: str, jitter: list[int], drift: int) -> None:
    sent = [pictures(at, late + drift * at, order) for at, late in enumerate(jitter)]
    outcomes, rows = rows_of(PICTURES, sent)
    assert outcomes == [ADDED] * len(sent)
    assert [row.sequence - rows[0].sequence for row in rows] == list(range(len(rows)))
    for one, row in zip(sent, rows, strict=True):
        assert row.time + row.duration == one.time + one.duration
    least = 0 if ORDERS[order] is None else SAMPLE * min(ORDERS[order])
    for one, before, row in zip(sent[1:], rows, rows[1:], strict=False):
        assert row.time == before.time + before.duration
        (was_decoded, was_shown), (decoded, shown) = columns(one), columns(row)
        assert int((shown - decoded).min()) >= least
        first = int(np.argmin(was_shown))
        assert int(np.argmin(shown)) == first
        assert shown[first] == shown_until(before)
        assert abs(int(shown[first] - was_shown[first])) <= SAMPLE // 2
        rest = np.arange(COUNT) != first
        assert (shown[rest] == was_shown[rest]).all()
        assert (decoded[first + 1 :] == was_decoded[first + 1 :]).all()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("missing", [1, 3, 5])
def test_a_fragment_that_counts_as_the_next_one_leaves_no_hole(order: str, missing: int) -> None:
    sent = [pictures(at, (at > 1) * missing * SAMPLE, order) for at in range(4)]
    _, rows = rows_of(PICTURES, sent)
    assert [row.sequence for row in rows] == [0, 1, 2, 3]
    for before, row in pairwise(rows):
        assert row.time == before.time + before.duration
        _, shown = columns(row)
        assert int(shown.min()) == shown_until(before)
    (_, was_shown), (_, shown) = columns(sent[2]), columns(rows[2])
    assert np.count_nonzero(was_shown != shown) == 1


@pytest.mark.parametrize("missing", [6, 13, 30])
def test_a_hole_stays_one(missing: int) -> None:
    sent = [pictures(at, (at > 1) * missing * SAMPLE) for at in range(4)]
    _, rows = rows_of(PICTURES, sent)
    assert [row.time for row in rows] == [one.time for one in sent]


def test_what_fills_a_hole_ends_where_the_next_one_begins() -> None:
    sent = [pictures(0), pictures(1), pictures(3, 7), pictures(2, -5)]
    outcomes, rows = rows_of(PICTURES, sent)
    assert outcomes == [ADDED] * 4
    assert [row.time for row in rows] == [0, 480, 960, 1447]
    for before, row in pairwise(rows):
        assert row.time == before.time + before.duration
    assert rows[2].samples.duration.tolist() == [35, *[40] * 10, 52]


def test_the_same_fragments_of_another_encoder_are_duplicates() -> None:
    with point_of(PICTURES) as (outcomes, push, _):
        for at in range(6):
            push(wrapped(pictures(at, 5 * (at % 3))), wrapped(pictures(at, -7 * (at % 2))))
        assert outcomes == [ADDED, DUPLICATE] * 6


def test_sound_joins_as_pictures_do() -> None:
    one, other = audio(0).tracks[0], audio(2).tracks[0]
    _, rows = rows_of(SOUND, [one, replace(other, time=other.time - 300)])
    assert [row.time for row in rows] == [one.time, one.time + one.duration]
    assert rows[1].samples.duration[:2].tolist() == [724, 1024]
    assert rows[1].samples.composition_offset is None


def chunk(number: int, at: int, late: int) -> TrackFragment:
    """Half a fragment."""
    whole = pictures(number, late)
    half = part(1, whole.time + at * 6 * SAMPLE, 6, SAMPLE, 16, video=True)
    if at:
        half = replace(half, begins=False, samples=replace(half.samples, sync=np.zeros(6, bool)))
    return half


def test_chunks_join_within_half_a_sample() -> None:
    late = [0, 3, -4, 15, 0, 21]
    sent = [chunk(at // 2, at % 2, late[at]) for at in range(6)]
    outcomes, rows = rows_of(PICTURES, sent)
    # Nothing that follows a picture that is missing can be decoded.
    assert outcomes == [ADDED] * 5 + [LATE]
    assert [row.sequence for row in rows] == [0, 0, 1, 1, 2]
    for before, row in pairwise(rows):
        assert row.time == before.time + before.duration


def test_silence_is_no_hole() -> None:
    words = [part(3, time, 1, 900, 16, video=False) for time in (0, 901, 1790, 2694)]
    _, rows = rows_of(WORDS, words, 2)
    assert [(row.time, row.duration) for row in rows] == [
        *((0, 900), (900, 901), (1801, 889), (2694, 900)),
    ]


def test_pictures_of_an_encoder_that_reorders_are_shown_when_it_says() -> None:
    """One that does goes on for one that does not: what is shown first is not near."""
    sent = [pictures(0), pictures(1), pictures(2, 6, "closed")]
    _, rows = rows_of(PICTURES, sent)
    assert rows[2].time == 960
    assert columns(rows[2])[1].tolist() == columns(sent[2])[1].tolist()


def test_times_that_fit_are_those_that_were_sent() -> None:
    _, rows = rows_of(PICTURES, [video(at).tracks[0] for at in range(0, 10, 2)])
    assert [row.time for row in rows] == [0, 2000, 4000, 6000, 8000]
    assert all((row.samples.duration == 40).all() for row in rows)
