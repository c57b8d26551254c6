"""TTML files and samples (W3C TTML2; its profiles, SMPTE-TT, EBU-TT-D and the old DFXP)."""

from __future__ import annotations

import re

from lxml import etree

from sidecar.errors import InvalidMedia, UnsupportedMedia
from sidecar.media.text.cues import LATEST, MAX_CUES, Cue, Paragraph, Schedule, TimedText, Ttml
from sidecar.media.text.ttml_inline import paragraph_cues
from sidecar.media.text.ttml_styles import (
    Styles,
    StyleSheet,
    attribute,
    inherited,
    local,
    settings_of,
)
from sidecar.media.text.ttml_times import Clock, clock_of

_XML = "http://www.w3.org/XML/1998/namespace"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
# Paragraphs get what their ancestors say, so that a small file could become a large one.
_MAX_KEPT = 64 << 20  # characters of paragraphs and cues
_MAX_WRITTEN = 256 << 20  # characters before what the root says is taken out of them
_OPEN = 10_000  # milliseconds that text without an end is shown when nothing follows it
_TIMES = ("begin", "end", "dur")
# What text says of itself, not what its ancestors may say for it.
_OWN = frozenset({*_TIMES, "timeContainer", "id", f"{{{_XML}}}id"})


def read_ttml(data: bytes, *, until: int | None = None) -> TimedText:
    """The paragraphs of the TTML document ``data``, and cues with their text and basic styles.

    Paragraphs whose times are not times, or end before they begin, are left out and counted.
    ``until``: when text without an end ends, milliseconds; None = with the last text that has one,
    but after 10 s at least.

    Raises ``InvalidMedia`` with the line for what is not well-formed XML without document type, or
    not TTML; ``UnsupportedMedia`` for wall-clock times and more than ``MAX_CUES`` paragraphs.
    """
    root = _parsed(data)
    if local(root) != "tt":
        raise InvalidMedia(f"line {_line(root)} of the TTML file: the root element is not tt")
    if attribute(root, "timeBase") == "clock":
        raise UnsupportedMedia("the times of the TTML file are those of a clock on the wall")
    return _Reader(root, until).read()


def _parsed(data: bytes) -> etree._Element:
    # Before parsing, because a document type is where entities that expand are declared.
    if b"<!doctype" in data.replace(b"\0", b"").lower():
        raise InvalidMedia("a TTML file may not have a document type")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        reason = _CONTROL.sub(" ", error.msg or "it is empty").partition(", line ")[0]
        raise InvalidMedia(f"line {error.lineno or 1} of the TTML file: {reason[:200]}") from None


def _line(element: etree._Element) -> int:
    line = element.sourceline
    return line if isinstance(line, int) else 0


class _Place:
    """What the ancestors of an element say: the time it counts from, an end, styles, attributes."""

    __slots__ = ("attributes", "begin", "end", "preserve", "region", "styles")

    def __init__(
        self,
        begin: int,
        end: int | None,
        styles: Styles,
        region: str | None,
        preserve: bool,
        attributes: dict[str, str],
    ) -> None:
        self.begin = begin
        self.end = end
        self.styles = styles
        self.region = region
        self.preserve = preserve
        self.attributes = attributes


class _Reader:
    def __init__(self, root: etree._Element, until: int | None) -> None:
        self._root = root
        children = {local(child): child for child in root.iterchildren(etree.Element)}
        self._head = children.get("head")
        self._body = children.get("body")
        self._sheet = StyleSheet(self._head)
        self._clock: Clock = clock_of(
            {str(name).rpartition("}")[2]: str(value) for name, value in root.attrib.items()}
        )
        self._until = until
        self._found: list[tuple[etree._Element, _Place]] = []
        self._cues: list[Cue] = []
        self._paragraphs: list[Paragraph] = []
        self._malformed: list[int] = []
        self._kept_left = _MAX_KEPT
        self._written_left = _MAX_WRITTEN

    def read(self) -> TimedText:
        if self._body is not None:
            preserve = self._root.get(f"{{{_XML}}}space") == "preserve"
            self._container(self._body, _Place(0, None, {}, None, preserve, {}), 0)
        latest = max((place.end or place.begin for _, place in self._found), default=0)
        for element, place in self._found:
            end = place.end
            if end is None:
                end = max(latest, place.begin + _OPEN) if self._until is None else self._until
            self._paragraph(element, place, end)
        language = (self._root.get(f"{{{_XML}}}lang") or "").strip()
        return TimedText(
            cues=Schedule(self._cues),
            ttml=Ttml(
                opening=self._opening(),
                prefix=f"{self._root.prefix}:" if self._root.prefix else "",
                head=self._text(self._head) if self._head is not None else "",
                paragraphs=Schedule(self._paragraphs),
            ),
            language=language or None,
            skipped=_left_out(self._malformed),
        )

    def _container(self, element: etree._Element, around: _Place, reference: int) -> int | None:
        """Reads ``element``, a body, div or p whose begin counts from ``reference``.

        Returns when it ends, for the next of a sequence; None when that is not known.
        """
        times = self.interval(element, around.end, reference)
        if times is None:
            self._malformed.append(_line(element))
            return None
        begin, end = times
        own = self._sheet.specified(element)
        region = element.get("region") or around.region
        space = element.get(f"{{{_XML}}}space")
        place = _Place(
            begin,
            end,
            {**inherited(around.styles), **own},
            region,
            around.preserve if space is None else space == "preserve",
            _combined(around.attributes, element),
        )
        if local(element) == "p":
            self._found.append((element, place))
            if len(self._found) > MAX_CUES:
                raise UnsupportedMedia(f"there are more than {MAX_CUES} paragraphs")
            return end
        sequence = element.get("timeContainer") == "seq"
        following = begin
        for child in element.iterchildren(etree.Element):
            if local(child) in ("div", "p"):
                ended = self._container(child, place, following if sequence else begin)
                if sequence and ended is not None:
                    following = ended
        return end

    def interval(
        self, element: etree._Element, parent_end: int | None, reference: int
    ) -> tuple[int, int | None] | None:
        """(begin, end or None) of ``element``; None when its times are not times."""
        given: list[int | None] = []
        for name in _TIMES:
            text = element.get(name)
            try:
                given.append(None if text is None else self._clock.milliseconds(text))
            except ValueError:
                return None
        begin = reference + (given[0] or 0)
        ends = [] if parent_end is None else [parent_end]
        if given[1] is not None:
            ends.append(reference + given[1])
        if given[2] is not None:
            ends.append(begin + given[2])
        return begin, min(ends, default=None)

    def _paragraph(self, element: etree._Element, place: _Place, end: int) -> None:
        if not place.begin < end <= LATEST:
            # Without text, nothing is lost; an empty p often only holds a place.
            if any(str(text).strip() for text in element.itertext()):
                self._malformed.append(_line(element))
            return
        region = self._sheet.region(place.region)
        settings = settings_of(region, {**inherited(region), **place.styles})
        cues = paragraph_cues(
            element,
            begin=place.begin,
            end=end,
            styles={**inherited(region), **place.styles},
            preserve=place.preserve,
            settings=settings,
            sheet=self._sheet,
            interval=self.interval,
        )
        # Last, because it changes the element.
        kept = self._kept(element, place, end)
        self._cues += cues
        self._paragraphs.append(kept)
        self._kept_left -= len(kept.rest) + sum(len(cue.payload) for cue in cues)
        if len(self._cues) > MAX_CUES or self._kept_left < 0:
            raise UnsupportedMedia(
                f"there are more than {MAX_CUES} cues or {_MAX_KEPT} characters of text"
            )

    def _kept(self, element: etree._Element, place: _Place, end: int) -> Paragraph:
        for name in _TIMES:
            if name in element.attrib:
                del element.attrib[name]
        for name, value in place.attributes.items():
            element.set(name, value)
        name, rest = _split(self._text(element))
        return Paragraph(begin=place.begin, end=end, name=name, rest=rest)

    def _text(self, element: etree._Element) -> str:
        """``element`` as text, without the namespaces that the root declares already."""
        text = etree.tostring(element, encoding="unicode", with_tail=False)
        self._written_left -= len(text)
        if self._written_left < 0:
            raise UnsupportedMedia("the attributes of the TTML file are too large")
        # A start tag ends at its first ">": in attribute values it is written as an entity.
        tag, closing, rest = text.partition(">")
        for prefix, uri in self._root.nsmap.items():
            name = f"xmlns:{prefix!s}" if prefix else "xmlns"
            tag = tag.replace(f' {name}="{uri}"', "", 1)
        return tag + closing + rest

    def _opening(self) -> str:
        # The stubs know no default namespace, which lxml takes under the key None.
        empty = etree.Element(self._root.tag, nsmap=self._root.nsmap)  # type: ignore[arg-type]
        for name, value in self._root.attrib.items():
            local_name = str(name).rpartition("}")[2]
            # Times are written as fractions of seconds, which is what media time is.
            if local_name not in ("dropMode", "markerMode", *_TIMES):
                empty.set(name, "media" if local_name == "timeBase" else value)
        text = etree.tostring(empty, encoding="unicode")
        return text.removesuffix("/>") + ">"


def _combined(attributes: dict[str, str], element: etree._Element) -> dict[str, str]:
    """What ``element`` and its ancestors (``attributes``) say; the nearer one first."""
    combined = dict(attributes)
    for name, value in element.attrib.items():
        key = str(name)
        if key.rpartition("}")[2] in _OWN or key in _OWN:
            continue
        if key == "style" and "style" in combined:
            # Of several references the last wins, as the nearer one does.
            combined[key] = f"{combined[key]} {value!s}"
        else:
            combined[key] = str(value)
    return combined


def _split(text: str) -> tuple[str, str]:
    """(name, all that follows it) of an element as text."""
    match = re.match(r"<([^\s/>]+)", text)
    assert match is not None
    return match[1], text[match.end() :]


def _left_out(lines: list[int]) -> tuple[str, ...]:
    if not lines:
        return ()
    more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
    return (f"the paragraph at line {lines[0]}{more}: its times are not valid",)
