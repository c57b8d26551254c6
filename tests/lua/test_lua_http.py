"""Byte ranges, preconditions and dates as pure functions."""

from __future__ import annotations

import email.utils
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.lua import Lua, plain

LUA = Lua()
RANGE = LUA.require("http.range")
CONDITIONAL = LUA.require("http.conditional")
DATE = LUA.require("http.date")


def ranges(header: str, length: int) -> Any:
    """None: to be ignored. []: not satisfiable. Else half-open pairs."""
    found = RANGE.parse(header.encode(), length)
    if found is None:
        return None
    listed = plain(found)
    return [tuple(int(end) for end in one) for one in listed] if listed else []


@pytest.mark.parametrize(
    ("header", "length", "expected"),
    [
        ("bytes=0-0", 10, [(0, 1)]),
        ("bytes=0-", 10, [(0, 10)]),
        ("bytes=2-4", 10, [(2, 5)]),
        ("bytes=2-400", 10, [(2, 10)]),
        ("bytes=-3", 10, [(7, 10)]),
        ("bytes=-30", 10, [(0, 10)]),
        ("Bytes=9-9", 10, [(9, 10)]),
        ("bytes= 1-2 , 4-5 ", 10_000, [(1, 6)]),
        ("bytes=0-0,5000-5001", 10_000, [(0, 1), (5000, 5002)]),
        ("bytes=5000-5001,0-0", 10_000, [(5000, 5002), (0, 1)]),
        ("bytes=0-99,50-149", 10_000, [(0, 150)]),
        ("bytes=9000-,0-99,50-149", 10_000, [(0, 150), (9000, 10_000)]),
        ("bytes=0-0,20000-", 10_000, [(0, 1)]),
        ("bytes=,,0-0,", 10, [(0, 1)]),
        ("bytes=99999999999999999999-", 10, []),
        ("bytes=0-99999999999999999999", 10, [(0, 10)]),
        ("bytes=10-", 10, []),
        ("bytes=-0", 10, []),
        ("bytes=0-", 0, []),
        ("bytes=-5", 0, []),
        ("bytes=5-2", 10, None),
        ("bytes=a-b", 10, None),
        ("bytes=-", 10, None),
        ("bytes=", 10, None),
        ("bytes=1", 10, None),
        ("bytes=1-2-3", 10, None),
        ("bytes 1-2", 10, None),
        ("items=0-5", 10, None),
        ("", 10, None),
        ("bytes=0-0,x", 10, None),
        ("bytes=" + ",".join(f"{i * 1000}-{i * 1000}" for i in range(33)), 10**6, None),
    ],
)
def test_range_headers(header: str, length: int, expected: Any) -> None:
    assert ranges(header, length) == expected


@given(
    st.integers(0, 5000),
    st.lists(
        st.one_of(
            st.tuples(st.integers(0, 6000), st.integers(0, 6000)).map(
                lambda ab: f"{ab[0]}-{ab[1]}"
            ),
            st.integers(0, 6000).map(lambda a: f"{a}-"),
            st.integers(0, 6000).map(lambda a: f"-{a}"),
        ),
        min_size=1,
        max_size=20,
    ),
)
def test_ranges_lie_inside_and_never_overlap(length: int, specs: list[str]) -> None:
    found = ranges("bytes=" + ",".join(specs), length)
    valid = all("-" in spec and not _backwards(spec) for spec in specs)
    assert (found is not None) == valid
    for begin, end in found or []:
        assert 0 <= begin < end <= length
    ordered = sorted(found or [])
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(ordered))
    wanted = set().union(*(_bytes(spec, length) for spec in specs))
    got = set().union(*(range(begin, end) for begin, end in found or []))
    if found is not None:
        assert wanted <= got
        assert sum(end - begin for begin, end in found) <= len(wanted) + 80 * len(specs)


def _backwards(spec: str) -> bool:
    first, last = spec.split("-")
    return bool(first and last) and int(last) < int(first)


def _bytes(spec: str, length: int) -> set[int]:
    first, last = spec.split("-")
    if not first:
        return set(range(max(0, length - int(last)), length))
    return set(range(int(first), min(int(last) + 1 if last else length, length)))


@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 1000)), min_size=1, max_size=6),
    st.text("abc/-;= 4", max_size=20),
)
def test_a_multipart_body_is_as_long_as_said(parts: list[tuple[int, int]], kind: str) -> None:
    wanted = [(begin, begin + size) for begin, size in parts]
    listed = LUA.list(LUA.list(one) for one in wanted)
    heads, tail, total = RANGE.multipart(listed, 2 * 10**9, kind.encode(), b"frontier")
    body = b"".join(
        plain(heads)[index] + b"x" * (end - begin) for index, (begin, end) in enumerate(wanted)
    )
    assert len(body + tail) == total
    assert body.count(b"\r\n--frontier\r\n") == len(wanted)
    assert tail == b"\r\n--frontier--\r\n"
    first = wanted[0]
    assert b"Content-Range: bytes %d-%d/2000000000" % (first[0], first[1] - 1) in body


MODIFIED = 784111777
AT, BEFORE, AFTER = (email.utils.formatdate(MODIFIED + shift, usegmt=True) for shift in (0, -1, 1))


@pytest.mark.parametrize(
    ("request_headers", "expected"),
    [
        ({}, None),
        ({"none": '"a"'}, 304),
        ({"none": 'W/"a"'}, 304),
        ({"none": '"b", "a"'}, 304),
        ({"none": '"b",W/"a" , "c"'}, 304),
        ({"none": "*"}, 304),
        ({"none": '"b"'}, None),
        ({"none": "a"}, None),
        ({"none": '"a'}, None),
        ({"none": '"b"', "since": AFTER}, None),
        ({"since": AT}, 304),
        ({"since": AFTER}, 304),
        ({"since": BEFORE}, None),
        ({"since": "yesterday"}, None),
        ({"match": '"a"'}, None),
        ({"match": "*"}, None),
        ({"match": '"b"'}, 412),
        ({"match": 'W/"a"'}, 412),
        ({"match": '"b"', "none": '"a"'}, 412),
        ({"match": '"a"', "none": '"a"'}, 304),
        ({"match": '"a"', "unmodified": BEFORE}, None),
        ({"unmodified": BEFORE}, 412),
        ({"unmodified": AT}, None),
        ({"unmodified": "?"}, None),
        ({"unmodified": AT, "since": AT}, 304),
    ],
)
def test_preconditions_in_the_order_of_rfc_9110(
    request_headers: dict[str, str], expected: int | None
) -> None:
    names = ("match", "unmodified", "none", "since")
    given_headers = [
        request_headers[name].encode() if name in request_headers else None for name in names
    ]
    assert CONDITIONAL.evaluate(b'"a"', MODIFIED, *given_headers) == expected


def test_without_validators_only_the_star_decides() -> None:
    assert CONDITIONAL.evaluate(None, None, None, None, b'"a"', None) is None
    assert CONDITIONAL.evaluate(None, None, None, AT.encode(), None, AT.encode()) is None
    assert CONDITIONAL.evaluate(None, None, b'"a"', None, None, None) == 412
    assert CONDITIONAL.evaluate(None, None, None, None, b"*", None) == 304


@pytest.mark.parametrize(
    ("header", "holds"),
    [
        ('"a"', True),
        ('W/"a"', False),
        ('"b"', False),
        (AT, True),
        (AFTER, False),
        (BEFORE, False),
        ("", False),
        ("a", False),
    ],
)
def test_if_range_needs_the_same_strong_tag_or_date(header: str, holds: bool) -> None:
    assert CONDITIONAL.range_holds(header.encode(), b'"a"', MODIFIED) is holds


@given(st.integers(0, 32503679999))
@settings(max_examples=300)
def test_dates_there_and_back(seconds: int) -> None:
    text = DATE.format(seconds)
    assert text.decode() == email.utils.formatdate(seconds, usegmt=True)
    assert DATE.parse(text) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784111777),
        ("Sun Nov  6 08:49:37 1994", 784111777),
        ("Thursday, 01-Jan-26 00:00:00 GMT", 1767225600),
        ("Thu, 29 Feb 2024 00:00:00 GMT", 1709164800),
        ("Sun, 06 Nov 1994 08:49:37 UTC", None),
        ("Sun, 32 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nix 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 24:49:37 GMT", None),
        ("784111777", None),
        ("", None),
    ],
)
def test_the_three_forms_of_dates(text: str, seconds: int | None) -> None:
    assert DATE.parse(text.encode()) == seconds
