"""Sample entries: the fixed fields and the child boxes (ISO/IEC 14496-12 8.5.2, 12.1.3, 12.2.3)."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from itertools import islice

from sidecar.boxes.header import BoxHeader, read_header, walk
from sidecar.errors import InvalidMedia

_VISUAL = struct.Struct(">16xHH50x")  # after data_reference_index: width, height
_SOUND = struct.Struct(">H6xHHHHI")  # entry_version, channelcount, samplesize, .., .., samplerate
_QUICKTIME_SOUND_2 = struct.Struct(">4xdI")  # sizeOfStructOnly, audioSampleRate, numAudioChannels
_RESERVED = 8  # 6 reserved bytes and data_reference_index
_QUICKTIME_SOUND_1_BYTES = 16
_QUICKTIME_SOUND_2_BYTES = 36
_SOUND_CHILDREN = frozenset({b"esds", b"dac3", b"dec3", b"dOps", b"srat"})
_MAX_WAVE_DEPTH = 1
# Real ones have a handful; each is copied.
MAX_CHILDREN = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """The body of a box, with the evidence for errors: its path, and its offset in the file."""

    body: bytes
    box_path: str
    offset: int

    def invalid(self, sentence: str) -> InvalidMedia:
        """An error about this box, to be raised by the caller."""
        return InvalidMedia(sentence, box_path=self.box_path, offset=self.offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleEntry:
    """A sample entry: ``type`` as four characters, and its first child of each type."""

    type: str
    box_path: str
    offset: int
    children: dict[bytes, Child]

    def require(self, box_type: bytes) -> Child:
        """The child of ``box_type``; raises ``InvalidMedia`` without one."""
        child = self.children.get(box_type)
        if child is None:
            raise InvalidMedia(
                f"the {self.type} sample entry has no {box_type.decode('ascii')} box",
                box_path=self.box_path,
                offset=self.offset,
            )
        return child


@dataclass(frozen=True, slots=True, kw_only=True)
class VisualEntry(SampleEntry):
    """``width`` and ``height``: pixels, as the sample entry says."""

    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundEntry(SampleEntry):
    """``channelcount``, ``samplesize`` (bits) and ``samplerate`` (Hz) as the sample entry says."""

    channelcount: int
    samplesize: int
    samplerate: int


def visual_entry(box: bytes, *, box_path: str, offset: int) -> VisualEntry:
    """The visual sample entry that ``box`` (header and all) holds; ``offset``: of it in the file.

    Raises ``InvalidMedia`` when it is too short or its children do not fit.
    """
    header, path = _open(box, _RESERVED + _VISUAL.size, box_path=box_path, offset=offset)
    width, height = _VISUAL.unpack_from(box, header.body + _RESERVED)
    start = header.body + _RESERVED + _VISUAL.size
    return VisualEntry(
        type=header.name,
        box_path=path,
        offset=offset,
        children=_children(box, start, header.end, box_path=path, base=offset),
        width=width,
        height=height,
    )


def sound_entry(box: bytes, *, box_path: str, offset: int) -> SoundEntry:
    """The audio sample entry that ``box`` (header and all) holds; ``offset``: of it in the file.

    Versions 0 and 1 of ISO and versions 0, 1 and 2 of QuickTime, with the children of QuickTime's
    ``wave`` box among those of the entry. Raises ``InvalidMedia`` as ``visual_entry`` does.
    """
    header, path = _open(box, _RESERVED + _SOUND.size, box_path=box_path, offset=offset)
    version, channelcount, samplesize, _, _, fixed_rate = _SOUND.unpack_from(
        box, header.body + _RESERVED
    )
    samplerate = fixed_rate >> 16
    start = header.body + _RESERVED + _SOUND.size
    extra = _quicktime_bytes(box, version, start, header.end)
    if start + extra > header.end:
        raise InvalidMedia(
            f"version {version} of an audio sample entry needs {extra} more bytes",
            box_path=path,
            offset=offset,
        )
    if extra == _QUICKTIME_SOUND_2_BYTES:
        rate, channelcount = _QUICKTIME_SOUND_2.unpack_from(box, start)
        samplerate = int(rate) if math.isfinite(rate) and 0 <= rate < 1 << 32 else 0
    return SoundEntry(
        type=header.name,
        box_path=path,
        offset=offset,
        children=_children(box, start + extra, header.end, box_path=path, base=offset),
        channelcount=channelcount,
        samplesize=samplesize,
        samplerate=samplerate,
    )


def plain_entry(box: bytes, *, box_path: str, offset: int) -> Child:
    """What follows the fields that all sample entries have (ISO/IEC 14496-12 8.5.2.2).

    Raises ``InvalidMedia`` when ``box`` is too short.
    """
    header, path = _open(box, _RESERVED, box_path=box_path, offset=offset)
    start = header.body + _RESERVED
    rest = bytes(box[start : header.end])
    return Child(body=rest, box_path=path, offset=offset + start)


def _open(box: bytes, fixed: int, *, box_path: str, offset: int) -> tuple[BoxHeader, str]:
    header = read_header(box, 0, len(box), box_path=box_path, base=offset)
    path = f"{box_path}/{header.name}" if box_path else header.name
    if header.end - header.body < fixed:
        raise InvalidMedia(
            f"the {header.name} sample entry has {header.end - header.body} bytes, "
            f"its fixed fields take {fixed}",
            box_path=path,
            offset=offset,
        )
    return header, path


def _quicktime_bytes(box: bytes, version: int, start: int, end: int) -> int:
    """How many bytes QuickTime's versions of the sound description add to the fixed fields.

    Version 1 exists twice: QuickTime's has 16 more bytes, ISO's (ISO/IEC 14496-12 12.2.3) none.
    Only the children that follow tell them apart.
    """
    if version == 2:
        return _QUICKTIME_SOUND_2_BYTES
    if version == 1:
        try:
            children = islice(walk(box, start, end), MAX_CHILDREN)
            plain = any(child.type in _SOUND_CHILDREN for child in children)
        except InvalidMedia:
            plain = False
        return 0 if plain else _QUICKTIME_SOUND_1_BYTES
    return 0


def _children(
    box: bytes, start: int, end: int, *, box_path: str, base: int, depth: int = 0
) -> dict[bytes, Child]:
    found: dict[bytes, Child] = {}
    for number, child in enumerate(walk(box, start, end, box_path=box_path, base=base)):
        if number == MAX_CHILDREN:
            raise InvalidMedia(
                f"a sample entry has more than {MAX_CHILDREN} boxes",
                box_path=box_path,
                offset=base + child.start,
            )
        path = f"{box_path}/{child.name}"
        if child.type == b"wave" and depth < _MAX_WAVE_DEPTH:
            inside = _children(
                box, child.body, child.end, box_path=path, base=base, depth=depth + 1
            )
            found = inside | found
        body = bytes(box[child.body : child.end])
        found.setdefault(child.type, Child(body=body, box_path=path, offset=base + child.body))
    return found
