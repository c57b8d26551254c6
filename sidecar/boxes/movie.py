"""The moov side: which boxes a track has, edit lists, sample entries, fragment defaults."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from sidecar.boxes.declared import MovieHeader, read_mvhd
from sidecar.boxes.header import read_header
from sidecar.boxes.leaf import Leaf
from sidecar.errors import InvalidMedia, UnsupportedMedia

MAX_TRACKS = 256
# Each costs about 3 us: a moov full of empty boxes must not take seconds.
MAX_BOXES = 1 << 16
MAX_EDITS = 1 << 12
MAX_REFERENCES = 1 << 8

_EDIT_V0 = struct.Struct(">Iihh")
_EDIT_V1 = struct.Struct(">Qqhh")
_TREX = struct.Struct(">IIIII")
_WORD = struct.Struct(">I")
_ENTRY_HEAD = struct.Struct(">6xH")


@dataclass(frozen=True, slots=True)
class Edit:
    """An entry of elst: ``segment_duration`` in ticks of the movie, ``media_time`` of the media.

    ``media_rate`` is 16.16 fixed point: 0x10000 is normal speed.
    """

    segment_duration: int
    media_time: int
    media_rate: int


@dataclass(frozen=True, slots=True)
class SampleDefaults:
    """Defaults of trex (or tfhd) for the samples of a track's fragments."""

    default_sample_duration: int = 0
    default_sample_size: int = 0
    default_sample_flags: int = 0


@dataclass(frozen=True, slots=True)
class TrackBoxes:
    """The leaves of a trak that are of interest, by type: the first of each."""

    box_path: str
    offset: int
    leaves: Mapping[bytes, Leaf]

    def leaf(self, box_type: bytes) -> Leaf:
        """Raises ``InvalidMedia`` when there is none."""
        found = self.leaves.get(box_type)
        if found is None:
            raise InvalidMedia(
                f"the track has no {box_type.decode()}", box_path=self.box_path, offset=self.offset
            )
        return found


@dataclass(frozen=True, slots=True)
class Movie:
    """A moov: its header, its tracks in order, and the defaults for fragments by track_ID.

    ``fragmented``: there is an mvex, so movie fragments may follow.
    """

    header: MovieHeader
    tracks: tuple[TrackBoxes, ...]
    defaults: Mapping[int, SampleDefaults]
    fragmented: bool


@dataclass(frozen=True, slots=True)
class SampleEntry:
    """The one entry of an stsd: ``box`` are its bytes, header included, as they stand."""

    type: bytes
    box: bytes
    data_reference_index: int
    offset: int


def read_moov(moov: Leaf) -> Movie:
    """The boxes of a moov (ISO/IEC 14496-12 8.2.1).

    Raises ``InvalidMedia`` when a box does not fit its container or mvhd is missing,
    ``UnsupportedMedia`` for a compressed moov and for more than ``MAX_TRACKS`` tracks.
    """
    header: MovieHeader | None = None
    tracks: list[TrackBoxes] = []
    defaults: dict[int, SampleDefaults] = {}
    fragmented = False
    budget = iter(range(MAX_BOXES))
    for child in _children(moov, budget):
        if child.type == b"mvhd" and header is None:
            header = read_mvhd(child)
        elif child.type == b"trak":
            if len(tracks) == MAX_TRACKS:
                raise UnsupportedMedia(
                    f"there are more than {MAX_TRACKS} tracks",
                    box_path=moov.box_path,
                    offset=child.offset,
                )
            tracks.append(_read_trak(child, budget))
        elif child.type == b"mvex":
            fragmented = True
            for trex in _children(child, budget):
                if trex.type == b"trex":
                    track_id, _, duration, size, flags = trex.unpack(_TREX, 4)
                    defaults[track_id] = SampleDefaults(duration, size, flags)
        elif child.type == b"cmov":
            raise UnsupportedMedia(
                "the moov is compressed", box_path=child.box_path, offset=child.offset
            )
    if header is None:
        raise moov.damaged("the moov has no mvhd")
    return Movie(header, tuple(tracks), defaults, fragmented)


_CONTAINERS: Mapping[bytes, frozenset[bytes]] = {
    b"trak": frozenset((b"tkhd", b"edts", b"mdia")),
    b"edts": frozenset((b"elst",)),
    b"mdia": frozenset((b"mdhd", b"hdlr", b"elng", b"minf")),
    b"minf": frozenset((b"dinf", b"stbl")),
    b"dinf": frozenset((b"dref",)),
    b"stbl": frozenset(
        (b"stsd", b"stts", b"ctts", b"stss", b"stsz", b"stz2", b"stsc", b"stco", b"co64")
    ),
}


def _children(container: Leaf, budget: Iterator[int]) -> Iterator[Leaf]:
    """The children, each at the expense of ``budget``, which the whole moov shares."""
    for child in container.children():
        if next(budget, None) is None:
            raise UnsupportedMedia(
                f"there are more than {MAX_BOXES} boxes",
                box_path=container.box_path,
                offset=child.offset,
            )
        yield child


def _read_trak(trak: Leaf, budget: Iterator[int]) -> TrackBoxes:
    leaves: dict[bytes, Leaf] = {}
    containers = [trak]
    while containers:
        container = containers.pop()
        wanted = _CONTAINERS[container.type]
        for child in _children(container, budget):
            if child.type not in wanted:
                continue
            if child.type in _CONTAINERS:
                containers.append(child)
            else:
                leaves.setdefault(child.type, child)
    return TrackBoxes(trak.box_path, trak.offset, leaves)


def read_elst(leaf: Leaf) -> tuple[Edit, ...]:
    """The edits in order (ISO/IEC 14496-12 8.6.6). media_time -1 is an empty edit.

    Raises ``InvalidMedia`` when they do not fit the box, ``UnsupportedMedia`` for more than
    ``MAX_EDITS``.
    """
    version, _ = leaf.version_and_flags()
    layout = _EDIT_V1 if version == 1 else _EDIT_V0
    (count,) = leaf.unpack(_WORD, 4)
    if count * layout.size > len(leaf.body) - 8:
        raise leaf.damaged(f"{count} entries are claimed, {len(leaf.body) - 8} bytes are there", 4)
    if count > MAX_EDITS:
        raise UnsupportedMedia(
            f"an edit list has {count} entries, at most {MAX_EDITS} are read",
            box_path=leaf.box_path,
            offset=leaf.offset,
        )
    entries = layout.iter_unpack(leaf.body[8 : 8 + count * layout.size])
    return tuple(
        Edit(duration, media_time, (integer << 16) + fraction)
        for duration, media_time, integer, fraction in entries
    )


def read_stsd(leaf: Leaf) -> SampleEntry:
    """The one sample entry (ISO/IEC 14496-12 8.5.2).

    Raises ``UnsupportedMedia`` when there are several: which one holds changes within the track,
    and one init segment cannot say that. ``InvalidMedia`` when there is none.
    """
    (count,) = leaf.unpack(_WORD, 4)
    if count > 1:
        raise UnsupportedMedia(
            f"a track has {count} sample entries; only tracks with one are served",
            box_path=leaf.box_path,
            offset=leaf.offset,
        )
    if count == 0:
        raise leaf.damaged("the track has no sample entry", 4)
    header = read_header(leaf.body, 8, len(leaf.body), box_path=leaf.box_path, base=leaf.offset)
    entry = Leaf(
        header.type,
        leaf.body[header.body : header.end],
        f"{leaf.box_path}/{header.name}",
        leaf.offset + header.body,
    )
    (reference,) = entry.unpack(_ENTRY_HEAD, 0)
    return SampleEntry(
        header.type,
        bytes(leaf.body[header.start : header.end]),
        reference,
        leaf.offset + header.start,
    )


def is_self_contained(leaf: Leaf, data_reference_index: int) -> bool:
    """Whether the data reference (1-based) of dref means this file (ISO/IEC 14496-12 8.7.2)."""
    for index, entry in enumerate(islice(leaf.children(8), MAX_REFERENCES), start=1):
        if index == data_reference_index:
            _, flags = entry.version_and_flags()
            return bool(flags & 1)
    return True


def data_location(leaf: Leaf, data_reference_index: int) -> str:
    """Where the samples of a track are that are not in this file: a URL, often a mere file name.

    For a data reference (1-based) of dref that is not self-contained. Raises ``UnsupportedMedia``
    when it is no ``url `` with a location (ISO/IEC 14496-12 8.7.2).
    """
    entries = list(islice(leaf.children(8), MAX_REFERENCES))
    entry = entries[data_reference_index - 1]
    location = bytes(entry.body[4:]).split(b"\0", 1)[0].decode("utf-8", "replace")
    if entry.type != b"url " or not location:
        raise UnsupportedMedia(
            "its data is in another file, which is not named by a URL",
            box_path=entry.box_path,
            offset=entry.offset,
        )
    return location


def read_elng(leaf: Leaf) -> str | None:
    """The extended language tag, BCP 47, or None when it is not one (ISO/IEC 14496-12 8.4.6)."""
    tag = bytes(leaf.body[4:68]).split(b"\0", 1)[0]
    well_formed = re.fullmatch(rb"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*", tag)
    return tag.decode("ascii") if well_formed else None
