"""SegmentTemplate: where the segments of a list are, and when (ISO/IEC 23009-1 5.3.9)."""

from __future__ import annotations

import numpy as np
from lxml import etree

from sidecar.formats.dash.period import Listing, Period
from sidecar.units import rescale

NAMESPACE = "urn:mpeg:dash:schema:mpd:2011"


def segment_template(
    listed: Listing, *, base: str, query: str, addressing: str, period: Period
) -> etree._Element:
    """The element for ``listed`` segments of representations whose URLs begin with ``base``, and
    which end with ``query``.

    ``addressing``: ``time`` ($Time$), ``number`` ($Number$ and one duration) or
    ``number_timeline`` ($Number$ and exact durations). One duration is only right for segments of
    about the same length; where it is not, ``number`` becomes ``number_timeline``, which has the
    same URLs. ``period``: its duration is that which stands in the MPD.
    """
    by_time = addressing == "time"
    media = f"{base}$RepresentationID$-" + ("$Time$.dash" if by_time else "$Number$.m4s")
    attributes = {"timescale": str(listed.timescale)}
    if period.origin:
        attributes["presentationTimeOffset"] = str(_offset(listed, period))
    duration = even_duration(listed, period) if addressing == "number" else None
    if duration is not None:
        attributes["duration"] = str(duration)
    if not by_time:
        attributes["startNumber"] = str(listed.chosen.start + 1)
    attributes["initialization"] = f"{base}$RepresentationID$.dash"
    attributes["media"] = media + query
    template = etree.Element(f"{{{NAMESPACE}}}SegmentTemplate", attributes)
    if duration is None:
        template.append(_segment_timeline(listed))
    return template


def even_duration(listed: Listing, period: Period) -> int | None:
    """SegmentTemplate@duration for ``listed`` in ticks, or None when no single one is right.

    Right means: every segment starts within half a duration of its multiple (5.3.9.2.1), and the
    period holds as many durations as there are segments, so that no client asks for one more.
    """
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
    """Run-length durations; the first S alone needs its time, as there are no gaps (5.3.9.6)."""
    durations = np.diff(listed.start)
    begins = np.flatnonzero(np.concatenate(([True], durations[1:] != durations[:-1])))
    repeats = np.diff(np.append(begins, len(durations))) - 1
    runs = [
        f'<S d="{duration}" r="{repeat}"/>' if repeat else f'<S d="{duration}"/>'
        for duration, repeat in zip(durations[begins].tolist(), repeats.tolist(), strict=True)
    ]
    runs[0] = f'<S t="{int(listed.start[0])}"{runs[0][2:]}'
    # Audio alternates between two durations: parsing the text of its thousands of elements is
    # several times faster than making each through the tree.
    text = f'<SegmentTimeline xmlns="{NAMESPACE}">{"".join(runs)}</SegmentTimeline>'
    return etree.fromstring(text, _parser())


def _parser() -> etree.XMLParser:
    return etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
