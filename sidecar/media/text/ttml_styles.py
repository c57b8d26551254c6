"""The few styles of TTML that WebVTT has too: slant, weight, underline, alignment, place."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lxml import etree

Styles = Mapping[str, str]

_USED = frozenset(
    {"fontStyle", "fontWeight", "textDecoration", "textAlign", "displayAlign", "origin", "extent"}
)
# Of a region or a container, these are not those of the text in it.
_NOT_INHERITED = frozenset({"displayAlign", "origin", "extent"})
_MAX_REFERENCES = 64
_PERCENT = re.compile(
    r"[ \t]*([0-9]{1,3}(?:\.[0-9]{1,9})?)%[ \t]+([0-9]{1,3}(?:\.[0-9]{1,9})?)%[ \t]*"
)
_ALIGN = {"left": "left", "right": "right", "start": "start", "end": "end"}
_BOTTOM = 80  # text that ends below this part of the picture (percent) stands where it usually does


def local(element: etree._Element) -> str:
    """The name of ``element`` without its namespace."""
    return etree.QName(element).localname


def attribute(element: etree._Element, name: str) -> str | None:
    """The attribute with the local name ``name`` in whichever namespace, or None."""
    for given, value in element.attrib.items():
        if str(given).rpartition("}")[2] == name:
            return str(value)
    return None


class StyleSheet:
    """The styles and regions that the head of a document defines."""

    def __init__(self, head: etree._Element | None) -> None:
        self._styles: dict[str, etree._Element] = {}
        self._regions: dict[str, etree._Element] = {}
        for element in head.iter(etree.Element) if head is not None else ():
            identity = attribute(element, "id")
            if identity and local(element) == "style":
                self._styles.setdefault(identity, element)
            elif identity and local(element) == "region":
                self._regions.setdefault(identity, element)

    def specified(self, element: etree._Element) -> dict[str, str]:
        """The styles that ``element`` itself says, by reference, by children or by attribute."""
        return self._specified(element, [_MAX_REFERENCES])

    def _specified(self, element: etree._Element, left: list[int]) -> dict[str, str]:
        found: dict[str, str] = {}
        for identity in (element.get("style") or "").split():
            style = self._styles.get(identity)
            # References may form a ring, or a lattice that takes for ever.
            if style is not None and left[0]:
                left[0] -= 1
                found |= self._specified(style, left)
        if local(element) == "region":
            for child in element.iterchildren(etree.Element):
                if local(child) == "style":
                    found |= self._specified(child, left)
        for given, value in element.attrib.items():
            name = str(given).rpartition("}")[2]
            if name in _USED:
                found[name] = str(value).strip()
        return found

    def region(self, identity: str | None) -> Styles:
        """The styles of the region ``identity``; none when there is no such region."""
        region = self._regions.get(identity or "")
        return {} if region is None else self.specified(region)


def inherited(styles: Styles) -> dict[str, str]:
    """Those of ``styles`` that the children of an element have too."""
    return {name: value for name, value in styles.items() if name not in _NOT_INHERITED}


def tags_of(styles: Styles) -> tuple[str, ...]:
    """The WebVTT tags for text of ``styles``: some of ``b``, ``i``, ``u``."""
    tags = []
    if styles.get("fontWeight") == "bold":
        tags.append("b")
    if styles.get("fontStyle") in ("italic", "oblique"):
        tags.append("i")
    if "underline" in styles.get("textDecoration", "").split():
        tags.append("u")
    return tuple(tags)


def settings_of(region: Styles, text: Styles) -> str:
    """WebVTT cue settings for text with the styles ``text`` in ``region``."""
    settings = []
    line = _line(region)
    if line:
        settings.append(f"line:{line}")
    align = _ALIGN.get(text.get("textAlign", ""))
    if align:
        settings.append(f"align:{align}")
    return " ".join(settings)


def _line(region: Styles) -> str:
    """Where text stands vertically, as a WebVTT line; empty for the usual place at the bottom."""
    origin = _PERCENT.fullmatch(region.get("origin", ""))
    extent = _PERCENT.fullmatch(region.get("extent", ""))
    top = float(origin[2]) if origin else 0.0
    height = float(extent[2]) if extent else 100.0 - top
    align = region.get("displayAlign", "before" if origin else "after")
    if align == "before":
        return f"{_number(top)}%" if top < _BOTTOM else ""
    if align == "center":
        return f"{_number(top + height / 2)}%,center"
    bottom = top + height
    return f"{_number(bottom)}%,end" if bottom < _BOTTOM else ""


def _number(value: float) -> str:
    return f"{min(value, 100.0):.2f}".rstrip("0").rstrip(".")
