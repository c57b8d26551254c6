"""Breaks of the programme, as its SCTE-35 events tell of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from sidecar.codecs.scte35 import (
    BANDWIDTH_RESERVATION,
    SPLICE_NULL,
    TIMESCALE,
    SpliceInfo,
    read_section,
)
from sidecar.errors import InvalidMedia
from sidecar.media.events import SCTE35, Event

# segmentation_type_id of what leaves the programme: break, advertisements of provider and
# distributor, placement opportunities of both, their blocks. Each is followed by that of its end.
_OUT = frozenset((0x22, 0x30, 0x32, 0x34, 0x36, 0x44, 0x46))
_SILENT = (SPLICE_NULL, BANDWIDTH_RESERVATION)
# What is longer is not known to end, seconds: nobody remembers for ever.
LONGEST = Fraction(3600)
# One break may be announced again at a time that differs a little, seconds.
_SAME = Fraction(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """``start``: seconds of the presentation; ``planned``: how long it is to be, seconds, None =
    not said. ``out``: the section that began it. ``back``: when a section brought the programme
    back, None = none has; ``into``: that section. ``auto_return``: it ends by itself. ``inserted``:
    it is of a splice_insert. ``known``: as of the event that began it."""

    event_id: int
    start: Fraction
    planned: Fraction | None
    auto_return: bool
    inserted: bool
    out: bytes
    known: Fraction
    back: Fraction | None = None
    into: bytes = b""

    @property
    def end(self) -> Fraction | None:
        """When the programme is back, seconds, as far as that is known."""
        ends = [] if self.planned is None else [self.start + self.planned]
        ends += [] if self.back is None else [self.back]
        return min(ends, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Splices:
    """``breaks`` by their start; ``commands``: other sections, by their time, damaged ones too.
    ``moments``: when the programme is left, is to come back, and does; each with how far the media
    had come when that was announced; seconds, ascending. They do not depend on what was said more
    than ``LONGEST`` before."""

    breaks: tuple[Break, ...]
    commands: tuple[Event, ...]
    moments: tuple[tuple[Fraction, Fraction], ...]


@dataclass(frozen=True, slots=True)
class _Cue:
    """``out``: None for what cancels."""

    event_id: int
    out: bool | None
    duration: int | None = None
    auto_return: bool = False
    inserted: bool = False


@lru_cache(maxsize=1024)
def section(data: bytes) -> SpliceInfo | None:
    """The section that ``data`` is, None when it is damaged."""
    try:
        return read_section(data)
    except InvalidMedia:
        return None


def cancels(data: bytes) -> bool:
    """Whether the section ``data`` takes back what another one said."""
    info = section(data)
    return info is not None and any(cue.out is None for cue in _cues(info))


def splices(events: Iterable[Event]) -> Splices:
    """What those of ``events`` that are of SCTE-35 say together.

    A break that was taken back before it began is none. What brings the programme back belongs to
    the break of the same event, else, of a splice_insert, to the latest that has not ended.
    """
    sections = sorted((one for one in events if one.scheme == SCTE35), key=_order)
    said = [(one, info, list(_cues(info))) for one in sections if (info := section(one.data))]
    taken_back: dict[int, list[Fraction]] = {}
    for event, _, cues in said:
        for cue in cues:
            if cue.out is None:
                taken_back.setdefault(cue.event_id, []).append(event.known)
    breaks: list[Break] = []
    moments = set()
    commands = [one for one in sections if section(one.data) is None]
    for event, info, cues in said:
        used = info.command in _SILENT
        for cue in cues:
            if cue.out is None:
                continue
            if cue.out:
                used = True
                _leave(breaks, cue, event, taken_back.get(cue.event_id, ()))
            else:
                used |= _come_back(breaks, cue, event)
                moments.add((event.begin, event.known))
        if not used:
            commands.append(event)
    for one in breaks:
        moments.add((one.start, one.known))
        if one.planned is not None and one.planned <= LONGEST:
            moments.add((one.start + one.planned, one.known))
    commands.sort(key=_order)
    return Splices(
        breaks=tuple(breaks),
        commands=tuple(commands),
        moments=tuple(sorted(moments)),
    )


def _order(event: Event) -> tuple[Fraction, bool, Fraction, str, int, bytes]:
    """By time; at one time, breaks end before others begin."""
    info = section(event.data)
    begins = info is not None and any(cue.out for cue in _cues(info))
    return (event.begin, begins, event.known, event.value, event.id, event.data)


def _leave(breaks: list[Break], cue: _Cue, event: Event, taken_back: Iterable[Fraction]) -> None:
    start = event.begin
    if any(event.known <= when <= start for when in taken_back):
        return
    for one in breaks:
        if one.event_id == cue.event_id and start - one.start < _SAME:
            return
    planned = None if cue.duration is None else Fraction(cue.duration, TIMESCALE)
    breaks.append(
        Break(
            event_id=cue.event_id,
            start=start,
            planned=planned,
            auto_return=cue.auto_return,
            inserted=cue.inserted,
            out=event.data,
            known=event.known,
        )
    )


def _come_back(breaks: list[Break], cue: _Cue, event: Event) -> bool:
    """Whether there is a break that ends with ``cue``."""
    open_ones = [at for at, one in enumerate(breaks) if one.back is None]
    same = [at for at in open_ones if breaks[at].event_id == cue.event_id]
    if not same and cue.inserted:
        same = [at for at in open_ones if _lasts(breaks[at], event.begin)]
    if not same:
        # Said again of one that has ended.
        return any(
            one.event_id == cue.event_id and one.back is not None and event.begin - one.back < _SAME
            for one in breaks
        )
    breaks[same[-1]] = replace(breaks[same[-1]], back=event.begin, into=event.data)
    return True


def _lasts(one: Break, when: Fraction) -> bool:
    """Whether the break of a splice_insert goes on up to ``when``."""
    return one.inserted and (one.end is None or when <= one.end)


def _cues(info: SpliceInfo) -> Iterator[_Cue]:
    insert = info.insert
    if insert is not None:
        yield _Cue(
            insert.event_id,
            None if insert.cancels else insert.out,
            insert.duration,
            insert.auto_return,
            inserted=True,
        )
        return
    for one in info.segmentations:
        if one.cancels:
            yield _Cue(one.event_id, None)
        elif one.type_id in _OUT:
            yield _Cue(one.event_id, True, one.duration)
        elif one.type_id - 1 in _OUT:
            yield _Cue(one.event_id, False)
