"""The client manifest ([MS-SSTR] 2.2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from lxml import etree

from sidecar.formats.smooth.chunks import LOOKAHEAD, Chunks
from sidecar.formats.smooth.quality import quality_level
from sidecar.formats.smooth.streams import Stream
from sidecar.formats.urls import encoded
from sidecar.media.track import Kind
from sidecar.mux.movie import display_size
from sidecar.mux.smooth import TIMESCALE
from sidecar.timeline.live import Live

CONTENT_TYPE = "application/vnd.ms-sstr+xml"
DEFAULT_VERSION = 20

_TYPES = {Kind.VIDEO: "video", Kind.AUDIO: "audio", Kind.TEXT: "text"}
_CAPTIONS = ("caption", "captions")
# Subtitles are such, or captions for those who cannot hear ([MS-SSTR] 2.2.2.3).
_SUBTITLES = "SUBT"


def client_manifest(
    listed: Sequence[tuple[Stream, range]],
    *,
    version: int,
    whole: bool,
    query: str,
    folder: str = "",
    live: Live | None = None,
) -> bytes:
    """The manifest of some fragments of some streams (at least one of each), UTF-8.

    ``version``: 20 or 22; only the latter has repeat counts. ``whole``: nothing is left out before
    the first fragment, so that the presentation begins at time 0. ``query``: what fragment URLs end
    with; ``folder``: what they begin with. ``live``: of a presentation that goes on, None when it
    does not; then clients learn from fragments which ones come next. The root's start tag ends
    within the first 512 bytes: GStreamer looks no further.
    """
    major, minor = divmod(version, 10)
    root = etree.Element("SmoothStreamingMedia")
    root.set("MajorVersion", str(major))
    root.set("MinorVersion", str(minor))
    root.set("TimeScale", str(TIMESCALE))
    if live is None:
        root.set("Duration", str(_duration(listed, whole)))
    else:
        root.set("Duration", "0")
        root.set("IsLive", "TRUE")
        root.set("LookaheadCount", str(LOOKAHEAD))
        # 0 is a window that keeps all.
        window = 0 if live.only_grows else max(1, int(live.depth * TIMESCALE))
        root.set("DVRWindowLength", str(window))
        root.set("CanSeek", "TRUE")
        root.set("CanPause", "TRUE")
    root.append(etree.Comment(" Created with OpenOrigin "))
    names: set[str] = set()
    for stream, indices in listed:
        named = _unique(stream.name, names)
        root.append(_stream_index(stream, indices, named, version, query, folder))
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
    stream: Stream, indices: range, name: str, version: int, query: str, folder: str
) -> etree._Element:
    first = stream.renditions[0]
    element = etree.Element("StreamIndex", Type=_TYPES[stream.kind], Name=name)
    if stream.kind is Kind.TEXT:
        element.set("Subtype", "CAPT" if first.role in _CAPTIONS else _SUBTITLES)
    if first.language:
        element.set("Language", first.language)
    if stream.chunks.clock.timescale != TIMESCALE:
        element.set("TimeScale", str(stream.chunks.clock.timescale))
    fragments, count = _fragments(stream.chunks, indices, repeats=version >= 22)
    element.set("Chunks", str(count))
    element.set("QualityLevels", str(len(stream.renditions)))
    if stream.kind is Kind.VIDEO:
        facts = [rendition.video for rendition in stream.renditions]
        shown = [display_size(one) for one in facts]
        element.set("MaxWidth", str(max(one.width for one in facts)))
        element.set("MaxHeight", str(max(one.height for one in facts)))
        element.set("DisplayWidth", str(max(width for width, _ in shown)))
        element.set("DisplayHeight", str(max(height for _, height in shown)))
    fragment = f"Fragments({encoded(stream.name)}={{start time}}){query}"
    element.set("Url", f"{folder}QualityLevels({{bitrate}})/{fragment}")
    for index, rendition in enumerate(stream.renditions):
        attributes = quality_level(rendition, index, version=version)
        etree.SubElement(element, "QualityLevel", attributes)
    element.extend(fragments)
    return element


def _fragments(
    chunks: Chunks, indices: range, *, repeats: bool
) -> tuple[list[etree._Element], int]:
    """``c`` elements, and how many fragments they are. The first needs its time, and so does one
    behind others that were never received."""
    here = slice(indices.start, indices.stop)
    times, gap = chunks.times()[indices.start : indices.stop + 1], chunks.segments.gap
    held = np.arange(len(indices)) if gap is None else np.flatnonzero(~gap[here])
    durations = np.diff(times)[held]
    timed = np.concatenate(([True], np.diff(held) > 1))
    begins = np.arange(len(held))
    if repeats:
        begins = np.flatnonzero(timed | np.concatenate(([True], np.diff(durations) != 0)))
    rows = zip(
        times[held[begins]].tolist(),
        timed[begins].tolist(),
        durations[begins].tolist(),
        np.diff(begins, append=len(held)).tolist(),
        strict=True,
    )
    lines = [
        (f'<c t="{time}" ' if is_timed else "<c ")
        + (f'd="{duration}" r="{count}"/>' if count > 1 else f'd="{duration}"/>')
        for time, is_timed, duration, count in rows
    ]
    # Parsing the text of thousands of elements is several times faster than making each.
    return list(etree.fromstring(f"<l>{''.join(lines)}</l>", _parser())), len(held)


def _parser() -> etree.XMLParser:
    return etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
