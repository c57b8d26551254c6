"""A reader of served HLS playlists (RFC 8216): what a client would fetch from them."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, field
from fractions import Fraction

ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)(?:,|$)')


def attributes(text: str) -> dict[str, str]:
    """An attribute list; the whole text must be one. Quotes are removed."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = ATTRIBUTE.match(text, position)
        assert match, f"not an attribute list: {text[position:]!r}"
        assert match[1] not in found, f"twice: {match[1]}"
        found[match[1]] = match[2].strip('"')
        position = match.end()
    return found


@dataclass(slots=True, kw_only=True)
class Master:
    """``media``: EXT-X-MEDIA; ``variants``: EXT-X-STREAM-INF with its URL as ``URI``;
    ``iframes``: EXT-X-I-FRAME-STREAM-INF. URLs are absolute."""

    version: int = 1
    media: list[dict[str, str]] = field(default_factory=list)
    variants: list[dict[str, str]] = field(default_factory=list)
    iframes: list[dict[str, str]] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)

    @property
    def playlists(self) -> list[str]:
        """URLs of all media playlists but those of key frames, each once."""
        entries = [*self.media, *self.variants]
        return list(dict.fromkeys(entry["URI"] for entry in entries if "URI" in entry))


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSegment:
    url: str
    duration: Fraction
    decimals: int
    byterange: tuple[int, int] | None = None


@dataclass(slots=True, kw_only=True)
class Media:
    """A media playlist; ``map``: URL of the init segment."""

    version: int = 1
    target: int = 0
    sequence: int = 0
    map: str = ""
    ended: bool = False
    iframes_only: bool = False
    tags: set[str] = field(default_factory=set)
    segments: list[MediaSegment] = field(default_factory=list)


def read_master(text: str, url: str) -> Master:
    """The master playlist ``text`` that was fetched from ``url``."""
    lines = text.splitlines()
    assert lines[0] == "#EXTM3U"
    master = Master()
    pending: dict[str, str] | None = None
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if line.startswith("#EXT"):
            master.tags.add(name)
        if name == "#EXT-X-VERSION":
            master.version = int(value)
        elif name in {"#EXT-X-MEDIA", "#EXT-X-I-FRAME-STREAM-INF"}:
            entry = attributes(value)
            if "URI" in entry:
                entry["URI"] = urllib.parse.urljoin(url, entry["URI"])
            (master.media if name == "#EXT-X-MEDIA" else master.iframes).append(entry)
        elif name == "#EXT-X-STREAM-INF":
            pending = attributes(value)
        elif line and not line.startswith("#"):
            assert pending is not None, f"a URI without EXT-X-STREAM-INF: {line}"
            master.variants.append(pending | {"URI": urllib.parse.urljoin(url, line)})
            pending = None
    assert pending is None
    return master


def read_media(text: str, url: str) -> Media:
    """The media playlist ``text`` that was fetched from ``url``."""
    lines = text.splitlines()
    assert lines[0] == "#EXTM3U"
    media = Media()
    duration, decimals = None, 0
    byterange: tuple[int, int] | None = None
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if line.startswith("#EXT"):
            media.tags.add(name)
        if name == "#EXT-X-VERSION":
            media.version = int(value)
        elif name == "#EXT-X-TARGETDURATION":
            media.target = int(value)
        elif name == "#EXT-X-MEDIA-SEQUENCE":
            media.sequence = int(value)
        elif name == "#EXT-X-MAP":
            assert not media.map, "one map"
            media.map = urllib.parse.urljoin(url, attributes(value)["URI"])
        elif name == "#EXTINF":
            number = value.split(",")[0]
            duration, decimals = Fraction(number), len(number.partition(".")[2])
        elif name == "#EXT-X-BYTERANGE":
            length, _, offset = value.partition("@")
            byterange = int(offset), int(length)
        elif name == "#EXT-X-I-FRAMES-ONLY":
            media.iframes_only = True
        elif name == "#EXT-X-ENDLIST":
            media.ended = True
        elif line and not line.startswith("#"):
            assert duration is not None, f"a URI without EXTINF: {line}"
            segment_url = urllib.parse.urljoin(url, line)
            media.segments.append(
                MediaSegment(
                    url=segment_url, duration=duration, decimals=decimals, byterange=byterange
                )
            )
            duration = byterange = None
    return media
