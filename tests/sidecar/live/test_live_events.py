"""Events that encoders send: beside fragments, in tracks of their own, to the index and out."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sidecar.errors import Conflict
from sidecar.live import said
from sidecar.live.connection import Outcome
from sidecar.live.index import PointIndex
from sidecar.live.model import EndOfStream, Fragment, Header
from sidecar.live.parser import StreamParser
from sidecar.live.point import Point
from sidecar.live.said import (
    add_event,
    events_between,
    events_carried,
    expire_events,
    streams_carried,
)
from sidecar.live.writer import PointState
from sidecar.media.events import ID3, SCTE35, Event
from sidecar.media.track import Kind
from tests.support.boxes import Traf, Trun, box, empty, full, init, moof, tfxd
from tests.support.events import emeb, emib, emsg, splice_insert
from tests.support.pushed import NOW, SECOND, both, header, manifest, track, video

URIM = box(b"urim", bytes(6), b"\0\1", full(b"uri ", b"urn:scte:scte35:2013:bin\0"), full(b"uriI"))
EVTE = box(b"evte", bytes(6), b"\0\1")
OUT = splice_insert(7, duration=1_800_000)
MANIFEST = bytes.fromhex("a5d40b30e81411ddba2f0800200c9a66")
SMIL = (
    '<smil xmlns="http://www.w3.org/2001/SMIL20/Language"><head/><body><switch>'
    '<textstream src="x" systemBitrate="0"><param name="trackName" value="cues"/>'
    '<param name="parentTrackName" value="video"/><param name="manifestOutput" value="true"/>'
    '<param name="Subtype" value="DATA"/>'
    '<param name="Scheme" value="urn:scte:scte35:2013:bin"/></textstream></switch></body></smil>'
)


def stream(entry: bytes, *, timescale: int = 1000, before: bytes = b"") -> bytes:
    meta = empty(handler_type=b"meta", entry=entry, timescale=timescale)
    head, moov = init(meta)[:20], init(meta)[20:]
    return head + before + moov


def fragment(*samples: bytes, time: int | None = 5000, extra: bytes = b"") -> bytes:
    def made(offset: int) -> bytes:
        rows = [(500, len(sample)) for sample in samples]
        return moof(Traf(time=time, truns=(Trun(rows=rows, data_offset=offset),), extra=extra))

    return made(len(made(0)) + 8) + box(b"mdat", *samples)


def parsed(data: bytes) -> tuple[Header, list[Fragment]]:
    first, *rest = list(StreamParser().feed(data))
    assert isinstance(first, Header)
    assert all(isinstance(one, Fragment) for one in rest)
    return first, rest  # type: ignore[return-value]


def only(data: bytes) -> Event:
    _, (one,) = parsed(data)
    assert one.notes == ()
    (event,) = one.events
    return event


# Tracks of events


def test_instances_in_samples() -> None:
    head, (one,) = parsed(
        stream(EVTE) + fragment(emeb(), emib(delta=-250, id=3, data=OUT, duration=20_000) + emib())
    )
    assert (head.tracks, head.skipped) == ((), ())
    assert [(event.entry, event.scheme) for event in head.events] == [("evte", "")]
    event, other = one.events
    assert event == Event(
        scheme=SCTE35,
        value="",
        id=3,
        time=5250,
        duration=20_000,
        timescale=1000,
        data=OUT,
        inband=False,
        known=Fraction(11, 2),
    )
    # Something without a section in it is damaged, and passed on all the same.
    assert other.data == b""
    assert one.notes == (
        "a splice information section (event 1) is damaged: it is passed on as is",
    )


def test_message_boxes_in_samples() -> None:
    event = only(stream(URIM) + fragment(emsg(time=180_000, id=9, data=OUT)))
    assert (event.begin, event.id, event.timescale, event.inband) == (2, 9, 90_000, False)
    event = only(stream(URIM) + fragment(emsg(time=90_000, version=0, data=OUT)))
    assert event.begin == 6


def test_bare_sections() -> None:
    event = only(stream(URIM) + fragment(OUT))
    assert (event.scheme, event.begin, event.data) == (SCTE35, 5, OUT)
    again = only(stream(URIM) + fragment(OUT, time=9000))
    assert (again.id, again.begin) == (event.id, 9)
    assert only(stream(box(b"scte", bytes(6), b"\0\1")) + fragment(OUT)).scheme == SCTE35
    tag = only(stream(box(b"meta", bytes(6), b"\0\1")) + fragment(b"ID3\4\0\0"))
    assert (tag.scheme, tag.data) == (ID3, b"ID3\4\0\0")


def test_sparse_tracks_of_smooth_streaming() -> None:
    data = stream(
        box(b"meta", bytes(6), b"\0\1"),
        timescale=10_000_000,
        before=box(b"uuid", MANIFEST, bytes(4), SMIL.encode()),
    )
    sample = struct.pack(">III", 1, 42, 40_000_000) + OUT
    times = tfxd(60_000_000, 200_000_000)
    event = only(data + fragment(sample, time=None, extra=times))
    assert (event.scheme, event.id, event.begin) == (SCTE35, 42, 10)
    assert (event.duration, event.known) == (200_000_000, 6)


def test_other_tracks_are_none_of_events() -> None:
    gpmd = empty(track_id=2, handler_type=b"meta", entry=box(b"gpmd", bytes(6), b"\0\1"))
    head, _ = parsed(init(gpmd, empty(handler_type=b"meta", entry=URIM)))
    assert [one.track_ID for one in head.events] == [1]
    assert head.skipped == ("track 2 (meta): not audio, video or text",)


# The index


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PointIndex]:
    made = PointIndex.open(tmp_path / "ch.db3", create=True)
    yield made
    made.close()


def event(time: int, *, timescale: int = 90_000, id: int = 1, **fields: object) -> Event:
    said: dict[str, object] = {
        "scheme": SCTE35, "value": "", "duration": None, "data": OUT, "inband": True,
        "known": Fraction(0),
    }  # fmt: skip
    return Event(time=time, timescale=timescale, id=id, **(said | fields))  # type: ignore[arg-type]


def test_one_event_however_often_it_comes(index: PointIndex) -> None:
    one = event(900_000, known=Fraction(5))
    assert add_event(index, one)
    assert not add_event(index, one)
    # Another track's clock, and another encoder's words.
    assert not add_event(index, event(480_001, timescale=48_000, known=Fraction(49, 10), data=b"x"))
    assert add_event(index, event(900_000, id=2))
    assert add_event(index, event(900_000, value="2"))
    assert add_event(index, event(990_000))
    assert add_event(index, event(900_000, data=splice_insert(7, cancel=True)))
    found = events_between(index, Fraction(0), Fraction(100))
    assert len(found) == 5
    assert (found[0].time, found[0].timescale, found[0].known) == (
        900_000,
        90_000,
        Fraction(49, 10),
    )


def test_the_order_in_which_two_tracks_bring_it_does_not_matter(tmp_path: Path) -> None:
    fine = event(900_001, known=Fraction(4))
    coarse = event(480_001, timescale=48_000, known=Fraction(397, 100))
    listed = []
    for number, order in enumerate([(fine, coarse), (coarse, fine)]):
        made = PointIndex.open(tmp_path / f"{number}.db3", create=True)
        for one in order:
            add_event(made, one)
        listed.append(events_between(made, Fraction(0), Fraction(100)))
        made.close()
    assert listed[0] == listed[1]


def test_what_stands_in_segments_and_what_does_not(index: PointIndex) -> None:
    add_event(index, event(450_000))
    add_event(index, event(450_000, scheme="urn:a", value="v"))
    add_event(index, event(450_000, scheme="urn:b", inband=False))
    # It came later than it begins.
    add_event(index, event(270_000, scheme="urn:c", known=Fraction(6)))
    listed = events_between(index, Fraction(0), Fraction(100))
    assert [one.scheme for one in listed] == ["urn:b", SCTE35]

    def carried(begin: int, end: int) -> list[str]:
        return [one.scheme for one in events_carried(index, Fraction(begin), Fraction(end))]

    assert [carried(at, at + 2) for at in (0, 2, 4, 6)] == [[], [], ["urn:a"], ["urn:c"]]
    assert streams_carried(index, Fraction(0)) == (("urn:a", "v"), ("urn:c", ""))
    assert streams_carried(index, Fraction(6)) == (("urn:c", ""),)
    # Another encoder was earlier.
    add_event(index, event(270_000, scheme="urn:c", known=Fraction(2)))
    assert [carried(2, 4), carried(6, 8)] == [["urn:c"], []]


def test_what_is_listed_is_bounded(index: PointIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(said, "MAX_ROWS", 6)
    monkeypatch.setattr(said, "_MAX_LISTED", 4)
    for second in range(10):
        add_event(index, event(90_000 * second, scheme="urn:a", inband=False))
    assert index.one("SELECT count(*), min(at_us) FROM event") == (6, 4_000_000)
    found = events_between(index, Fraction(0), Fraction(100))
    assert [one.begin for one in found] == [6, 7, 8, 9]


def test_events_go_with_the_media(index: PointIndex) -> None:
    day = 86_400
    for second in (day - 4000, day - 10, day + 10):
        add_event(index, event(90_000 * second))
        add_event(index, event(90_000 * second, scheme="urn:a", inband=False))
    expire_events(index, 1000 * day)
    left = [
        (one.scheme, int(one.begin))
        for one in events_between(index, Fraction(0), Fraction(2 * day))
    ]
    # A break may have begun before what is left.
    assert left == [(SCTE35, day - 10), ("urn:a", day + 10), (SCTE35, day + 10)]
    expire_events(index, None)
    assert index.one("SELECT count(*) FROM event") == (0,)


def test_an_index_of_before_gets_a_place_for_events(tmp_path: Path) -> None:
    path = tmp_path / "ch.db3"
    with_all = PointIndex.open(path, create=True)
    with_all.run("DROP TABLE event")
    with_all.run("DROP TABLE era")
    with_all.run("ALTER TABLE fragment DROP COLUMN late")
    with_all.run("PRAGMA user_version = 1")
    with_all.close()
    again = PointIndex.open(path)
    assert add_event(again, event(0))
    assert again.one("PRAGMA user_version") != (1,)
    again.close()


# Publishing points


def test_events_of_a_point(tmp_path: Path) -> None:
    path, options = manifest(tmp_path, archive_segment_length=4)
    point = Point.open(path, options, NOW)
    media, cues = point.connect("main", "a"), point.connect("cues", "a")
    (head, (first,)) = parsed(stream(URIM) + fragment(OUT))
    assert cues.take(head, NOW).outcome is Outcome.ACCEPTED
    assert point.state is PointState.IDLE
    assert cues.take(first, NOW).outcome is Outcome.ADDED
    assert cues.take(first, NOW).outcome is Outcome.DUPLICATE
    media.take(header(), NOW)
    for second in range(0, 12, 2):
        media.take(both(second), NOW + second * SECOND)
    stamp = path.with_name("ch.db3-stamp")
    before = stamp.stat().st_mtime_ns
    _, (late,) = parsed(stream(URIM) + fragment(splice_insert(8)[:-1], time=6000))
    taken = cues.take(late, NOW + 12 * SECOND)
    assert taken.outcome is Outcome.ADDED
    assert taken.note.endswith("is damaged: it is passed on as is")
    assert not cues.take(late, NOW + 12 * SECOND).note
    assert stamp.stat().st_mtime_ns > before
    reader = PointIndex.open(path.with_suffix(".db3"))
    one, other = events_between(reader, Fraction(0), Fraction(100))
    assert (one.begin, one.known) == (5, 5)
    # It was told when the media had gone on.
    assert (other.begin, int(other.known)) == (6, 12)
    # Nobody waits for its end, and it ends nothing.
    cues.take(EndOfStream(), NOW)
    assert point.state is PointState.STARTED
    media.take(EndOfStream(), NOW)
    assert point.state is PointState.STOPPED
    again = point.connect("cues", "b")
    again.take(head, NOW)
    with pytest.raises(Conflict):
        again.take(first, NOW)
    reader.close()
    point.close(NOW)


def test_two_encoders_say_it_once(tmp_path: Path) -> None:
    path, options = manifest(tmp_path)
    point = Point.open(path, options, NOW)
    head = header(track(1, Kind.VIDEO))
    for encoder in "ab":
        connection = point.connect("main", encoder)
        connection.take(head, NOW)
        one = video(0)
        announced = Fragment(
            data=one.data, moof=one.moof, tracks=one.tracks, events=(event(450_000),)
        )
        assert connection.take(announced, NOW).outcome is (
            Outcome.ADDED if encoder == "a" else Outcome.DUPLICATE
        )
    reader = PointIndex.open(path.with_suffix(".db3"))
    assert len(events_between(reader, Fraction(0), Fraction(100))) == 1
    reader.close()
    point.close(NOW)


# Anything


SAMPLES = st.binary(max_size=60) | st.sampled_from(
    [OUT, OUT[:-2], emib(data=OUT), emib(data=OUT)[:-3], emsg(time=0), emeb(), b"\0\0\0\1" * 3]
)


@given(st.lists(SAMPLES, min_size=1, max_size=4), st.sampled_from([URIM, EVTE]))
def test_no_sample_is_fatal(samples: list[bytes], entry: bytes) -> None:
    assume(any(samples))
    _, found = parsed(stream(entry) + fragment(*samples))
    for one in found:
        assert len(one.events) <= sum(map(len, samples))
        for said_of in one.events:
            assert said_of.scheme


@given(
    st.lists(st.binary(max_size=60).map(lambda data: full(b"emsg", data, version=1)), max_size=4)
)
def test_no_message_is_fatal(boxes: list[bytes]) -> None:
    data = stream(URIM) + b"".join(boxes) + fragment(OUT)
    _, (one,) = parsed(data)
    assert one.events[-1].data == OUT
    assert len(one.notes) <= len(boxes)


def test_what_comes_late_is_known_late(tmp_path: Path) -> None:
    path, options = manifest(tmp_path)
    point = Point.open(path, options, NOW)
    head = header(track(1, Kind.VIDEO))

    def announced(second: int, id: int) -> Fragment:
        one = video(second)
        said_then = event(90_000 * (second + 1), id=id, known=Fraction(second))
        return Fragment(data=one.data, moof=one.moof, tracks=one.tracks, events=(said_then,))

    first, second = point.connect("main", "a"), point.connect("main", "b")
    first.take(head, NOW)
    second.take(head, NOW)
    outcomes = [
        first.take(one, NOW).outcome
        for one in (announced(0, 1), announced(2, 2), video(6), announced(8, 3))
    ]
    # The second one brings what the first has lost, and says what the first does not.
    outcomes += [second.take(one, NOW).outcome for one in (announced(4, 4), announced(2, 5))]
    assert outcomes == [Outcome.ADDED] * 5 + [Outcome.DUPLICATE]
    with_all = PointIndex.open(path.with_suffix(".db3"))
    found = {one.id: one.known for one in events_between(with_all, Fraction(0), Fraction(100))}
    assert found == {1: 0, 2: 2, 3: 8, 4: 10, 5: 10}
    with_all.close()
    point.close(NOW)
