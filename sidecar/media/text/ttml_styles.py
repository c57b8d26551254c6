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
_MAX_DEPTH = 64  # of styles that refer to styles
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
        self._resolved: dict[str, Styles] = {}
        self._placed: dict[str | None, Styles] = {}
        for element in head.iter(etree.Element) if head is not None else ():
            identity = attribute(element, "id")
            if identity and local(element) == "style":
                self._styles.setdefault(identity, element)
            elif identity and local(element) == "region":
                self._regions.setdefault(identity, element)

    def specified(self, element: etree._Element, depth: int = 0) -> dict[str, str]:
        """The styles that ``element`` itself says, by reference, by children or by attribute."""
        found: dict[str, str] = {}
        for identity in (element.get("style") or "").split():
            found |= self._style(identity, depth)
        if local(element) == "region":
            for child in element.iterchildren(etree.Element):
                if local(child) == "style":
                    found |= self.specified(child, depth)
        for given, value in element.attrib.items():
            name = str(given).rpartition("}")[2]
            if name in _USED:
                found[name] = str(value).strip()
        return found

    def _style(self, identity: str, depth: int) -> Styles:
        """The styles of the style ``identity``; none when there is none, or it refers to itself."""
        known = self._resolved.get(identity)
        if known is not None:
            return known
        element = self._styles.get(identity)
        if element is None or depth > _MAX_DEPTH:
            return {}
        # In the meantime it has none, or a ring of references would have no end.
        self._resolved[identity] = {}
        self._resolved[identity] = self.specified(element, depth + 1)
        return self._resolved[identity]

    def region(self, identity: str | None) -> Styles:
        """The styles of the region ``identity``; none when there is no such region."""
        if identity not in self._placed:
            region = self._regions.get(identity or "")
            self._placed[identity] = {} if region is None else self.specified(region)
        return self._placed[identity]


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
