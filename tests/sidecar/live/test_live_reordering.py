"""By how much pictures are decoded earlier: the same whatever comes, and in whichever order."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sidecar.codecs.facts import VideoFacts
from sidecar.live import eras
from sidecar.live.index import PointIndex
from sidecar.live.model import IncomingTrack, SampleTable, TrackFragment
from sidecar.live.reordering import delay_of
from sidecar.media.track import Kind
from tests.support.pushed import track

PICTURE = 40
# Composition offsets of groups of pictures that begin without any, in pictures: as they come; one
# B-picture behind each; a pyramid of three.
FLAT = [0, 0, 0, 0, 0]
SINGLE = [0, 1, -1, 1, -1]
PYRAMID = [0, 3, 0, -2, -1]
# With two pictures in front that lead in to the first.
LEADING = [2, -1, -1, 0, 0]


def video(reordered: int | None) -> IncomingTrack:
    facts = VideoFacts(
        codec="avc1", sample_entry="avc1", fourcc="AVC1", width=640, height=360, reordered=reordered
    )
    return replace(track(1, Kind.VIDEO), facts=facts)


def fragment(
    offsets: Sequence[int], *, time: int = 0, later: int = 0, duration: Sequence[int] = (PICTURE,)
) -> TrackFragment:
    """Pictures with these offsets, ``later`` (ticks) all of them."""
    count = len(offsets)
    composed = PICTURE * np.array(offsets, np.int32) + later
    table = SampleTable(
        duration=np.resize(np.array(duration, np.uint32), count),
        size=np.ones(count, np.uint32),
        composition_offset=composed.astype(np.int32) if composed.any() else None,
        sync=np.arange(count) == 0,
        offset=np.arange(count),
    )
    total = int(table.duration.sum())
    return TrackFragment(track_ID=1, time=time, duration=total, begins=True, samples=table)


@pytest.mark.parametrize("offsets", [FLAT, SINGLE, PYRAMID, LEADING])
def test_what_may_be_reordered_counts_and_not_what_is(offsets: Sequence[int]) -> None:
    for part in (offsets, offsets[:1]) if offsets is not LEADING else (offsets,):
        assert delay_of(video(2), fragment(part)) == 2 * PICTURE


@pytest.mark.parametrize("offsets", [FLAT, SINGLE, PYRAMID, LEADING])
def test_offsets_with_room_enough_stay_what_they_are(offsets: Sequence[int]) -> None:
    assert delay_of(video(2), fragment(offsets, later=2 * PICTURE)) == 0
    assert delay_of(video(2), fragment(offsets, later=3 * PICTURE)) == 0
    # Some room is some room.
    assert delay_of(video(2), fragment(offsets, later=PICTURE)) == PICTURE


def test_where_nothing_is_said_the_first_fragment_shows_whether_pictures_are_reordered() -> None:
    assert delay_of(video(None), fragment(FLAT)) == 0
    assert delay_of(video(None), fragment(PYRAMID, later=2 * PICTURE)) == 0
    assert delay_of(video(None), fragment(SINGLE)) == 4 * PICTURE
    # More than is said is enough all the same; what is said of levels is not believed.
    assert delay_of(video(0), fragment(PYRAMID)) == 2 * PICTURE
    assert delay_of(video(16), fragment(FLAT)) == 4 * PICTURE
    assert delay_of(track(2, Kind.AUDIO), fragment(FLAT)) == 0


def test_times_in_milliseconds_are_uneven() -> None:
    uneven = (33, 33, 34)
    for first in range(3):
        turned = uneven[first:] + uneven[:first]
        assert delay_of(video(2), fragment(FLAT, duration=turned)) == 68
    # A still picture stands for as long as it does.
    assert delay_of(video(2), fragment(FLAT, duration=(40, 40, 40, 40, 5000))) == 80


# Rows


@pytest.fixture
def index(tmp_path: Path) -> PointIndex:
    made = PointIndex.open(tmp_path / "ch.db3", create=True)
    made.run("INSERT INTO track (stream, track_ID, header) VALUES ('main', 1, 1)")
    made.add_file("main", 1, "ch-1.mp4", 0)
    return made


def note(index: PointIndex, one: TrackFragment, described: IncomingTrack, name: str) -> None:
    (row,) = index.tracks()
    index.add(row, one, header=1, file=1, offset=0, length=1, now_ms=0)
    eras.note(index, 1, one, 1, name.encode(), described)


def test_each_era_has_its_own_in_whichever_order_fragments_come(index: PointIndex) -> None:
    groups = [(FLAT, "a"), (PYRAMID, "a"), (FLAT, "b"), (SINGLE, "b"), (PYRAMID, "a")]
    described = {"a": video(2), "b": video(1)}
    for order in itertools.permutations(range(len(groups))):
        index.run("DELETE FROM fragment")
        index.run("DELETE FROM era")
        for at in order:
            offsets, name = groups[at]
            note(index, fragment(offsets, time=200 * at), described[name], name)
        times = [(row.time, row.delay) for row in eras.rows(index)]
        assert times == [(0, 80), (400, 40), (800, 80)], order


def test_what_has_been_served_stays(index: PointIndex) -> None:
    note(index, fragment(FLAT, time=400), video(2), "a")
    before = eras.rows(index)
    # Of an encoder that is late by a picture: all that follows needs no more than that.
    note(index, fragment(PYRAMID, time=200, later=40), video(2), "a")
    note(index, fragment(PYRAMID, time=600, later=40), video(2), "a")
    (row,) = eras.rows(index)
    assert (row.time, row.delay) == (200, before[0].delay)


def test_an_index_of_before_gets_one_with_the_next_fragment(tmp_path: Path) -> None:
    path = tmp_path / "ch.db3"
    with closing(PointIndex.open(path, create=True)) as made:
        made.run("INSERT INTO track (stream, track_ID, header) VALUES ('main', 1, 1)")
        made.add_file("main", 1, "ch-1.mp4", 0)
        note(made, fragment(FLAT), video(2), "a")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE era DROP COLUMN composition_delay")
        connection.execute("ALTER TABLE fragment DROP COLUMN late")
        connection.execute("PRAGMA user_version = 2")
        connection.commit()
    with closing(PointIndex.open(path)) as again:
        assert [row.delay for row in eras.rows(again)] == [None]
        note(again, fragment(SINGLE, time=200), video(2), "a")
        assert [row.delay for row in eras.rows(again)] == [80]
        note(again, fragment(PYRAMID, time=400), video(3), "a")
        assert [row.delay for row in eras.rows(again)] == [80]
