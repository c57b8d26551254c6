"""TTML documents of a stretch of time (W3C TTML2; IMSC 1.1 text profile where made from WebVTT)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape
from xml.sax.saxutils import escape, quoteattr

from sidecar.media.text.cues import Cue, Paragraph, TimedText, Ttml
from sidecar.mux.webvtt import clock_time

_HEAD = """<head><styling>
<style xml:id="text" tts:color="#FFFFFF" tts:backgroundColor="#000000CC" tts:textAlign="center"/>
</styling><layout>
<region xml:id="top" tts:origin="10% 10%" tts:extent="80% 80%" tts:displayAlign="before"/>
<region xml:id="middle" tts:origin="10% 10%" tts:extent="80% 80%" tts:displayAlign="center"/>
<region xml:id="bottom" tts:origin="10% 10%" tts:extent="80% 80%" tts:displayAlign="after"/>
</layout></head>"""
_OPENING = (
    '<tt xmlns="http://www.w3.org/ns/ttml" xmlns:tts="http://www.w3.org/ns/ttml#styling"'
    ' xmlns:ttp="http://www.w3.org/ns/ttml#parameter" ttp:timeBase="media" xml:lang={language}>'
)
_STYLES = {
    "b": 'tts:fontWeight="bold"',
    "i": 'tts:fontStyle="italic"',
    "u": 'tts:textDecoration="underline"',
}
_ALIGN = {"start": "start", "end": "end", "left": "left", "right": "right"}
_MARKUP = re.compile(r"<(/?)([a-zA-Z]*)[^<>]*>|\n")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)%")
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NESTED_TIME = re.compile(r"""<[^<>]*\s(?:begin|end|dur)=""")


def ttml_document(
    text: TimedText, begin: int, end: int, *, origin: int = 0, language: str | None = None
) -> bytes:
    """A TTML document with what ``text`` shows from ``begin`` to ``end``, milliseconds, UTF-8.

    Text that is shown longer is cut off there; the segments around have the rest. Times in the
    document count from ``origin``: 0 in ``stpp``, where they are those of the track (ISO/IEC
    14496-30 6.1); the begin of the fragment in Smooth Streaming, whose clients add that. What was
    TTML keeps its head and its paragraphs; of WebVTT the basic styles are kept. ``language``: BCP
    47, of documents that are made from WebVTT.
    """
    if text.ttml is not None:
        opening, prefix, head = text.ttml.opening, text.ttml.prefix, text.ttml.head
        paragraphs = _kept(text.ttml, begin, end, origin)
    else:
        opening = _OPENING.format(language=quoteattr(language or ""))
        prefix, head = "", _HEAD
        paragraphs = _made(text.cues.overlapping(begin, end), begin, end, origin)
    body = f"<{prefix}body/>"
    if paragraphs:
        inner = "\n".join(paragraphs)
        body = f"<{prefix}body><{prefix}div>\n{inner}\n</{prefix}div></{prefix}body>"
    document = f'<?xml version="1.0" encoding="utf-8"?>\n{opening}\n{head}\n{body}\n</{prefix}tt>\n'
    return document.encode("utf-8", "replace")


def _kept(ttml: Ttml, begin: int, end: int, origin: int) -> list[str]:
    return [
        f"<{one.name}{_times(one, begin, end, origin)}{one.rest}"
        for one in ttml.paragraphs.overlapping(begin, end)
    ]


def _times(one: Paragraph | Cue, begin: int, end: int, origin: int) -> str:
    first, last = max(one.begin, begin), min(one.end, end)
    # Spans with times of their own count from the paragraph's begin: it stays where it is.
    if isinstance(one, Paragraph) and one.begin >= origin and _NESTED_TIME.search(one.rest):
        first = one.begin
    return f' begin="{clock_time(first - origin)}" end="{clock_time(last - origin)}"'


def _made(cues: Sequence[Cue], begin: int, end: int, origin: int) -> list[str]:
    return [
        f'<p{_times(cue, begin, end, origin)} style="text"{_layout(cue.settings)}>'
        f"{_content(cue.payload)}</p>"
        for cue in cues
    ]


def _layout(settings: str) -> str:
    """Attributes for WebVTT cue settings: a region, and an alignment that is not the middle."""
    said = dict(part.split(":", 1) for part in settings.split() if ":" in part)
    align = _ALIGN.get(said.get("align", ""))
    aligned = f' tts:textAlign="{align}"' if align else ""
    return f' region="{_region(said.get("line", ""))}"{aligned}'


def _region(line: str) -> str:
    line = line.partition(",")[0]
    percent = _PERCENT.fullmatch(line)
    if percent is not None:
        place = float(percent[1])
        return "top" if place < 34 else "middle" if place < 67 else "bottom"
    # Lines are counted from the top; negative ones from the bottom, which is the usual place.
    return "top" if line.isascii() and line.isdigit() and int(line[:3]) < 8 else "bottom"


def _content(payload: str) -> str:
    """Cue text as the content of a ``p``; classes, voices and rubies lose their marks."""
    parts: list[str] = []
    opened: list[str] = []
    position = 0
    for match in _MARKUP.finditer(payload):
        parts.append(_text(payload[position : match.start()]))
        position = match.end()
        if match[0] == "\n":
            parts.append("<br/>")
            continue
        tag = match[2].lower()
        if tag not in _STYLES:
            continue
        if not match[1]:
            opened.append(tag)
            parts.append(f"<span {_STYLES[tag]}>")
        elif tag in opened:
            # Tags that were closed in another order than they were opened.
            while opened.pop() != tag:
                parts.append("</span>")
            parts.append("</span>")
    parts.append(_text(payload[position:]))
    parts += ["</span>"] * len(opened)
    return "".join(parts)


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("", unescape(text)))
