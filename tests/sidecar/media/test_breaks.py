"""From sections of SCTE-35 to breaks of the programme."""

from __future__ import annotations

import base64
from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from sidecar.media.breaks import cancels, splices
from sidecar.media.events import SCTE35, SCTE35_XML, Event, plain
from tests.support.events import section, segmentation, splice_insert, time_signal


def at(seconds: int, data: bytes, *, id: int = 1, known: int = 0) -> Event:
    return Event(
        scheme=SCTE35,
        value="",
        id=id,
        time=90_000 * seconds,
        duration=None,
        timescale=90_000,
        data=data,
        inband=True,
        known=Fraction(known),
    )


def test_out_and_in() -> None:
    out, back = splice_insert(7, duration=90_000 * 20), splice_insert(7, out=False)
    (one,) = splices([at(25, back, id=2), at(10, out)]).breaks
    assert (one.event_id, one.start, one.planned, one.auto_return) == (7, 10, 20, True)
    assert (one.back, one.out, one.into, one.end) == (25, out, back, 25)
    assert splices([at(10, out, known=4)]).moments == ((10, 4), (30, 4))
    moments = splices([at(10, out, known=4), at(25, back, known=21)]).moments
    assert moments == ((10, 4), (25, 21), (30, 4))


def test_without_a_duration_it_lasts_until_the_programme_is_back() -> None:
    out = at(10, splice_insert(7))
    assert splices([out]).breaks[0].end is None
    # Whatever it is called: a splice_insert brings back the network.
    assert splices([out, at(14, splice_insert(8, out=False))]).breaks[0].end == 14


def test_segmentation() -> None:
    start = time_signal(segmentation(1, 0x34, duration=90_000 * 60))
    turn = time_signal(segmentation(2, 0x31), segmentation(3, 0x30, duration=90_000 * 30))
    found = splices([at(0, start), at(30, turn, id=2), at(60, time_signal(segmentation(1, 0x35)))])
    assert [(one.event_id, one.start, one.end) for one in found.breaks] == [(1, 0, 60), (3, 30, 60)]
    assert found.commands == ()


def test_what_is_neither_is_a_command() -> None:
    chapter = at(5, time_signal(segmentation(1, 0x20)))
    alone = at(3, splice_insert(9, out=False))
    damaged = at(4, splice_insert(9)[:-1])
    silence = at(1, section(0, b""))
    other = replace(damaged, scheme="urn:other")
    found = splices([chapter, alone, damaged, silence, other])
    assert (found.breaks, found.commands) == ((), (alone, damaged, chapter))


def test_one_break_ends_where_the_next_one_begins() -> None:
    turn = [at(20, splice_insert(8), id=1), at(20, splice_insert(9, out=False), id=2)]
    found = splices([at(10, splice_insert(7)), *turn])
    assert [(one.event_id, one.start, one.end) for one in found.breaks] == [
        (7, 10, 20),
        (8, 20, None),
    ]


def test_said_twice_is_one() -> None:
    out, back = splice_insert(7, duration=900_000), splice_insert(7, out=False)
    events = [at(10, out), at(10, out, id=5), at(20, back, id=2), at(20, back, id=6)]
    found = splices(events)
    assert len(found.breaks) == 1
    assert found.commands == ()


def test_taken_back_before_it_began() -> None:
    out, cancel = splice_insert(7), splice_insert(7, cancel=True)
    assert cancels(cancel)
    assert not cancels(out)
    assert splices([at(10, out, known=4), at(10, cancel, known=6)]).breaks == ()
    # Too late, or of the one before.
    assert len(splices([at(10, out, known=4), at(11, cancel, known=11)]).breaks) == 1
    assert len(splices([at(10, out, known=4), at(10, cancel, known=3)]).breaks) == 1


def test_sections_in_xml() -> None:
    data = splice_insert(7)
    inner = f"<Binary>\n{base64.b64encode(data).decode()}</Binary>"
    wrapped = f'<Signal xmlns="http://www.scte.org/schemas/35/2016">{inner}</Signal>'.encode()
    event = replace(at(1, wrapped), scheme=SCTE35_XML)
    assert plain(event) == at(1, data)
    for damaged in (b"", b"<Signal/>", b"<Binary>!</Binary>", wrapped[:-1]):
        other = replace(event, data=damaged)
        assert plain(other) is other


SECTIONS = st.sampled_from(
    [
        splice_insert(1, duration=900_000),
        splice_insert(1, out=False),
        splice_insert(2),
        splice_insert(2, cancel=True),
        time_signal(segmentation(1, 0x31), segmentation(2, 0x30, duration=90_000)),
        time_signal(segmentation(2, 0x31)),
        time_signal(segmentation(2, 0x31, cancel=True)),
        b"no section",
    ]
)


@given(st.lists(st.tuples(st.integers(0, 40), SECTIONS, st.integers(0, 9)), max_size=10))
def test_whatever_is_said(said: list[tuple[int, bytes, int]]) -> None:
    events = [at(when, data, id=id, known=max(0, when - id)) for when, data, id in said]
    found = splices(events)
    assert found == splices(events[::-1])
    starts = [one.start for one in found.breaks]
    assert starts == sorted(starts)
    times = {time for time, _ in found.moments}
    for one in found.breaks:
        assert one.start in times
        assert one.end is None or (one.end >= one.start and one.end in times)
    assert len(found.breaks) + len(found.commands) <= 2 * len(events)
