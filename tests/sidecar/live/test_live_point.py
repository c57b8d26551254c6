"""A publishing point and its encoders: what is kept, what is dropped, when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.errors import Conflict, InvalidMedia
from sidecar.live import eras, ledger
from sidecar.live.connection import Connection, Outcome
from sidecar.live.index import PointIndex
from sidecar.live.ledger import ConnectionState
from sidecar.live.model import EndOfStream, Fragment
from sidecar.live.point import Point
from sidecar.live.writer import PointState
from sidecar.media.track import Kind
from tests.support.pushed import (
    AUDIO_SCALE,
    NOW,
    SECOND,
    audio,
    both,
    content,
    header,
    manifest,
    part,
    times,
    track,
    video,
    wrapped,
)

VIDEO = header(track(1, Kind.VIDEO))
AUDIO = header(track(2, Kind.AUDIO), digest=b"2")


class Pushed:
    """A point and a clock that goes on with what is pushed."""

    def __init__(self, folder: Path, **options: object) -> None:
        path, given = manifest(folder, **options)
        self.now = NOW
        self.path = path
        self.point = Point.open(path, given, NOW)
        self.index = PointIndex.open(path.with_suffix(".db3"))

    def connect(self, stream: str = "main", name: str = "a", first: object = None) -> Connection:
        connection = self.point.connect(stream, name)
        connection.take(first or header(), self.now)
        return connection

    def push(self, connection: Connection, *fragments: Fragment) -> list[Outcome]:
        outcomes = []
        for one in fragments:
            self.now += SECOND
            outcomes.append(connection.take(one, self.now).outcome)
        return outcomes


@pytest.fixture
def pushed(tmp_path: Path) -> Iterator[Pushed]:
    made = Pushed(tmp_path)
    yield made
    made.point.close(made.now)


ADDED, DUPLICATE, LATE = Outcome.ADDED, Outcome.DUPLICATE, Outcome.LATE


def test_a_point_from_its_first_header_to_its_last_fragment(pushed: Pushed) -> None:
    point = pushed.point
    assert point.state is PointState.IDLE
    connection = pushed.connect()
    assert point.state is PointState.STARTING
    assert pushed.push(connection, both(0), both(2), both(4)) == [ADDED] * 3
    assert point.state is PointState.STARTED
    assert [row.bitrate for row in pushed.index.tracks()] == [2000, 4000]
    taken = connection.take(EndOfStream(), pushed.now)
    assert point.state is PointState.STOPPED
    assert "stopped" in taken.note
    assert times(pushed.index) == [0, 2000, 4000]


def test_bytes_of_a_fragment_lie_where_its_row_says(pushed: Pushed, tmp_path: Path) -> None:
    connection = pushed.connect()
    pushed.push(connection, both(0), both(2))
    (file,) = pushed.index.files()
    data = (tmp_path / file.name).read_bytes()
    assert data == header().data + both(0).data + both(2).data
    assert file.size == len(data)
    for row, expected in zip(
        pushed.index.newer(0), (both(0), both(0), both(2), both(2)), strict=True
    ):
        assert data[row.offset : row.offset + row.length] == expected.data


def test_readers_hear_of_every_commit_whatever_the_clock_does(pushed: Pushed) -> None:
    connection = pushed.connect()
    seen = [pushed.index.stamp.stat().st_mtime_ns]
    for second, now in ((0, NOW + SECOND), (2, NOW - 3600 * SECOND), (4, NOW), (6, NOW)):
        connection.take(both(second), now)
        seen.append(pushed.index.stamp.stat().st_mtime_ns)
    assert seen == sorted(set(seen))
    connection.take(both(6), NOW + 99 * SECOND)  # nothing new
    assert pushed.index.stamp.stat().st_mtime_ns == seen[-1]


def test_times_of_arrival_do_not_go_back_with_the_clock(pushed: Pushed) -> None:
    connection = pushed.connect()
    for second, now in ((0, NOW), (2, NOW - 10 * SECOND), (4, NOW + SECOND)):
        connection.take(video(second), now)
    came = [row.received_ms for row in pushed.index.newer(0)]
    assert came == [NOW // 10**6, NOW // 10**6, NOW // 10**6 + 1000]
    # A clock that was a day ahead must not hold all that follows in the future.
    connection.take(video(6), NOW - 86_400 * SECOND)
    assert pushed.index.newer(0)[-1].received_ms == NOW // 10**6 - 86_400_000


def test_the_first_that_comes_is_kept(pushed: Pushed) -> None:
    first, second = pushed.connect(name="a"), pushed.connect(name="b")
    assert pushed.push(first, both(0), both(2)) == [ADDED, ADDED]
    assert pushed.push(second, both(0), both(2), both(4)) == [DUPLICATE, DUPLICATE, ADDED]
    assert pushed.push(first, both(4), both(6)) == [DUPLICATE, ADDED]
    assert times(pushed.index) == [0, 2000, 4000, 6000]
    counted = [(one.added, one.duplicate, one.late) for one in ledger.deliveries(pushed.index)]
    assert counted == [(3, 1, 0)] * 2 + [(1, 2, 0)] * 2


def test_either_encoder_may_die(pushed: Pushed) -> None:
    first, second = pushed.connect(name="a"), pushed.connect(name="b")
    pushed.push(first, both(0), both(2))
    pushed.push(second, both(0))
    first.end(ConnectionState.BROKEN, pushed.now)
    pushed.push(second, both(2), both(4), both(6))
    again = pushed.connect(name="a")
    assert pushed.push(again, both(2), both(4), both(8)) == [DUPLICATE, DUPLICATE, ADDED]
    second.end(ConnectionState.BROKEN, pushed.now)
    assert pushed.push(again, both(10)) == [ADDED]
    assert times(pushed.index) == list(range(0, 12_000, 2000))
    assert pushed.point.state is PointState.STARTED
    assert len(pushed.index.files()) == 1


def test_a_hole_is_filled_by_the_other_encoder(pushed: Pushed) -> None:
    first, second = pushed.connect(name="a"), pushed.connect(name="b")
    pushed.push(first, both(0), both(2), both(6), both(8))
    assert pushed.push(second, both(4)) == [ADDED]
    rows = pushed.index.all("SELECT sequence FROM fragment WHERE track = 1 ORDER BY time")
    assert [row[0] for row in rows] == [0, 1, 2, 3, 4]


def test_what_lies_before_the_first_that_came_has_its_place(pushed: Pushed) -> None:
    first, second = pushed.connect(name="a"), pushed.connect(name="b")
    pushed.push(first, both(6))
    assert pushed.push(second, both(0), both(2), both(4)) == [ADDED] * 3
    rows = pushed.index.all("SELECT time, sequence FROM fragment WHERE track = 1 ORDER BY time")
    assert rows == [(0, 0), (2000, 1), (4000, 2), (6000, 3)]


def test_a_hole_is_not_waited_for_for_ever(pushed: Pushed) -> None:
    first, second = pushed.connect(name="a"), pushed.connect(name="b")
    pushed.push(first, both(0), both(4), *(both(at) for at in range(6, 20, 2)))
    pushed.now += 1
    taken = second.take(both(2), pushed.now)
    assert taken.outcome is LATE
    assert "track_name=video stream.time=20000 fragment.time=2000" in taken.note
    assert second.take(both(2), pushed.now).note == ""


def test_encoders_that_cut_sound_elsewhere_overlap_in_nothing(pushed: Pushed) -> None:
    first, second = pushed.connect("sound", "a", AUDIO), pushed.connect("sound", "b", AUDIO)
    frames = wrapped(part(2, 0, 100, 1024, 16, video=False))
    shifted = wrapped(part(2, 97 * 1024, 100, 1024, 16, video=False))
    later = wrapped(part(2, 300 * 1024, 100, 1024, 16, video=False))
    between = wrapped(part(2, 195 * 1024, 107, 1024, 16, video=False))
    pushed.push(first, frames, later)
    assert pushed.push(second, shifted, between) == [ADDED, ADDED]
    rows = pushed.index.fragments(1, 0, 1 << 40)
    assert [(row.time // 1024, row.duration // 1024) for row in rows] == [
        (0, 100),
        (100, 97),
        (197, 103),
        (300, 100),
    ]
    assert [len(row.samples.size) for row in rows] == [100, 97, 103, 100]
    # The three frames that were there already are not those that are taken.
    assert rows[1].samples.offset[0] == 16 + 3 * 10


def test_pictures_that_refer_to_others_are_not_cut_at_their_begin(pushed: Pushed) -> None:
    first, second = pushed.connect(first=VIDEO), pushed.connect(name="b", first=VIDEO)
    pushed.push(first, video(0), video(2))
    assert pushed.push(second, video(3, 4)) == [DUPLICATE]
    assert pushed.push(second, video(2, shift=1)) == [DUPLICATE]
    assert pushed.push(second, video(4, shift=-1)) == [ADDED]
    assert times(pushed.index) == [0, 2000, 4000]


def test_an_encoder_that_begins_anew_is_refused_once_and_clearly(pushed: Pushed) -> None:
    first = pushed.connect()
    pushed.push(first, *(both(at) for at in range(0, 70, 2)))
    first.end(ConnectionState.BROKEN, pushed.now)
    again = pushed.connect()
    with pytest.raises(Conflict) as caught:
        pushed.push(again, both(0))
    assert caught.value.sentence.startswith("Stream goes on, cannot restart (track_name=video ")
    assert "stream.time=70000 fragment.time=0 " in caught.value.sentence
    assert pushed.push(pushed.connect(name="c"), both(70)) == [ADDED]


def test_times_of_another_clock_are_refused(pushed: Pushed) -> None:
    connection = pushed.connect()
    pushed.push(connection, both(0))
    with pytest.raises(Conflict, match="do not count from 1970"):
        pushed.push(connection, both(NOW // SECOND))
    with pytest.raises(InvalidMedia):
        pushed.push(connection, wrapped(part(1, 1 << 61, 1, 40, 16, video=True)))
    assert pushed.push(connection, both(2)) == [ADDED]


def test_times_since_1970_are_those_of_the_clock(pushed: Pushed) -> None:
    connection = pushed.connect()
    pushed.push(connection, both(NOW // SECOND))
    assert pushed.index.setting("epoch_ms") == "0"


def test_other_times_begin_when_the_first_fragment_came(pushed: Pushed) -> None:
    connection = pushed.connect(first=VIDEO)
    connection.take(video(100), NOW)
    connection.take(video(102), NOW + 60 * SECOND)
    assert pushed.index.setting("epoch_ms") == str(NOW // 10**6 - 102_000)


def test_it_ends_with_the_last_of_its_streams(pushed: Pushed) -> None:
    pictures = pushed.connect("v", first=VIDEO)
    sound = pushed.connect("a", first=AUDIO)
    pushed.push(pictures, video(0), video(2))
    pushed.push(sound, audio(0), audio(2))
    pictures.take(EndOfStream(), pushed.now)
    assert pushed.point.state is PointState.STOPPING
    assert pushed.push(sound, audio(4)) == [ADDED]
    assert pushed.point.state is PointState.STOPPING
    sound.take(EndOfStream(), pushed.now)
    assert pushed.point.state is PointState.STOPPED


def test_a_stream_ends_with_the_last_of_its_encoders(pushed: Pushed) -> None:
    first, second = pushed.connect(name="a"), pushed.connect(name="b")
    pushed.push(first, both(0), both(2))
    pushed.push(second, both(0))
    first.take(EndOfStream(), pushed.now)
    first.end(ConnectionState.CLOSED, pushed.now)
    assert pushed.point.state is PointState.STARTED
    assert pushed.push(second, both(2), both(4)) == [DUPLICATE, ADDED]
    second.take(EndOfStream(), pushed.now)
    assert pushed.point.state is PointState.STOPPED


def test_a_stream_whose_encoder_was_lost_is_waited_for_a_while(pushed: Pushed) -> None:
    pictures = pushed.connect("v", first=VIDEO)
    sound = pushed.connect("a", first=AUDIO)
    pushed.push(sound, audio(0))
    sound.end(ConnectionState.BROKEN, pushed.now)
    pushed.push(pictures, *(video(at) for at in range(0, 20, 2)))
    pictures.take(EndOfStream(), pushed.now)
    assert pushed.point.state is PointState.STOPPING
    pictures = pushed.connect("v", first=VIDEO)
    pushed.push(pictures, *(video(at) for at in range(20, 40, 2)))
    assert pushed.point.state is PointState.STARTED
    pictures.take(EndOfStream(), pushed.now)
    assert pushed.point.state is PointState.STOPPED


def test_the_end_of_a_connection_ends_nothing(pushed: Pushed) -> None:
    connection = pushed.connect()
    pushed.push(connection, both(0))
    connection.end(ConnectionState.CLOSED, pushed.now)
    assert pushed.point.state is PointState.STARTED
    assert not pushed.point.is_fed
    assert pushed.push(pushed.connect(), both(2)) == [ADDED]


def test_a_stopped_point_stays_stopped(pushed: Pushed) -> None:
    connection = pushed.connect()
    pushed.push(connection, both(0), both(2))
    pushed.point.stop(pushed.now)
    before = content(pushed.index)
    with pytest.raises(Conflict) as caught:
        pushed.push(connection, both(4))
    assert caught.value.sentence == (
        "Stream is closed, cannot restart "
        "(track_name=video stream.time=4000 fragment.time=4000 timescale=1000)"
    )
    other = pushed.connect(name="b", first=header(digest=b"new"))
    with pytest.raises(Conflict, match="Stream is closed"):
        pushed.push(other, both(4))
    assert pushed.point.state is PointState.STOPPED
    assert content(pushed.index) == before
    pushed.point.start(pushed.now)
    assert pushed.point.state is PointState.STARTED
    assert pushed.push(other, both(4)) == [ADDED]
    assert pushed.index.header(pushed.index.newer(0)[-1].header) == header(digest=b"new").data


def test_an_encoder_may_go_on_where_that_is_allowed(tmp_path: Path) -> None:
    pushed = Pushed(tmp_path, restart_on_encoder_reconnect=1)
    connection = pushed.connect()
    pushed.push(connection, both(0), both(2))
    connection.take(EndOfStream(), pushed.now)
    connection.end(ConnectionState.CLOSED, pushed.now)
    assert pushed.point.state is PointState.STOPPED
    again = pushed.connect(name="b")
    assert pushed.point.state is PointState.STOPPED
    assert pushed.push(again, both(2)) == [DUPLICATE]
    assert pushed.point.state is PointState.STOPPED
    assert pushed.push(again, both(60)) == [ADDED]
    assert pushed.point.state is PointState.STARTED
    again.take(EndOfStream(), pushed.now)
    with pytest.raises(Conflict, match="Stream is closed"):
        pushed.push(pushed.connect(name="c"), both(30))
    pushed.point.close(pushed.now)


def test_a_stop_ends_connections_also_where_encoders_may_go_on(tmp_path: Path) -> None:
    pushed = Pushed(tmp_path, restart_on_encoder_reconnect=1)
    first, second = pushed.connect(), pushed.connect(name="b")
    pushed.push(first, both(0), both(2))
    pushed.point.stop(pushed.now)
    for connection in (first, second, first):
        with pytest.raises(Conflict, match="Stream is closed, cannot restart"):
            pushed.push(connection, both(4))
    assert pushed.point.state is PointState.STOPPED
    assert eras.restarts(pushed.index, 1_000_000) == 0
    again = pushed.connect(name="c")
    assert pushed.push(again, both(4), both(6)) == [ADDED, ADDED]
    assert pushed.point.state is PointState.STARTED
    # What is left of those that were stopped neither goes on nor ends anything.
    with pytest.raises(Conflict, match="Stream is closed"):
        pushed.push(first, both(8))
    again.end(ConnectionState.BROKEN, pushed.now)
    second.take(EndOfStream(), pushed.now)
    assert pushed.point.state is PointState.STARTED
    assert eras.restarts(pushed.index, 1_000_000) == 1
    numbered = {row.id: row for row in pushed.index.tracks()}
    assert {row.time for row in eras.rows(pushed.index) if row.track == min(numbered)} == {0, 4000}
    pushed.point.close(pushed.now)


def test_one_fragment_is_enough_to_play_what_has_ended(pushed: Pushed) -> None:
    connection = pushed.connect(first=VIDEO)
    pushed.push(connection, video(0))
    assert pushed.index.tracks()[0].bitrate == 0
    connection.take(EndOfStream(), pushed.now)
    assert pushed.index.tracks()[0].bitrate == 2000


def test_what_the_encoder_says_of_bitrates_is_kept(pushed: Pushed) -> None:
    connection = pushed.connect(first=header(track(1, Kind.VIDEO, 777_000)))
    pushed.push(connection, video(0), video(2))
    assert pushed.index.tracks()[0].bitrate == 777_000


def test_media_needs_a_header(pushed: Pushed) -> None:
    connection = pushed.point.connect("main", "a")
    with pytest.raises(Conflict, match="header"):
        pushed.push(connection, both(0))


def test_connections_of_one_segment_each(pushed: Pushed) -> None:
    assert pushed.point.header("main") is None
    pushed.connect(name="10.0.0.1").end(ConnectionState.CLOSED, pushed.now)
    assert pushed.point.header("main") == header().data
    for second in range(0, 200, 2):
        connection = pushed.connect(name=f"10.0.0.1:{second}")
        assert pushed.push(connection, both(second)) == [ADDED]
        connection.end(ConnectionState.CLOSED, pushed.now)
    assert pushed.point.connected == 0
    assert len(ledger.connections(pushed.index)) < 80
    assert times(pushed.index)[-1] == 198_000
    # What the others brought is counted all the same, in one row for each track.
    counted = ledger.deliveries(pushed.index)
    assert len(counted) < 2 * 80
    for known in pushed.index.tracks():
        assert sum(one.added for one in counted if one.track == known.id) == 100


def test_tracks_that_change_their_nature_are_refused(pushed: Pushed) -> None:
    pushed.connect()
    other = pushed.point.connect("main", "b")
    with pytest.raises(Conflict, match="cannot become audio 48000"):
        other.take(header(track(1, Kind.AUDIO), digest=b"x"), pushed.now)


def test_everything_can_be_forgotten(pushed: Pushed, tmp_path: Path) -> None:
    connection = pushed.connect()
    pushed.push(connection, *(both(at) for at in range(100, 130, 2)))
    with pytest.raises(Conflict, match="connected"):
        pushed.point.purge_all(pushed.now)
    connection.end(ConnectionState.CLOSED, pushed.now)
    assert pushed.point.purge_all(pushed.now) > 0
    assert pushed.point.state is PointState.IDLE
    assert content(pushed.index) == []
    assert pushed.push(pushed.connect(), both(0), both(2)) == [ADDED, ADDED]
    pushed.point.maintain(pushed.now + 3600 * SECOND)
    pushed.point.settle()
    assert len(list(tmp_path.glob("*.mp4"))) == 1


def test_old_media_can_be_removed(pushed: Pushed) -> None:
    connection = pushed.connect(first=VIDEO)
    pushed.push(connection, *(video(at) for at in range(0, 60, 2)))
    assert pushed.point.purge(pushed.now, 40_000) == 3  # files of 90/8 s
    assert times(pushed.index)[0] == 34_000
    assert pushed.push(connection, video(60)) == [ADDED]


def test_sound_is_told_by_its_own_clock(pushed: Pushed) -> None:
    connection = pushed.connect("a", first=AUDIO)
    pushed.push(connection, audio(0), audio(2), audio(4))
    extent = pushed.index.extent(1)
    assert extent is not None
    assert extent.end == -(-6 * AUDIO_SCALE // 1024) * 1024
    assert pushed.index.setting("track 1") == "audio 48000"
