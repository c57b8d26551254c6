"""Moments and ranges of time as queries write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction

_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_CLOCK = re.compile(r"([0-9]{1,4}):([0-5][0-9]):([0-5][0-9](?:\.[0-9]{1,9})?)")
_DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?"
    r"(?:[Zz]|([+-])([0-9]{2}):?([0-9]{2}))?"
)
_MAX_JOINTS = 8
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The end of the year 9998: Python's dates end with 9999.
LATEST = 253_370_764_800
# Seconds that are more than this, a year, count from 1970: so do the times of media, and moments.
DATED = 365 * 86400
ALLOWED = "seconds, HH:MM:SS or a date and time like 2018-12-06T12:55:00Z"


@dataclass(frozen=True, slots=True)
class Moment:
    """``seconds`` from the begin of a presentation, or since 1970 (``dated``)."""

    seconds: Fraction
    dated: bool = False

    def __str__(self) -> str:
        """As ``parse_moment`` reads it, without loss."""
        whole, rest = divmod(self.seconds, 1)
        if not self.dated:
            return f"{whole}{_decimals(rest)}"
        date = _EPOCH + timedelta(seconds=whole)
        return f"{date:%Y-%m-%dT%H:%M:%S}{_decimals(rest)}Z"

    def __add__(self, seconds: Fraction) -> Moment:
        return Moment(self.seconds + seconds, self.dated)


def parse_moment(text: str) -> Moment:
    """The moment ``text``: ``15``, ``1.5``, ``00:00:15.000``, ``2018-12-06T12:55:00Z`` or, the same
    in seconds since 1970, ``1544100900``.

    A date and time without a zone is UTC. Raises ``ValueError`` for anything else.
    """
    word = text.strip()
    if _SECONDS.fullmatch(word):
        seconds = Fraction(word)
        return Moment(seconds, dated=seconds > DATED)
    clock = _CLOCK.fullmatch(word)
    if clock is not None:
        return Moment(int(clock[1]) * 3600 + int(clock[2]) * 60 + Fraction(clock[3]))
    dated = _DATE_TIME.fullmatch(word)
    if dated is None:
        raise ValueError(word)
    date, time, decimals, sign, hours, minutes = dated.groups()
    # fromisoformat checks the ranges of the fields, but keeps six decimals only.
    whole = datetime.fromisoformat(f"{date}T{time}+00:00") - _EPOCH
    seconds = Fraction(whole // timedelta(seconds=1)) + Fraction(f"0{decimals or ''}")
    if sign:
        if int(hours) > 23 or int(minutes) > 59:
            raise ValueError(word)
        zone = int(hours) * 3600 + int(minutes) * 60
        seconds += -zone if sign == "+" else zone
    if seconds < 0:
        raise ValueError(word)
    return Moment(seconds, dated=True)


def parse_range(text: str) -> tuple[Moment, Moment | None]:
    """(begin, end) of ``text``, one moment or two; end None = to the end.

    Two are joined by a dash; where both are dates, which hold two dashes themselves, by the third.
    Two numbers of seconds may be joined by any punctuation (``100;450``).
    Raises ``ValueError`` for anything else.
    """
    word = text.strip()
    for at in _joints(word):
        try:
            return parse_moment(word[:at]), parse_moment(word[at + 1 :])
        except ValueError:
            continue
    return parse_moment(word), None


def _joints(word: str) -> list[int]:
    """Where the second moment may begin: at a dash, or at the one delimiter of two numbers."""
    joints = [at for at, character in enumerate(word) if character == "-"]
    if len(joints) > 2:
        # Those after the third: a zone west of Greenwich has a dash of its own.
        return joints[2:_MAX_JOINTS]
    numbers = re.fullmatch(r"([0-9.]+)[^0-9A-Za-z.:][0-9.]+", word)
    return [numbers.end(1)] if numbers else joints[:1]


def _decimals(rest: Fraction) -> str:
    if not rest:
        return ""
    nano = rest.numerator * 10**9 // rest.denominator
    return f".{nano:09d}".rstrip("0")
