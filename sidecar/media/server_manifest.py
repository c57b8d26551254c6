"""Server manifests (.ism): SMIL 2.0 that names the tracks of a presentation and its options.

Read tolerantly (any namespace, hand-written minimal ones, IIS attribute and parameter spellings),
written in one documented shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.sax.saxutils import quoteattr

from lxml import etree

from sidecar.errors import InvalidMedia
from sidecar.media.languages import is_language
from sidecar.media.option_table import OPTIONS
from sidecar.media.options import HOUSEKEEPING, option_name
from sidecar.media.track import Kind

MAX_BYTES = 4 << 20
MAX_ENTRIES = 2000
NAMESPACE = "http://www.w3.org/2001/SMIL20/Language"

_KINDS = {"audio": Kind.AUDIO, "video": Kind.VIDEO, "textstream": Kind.TEXT}
KIND_ORDER = {Kind.AUDIO: 0, Kind.TEXT: 1, Kind.VIDEO: 2}
MAX_BITRATE = 10**12
_MAX_TRACK_ID = 0xFFFFFFFF
# trackName and systemBitrate stand in URLs as name=bitrate, joined with "-" and ended with ".".
_NAME = re.compile(r"[A-Za-z0-9_~-]{1,128}")
_ROLE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]+")
_MAX_LABEL = 256
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One track as the manifest names it.

    ``bitrate``: systemBitrate, bit/s, or None to measure it. ``language``: systemLanguage or None.
    ``params``: its param elements, name and value, in order. ``line``: where it stands.
    """

    kind: Kind
    src: str
    bitrate: int | None = None
    language: str | None = None
    params: tuple[tuple[str, str], ...] = ()
    line: int = field(default=0, compare=False)

    def param(self, name: str) -> str | None:
        """The value of the first param ``name`` (any case), or None when absent or empty."""
        wanted = name.lower()
        text = next((value for given, value in self.params if given.lower() == wanted), "")
        return text.strip() or None

    @property
    def track_id(self) -> int | None:
        """trackID, or None."""
        text = self.param("trackID")
        return None if text is None else int(text)

    @property
    def track_name(self) -> str | None:
        """trackName, or None when the default is meant."""
        return self.param("trackName")

    @property
    def role(self) -> str | None:
        """DASH role value, or None."""
        return self.param("role")

    @property
    def label(self) -> str | None:
        """trackDescription on one line without quotation marks, or None."""
        text = _UNPRINTABLE.sub(" ", (self.param("trackDescription") or "").replace('"', "'"))
        return text.strip()[:_MAX_LABEL] or None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamGroup:
    """A paramGroup of the head: its metas, name and content, in order."""

    id: str
    metas: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerManifest:
    """``metas``: those of the head, name and content, in order, known or not."""

    metas: tuple[tuple[str, str], ...] = ()
    param_groups: tuple[ParamGroup, ...] = ()
    entries: tuple[Entry, ...] = ()

    @property
    def options(self) -> dict[str, str]:
        """Playout options of the head, names with underscores; of repeated ones the last, but all
        of those that may be repeated, separated by semicolons."""
        options: dict[str, str] = {}
        for given, content in self.metas:
            name = option_name(given)
            if name in options and name in OPTIONS and OPTIONS[name].repeats:
                options[name] += f";{content}"
            elif given not in HOUSEKEEPING:
                options[name] = content
        return options


def is_track_name(text: str) -> bool:
    """Whether ``text`` may be a trackName."""
    return _NAME.fullmatch(text) is not None


def is_role(text: str) -> bool:
    """Whether ``text`` has the form of a DASH role value."""
    return _ROLE.fullmatch(text) is not None


def read_server_manifest(data: bytes, *, path: str, announced: bool = False) -> ServerManifest:
    """The server manifest in ``data``; ``path`` of its file is evidence for the log.

    ``announced``: it is the one that an encoder sends ahead of its media: tracks need no src, and
    a systemBitrate of 0 means that it is not known.

    Raises ``InvalidMedia``, with the line in its sentence, for anything that is not well-formed
    XML of at most ``MAX_BYTES`` without document type, or not a usable SMIL.
    """
    return _Reader(path, announced).read(data)


class _Reader:
    def __init__(self, path: str, announced: bool) -> None:
        self._path = path
        self._announced = announced

    def read(self, data: bytes) -> ServerManifest:
        root = self._parse(data)
        if _local(root) != "smil":
            raise self._invalid(root, "the root element is not smil")
        metas: list[tuple[str, str]] = []
        groups: list[ParamGroup] = []
        entries: list[Entry] = []
        for section in _elements(root):
            if _local(section) == "head":
                metas += self._metas(section)
                groups += (
                    ParamGroup(id=group.get("id", ""), metas=self._metas(group))
                    for group in _elements(section)
                    if _local(group) == "paramGroup"
                )
            elif _local(section) == "body":
                for element in section.iter(etree.Element):
                    if _local(element) in _KINDS:
                        entries.append(self._entry(element))
                        if len(entries) > MAX_ENTRIES:
                            raise self._invalid(element, f"more than {MAX_ENTRIES} tracks")
        return ServerManifest(
            metas=tuple(metas), param_groups=tuple(groups), entries=tuple(entries)
        )

    def _parse(self, data: bytes) -> etree._Element:
        if len(data) > MAX_BYTES:
            raise InvalidMedia(
                f"the server manifest has {len(data)} bytes, more than {MAX_BYTES}",
                path=self._path,
            )
        parser = etree.XMLParser(
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
        )
        # Before parsing, because a document type is where entities that expand are declared.
        if b"<!doctype" in data.replace(b"\0", b"").lower():
            raise InvalidMedia("a server manifest may not have a document type", path=self._path)
        try:
            root = etree.fromstring(data, parser)
        except etree.XMLSyntaxError as error:
            line = error.lineno or 1
            reason = _UNPRINTABLE.sub(" ", error.msg or "it is empty").partition(", line ")[0]
            raise InvalidMedia(
                f"line {line} of the server manifest: {reason[:200]}", path=self._path
            ) from None
        if root.getroottree().docinfo.internalDTD is not None:
            raise self._invalid(root, "a document type is not allowed")
        return root

    def _metas(self, parent: etree._Element) -> tuple[tuple[str, str], ...]:
        found = []
        for meta in _elements(parent):
            if _local(meta) == "meta":
                name = meta.get("name")
                if not name:
                    raise self._invalid(meta, "a meta element has no name")
                found.append((name, meta.get("content", "")))
        return tuple(found)

    def _entry(self, element: etree._Element) -> Entry:
        src = element.get("src", "").strip()
        if not src and not self._announced:
            raise self._invalid(element, f"the {_local(element)} element has no src")
        params = []
        for param in _elements(element):
            if _local(param) == "param":
                name = param.get("name")
                if not name:
                    raise self._invalid(param, "a param element has no name")
                params.append((name, param.get("value", "")))
        named = {name.lower(): value.strip() for name, value in reversed(params)}
        self._check_params(element, named)
        bitrate = _attribute(element, "systemBitrate") or named.get("systembitrate")
        if self._announced and bitrate == "0":
            bitrate = None
        language = _attribute(element, "systemLanguage") or named.get("systemlanguage")
        return Entry(
            kind=_KINDS[_local(element)],
            src=src,
            bitrate=self._number(element, "systemBitrate", bitrate, MAX_BITRATE),
            language=self._language(element, language),
            params=tuple(params),
            line=_line(element),
        )

    def _check_params(self, element: etree._Element, named: dict[str, str]) -> None:
        if "trackid" in named:
            self._number(element, "trackID", named["trackid"], _MAX_TRACK_ID)
        if named.get("trackname") and not is_track_name(named["trackname"]):
            raise self._invalid(
                element, "trackName may only have letters, digits, underscores, dashes and tildes"
            )
        if named.get("role") and not is_role(named["role"]):
            raise self._invalid(element, "role is not a role value")

    def _number(
        self, element: etree._Element, name: str, text: str | None, largest: int
    ) -> int | None:
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= 15 and 0 < int(text) <= largest):
            raise self._invalid(element, f"{name} must be a whole number from 1 to {largest}")
        return int(text)

    def _language(self, element: etree._Element, text: str | None) -> str | None:
        if not text or text.lower() in ("und", "unk", "mis"):
            return None
        if not is_language(text):
            raise self._invalid(element, "systemLanguage is not a language tag")
        return text

    def _invalid(self, element: etree._Element, reason: str) -> InvalidMedia:
        return InvalidMedia(
            f"line {_line(element)} of the server manifest: {reason}", path=self._path
        )


def _local(element: etree._Element) -> str:
    return etree.QName(element).localname


def _line(element: etree._Element) -> int:
    line = element.sourceline
    return line if isinstance(line, int) else 0


def _elements(parent: etree._Element) -> Iterator[etree._Element]:
    return (child for child in parent if isinstance(child.tag, str))


def _attribute(element: etree._Element, name: str) -> str | None:
    """The attribute in SMIL 2.0 (systemBitrate) or SMIL 1.0 spelling (system-bitrate)."""
    hyphenated = re.sub("[A-Z]", lambda match: f"-{match[0].lower()}", name)
    value = element.get(name) or element.get(hyphenated)
    return value.strip() if value else None


def in_order(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """``entries`` as manifests list them: audio, text, video, each by ascending bitrate."""
    return tuple(sorted(entries, key=lambda entry: (KIND_ORDER[entry.kind], entry.bitrate or 0)))


def write_server_manifest(manifest: ServerManifest) -> bytes:
    """``manifest`` as UTF-8 XML: metas and groups as given, entries as ``in_order`` has them.

    Raises ``InvalidMedia`` when a text holds a character that XML cannot.
    """
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        "<!-- Created with OpenOrigin -->",
        f'<smil xmlns="{NAMESPACE}">',
        "  <head>",
    ]
    lines += (_meta("    ", *meta) for meta in manifest.metas)
    for group in manifest.param_groups:
        lines.append(f"    <paramGroup id={_quoted(group.id)}>")
        lines += (_meta("      ", *meta) for meta in group.metas)
        lines.append("    </paramGroup>")
    lines += ["  </head>", "  <body>", "    <switch>"]
    for entry in in_order(manifest.entries):
        lines += _entry_lines(entry)
    lines += ["    </switch>", "  </body>", "</smil>", ""]
    return "\n".join(lines).encode()


def _meta(indent: str, name: str, content: str) -> str:
    return f"{indent}<meta name={_quoted(name)} content={_quoted(content)} />"


def _entry_lines(entry: Entry) -> Iterator[str]:
    attributes = f"src={_quoted(entry.src)}"
    if entry.bitrate is not None:
        attributes += f' systemBitrate="{entry.bitrate}"'
    if entry.language is not None:
        attributes += f" systemLanguage={_quoted(entry.language)}"
    if not entry.params:
        yield f"      <{entry.kind.value} {attributes} />"
        return
    yield f"      <{entry.kind.value} {attributes}>"
    for name, value in entry.params:
        yield f'        <param name={_quoted(name)} value={_quoted(value)} valueType="data" />'
    yield f"      </{entry.kind.value}>"


def _quoted(text: str) -> str:
    if _NOT_XML.search(text):
        raise InvalidMedia("a text of the server manifest has a character that XML cannot hold")
    # The same quotation mark everywhere, and line breaks that attribute normalisation spares.
    return quoteattr(text.replace('"', "\0"), {"\0": "&quot;"})
