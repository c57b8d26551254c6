"""Event message boxes, against bytes that the sidecar did not write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.boxes.event import MAX_MESSAGE, EventMessage, emsg_box, read_emib, read_emsg
from sidecar.boxes.leaf import Leaf
from sidecar.errors import InvalidMedia, UnsupportedMedia
from tests.support.boxes import full
from tests.support.events import emib, emsg


def leaf(data: bytes) -> Leaf:
    return Leaf(data[4:8], memoryview(data)[8:], data[4:8].decode(), 8)


def test_both_versions() -> None:
    said = {"scheme": "urn:a", "value": "b", "id": 5, "timescale": 1000, "data": b"hello"}
    old = read_emsg(leaf(emsg(time=3, duration=7, version=0, **said)))
    assert old == EventMessage(
        scheme_id_uri="urn:a",
        value="b",
        timescale=1000,
        presentation_time=3,
        relative=True,
        event_duration=7,
        id=5,
        message_data=b"hello",
    )
    new = read_emsg(leaf(emsg(time=1 << 40, **said)))
    assert (new.presentation_time, new.relative, new.event_duration) == (1 << 40, False, None)


def test_instances_may_begin_before_their_sample() -> None:
    one = read_emib(leaf(emib(delta=-9, duration=2, id=3, data=b"x")))
    assert (one.presentation_time, one.relative, one.timescale) == (-9, True, 0)
    assert (one.event_duration, one.id, one.message_data) == (2, 3, b"x")


@given(st.integers(0, 2**64 - 1), st.none() | st.integers(0, 2**32 - 2), st.binary(max_size=50))
def test_written_ones_are_those_of_the_standard(
    time: int, duration: int | None, data: bytes
) -> None:
    written = emsg_box(
        scheme_id_uri="urn:a",
        value="é",
        timescale=48_000,
        presentation_time=time,
        event_duration=duration,
        id=9,
        message_data=data,
    )
    span = 0xFFFFFFFF if duration is None else duration
    expected = emsg(
        time=time, scheme="urn:a", value="é", timescale=48_000, duration=span, id=9, data=data
    )
    assert written == expected
    assert read_emsg(leaf(written)).message_data == data


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (full(b"emsg", version=2), UnsupportedMedia),
        (full(b"emsg", b"urn:a"), InvalidMedia),
        (full(b"emsg", b"urn:a\0b\0" + bytes(15)), InvalidMedia),
        (emsg(time=0, timescale=0), InvalidMedia),
        (emsg(time=0, data=bytes(MAX_MESSAGE + 1)), UnsupportedMedia),
        (emsg(time=0, scheme="x" * 2000), InvalidMedia),
    ],
)
def test_damage(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_emsg(leaf(data))


@given(st.binary(max_size=60))
def test_nothing_else_is_raised(body: bytes) -> None:
    for read in (read_emsg, read_emib):
        try:
            read(Leaf(b"emsg", memoryview(body), "emsg", 0))
        except (InvalidMedia, UnsupportedMedia):
            continue
