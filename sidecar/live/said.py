"""The events of a publishing point, in its index.

What two encoders send, or one of them beside several tracks, or again and again, is one event.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from sidecar.live.index import PointIndex
from sidecar.media.breaks import LONGEST, cancels
from sidecar.media.events import SCTE35, Event

_MICROSECONDS = 1_000_000
# By which times of one event differ: clocks of tracks tick at different rates.
_SAME_US = 20_000
# A break that began before the media that is left may still go on in it, seconds.
LOOK_BACK = int(LONGEST)
# What is announced for later, seconds.
LOOK_AHEAD = 3600
# Fragments of sound, and what came with them, begin up to a frame before the pictures.
_NEAR_US = 50_000
# Of a point, of what a manifest lists, of a segment: none of them grows without end.
MAX_ROWS = 1 << 16
_MAX_LISTED = 1 << 10
_MAX_STREAMS = 64
# When an event was last added, Unix milliseconds: a setting.
SAID_MS = "said_ms"
_EVENT = "scheme, value, event_id, time, duration, timescale, data, inband, known_us"


def add_event(index: PointIndex, event: Event) -> bool:
    """Adds ``event``, in a transaction; false when it is there already.

    Of one that came in several ways, that counts which came first in the media, with the finest
    times, so that it does not matter which was faster.
    """
    at = _micro(event.begin)
    known = _micro(event.known)
    cancel = int(event.scheme == SCTE35 and cancels(event.data))
    # In the segment in which it begins, or that it came with, when it was late.
    carried = max(at, known + _NEAR_US)
    row = index.one(
        "SELECT id, timescale, time, known_us FROM event WHERE at_us BETWEEN ? AND ? "
        "AND scheme = ? AND value = ? AND event_id = ? AND cancels = ?",
        *(at - _SAME_US, at + _SAME_US, event.scheme, event.value, event.id, cancel),
    )
    if row is not None:
        number, timescale, time, before = row
        if known < before:
            index.run(
                "UPDATE event SET known_us = ?, carried_us = max(at_us, ?) WHERE id = ?",
                *(known, known + _NEAR_US, number),
            )
        if (event.timescale, -event.time) > (timescale, -time):
            index.run(
                "UPDATE event SET at_us = ?1, time = ?2, duration = ?3, timescale = ?4, "
                "carried_us = max(?1, known_us + ?5) WHERE id = ?6",
                *(at, event.time, event.duration, event.timescale, _NEAR_US, number),
            )
        return False
    number = index.run(
        f"INSERT INTO event (at_us, cancels, carried_us, {_EVENT}) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        *(at, cancel, carried, event.scheme, event.value, event.id, event.time, event.duration),
        *(event.timescale, event.data, int(event.inband), known),
    )
    index.run("DELETE FROM event WHERE id <= ?", number - MAX_ROWS)
    return True


def events_between(index: PointIndex, begin: Fraction, end: Fraction) -> tuple[Event, ...]:
    """What manifests tell of, from ``begin`` to ``end``, presentation times in seconds, by time:
    events of SCTE-35, from ``LOOK_BACK`` before, and those of tracks of their own. The newest of
    them, when they are too many."""
    rows = index.all(
        f"SELECT {_EVENT} FROM event WHERE at_us >= ? AND at_us < ? "
        "AND (scheme = ? OR (at_us >= ? AND NOT inband)) "
        "ORDER BY at_us DESC, scheme DESC, value DESC, event_id DESC, cancels DESC LIMIT ?",
        *(_micro(begin - LOOK_BACK), _micro(end), SCTE35, _micro(begin), _MAX_LISTED),
    )
    return _events(reversed(rows))


def events_carried(index: PointIndex, begin: Fraction, end: Fraction) -> tuple[Event, ...]:
    """What stands in a segment from ``begin`` to ``end``, presentation times in seconds: events
    that came beside fragments, but for those of SCTE-35."""
    rows = index.all(
        f"SELECT {_EVENT} FROM event WHERE inband AND carried_us >= ? AND carried_us < ? "
        "AND scheme != ? ORDER BY at_us, scheme, value, event_id LIMIT ?",
        *(_micro(begin), _micro(end), SCTE35, _MAX_LISTED),
    )
    return _events(rows)


def streams_carried(index: PointIndex, begin: Fraction) -> tuple[tuple[str, str], ...]:
    """Scheme and value of what stands in segments from ``begin`` on, in order."""
    rows = index.all(
        "SELECT DISTINCT scheme, value FROM event WHERE inband AND carried_us >= ? "
        "AND scheme != ? ORDER BY scheme, value LIMIT ?",
        *(_micro(begin), SCTE35, _MAX_STREAMS),
    )
    return tuple((scheme, value) for scheme, value in rows)


def _events(rows: Iterable[tuple[Any, ...]]) -> tuple[Event, ...]:
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
        for scheme, value, number, time, duration, timescale, data, inband, known in rows
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
