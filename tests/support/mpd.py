"""A reader of served MPDs (ISO/IEC 23009-1 §5.3.9): everything that a client may ask for."""

from __future__ import annotations

import math
import os
import re
import urllib.parse
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from lxml import etree

from tests.support.media import ROOT

NAMESPACE = "{urn:mpeg:dash:schema:mpd:2011}"
SCHEMA = Path(os.environ.get("DASH_XSD", ROOT.parent / "shared" / "data" / "dash-schema"))
DURATION = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One entry: ``time`` and ``duration`` in ticks, None when the MPD does not say."""

    url: str
    time: int | None
    duration: int | None


@dataclass(slots=True, kw_only=True)
class Representation:
    id: str
    content_type: str
    codecs: str
    bandwidth: int
    timescale: int
    offset: int
    template_duration: int | None
    init: str
    attributes: dict[str, str]
    element: etree._Element
    adaptation_set: etree._Element
    segments: list[Segment] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Manifest:
    duration: Fraction
    root: etree._Element
    representations: list[Representation] = field(default_factory=list)


def parse_duration(text: str) -> Fraction:
    """Seconds of an ISO 8601 duration in hours, minutes and seconds."""
    match = DURATION.fullmatch(text)
    assert match and text != "PT", text
    hours, minutes, seconds = match.groups()
    return Fraction(hours or 0) * 3600 + Fraction(minutes or 0) * 60 + Fraction(seconds or 0)


def _fill(template: str, **values: object) -> str:
    def value(match: re.Match[str]) -> str:
        if not match[1]:
            return "$"
        return format(values[match[1]], match[2] or "")

    return re.sub(r"\$(?:(\w+)(?:%(\d+d))?)?\$", value, template)


def read(text: bytes, url: str) -> Manifest:
    """The MPD ``text`` that was fetched from ``url``; one static Period."""
    root = etree.fromstring(text)
    assert root.tag == f"{NAMESPACE}MPD" and root.get("type") == "static"
    duration = parse_duration(root.get("mediaPresentationDuration", ""))
    manifest = Manifest(duration=duration, root=root)
    (period,) = root.findall(f"{NAMESPACE}Period")
    base = url
    for level in (root, period):
        found = level.find(f"{NAMESPACE}BaseURL")
        if found is not None:
            base = urllib.parse.urljoin(base, found.text or "")
    for adaptation_set in period.findall(f"{NAMESPACE}AdaptationSet"):
        for element in adaptation_set.findall(f"{NAMESPACE}Representation"):
            manifest.representations.append(
                _representation(adaptation_set, element, base, duration)
            )
    return manifest


def _representation(
    adaptation_set: etree._Element, element: etree._Element, base: str, duration: Fraction
) -> Representation:
    both = dict(adaptation_set.attrib) | dict(element.attrib)
    template = element.find(f"{NAMESPACE}SegmentTemplate")
    if template is None:
        template = adaptation_set.find(f"{NAMESPACE}SegmentTemplate")
    assert template is not None
    name, bandwidth = both["id"], int(both["bandwidth"])
    common = {"RepresentationID": name, "Bandwidth": bandwidth}
    timescale = int(template.get("timescale", "1"))
    each = template.get("duration")
    found = Representation(
        id=name,
        content_type=both.get("contentType", both.get("mimeType", "").split("/")[0]),
        codecs=both["codecs"],
        bandwidth=bandwidth,
        timescale=timescale,
        offset=int(template.get("presentationTimeOffset", "0")),
        template_duration=int(each) if each else None,
        init=urllib.parse.urljoin(base, _fill(template.get("initialization", ""), **common)),
        attributes=both,
        element=element,
        adaptation_set=adaptation_set,
    )
    number = int(template.get("startNumber", "1"))
    media = template.get("media", "")
    timeline = template.find(f"{NAMESPACE}SegmentTimeline")
    end = math.floor(duration * timescale) + found.offset

    def add(time: int | None, length: int | None) -> None:
        url = _fill(media, Number=number + len(found.segments), Time=time, **common)
        found.segments.append(
            Segment(url=urllib.parse.urljoin(base, url), time=time, duration=length)
        )

    if timeline is None:
        assert found.template_duration
        for _ in range(math.ceil(duration * timescale / found.template_duration)):
            add(None, None)
        return found
    time = 0
    entries = timeline.findall(f"{NAMESPACE}S")
    for index, entry in enumerate(entries):
        time = int(entry.get("t", time))
        length, repeat = int(entry.get("d", "0")), int(entry.get("r", "0"))
        assert length > 0
        if repeat < 0:
            after = entries[index + 1].get("t") if index + 1 < len(entries) else None
            stop = int(after) if after else end
            repeat = math.ceil(Fraction(stop - time, length)) - 1
        for _ in range(repeat + 1):
            add(time, length)
            time += length
    return found
