"""SegmentTemplate: where the segments of a list are, and when (ISO/IEC 23009-1 5.3.9)."""

from __future__ import annotations

import numpy as np
from lxml import etree

from sidecar.formats.dash.period import Listing, Period
from sidecar.formats.eras import suffixed
from sidecar.units import rescale

NAMESPACE = "urn:mpeg:dash:schema:mpd:2011"


def segment_template(
    listed: Listing, *, base: str, query: str, addressing: str, period: Period, era: int = 0
) -> etree._Element:
    """The element for ``listed`` segments of representations whose URLs begin with ``base``, and
    which end with ``query``.

    ``addressing``: ``time`` ($Time$), ``number`` ($Number$ and one duration) or
    ``number_timeline`` ($Number$ and exact durations). One duration is only right for segments of
    about the same length; where it is not, ``number`` becomes ``number_timeline``, which has the
    same URLs. Where a segment is missing, $Number$ becomes $Time$: numbers would be those of others
    behind it. ``period``: its duration is that which stands in the MPD. ``era``: whose init segment
    it is.
    """
    by_time = addressing == "time" or listed.gap is not None
    media = f"{base}$RepresentationID$-" + ("$Time$.dash" if by_time else "$Number$.m4s")
    attributes = {"timescale": str(listed.timescale)}
    if period.origin:
        attributes["presentationTimeOffset"] = str(_offset(listed, period))
    duration = even_duration(listed, period) if addressing == "number" else None
    if duration is not None:
        attributes["duration"] = str(duration)
    if not by_time:
        attributes["startNumber"] = str(listed.first_number)
    attributes["initialization"] = f"{base}{suffixed('$RepresentationID$', era)}.dash"
    attributes["media"] = media + query
    template = etree.Element(f"{{{NAMESPACE}}}SegmentTemplate", attributes)
    if duration is None:
        template.append(_segment_timeline(listed))
    return template


def even_duration(listed: Listing, period: Period) -> int | None:
    """SegmentTemplate@duration for ``listed`` in ticks, or None when no single one is right.

    Right means: every segment starts within half a duration of its multiple (5.3.9.2.1), and the
    period holds as many durations as there are segments, so that no client asks for one more. In a
    period that goes on a client would ask for what is not there yet.
    """
    if period.duration is None or listed.gap is not None:
        return None
    count = len(listed.chosen)
    span = period.duration * listed.timescale
    start = listed.start[:-1]
    usual = round(int(start[-1] - start[0]) / (count - 1)) if count > 1 else 0
    duration = max(1, usual, -(-span.numerator // (span.denominator * count)))
    if -(-span // duration) != count:
        return None
    drift = np.abs(start - _offset(listed, period) - duration * np.arange(count))
    return duration if int(2 * drift.max()) <= duration else None


def _offset(listed: Listing, period: Period) -> int:
    """The tick at which ``period`` begins: presentationTimeOffset (5.3.9.2.2)."""
    return rescale(period.origin.numerator, period.origin.denominator, listed.timescale)


def _segment_timeline(listed: Listing) -> etree._Element:
    """Run-length durations; the first S, and those behind a gap, need their times (5.3.9.6)."""
    durations, start = np.diff(listed.start), listed.start[:-1]
    timed = np.arange(len(durations)) == 0
    if listed.gap is not None:
        held = ~listed.gap
        behind = np.diff(np.flatnonzero(held), prepend=-1) > 1
        durations, start, timed = durations[held], start[held], timed[: int(held.sum())] | behind
    changes = np.concatenate(([True], durations[1:] != durations[:-1]))
    begins = np.flatnonzero(changes | timed)
    repeats = np.diff(np.append(begins, len(durations))) - 1
    columns = (durations[begins], repeats, timed[begins], start[begins])
    runs = [
        (f'<S t="{time}"' if said else "<S") + f' d="{duration}"' + (f' r="{n}"/>' if n else "/>")
        for duration, n, said, time in zip(*(one.tolist() for one in columns), strict=True)
    ]
    # Audio alternates between two durations: parsing the text of its thousands of elements is
    # several times faster than making each through the tree.
    text = f'<SegmentTimeline xmlns="{NAMESPACE}">{"".join(runs)}</SegmentTimeline>'
    return etree.fromstring(text, _parser())


def _parser() -> etree.XMLParser:
    return etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
