"""CMAF: header (init segment) and segments of one track (ISO/IEC 23000-19, 14496-12)."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from sidecar.boxes.write import box, full_box
from sidecar.codecs.facts import VideoFacts
from sidecar.codecs.portable import portable_entry
from sidecar.media.presentation import Rendition
from sidecar.media.track import Kind, Samples, Track
from sidecar.mux.plan import FileRanges, Inline, Part
from sidecar.mux.ranges import byte_ranges
from sidecar.mux.runs import MFHD, TRACK_ID, Run, column_slice, mdat_header, run_boxes

_TFHD_DEFAULT_BASE_IS_MOOF = 0x020000

_STYP = box(b"styp", b"msdh", bytes(4), b"msdhcmfscmff")
_UNITY_MATRIX = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_HANDLERS = {
    Kind.VIDEO: (b"vide", full_box(b"vmhd", 0, 1, bytes(8))),
    Kind.AUDIO: (b"soun", full_box(b"smhd", 0, 0, bytes(4))),
    Kind.TEXT: (b"text", full_box(b"nmhd", 0, 0)),
}
_UNDETERMINED = 0x55C4  # "und"
_UINT32_MAX = 0xFFFFFFFF
_U32 = struct.Struct(">I")
_BOX = struct.Struct(">I4s")
_TFDT = struct.Struct(">I4sIQ")


def init_segment(rendition: Rendition) -> bytes:
    """The CMAF header of ``rendition``: ``ftyp`` and ``moov`` without samples (23000-19 7.3.1).

    The sample entry is the source's, byte for byte. Tracks with priming or reordered pictures get
    the edit list that skips the one and takes back the delay of the other; times in media segments
    are decode times before that edit.
    """
    track = rendition.track
    brands = b"iso6cmfc" if _media_time(track) else b"iso6cmfccmf2"
    mvhd = full_box(
        b"mvhd",
        0,
        0,
        struct.pack(">IIIIIH", 0, 0, track.timescale, 0, 0x10000, 0x0100),
        bytes(10),
        _UNITY_MATRIX,
        bytes(24),
        struct.pack(">I", TRACK_ID + 1),
    )
    trex = full_box(b"trex", 0, 0, struct.pack(">5I", TRACK_ID, 1, 0, 0, 0))
    return box(b"ftyp", b"iso6", bytes(4), brands) + box(
        b"moov", mvhd, _trak(rendition), box(b"mvex", trex)
    )


def media_segment(track: Track, first: int, last: int, sequence_number: int) -> tuple[Part, ...]:
    """Samples ``first`` .. ``last``-1 (at least one) as a CMAF segment of one fragment.

    The parts are ``styp``, ``moof`` and the header of ``mdat`` as one inline part, then the
    samples as ranges of the source; decode times are those of the track. The cost depends on the
    number of samples in the segment only.
    """
    samples = track.samples
    decode_time = samples.decode_time[first : last + 1]
    run = Run(
        base_time=int(decode_time[0]),
        duration=decode_time[1:] - decode_time[:-1],
        size=samples.size[first:last],
        composition=_delayed(samples, first, last),
        sync=column_slice(samples.sync, first, last),
    )
    return _fragment(track, first, last, run, sequence_number)


def key_frame_segment(
    track: Track, sample: int, start: int, duration: int, sequence_number: int
) -> tuple[Part, ...]:
    """Sync sample ``sample`` alone, presented at ``start`` for ``duration`` ticks.

    For I-frame playlists (RFC 8216 4.3.3.6): decode and presentation time are the same, since the
    pictures that were decoded around it are not there.
    """
    run = Run(
        base_time=start + track.edit_media_time,
        duration=np.array([duration], dtype=np.int64),
        size=track.samples.size[sample : sample + 1],
        composition=np.array([track.samples.composition_delay], dtype=np.int32),
        sync=None,
    )
    return _fragment(track, sample, sample + 1, run, sequence_number)


def _media_time(track: Track) -> int:
    """Of the edit list in the init segment, ticks; 0 = none."""
    return track.edit_media_time + track.samples.composition_delay


def _delayed(samples: Samples, first: int, last: int) -> NDArray[np.int32] | None:
    """Composition offsets as written: none is negative, since the edit list takes the delay back.

    Readers of negative ones disagree: libavformat (ffmpeg, mpv ...) presents a fragmented track
    late by the largest of them, that is, out of step with the sound.
    """
    offsets = column_slice(samples.composition_offset, first, last)
    if offsets is None or not samples.composition_delay:
        return offsets
    return offsets + np.int32(samples.composition_delay)


def _fragment(
    track: Track, first: int, last: int, run: Run, sequence_number: int
) -> tuple[Part, ...]:
    offset, length = byte_ranges(track.samples, first, last)
    payload = int(np.add.reduce(length))
    mdat = mdat_header(payload)
    head = Inline(b"".join((_STYP, _moof(run, sequence_number, len(mdat)), mdat)))
    return (head, FileRanges(track.source, offset, length)) if payload else (head,)


def _moof(run: Run, sequence_number: int, mdat_head: int) -> bytes:
    """``moof`` of one ``traf`` with one ``trun``; only what varies stands in its rows."""
    # Version 1: composition offsets are signed.
    tfhd, trun = run_boxes(run, version=1, tfhd_flags=_TFHD_DEFAULT_BASE_IS_MOOF)
    traf_size = 8 + len(tfhd) + _TFDT.size + trun.size
    moof_size = 8 + MFHD.size + traf_size
    return b"".join(
        (
            _BOX.pack(moof_size, b"moof"),
            MFHD.pack(16, b"mfhd", 0, sequence_number & _UINT32_MAX),
            _BOX.pack(traf_size, b"traf"),
            tfhd,
            _TFDT.pack(20, b"tfdt", 1 << 24, run.base_time),
            trun.box(moof_size + mdat_head),
        )
    )


def _trak(rendition: Rendition) -> bytes:
    track = rendition.track
    width, height, volume = 0, 0, 0
    if isinstance(track.facts, VideoFacts):
        width, height = display_size(track.facts)
    elif track.kind is Kind.AUDIO:
        volume = 0x0100
    tkhd = full_box(
        b"tkhd",
        0,
        0x000007,  # enabled, in movie, in preview
        struct.pack(">5I", 0, 0, TRACK_ID, 0, 0),
        bytes(8),
        struct.pack(">4H", 0, 0, volume, 0),
        _UNITY_MATRIX,
        struct.pack(">II", min(width, 0xFFFF) << 16, min(height, 0xFFFF) << 16),
    )
    edits = b""
    media_time = _media_time(track)
    if media_time:
        # Duration 0 in a file whose movie fragments follow: to the end (14496-12 8.6.6.1).
        elst = full_box(b"elst", 1, 0, struct.pack(">IQqI", 1, 0, media_time, 0x10000))
        edits = box(b"edts", elst)
    return box(b"trak", tkhd, edits, _mdia(rendition))


def _mdia(rendition: Rendition) -> bytes:
    track = rendition.track
    language = rendition.language or "und"
    packed = _packed_language(language)
    mdhd = full_box(b"mdhd", 0, 0, struct.pack(">IIIIHH", 0, 0, track.timescale, 0, packed, 0))
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
    stbl = box(
        b"stbl",
        full_box(b"stsd", 0, 0, _U32.pack(1), portable_entry(track.sample_entry_box)),
        full_box(b"stts", 0, 0, bytes(4)),
        full_box(b"stsc", 0, 0, bytes(4)),
        full_box(b"stsz", 0, 0, bytes(8)),
        full_box(b"stco", 0, 0, bytes(4)),
    )
    return box(b"mdia", mdhd, hdlr, elng, box(b"minf", media_header, dinf, stbl))


def display_size(facts: VideoFacts) -> tuple[int, int]:
    """(width, height) in square pixels: the height stays, the width follows the pixel aspect."""
    horizontal, vertical = facts.pixel_aspect
    width = (2 * facts.width * horizontal + vertical) // (2 * vertical)
    return width, facts.height


def _packed_language(language: str) -> int:
    """Three letters in 15 bits (14496-12 8.4.2.3); ``und`` for anything else."""
    if len(language) == 3 and language.isascii() and language.islower():
        first, second, third = (ord(letter) - 0x60 for letter in language)
        return first << 10 | second << 5 | third
    return _UNDETERMINED
