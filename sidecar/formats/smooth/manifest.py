"""The client manifest ([MS-SSTR] 2.2.2), of a presentation that is not live."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from lxml import etree
from numpy.typing import NDArray

from sidecar.formats.smooth.quality import quality_level
from sidecar.formats.smooth.streams import Stream
from sidecar.formats.urls import encoded
from sidecar.media.track import Kind
from sidecar.mux.movie import display_size
from sidecar.mux.smooth import TIMESCALE

CONTENT_TYPE = "application/vnd.ms-sstr+xml"
DEFAULT_VERSION = 20

_TYPES = {Kind.VIDEO: "video", Kind.AUDIO: "audio", Kind.TEXT: "text"}
_CAPTIONS = ("caption", "captions")
# Subtitles are such, or captions for those who cannot hear ([MS-SSTR] 2.2.2.3).
_SUBTITLES = "SUBT"


def client_manifest(
    listed: Sequence[tuple[Stream, range]], *, version: int, whole: bool, query: str
) -> bytes:
    """The manifest of some fragments of some streams (at least one of each), UTF-8.

    ``version``: 20 or 22; only the latter has repeat counts. ``whole``: nothing is left out before
    the first fragment, so that the presentation begins at time 0. ``query``: what fragment URLs end
    with. The root's start tag ends within the first 512 bytes: GStreamer looks no further.
    """
    major, minor = divmod(version, 10)
    root = etree.Element("SmoothStreamingMedia")
    root.set("MajorVersion", str(major))
    root.set("MinorVersion", str(minor))
    root.set("TimeScale", str(TIMESCALE))
    root.set("Duration", str(_duration(listed, whole)))
    root.append(etree.Comment(" Created with OpenOrigin "))
    names: set[str] = set()
    for stream, indices in listed:
        root.append(_stream_index(stream, indices, _unique(stream.name, names), version, query))
    etree.indent(root)
    return etree.tostring(root, xml_declaration=True, encoding="utf-8")


def _duration(listed: Sequence[tuple[Stream, range]], whole: bool) -> int:
    """From the start to the end of what is presented, units of 100 ns."""
    ends, starts = [], []
    for stream, indices in listed:
        chunks = stream.chunks
        second = chunks.clock.timescale
        ends.append(Fraction(chunks.time(indices.stop) + chunks.late, second))
        starts.append(Fraction(chunks.time(indices.start), second))
    length = max(ends) - (0 if whole else min(starts))
    return -(-length.numerator * TIMESCALE // length.denominator)


def _unique(name: str, taken: set[str]) -> str:
    """``name``, numbered when another stream has it: unlike codecs may share a trackName."""
    unique, number = name, 1
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    taken.add(unique)
    return unique


def _stream_index(
    stream: Stream, indices: range, name: str, version: int, query: str
) -> etree._Element:
    first = stream.renditions[0]
    element = etree.Element("StreamIndex", Type=_TYPES[stream.kind], Name=name)
    if stream.kind is Kind.TEXT:
        element.set("Subtype", "CAPT" if first.role in _CAPTIONS else _SUBTITLES)
    if first.language:
        element.set("Language", first.language)
    if stream.chunks.clock.timescale != TIMESCALE:
        element.set("TimeScale", str(stream.chunks.clock.timescale))
    element.set("Chunks", str(len(indices)))
    element.set("QualityLevels", str(len(stream.renditions)))
    if stream.kind is Kind.VIDEO:
        facts = [rendition.video for rendition in stream.renditions]
        shown = [display_size(one) for one in facts]
        element.set("MaxWidth", str(max(one.width for one in facts)))
        element.set("MaxHeight", str(max(one.height for one in facts)))
        element.set("DisplayWidth", str(max(width for width, _ in shown)))
        element.set("DisplayHeight", str(max(height for _, height in shown)))
    url = f"QualityLevels({{bitrate}})/Fragments({encoded(stream.name)}={{start time}}){query}"
    element.set("Url", url)
    for index, rendition in enumerate(stream.renditions):
        attributes = quality_level(rendition, index, version=version)
        etree.SubElement(element, "QualityLevel", attributes)
    times = stream.chunks.times()[indices.start : indices.stop + 1]
    element.extend(_fragments(times, repeats=version >= 22))
    return element


def _fragments(times: NDArray[np.int64], *, repeats: bool) -> list[etree._Element]:
    """``c`` elements; the first alone needs its time, as there are no gaps."""
    durations = np.diff(times)
    counts = np.ones(len(durations), dtype=np.int64)
    if repeats:
        begins = np.flatnonzero(np.concatenate(([True], durations[1:] != durations[:-1])))
        counts = np.diff(np.append(begins, len(durations)))
        durations = durations[begins]
    lines = [
        f'<c d="{duration}" r="{count}"/>' if count > 1 else f'<c d="{duration}"/>'
        for duration, count in zip(durations.tolist(), counts.tolist(), strict=True)
    ]
    lines[0] = f'<c t="{int(times[0])}"{lines[0][2:]}'
    # Parsing the text of thousands of elements is several times faster than making each.
    return list(etree.fromstring(f"<l>{''.join(lines)}</l>", _parser()))


def _parser() -> etree.XMLParser:
    return etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
