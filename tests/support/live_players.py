"""What players make of live manifests: which segments they may fetch, and when those are.

It shares no code with the sidecar on purpose.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from lxml import etree

from tests.support.hls import attributes, read_master
from tests.support.mpd import parse_duration
from tests.support.smooth import read_manifest

Get = Callable[[str], bytes]

MPD = "{urn:mpeg:dash:schema:mpd:2011}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A segment. ``time``: at which it begins, seconds of the presentation; None: not said.
    ``duration``: seconds. ``gap``: said not to be there."""

    url: str
    time: Fraction | None
    duration: Fraction
    gap: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a manifest says of one track.

    ``kind``: video, audio or both (``muxed``). ``init``: URL of the init segment, empty without.
    ``sequence``: number of the first segment, where that is said. ``live``: more may come.
    ``date``: of the first segment, Unix seconds. ``name``: what tells it from others.
    """

    name: str
    kind: str
    init: str
    segments: tuple[Listed, ...]
    live: bool
    sequence: int | None = None
    date: Fraction | None = None

    @property
    def duration(self) -> Fraction:
        return sum((one.duration for one in self.segments), Fraction(0))

    @property
    def urls(self) -> list[str]:
        """Those that may be fetched."""
        return [one.url for one in self.segments if not one.gap]


def hls(get: Get, query: str = "") -> list[Listing]:
    """All media playlists of the master playlist."""
    url = f".m3u8?{query}" if query else ".m3u8"
    master = read_master(get(url).decode(), url)
    codecs = {one["URI"]: one["CODECS"] for one in master.variants}
    return [_playlist(get(one).decode(), one, codecs.get(one, "mp4a")) for one in master.playlists]


def _playlist(text: str, url: str, codecs: str) -> Listing:
    segments: list[Listed] = []
    init, date, sequence, gap, duration = "", None, 0, False, None
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "#EXT-X-MEDIA-SEQUENCE":
            sequence = int(value)
        elif name == "#EXT-X-MAP":
            init = urllib.parse.urljoin(url, attributes(value)["URI"])
        elif name == "#EXT-X-PROGRAM-DATE-TIME" and date is None:
            assert not segments, "the date is that of the first segment"
            date = moment(value)
        elif name == "#EXT-X-GAP":
            gap = True
        elif name == "#EXTINF":
            duration = Fraction(value.split(",")[0])
        elif line and not line.startswith("#"):
            assert duration is not None
            at = urllib.parse.urljoin(url, line)
            segments.append(Listed(url=at, time=None, duration=duration, gap=gap))
            duration, gap = None, False
    pictures = "avc1" in codecs
    apart = bool(init) or not pictures
    return Listing(
        name=url,
        kind="muxed"
        if not apart
        else "video"
        if pictures and "keyframes" not in url and ("video" in url)
        else "audio",
        init=init,
        segments=tuple(segments),
        live="#EXT-X-ENDLIST" not in text,
        sequence=sequence,
        date=date,
    )


def moment(text: str) -> Fraction:
    """Unix seconds of a date and time with its zone."""
    return Fraction(datetime.fromisoformat(text).timestamp()).limit_denominator(1_000_000)


def dash(get: Get, query: str = "") -> list[Listing]:
    """All Representations of the MPD."""
    url = f".mpd?{query}" if query else ".mpd"
    root = etree.fromstring(get(url))
    live = root.get("type") == "dynamic"
    assert live or root.get("type") == "static"
    (period,) = root.findall(f"{MPD}Period")
    base = urllib.parse.urljoin(url, period.findtext(f"{MPD}BaseURL") or "")
    start = parse_duration(period.get("start", "PT0S"))
    return [
        _representation(one, adaptation, base, start, live)
        for adaptation in period.findall(f"{MPD}AdaptationSet")
        for one in adaptation.findall(f"{MPD}Representation")
    ]


def _representation(
    element: etree._Element,
    adaptation: etree._Element,
    base: str,
    start: Fraction,
    live: bool,
) -> Listing:
    template = element.find(f"{MPD}SegmentTemplate")
    if template is None:
        template = adaptation.find(f"{MPD}SegmentTemplate")
    assert template is not None
    timescale = int(template.get("timescale", "1"))
    offset = int(template.get("presentationTimeOffset", "0"))
    number = int(template.get("startNumber", "1"))

    def url(name: str, **values: object) -> str:
        text = template.get(name, "")
        for key, value in values.items():
            text = text.replace(f"${key}$", str(value))
        assert "$" not in text, text
        return urllib.parse.urljoin(base, text)

    of = {"RepresentationID": element.get("id")}
    segments: list[Listed] = []
    time = 0
    for entry in template.iterfind(f"{MPD}SegmentTimeline/{MPD}S"):
        time = int(entry.get("t", time))
        number = int(entry.get("n", number))
        duration = int(entry.get("d", "0"))
        for _ in range(int(entry.get("r", "0")) + 1):
            segments.append(
                Listed(
                    url=url("media", Time=time, Number=number, **of),
                    time=Fraction(time - offset, timescale) + start,
                    duration=Fraction(duration, timescale),
                )
            )
            time += duration
            number += 1
    return Listing(
        name=element.get("id", ""),
        kind=adaptation.get("contentType", ""),
        init=url("initialization", **of),
        segments=tuple(segments),
        live=live,
    )


def smooth(get: Get, query: str = "") -> list[Listing]:
    """All quality levels of the client manifest."""
    manifest = read_manifest(get(f"Manifest?{query}" if query else "Manifest"))
    return [
        Listing(
            name=f"{stream.name}={level['Bitrate']}",
            kind=stream.kind,
            init="",
            segments=tuple(
                Listed(
                    url=stream.url(level, time),
                    time=Fraction(time, stream.timescale),
                    duration=Fraction(duration, stream.timescale),
                )
                for time, duration in stream.chunks
            ),
            live=manifest.attributes.get("IsLive", "").lower() == "true",
        )
        for stream in manifest.streams
        for level in stream.levels
    ]


FORMATS: dict[str, Callable[[Get, str], list[Listing]]] = {
    "hls": hls,
    "dash": dash,
    "smooth": smooth,
}
