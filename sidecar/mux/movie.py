"""The boxes of a moov (ISO/IEC 14496-12 8.2 to 8.6): what init segments and whole files share.

Sample tables of long files are megabytes, so boxes around them are made as pieces: nothing is
copied before the file's head is joined.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from sidecar.boxes.write import box, boxed, full_box
from sidecar.codecs.facts import VideoFacts
from sidecar.codecs.portable import portable_entry
from sidecar.media.presentation import Rendition
from sidecar.media.track import Kind

Pieces = list[bytes | memoryview]

_ENABLED = 0x000001
_IN_MOVIE = 0x000006  # in movie, in preview
_NORMAL_RATE = 0x10000
_UNITY_MATRIX = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_HANDLERS = {
    Kind.VIDEO: (b"vide", full_box(b"vmhd", 0, 1, bytes(8))),
    Kind.AUDIO: (b"soun", full_box(b"smhd", 0, 0, bytes(4))),
    Kind.TEXT: (b"text", full_box(b"nmhd", 0, 0)),
}
_UNDETERMINED = 0x55C4  # "und"
_UINT32_MAX = 0xFFFFFFFF
_U32 = struct.Struct(">I")

# Sample tables of a track whose samples are in fragments.
NO_SAMPLES: tuple[bytes, ...] = (
    full_box(b"stts", 0, 0, bytes(4)),
    full_box(b"stsc", 0, 0, bytes(4)),
    full_box(b"stsz", 0, 0, bytes(8)),
    full_box(b"stco", 0, 0, bytes(4)),
)


def movie_header(timescale: int, duration: int, next_track_id: int) -> bytes:
    """mvhd; ``duration`` in ticks of ``timescale``, 0 = that of the fragments."""
    version, times = _times(">IIII", ">QQIQ", 0, 0, timescale, duration)
    return full_box(
        b"mvhd",
        version,
        0,
        times,
        struct.pack(">IH", _NORMAL_RATE, 0x0100),
        bytes(10),
        _UNITY_MATRIX,
        bytes(24),
        _U32.pack(next_track_id),
    )


def track_extends(track_id: int) -> bytes:
    """trex without defaults: every fragment states its own."""
    return full_box(b"trex", 0, 0, struct.pack(">5I", track_id, 1, 0, 0, 0))


def track_box(
    rendition: Rendition,
    *,
    track_id: int,
    tables: Sequence[bytes | memoryview],
    edits: Sequence[tuple[int, int]] = (),
    movie_duration: int = 0,
    media_duration: int = 0,
    alternate_group: int = 0,
    enabled: bool = True,
) -> Pieces:
    """The trak of ``rendition``.

    ``tables``: what stands in stbl behind stsd. ``edits``: (segment_duration, media_time), the
    first in ticks of the movie like ``movie_duration``, the second in those of the media like
    ``media_duration``; media_time -1 = nothing is presented.
    """
    edit_list = box(b"edts", _elst(edits)) if edits else b""
    tkhd = _tkhd(rendition, track_id, movie_duration, alternate_group, enabled)
    media = _mdia(rendition, media_duration, tables)
    return boxed(b"trak", [tkhd, edit_list, *media])


def display_size(facts: VideoFacts) -> tuple[int, int]:
    """(width, height) in square pixels: the height stays, the width follows the pixel aspect."""
    horizontal, vertical = facts.pixel_aspect
    width = (2 * facts.width * horizontal + vertical) // (2 * vertical)
    return width, facts.height


def _times(compact: str, large: str, *fields: int) -> tuple[int, bytes]:
    """Version and bytes of the times of a header; version 1 has 64-bit ones."""
    large_needed = max(fields) > _UINT32_MAX
    return int(large_needed), struct.pack(large if large_needed else compact, *fields)


def _tkhd(
    rendition: Rendition, track_id: int, duration: int, alternate_group: int, enabled: bool
) -> bytes:
    track = rendition.track
    width, height, volume = 0, 0, 0
    if isinstance(track.facts, VideoFacts):
        width, height = display_size(track.facts)
    elif track.kind is Kind.AUDIO:
        volume = 0x0100
    version, times = _times(">5I", ">QQIIQ", 0, 0, track_id, 0, duration)
    return full_box(
        b"tkhd",
        version,
        _IN_MOVIE | (_ENABLED if enabled else 0),
        times,
        bytes(8),
        struct.pack(">4H", 0, alternate_group, volume, 0),
        _UNITY_MATRIX,
        struct.pack(">II", min(width, 0xFFFF) << 16, min(height, 0xFFFF) << 16),
    )


def _elst(edits: Sequence[tuple[int, int]]) -> bytes:
    rows = b"".join(struct.pack(">QqI", *edit, _NORMAL_RATE) for edit in edits)
    return full_box(b"elst", 1, 0, _U32.pack(len(edits)), rows)


def _mdia(rendition: Rendition, duration: int, tables: Sequence[bytes | memoryview]) -> Pieces:
    track = rendition.track
    language = rendition.language or "und"
    packed = _packed_language(language)
    version, times = _times(">IIII", ">QQIQ", 0, 0, track.timescale, duration)
    mdhd = full_box(b"mdhd", version, 0, times, struct.pack(">HH", packed, 0))
    # A tag that three letters cannot hold goes into the box made for it (14496-12 8.4.6).
    elng = b""
    if packed == _UNDETERMINED and language != "und":
        elng = full_box(b"elng", 0, 0, language.encode("ascii", "replace") + b"\0")
    handler, media_header = _HANDLERS[track.kind]
    if rendition.track.facts.sample_entry == "stpp":
        handler, media_header = b"subt", full_box(b"sthd", 0, 0)
    name = track.handler_name.replace("\0", "").encode("utf-8", "replace") + b"\0"
    hdlr = full_box(b"hdlr", 0, 0, bytes(4), handler, bytes(12), name)
    url = full_box(b"url ", 0, 1)
    dinf = box(b"dinf", full_box(b"dref", 0, 0, _U32.pack(1), url))
    stsd = full_box(b"stsd", 0, 0, _U32.pack(1), portable_entry(track.sample_entry_box))
    minf = boxed(b"minf", [media_header, dinf, *boxed(b"stbl", [stsd, *tables])])
    return boxed(b"mdia", [mdhd, hdlr, elng, *minf])


def _packed_language(language: str) -> int:
    """Three letters in 15 bits (14496-12 8.4.2.3); ``und`` for anything else."""
    if len(language) == 3 and language.isascii() and language.islower():
        first, second, third = (ord(letter) - 0x60 for letter in language)
        return first << 10 | second << 5 | third
    return _UNDETERMINED
