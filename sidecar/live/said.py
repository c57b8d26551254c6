"""The events of a publishing point, in its index.

What two encoders send, or one of them beside several tracks, or again and again, is one event.
"""

from __future__ import annotations

from fractions import Fraction

from sidecar.live.index import PointIndex
from sidecar.media.breaks import cancels
from sidecar.media.events import SCTE35, Event

_MICROSECONDS = 1_000_000
# By which times of one event differ: clocks of tracks tick at different rates.
_SAME_US = 20_000
# A break that began before the media that is left may still go on in it, seconds.
LOOK_BACK = 3600
# What is announced for later, seconds.
LOOK_AHEAD = 3600
# Of a point, and of what a manifest lists: none of them grows without end.
MAX_ROWS = 1 << 16
_MAX_LISTED = 1 << 10
_EVENT = "scheme, value, event_id, time, duration, timescale, data, inband, known_us"


def add_event(index: PointIndex, event: Event) -> bool:
    """Adds ``event``, in a transaction; false when it is there already.

    Of one that came in several ways, that counts which came first in the media, with the finest
    times, so that it does not matter which was faster.
    """
    at = _micro(event.begin)
    known = _micro(event.known)
    cancel = int(event.scheme == SCTE35 and cancels(event.data))
    row = index.one(
        "SELECT id, timescale, time, known_us FROM event WHERE at_us BETWEEN ? AND ? "
        "AND scheme = ? AND value = ? AND event_id = ? AND cancels = ?",
        *(at - _SAME_US, at + _SAME_US, event.scheme, event.value, event.id, cancel),
    )
    if row is not None:
        number, timescale, time, before = row
        if known < before:
            index.run("UPDATE event SET known_us = ? WHERE id = ?", known, number)
        if (event.timescale, -event.time) > (timescale, -time):
            index.run(
                "UPDATE event SET at_us = ?, time = ?, duration = ?, timescale = ? WHERE id = ?",
                *(at, event.time, event.duration, event.timescale, number),
            )
        return False
    number = index.run(
        f"INSERT INTO event (at_us, cancels, {_EVENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        *(at, cancel, event.scheme, event.value, event.id, event.time, event.duration),
        *(event.timescale, event.data, int(event.inband), known),
    )
    index.run("DELETE FROM event WHERE id <= ?", number - MAX_ROWS)
    return True


def events_between(index: PointIndex, begin: Fraction, end: Fraction) -> tuple[Event, ...]:
    """Events from ``begin`` to ``end``, presentation times in seconds, by time; those of SCTE-35
    from ``LOOK_BACK`` before. The newest of them, when they are too many."""
    rows = index.all(
        f"SELECT {_EVENT} FROM event WHERE at_us >= ? AND at_us < ? AND (at_us >= ? OR scheme = ?) "
        "ORDER BY at_us DESC, scheme DESC, value DESC, event_id DESC, cancels DESC LIMIT ?",
        *(_micro(begin - LOOK_BACK), _micro(end), _micro(begin), SCTE35, _MAX_LISTED),
    )
    return tuple(
        Event(
            scheme=scheme,
            value=value,
            id=number,
            time=time,
            duration=duration,
            timescale=timescale,
            data=data,
            inband=bool(inband),
            known=Fraction(known, _MICROSECONDS),
        )
        for scheme, value, number, time, duration, timescale, data, inband, known in reversed(rows)
    )


def expire_events(index: PointIndex, horizon_ms: int | None) -> None:
    """Removes events with the media before ``horizon_ms`` (media time), or all. In a
    transaction."""
    if horizon_ms is None:
        index.run("DELETE FROM event")
        return
    horizon = 1000 * horizon_ms
    index.run(
        "DELETE FROM event WHERE at_us < ? AND (scheme != ? OR at_us < ?)",
        *(horizon, SCTE35, horizon - _MICROSECONDS * LOOK_BACK),
    )


def _micro(seconds: Fraction) -> int:
    return round(seconds * _MICROSECONDS)
