"""Boxes of HTTP Dynamic Streaming: bootstrap (abst, asrt, afrt) and random access (afra).

Field names are those of the Adobe Flash Video File Format Specification 10.1, which defines them as
the boxes of HTTP streaming.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sidecar.boxes.leaf import Leaf
from sidecar.boxes.write import full_box

_ABST = struct.Struct(">IBIQQ")
_AFRT_ENTRY = struct.Struct(">IQI")
_AFRA_HEAD = struct.Struct(">BII")
_COUNT = struct.Struct(">I")

_LONG_IDS, _LONG_OFFSETS, _GLOBAL_ENTRIES = 0x80, 0x40, 0x20
_LIVE = 0x20
_NO_STRING = b"\0"
_EMPTY_TABLE = b"\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class FragmentRunEntry:
    """Fragments from ``first_fragment`` on that follow each other every ``fragment_duration``.

    ``first_fragment_timestamp`` and ``fragment_duration``: ticks of the table's timescale.
    """

    first_fragment: int
    first_fragment_timestamp: int
    fragment_duration: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Discontinuity:
    """Fragments from ``first_fragment`` on are not there, nor is their time, which begins at
    ``first_fragment_timestamp``; the next run tells where both go on."""

    first_fragment: int
    first_fragment_timestamp: int


# DiscontinuityIndicator: both numbers and timestamps.
_BOTH = b"\3"
# FragmentDuration 0 with DiscontinuityIndicator 0: the presentation ends. The packager
# that players were written for sets the other two fields to 0 as well.
_END_OF_PRESENTATION = _AFRT_ENTRY.pack(0, 0, 0) + b"\0"


def asrt(fragments_per_segment: int) -> bytes:
    """A segment run table of one entry: segment 1 holds so many fragments."""
    return full_box(b"asrt", 0, 0, _EMPTY_TABLE, struct.pack(">III", 1, 1, fragments_per_segment))


def afrt(
    entries: Iterable[FragmentRunEntry | Discontinuity], *, time_scale: int, ends: bool = True
) -> bytes:
    """A fragment run table; durations are not 0. ``ends``: whether the presentation does."""
    rows = [_run_entry(entry) for entry in entries]
    if ends:
        rows.append(_END_OF_PRESENTATION)
    return full_box(
        b"afrt",
        0,
        0,
        struct.pack(">I", time_scale),
        _EMPTY_TABLE,
        _COUNT.pack(len(rows)),
        *rows,
    )


def _run_entry(entry: FragmentRunEntry | Discontinuity) -> bytes:
    if isinstance(entry, FragmentRunEntry):
        return _AFRT_ENTRY.pack(
            entry.first_fragment, entry.first_fragment_timestamp, entry.fragment_duration
        )
    return _AFRT_ENTRY.pack(entry.first_fragment, entry.first_fragment_timestamp, 0) + _BOTH


def abst(
    segment_run_table: bytes,
    fragment_run_table: bytes,
    *,
    time_scale: int,
    current_media_time: int,
    live: bool = False,
    bootstrap_info_version: int = 1,
) -> bytes:
    """Bootstrap information: one table of each kind, no server, quality, rights or metadata of its
    own. ``current_media_time``: where the media ends, ticks. ``live``: more will come; then each
    has a higher ``bootstrap_info_version`` than those before."""
    profile_live_update = _LIVE if live else 0  # named access, a complete table
    return full_box(
        b"abst",
        0,
        0,
        _ABST.pack(bootstrap_info_version, profile_live_update, time_scale, current_media_time, 0),
        _NO_STRING,  # MovieIdentifier
        _EMPTY_TABLE,  # ServerEntryTable
        _EMPTY_TABLE,  # QualityEntryTable
        _NO_STRING,  # DrmData
        _NO_STRING,  # MetaData
        b"\1",
        segment_run_table,
        b"\1",
        fragment_run_table,
    )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GlobalAccessEntries:
    """Random access points of a whole stream, columns of equal length.

    ``segment``, ``fragment``: numbers. ``afra_offset``: byte offset of the fragment, which begins
    with its afra box, in the file of its segment.
    """

    segment: NDArray[np.int64]
    fragment: NDArray[np.int64]
    afra_offset: NDArray[np.uint64]


def read_afra(leaf: Leaf) -> GlobalAccessEntries:
    """The global entries of an ``afra`` box; none when it has only local ones.

    Raises ``InvalidMedia`` when it is damaged or claims more entries than it holds.
    """
    version, _ = leaf.version_and_flags()
    if version:
        raise leaf.damaged(f"version {version} is not known")
    flags, _, entry_count = leaf.unpack(_AFRA_HEAD, 4)
    offset_type = ">u8" if flags & _LONG_OFFSETS else ">u4"
    local = np.dtype([("time", ">u8"), ("offset", offset_type)])
    at = 4 + _AFRA_HEAD.size
    _rows(leaf, at, local, entry_count)
    at += entry_count * local.itemsize
    id_type = ">u4" if flags & _LONG_IDS else ">u2"
    row = np.dtype(
        [
            ("time", ">u8"),
            ("segment", id_type),
            ("fragment", id_type),
            ("afra_offset", offset_type),
            ("offset_from_afra", offset_type),
        ]
    )
    count = leaf.unpack(_COUNT, at)[0] if flags & _GLOBAL_ENTRIES else 0
    rows = _rows(leaf, at + _COUNT.size, row, count)
    return GlobalAccessEntries(
        segment=rows["segment"].astype(np.int64),
        fragment=rows["fragment"].astype(np.int64),
        afra_offset=rows["afra_offset"].astype(np.uint64),
    )


def _rows(leaf: Leaf, at: int, row: np.dtype[np.void], count: int) -> NDArray[np.void]:
    if not count:
        return np.empty(0, dtype=row)
    if at + count * row.itemsize > len(leaf.body):
        raise leaf.damaged(
            f"{count} entries are claimed, {max(0, len(leaf.body) - at) // row.itemsize} fit", at
        )
    return np.frombuffer(leaf.body, dtype=row, count=count, offset=at)
