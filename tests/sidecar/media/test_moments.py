"""Moments and ranges as queries write them."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.media.moments import DATED, LATEST, Moment, parse_moment, parse_range

NOON = int(datetime(2018, 12, 6, 12, 55, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "seconds", "dated"),
    [
        ("15", 15, False),
        (" 1.5 ", Fraction(3, 2), False),
        ("0.000000001", Fraction(1, 10**9), False),
        ("00:00:15.000", 15, False),
        ("01:02:03.25", 3723 + Fraction(1, 4), False),
        ("100:00:00", 360_000, False),
        ("1391545906", 1391545906, True),
        ("2018-12-06T12:55:00Z", NOON, True),
        ("2018-12-06t12:55:00", NOON, True),
        ("2018-12-06T12:55:00.123456789Z", NOON + Fraction(123456789, 10**9), True),
        ("2018-12-06T14:55:00+02:00", NOON, True),
        ("2018-12-06T07:25:00-0530", NOON, True),
        ("1970-01-01T00:00:00Z", 0, True),
    ],
)
def test_moments(text: str, seconds: Fraction, dated: bool) -> None:
    assert parse_moment(text) == Moment(Fraction(seconds), dated)


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("00:00:15.000", 15, None),
        ("00:00:15-00:00:30.5", 15, Fraction(61, 2)),
        ("15-30", 15, 30),
        ("100;450", 100, 450),
        ("100,450", 100, 450),
        ("100 450", 100, 450),
        ("2018-12-06T12:55:00-2018-12-06T13:55:00", NOON, NOON + 3600),
        ("2018-12-06T12:55:00Z-2018-12-06T13:55:00Z", NOON, NOON + 3600),
        ("2018-12-06T12:55:00Z", NOON, None),
        ("2018-12-06T07:55:00-05:00", NOON, None),
        ("2018-12-06T07:55:00-05:00-2018-12-06T08:55:00-05:00", NOON, NOON + 3600),
    ],
)
def test_ranges(text: str, begin: Fraction, end: Fraction | None) -> None:
    first, last = parse_range(text)
    assert first.seconds == begin
    assert (None if last is None else last.seconds) == end


@pytest.mark.parametrize("text", ["", "-", "15-", "-15", "1-2-3", "a;b", "15;", "1:2", "--", "1x2"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(ValueError):
        parse_range(text)


@given(st.integers(0, LATEST * 10**9), st.booleans())
def test_moments_survive_being_written(nano: int, dated: bool) -> None:
    seconds = Fraction(nano, 10**9)
    moment = Moment(seconds, dated or seconds > DATED)
    assert parse_moment(str(moment)) == moment
    assert parse_range(f"{moment}-{moment}") == (moment, moment)


@given(st.text("0123456789-:.TZ+;, ", max_size=50))
def test_anything_is_a_range_or_a_value_error(text: str) -> None:
    try:
        begin, end = parse_range(text)
    except ValueError:
        return
    assert begin.seconds >= 0
    assert end is None or end.seconds >= 0
