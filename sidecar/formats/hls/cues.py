"""What playlists say of breaks in the programme (RFC 8216 4.3.2.7), for players and for those that
put something else there (EXT-X-CUE-OUT and its like)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from sidecar.formats.hls.tags import quoted, tag
from sidecar.media.breaks import Break, splices
from sidecar.media.events import Event
from sidecar.timeline.live import Live
from sidecar.timeline.segments import SegmentList
from sidecar.units import decimal

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# By which a segment may begin before what it begins with: sound has frames, seconds.
_NEAR = Fraction(1, 20)
_CUE_IN = "#EXT-X-CUE-IN"


def cue_lines(live: Live | None, segments: SegmentList, listed: range) -> dict[int, list[str]]:
    """The lines to stand before segment ``at`` of those that are ``listed``, or behind the last.

    A break is told of where it begins and comes back, as soon as it has been announced; and in
    each segment that lies in it. Of breaks within others only the outermost counts for that.
    """
    lines: dict[int, list[str]] = {}
    if live is None or not live.events:
        return lines
    found = splices(live.events)
    starts = [Fraction(int(one), segments.timescale) for one in segments.start]
    first, last = starts[listed.start], starts[listed.stop]

    def at(when: Fraction) -> int | None:
        """Where what is at ``when`` is told of; None when that is not listed."""
        if when >= last and live.ended:
            return None
        return next((one for one in listed if starts[one] >= when - _NEAR), listed.stop)

    def say(index: int | None, line: str) -> None:
        if index is not None:
            lines.setdefault(index, []).append(line)

    for event in found.commands:
        if event.begin >= first - _NEAR:
            say(at(event.begin), _command(live, event))
    shown = [one for one in found.breaks if one.end is None or one.end > first + _NEAR]
    for one in shown:
        say(at(one.start), _out(live, one))
        if one.back is not None and one.back > first - _NEAR:
            say(at(one.back), _back(live, one))
    for outer in _outermost(shown):
        for index, line in _marks(outer, starts, listed):
            if line == _CUE_IN:
                # One break may end where the next one begins.
                lines.setdefault(index, []).insert(0, line)
            else:
                say(index, line)
    return lines


def _marks(one: Break, starts: Sequence[Fraction], listed: range) -> Iterator[tuple[int, str]]:
    """(segment, line before it) of the segments that lie in the break, and of the one behind."""
    inside = False
    for index in listed:
        start = starts[index]
        if one.end is not None and start >= one.end - _NEAR:
            if inside:
                yield index, _CUE_IN
            return
        if start >= one.start - _NEAR:
            begins = inside is False and (index > listed.start or start < one.start + _NEAR)
            yield index, _cue_out(one) if begins else _continued(one, start)
            inside = True


def _outermost(breaks: list[Break]) -> Iterator[Break]:
    end: Fraction | None = Fraction(0)
    for one in breaks:
        if end is None or one.start < end - _NEAR:
            continue
        yield one
        end = one.end


def _out(live: Live, one: Break) -> str:
    return tag(
        "EXT-X-DATERANGE",
        ID=_identity(live, one),
        START_DATE=_date(live, one.start),
        PLANNED_DURATION=None if one.planned is None else decimal(one.planned, 6),
        SCTE35_OUT=_hexadecimal(one.out),
    )


def _back(live: Live, one: Break) -> str:
    assert one.back is not None
    return tag(
        "EXT-X-DATERANGE",
        ID=_identity(live, one),
        START_DATE=_date(live, one.start),
        END_DATE=_date(live, one.back),
        SCTE35_IN=_hexadecimal(one.into),
    )


def _command(live: Live, event: Event) -> str:
    return tag(
        "EXT-X-DATERANGE",
        ID=quoted(f"command-{event.id}-{_unix(live, event.begin)}"),
        START_DATE=_date(live, event.begin),
        SCTE35_CMD=_hexadecimal(event.data),
    )


def _cue_out(one: Break) -> str:
    planned = "" if one.planned is None else f":{decimal(one.planned, 3)}"
    return f"#EXT-X-CUE-OUT{planned}"


def _continued(one: Break, now: Fraction) -> str:
    planned = "" if one.planned is None else f",Duration={decimal(one.planned, 3)}"
    return f"#EXT-X-CUE-OUT-CONT:ElapsedTime={decimal(now - one.start, 3)}{planned}"


def _identity(live: Live, one: Break) -> str:
    return quoted(f"{one.event_id}-{_unix(live, one.start)}")


def _unix(live: Live, when: Fraction) -> int:
    return int(when + Fraction(live.epoch_ms, 1000))


def _date(live: Live, when: Fraction) -> str:
    at = _EPOCH + timedelta(microseconds=int((when + Fraction(live.epoch_ms, 1000)) * 1_000_000))
    return quoted(f"{at.replace(tzinfo=None).isoformat('T', 'microseconds')}Z")


def _hexadecimal(data: bytes) -> str:
    return f"0x{data.hex().upper()}"
