"""The Periods of an MPD: one for each era, as representations keep what they are decoded by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from sidecar.formats.dash.period import Listing, Period, milliseconds
from sidecar.media.presentation import Presentation, Rendition
from sidecar.timeline.live import Live

# Of a segment that reaches into a Period, what is less than this is not missed there, seconds.
_NOTHING = Fraction(1, 100)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Part:
    """A Period of ``era``: ``listings`` (selector -> what is listed) of what ``presentation`` has.
    ``end``: where the next one begins, presentation time in the media, seconds, None for the last:
    its Period may go on."""

    era: int
    presentation: Presentation
    listings: Mapping[str, Listing]
    period: Period
    end: Fraction | None


def parts(
    presentation: Presentation,
    listings: Mapping[str, Listing],
    period: Period,
    live: Live | None,
) -> list[Part]:
    """The Periods of what is listed of ``presentation``, the whole of which were ``period``.

    They begin where the first picture of their era is presented. Segments of sound lie on both
    sides of that: they are listed in both Periods where that can be decoded.
    """
    whole = Part(era=0, presentation=presentation, listings=listings, period=period, end=None)
    held = sorted({era for one in listings.values() for era in _eras(one)})
    if live is None or held == [0]:
        return [whole]
    begins = {era: milliseconds(live.eras[era].begin) for era in held}
    found = []
    for at, era in enumerate(held):
        before = held[at - 1] if at else None
        after = held[at + 1] if at + 1 < len(held) else None
        described = []
        of_era: dict[str, Listing] = {}
        for rendition in presentation.renditions:
            listed = _part(
                listings[rendition.selector],
                era,
                begins[era] if _same(live, rendition, before, era) else None,
                begins[after] if after is not None and _same(live, rendition, era, after) else None,
            )
            one = live.eras[era].presentation.find(rendition.selector)
            if listed is not None and one is not None:
                of_era[rendition.selector] = listed
                described.append(one)
        if of_era:
            found.append(
                Part(
                    era=era,
                    presentation=replace(presentation, renditions=tuple(described)),
                    listings=of_era,
                    end=None if after is None else begins[after],
                    period=_period(
                        period,
                        begins[era],
                        None if after is None else begins[after],
                        is_first=at == 0,
                    ),
                )
            )
    return found


def _eras(listed: Listing) -> set[int]:
    return {listed.segments.era_of(at) for at in listed.chosen}


def _same(live: Live, rendition: Rendition, one: int | None, other: int) -> bool:
    """Whether the same init segment does for ``rendition`` in two eras."""
    if one is None:
        return False
    found = [live.eras[era].presentation.find(rendition.selector) for era in (one, other)]
    headed = {
        None if it is None else (it.track.sample_entry_box, it.track.samples.composition_delay)
        for it in found
    }
    return len(headed) == 1


def _part(
    listed: Listing, era: int, begin: Fraction | None, end: Fraction | None
) -> Listing | None:
    """Those segments of ``listed`` that are of ``era``, and those of others that reach over its
    ``begin`` or ``end``, seconds; None: there is nothing to look for."""
    segments, chosen = listed.segments, listed.chosen
    inside = [at for at in chosen if segments.era_of(at) == era]
    if not inside:
        return None
    first, last = inside[0], inside[-1] + 1
    start, timescale = segments.start, segments.timescale
    if begin is not None:
        late = (begin + _NOTHING) * timescale
        while first > chosen.start and int(start[first]) > late:
            first -= 1
    if end is not None:
        early = (end - _NOTHING) * timescale
        while last < chosen.stop and int(start[last]) < early:
            last += 1
    if all(segments.is_gap(at) for at in range(first, last)):
        return None
    return Listing(segments=segments, chosen=range(first, last))


def _period(whole: Period, begin: Fraction, end: Fraction | None, *, is_first: bool) -> Period:
    """The Period from ``begin`` (presentation time in the media, seconds) to ``end``, or to the end
    of all."""
    origin = begin
    if is_first and whole.origin:
        origin = whole.origin
    duration = whole.duration
    if duration is not None:
        duration = (whole.origin + duration if end is None else end) - origin
    return Period(origin=origin, start=origin - whole.origin + whole.start, duration=duration)
