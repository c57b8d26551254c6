"""The text of a TTML paragraph as WebVTT cue text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from lxml import etree

from sidecar.media.text.cues import Cue
from sidecar.media.text.ttml_styles import Styles, StyleSheet, inherited, local, tags_of

_XML_SPACE = "{http://www.w3.org/XML/1998/namespace}space"
_BLANKS = re.compile(r"[ \t\r\n]+")
_LINE_ENDS = re.compile(r"\r\n?")
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# Spans with times of their own in one paragraph: each makes a cue of all that is shown then. Beyond
# so many cues, pieces or characters, all of them together, the paragraph is shown as a whole.
_MAX_CUES = 512
_MAX_PIECES = 100_000
_MAX_CHARACTERS = 1 << 20

Interval = Callable[[etree._Element, int | None, int], tuple[int, int | None] | None]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text of one style, or a line feed for ``br``, shown from ``begin`` to ``end``."""

    text: str
    tags: tuple[str, ...]
    begin: int
    end: int


def paragraph_cues(
    paragraph: etree._Element,
    *,
    begin: int,
    end: int,
    styles: Styles,
    preserve: bool,
    settings: str,
    sheet: StyleSheet,
    interval: Interval,
) -> list[Cue]:
    """The cues of ``paragraph``, shown from ``begin`` to ``end`` (ms): one, or one for each time
    between which the same of its spans are shown. Cues without text are left out."""
    pieces = list(_pieces(paragraph, begin, end, styles, preserve, sheet, interval))
    steps = sorted({time for piece in pieces for time in (piece.begin, piece.end)})
    count = len(steps)
    characters = sum(len(piece.text) for piece in pieces)
    if count > 2 and (
        count > _MAX_CUES
        or count * len(pieces) > _MAX_PIECES
        or count * characters > _MAX_CHARACTERS
    ):
        steps = [begin, end]
        pieces = [_Piece(piece.text, piece.tags, begin, end) for piece in pieces]
    cues: list[Cue] = []
    for shown, gone in pairwise(steps):
        payload = _payload(
            [piece for piece in pieces if piece.begin <= shown and piece.end >= gone]
        )
        if not payload:
            continue
        if cues and cues[-1].end == shown and cues[-1].payload == payload:
            shown = cues.pop().begin
        cues.append(Cue(begin=shown, end=gone, payload=payload, settings=settings))
    return cues


def _pieces(
    element: etree._Element,
    begin: int,
    end: int,
    styles: Styles,
    preserve: bool,
    sheet: StyleSheet,
    interval: Interval,
) -> Iterator[_Piece]:
    tags = tags_of(styles)
    if element.text:
        yield _Piece(_spaced(element.text, preserve), tags, begin, end)
    following = begin
    sequence = element.get("timeContainer") == "seq"
    for child in element.iterchildren(etree.Element):
        if local(child) == "br":
            yield _Piece("\n", (), begin, end)
        elif local(child) == "span":
            times = interval(child, end, following if sequence else begin)
            if times is not None and times[0] < (times[1] or end):
                space = child.get(_XML_SPACE)
                yield from _pieces(
                    child,
                    times[0],
                    times[1] or end,
                    {**inherited(styles), **sheet.specified(child)},
                    preserve if space is None else space == "preserve",
                    sheet,
                    interval,
                )
                following = times[1] or end
        if child.tail:
            yield _Piece(_spaced(child.tail, preserve), tags, begin, end)


def _spaced(text: str, preserve: bool) -> str:
    return _LINE_ENDS.sub("\n", text) if preserve else _BLANKS.sub(" ", text)


def _payload(pieces: list[_Piece]) -> str:
    """``pieces`` as cue text: neighbours of one style together, lines trimmed, none blank."""
    runs: list[tuple[tuple[str, ...], list[str]]] = []
    for piece in pieces:
        tags = runs[-1][0] if piece.text == "\n" and runs else piece.tags
        if runs and runs[-1][0] == tags:
            runs[-1][1].append(piece.text)
        else:
            runs.append((tags, [piece.text]))
    marked = "".join(_marked(tags, "".join(texts)) for tags, texts in runs)
    lines = (line.strip(" \t") for line in marked.split("\n"))
    return "\n".join(line for line in lines if line)


def _marked(tags: tuple[str, ...], text: str) -> str:
    """``text`` in ``tags``, blanks at its ends outside of them, where lines are trimmed."""
    words = text.strip()
    if not words:
        return text
    before, _, after = text.partition(words)
    opening = "".join(f"<{tag}>" for tag in tags)
    closing = "".join(f"</{tag}>" for tag in reversed(tags))
    return f"{before}{opening}{words.translate(_ESCAPES)}{closing}{after}"
