"""Events: what is said of a moment of a presentation, beside its tracks."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace
from fractions import Fraction

from lxml import etree

SCTE35 = "urn:scte:scte35:2013:bin"
# The same sections, as SCTE 214-1 wraps them for manifests.
SCTE35_XML = "urn:scte:scte35:2014:xml+bin"
SCTE35_NAMESPACE = "http://www.scte.org/schemas/35/2016"
ID3 = "https://aomedia.org/emsg/ID3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """``scheme``, ``value``: what ``data`` is, and whose; with ``id`` they tell events apart.

    ``time``: of its begin, presentation time, ticks of ``timescale``; ``duration``: ticks, None =
    not known, or no matter. ``inband``: it came beside the fragments of a track, rather than in one
    of its own. ``known``: presentation time, seconds, of what came with it.
    """

    scheme: str
    value: str
    id: int
    time: int
    duration: int | None
    timescale: int
    data: bytes
    inband: bool
    known: Fraction

    @property
    def begin(self) -> Fraction:
        """Seconds of the presentation."""
        return Fraction(self.time, self.timescale)


def plain(event: Event) -> Event:
    """``event`` with its section of SCTE-35 as it is, when it comes wrapped in XML; else itself."""
    if event.scheme != SCTE35_XML:
        return event
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        root = etree.fromstring(event.data, parser)
        found = next(root.iter("{*}Binary")).text or ""
        data = base64.b64decode("".join(found.split()), validate=True)
    except (etree.XMLSyntaxError, StopIteration, ValueError, binascii.Error):
        return event
    return replace(event, scheme=SCTE35, data=data)
