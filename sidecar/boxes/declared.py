"""Small leaf boxes read through pymp4's declarations; the only module that imports pymp4.

pymp4 is given exactly one leaf at a time and must consume it whole. It never walks containers (it
drops what it cannot parse, silently) and never sees sample tables or fragments (too slow).
"""

from __future__ import annotations

import collections
import collections.abc
import io
import re
import threading
import types
from dataclasses import dataclass
from typing import Any

import construct
import construct.core
from pymp4 import parser as pymp4

from sidecar.boxes.leaf import Leaf

# construct 2.8.8 asks for collections.Sequence, which Python 3.10 removed: without it nothing with
# an array can be built. Restored for construct alone, the real module stays as it is.
construct.core.collections = types.SimpleNamespace(
    **{**vars(collections), "Sequence": collections.abc.Sequence}
)

# Bytes of the body by version.
_LENGTHS = {b"mvhd": (100, 112), b"tkhd": (84, 96), b"mdhd": (24, 36)}


@dataclass(frozen=True, slots=True, kw_only=True)
class MovieHeader:
    """mvhd (ISO/IEC 14496-12 8.2.2): ``timescale`` ticks per second, ``duration`` in them."""

    timescale: int
    duration: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackHeader:
    """tkhd (ISO/IEC 14496-12 8.3.2): ``duration`` in ticks of the movie."""

    track_ID: int  # noqa: N815 - the specification's spelling
    flags: int
    duration: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaHeader:
    """mdhd (ISO/IEC 14496-12 8.4.2): ``language`` is ISO 639-2/T, or None when it holds none."""

    timescale: int
    duration: int
    language: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """hdlr (ISO/IEC 14496-12 8.4.3): ``handler_type`` four bytes, ``name`` may be empty."""

    handler_type: bytes
    name: str


def read_mvhd(leaf: Leaf) -> MovieHeader:
    """Raises ``InvalidMedia`` when it is damaged or its timescale is 0."""
    fields = _parse(pymp4.MovieHeaderBox, leaf)
    return MovieHeader(timescale=_timescale(fields.timescale, leaf), duration=fields.duration)


def read_tkhd(leaf: Leaf) -> TrackHeader:
    """Raises ``InvalidMedia`` when it is damaged."""
    fields = _parse(pymp4.TrackHeaderBox, leaf)
    return TrackHeader(track_ID=fields.track_ID, flags=fields.flags, duration=fields.duration)


def read_mdhd(leaf: Leaf) -> MediaHeader:
    """Raises ``InvalidMedia`` when it is damaged or its timescale is 0.

    A language that is not three letters (a Macintosh code, or nothing at all) is None.
    """
    fields = _parse(pymp4.MediaHeaderBox, leaf)
    language = fields.language
    return MediaHeader(
        timescale=_timescale(fields.timescale, leaf),
        duration=fields.duration,
        language=language if re.fullmatch("[a-z]{3}", language) else None,
    )


def read_hdlr(leaf: Leaf) -> Handler:
    """Raises ``InvalidMedia`` when it is too short to hold a handler type.

    QuickTime's form (component fields that are not 0, a counted name, no NUL at the end) is
    read here, as pymp4 knows only the strict one.
    """
    try:
        fields, end = _declared(pymp4.HandlerReferenceBox, leaf)
        if end == len(leaf.body):
            return Handler(handler_type=bytes(fields.handler_type), name=fields.name)
    except (construct.ConstructError, UnicodeDecodeError):
        pass
    if len(leaf.body) < 12:
        raise leaf.damaged("the box is too short for a handler type")
    component_type = bytes(leaf.body[4:8])
    name = bytes(leaf.body[24:])
    counted = component_type != bytes(4) or b"\0" not in name
    if counted and name and name[0] <= len(name) - 1:
        name = name[1 : 1 + name[0]]
    return Handler(
        handler_type=bytes(leaf.body[8:12]),
        name=name.split(b"\0", 1)[0].decode("utf-8", "replace"),
    )


def _timescale(timescale: int, leaf: Leaf) -> int:
    if timescale == 0:
        raise leaf.damaged("the timescale is 0")
    return timescale


# The bit fields of a declaration in construct 2.8.8 keep the stream that they read: two threads
# that read boxes of a type at the same time would get bits of each other's.
_PARSING = threading.Lock()


def _declared(declaration: Any, leaf: Leaf) -> tuple[Any, int]:
    """The parsed fields, and how many bytes of the body they took."""
    stream = io.BytesIO(leaf.type + bytes(leaf.body))
    with _PARSING:
        return declaration.parse_stream(stream), stream.tell() - 4


def _parse(declaration: Any, leaf: Leaf) -> Any:
    version, _ = leaf.version_and_flags()
    if version > 1:
        raise leaf.damaged(f"version {version} is not known")
    length = _LENGTHS[leaf.type][version]
    # Before parsing: at the end of its input construct 2.8.8 reads bit fields for ever.
    if len(leaf.body) < length:
        raise leaf.damaged(f"the box has {len(leaf.body)} bytes, its fields {length}")
    try:
        fields, end = _declared(declaration, leaf)
    except construct.ConstructError as error:
        raise leaf.damaged(f"the box cannot be read: {str(error).splitlines()[0]}") from error
    if end != len(leaf.body):
        raise leaf.damaged(f"the box has {len(leaf.body)} bytes, its fields {end}", end)
    return fields
