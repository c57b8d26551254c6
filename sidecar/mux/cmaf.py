"""CMAF: header (init segment) and segments of one track (ISO/IEC 23000-19, 14496-12)."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from sidecar.boxes.write import box, full_box
from sidecar.codecs.facts import VideoFacts
from sidecar.codecs.portable import portable_entry
from sidecar.media.presentation import Rendition
from sidecar.media.track import Kind, Samples, Track
from sidecar.mux.plan import FileRanges, Inline, Part
from sidecar.mux.ranges import byte_ranges

# Every output file holds one track, whatever its number was in the source.
TRACK_ID = 1

# Sample flags (14496-12 8.8.3.1): sample_depends_on 2 = no other; 1 and sample_is_non_sync_sample.
SYNC_SAMPLE = 0x02000000
NON_SYNC_SAMPLE = 0x01010000

_TFHD_DEFAULT_DURATION = 0x000008
_TFHD_DEFAULT_SIZE = 0x000010
_TFHD_DEFAULT_FLAGS = 0x000020
_TFHD_DEFAULT_BASE_IS_MOOF = 0x020000
_TRUN_DATA_OFFSET = 0x000001
_TRUN_FIRST_SAMPLE_FLAGS = 0x000004
_TRUN_DURATION = 0x000100
_TRUN_SIZE = 0x000200
_TRUN_FLAGS = 0x000400
_TRUN_COMPOSITION_OFFSET = 0x000800

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
_LARGE_BOX = struct.Struct(">I4sQ")
_MFHD = struct.Struct(">I4sII")
_TFHD = struct.Struct(">I4sII")
_TFDT = struct.Struct(">I4sIQ")
_TRUN = struct.Struct(">I4sIIi")

# The C function itself: np.all, any and sum take more time on the way in than on 100 samples.
count_nonzero = np.count_nonzero
_T = TypeVar("_T", bound=np.generic)


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
    run = _Run(
        base_time=int(decode_time[0]),
        duration=decode_time[1:] - decode_time[:-1],
        size=samples.size[first:last],
        composition=_delayed(samples, first, last),
        sync=_slice(samples.sync, first, last),
    )
    return _fragment(track, first, last, run, sequence_number)


def key_frame_segment(
    track: Track, sample: int, start: int, duration: int, sequence_number: int
) -> tuple[Part, ...]:
    """Sync sample ``sample`` alone, presented at ``start`` for ``duration`` ticks.

    For I-frame playlists (RFC 8216 4.3.3.6): decode and presentation time are the same, since the
    pictures that were decoded around it are not there.
    """
    run = _Run(
        base_time=start + track.edit_media_time,
        duration=np.array([duration], dtype=np.int64),
        size=track.samples.size[sample : sample + 1],
        composition=np.array([track.samples.composition_delay], dtype=np.int32),
        sync=None,
    )
    return _fragment(track, sample, sample + 1, run, sequence_number)


class _Run(NamedTuple):
    """Columns of the samples of one ``trun``; None: all 0 (composition), all sync (sync)."""

    base_time: int
    duration: NDArray[np.int64]
    size: NDArray[np.uint32]
    composition: NDArray[np.int32] | None
    sync: NDArray[np.bool_] | None


def _slice(column: NDArray[_T] | None, first: int, last: int) -> NDArray[_T] | None:
    return None if column is None else column[first:last]


def _media_time(track: Track) -> int:
    """Of the edit list in the init segment, ticks; 0 = none."""
    return track.edit_media_time + track.samples.composition_delay


def _delayed(samples: Samples, first: int, last: int) -> NDArray[np.int32] | None:
    """Composition offsets as written: none is negative, since the edit list takes the delay back.

    Readers of negative ones disagree: libavformat (ffmpeg, mpv ...) presents a fragmented track
    late by the largest of them, that is, out of step with the sound.
    """
    offsets = _slice(samples.composition_offset, first, last)
    if offsets is None or not samples.composition_delay:
        return offsets
    return offsets + np.int32(samples.composition_delay)


def _fragment(
    track: Track, first: int, last: int, run: _Run, sequence_number: int
) -> tuple[Part, ...]:
    offset, length = byte_ranges(track.samples, first, last)
    payload = int(np.add.reduce(length))
    if payload + 8 <= _UINT32_MAX:
        mdat = _BOX.pack(payload + 8, b"mdat")
    else:
        mdat = _LARGE_BOX.pack(1, b"mdat", payload + 16)
    head = Inline(b"".join((_STYP, _moof(run, sequence_number, len(mdat)), mdat)))
    return (head, FileRanges(track.source, offset, length)) if payload else (head,)


def _moof(run: _Run, sequence_number: int, mdat_header: int) -> bytes:
    """``moof`` of one ``traf`` with one ``trun``; only what varies stands in its rows."""
    count = len(run.size)
    tfhd_flags = _TFHD_DEFAULT_BASE_IS_MOOF | _TFHD_DEFAULT_FLAGS
    trun_flags = _TRUN_DATA_OFFSET
    defaults = []
    columns: list[NDArray[Any]] = []

    duration = int(run.duration[0])
    if count_nonzero(run.duration == duration) == count:
        tfhd_flags |= _TFHD_DEFAULT_DURATION
        defaults.append(duration)
    else:
        trun_flags |= _TRUN_DURATION
        columns.append(run.duration)
    size = int(run.size[0])
    # Almost no coded size is constant: the last sample tells that for the price of one look.
    if size == run.size[-1] and count_nonzero(run.size == size) == count:
        tfhd_flags |= _TFHD_DEFAULT_SIZE
        defaults.append(size)
    else:
        trun_flags |= _TRUN_SIZE
        columns.append(run.size)

    sync = count if run.sync is None else count_nonzero(run.sync)
    first_flags = b""
    if sync == count:
        defaults.append(SYNC_SAMPLE)
    else:
        defaults.append(NON_SYNC_SAMPLE)
        assert run.sync is not None
        if sync == 1 and run.sync[0]:
            trun_flags |= _TRUN_FIRST_SAMPLE_FLAGS
            first_flags = _U32.pack(SYNC_SAMPLE)
        elif sync:
            trun_flags |= _TRUN_FLAGS
            columns.append(np.where(run.sync, SYNC_SAMPLE, NON_SYNC_SAMPLE))
    if run.composition is not None and count_nonzero(run.composition):
        trun_flags |= _TRUN_COMPOSITION_OFFSET
        columns.append(run.composition.view(np.uint32))

    rows = np.empty((count, len(columns)), dtype=">u4")
    for index, column in enumerate(columns):
        rows[:, index] = column
    tfhd_size = 16 + 4 * len(defaults)
    trun_size = 20 + len(first_flags) + rows.nbytes
    traf_size = 8 + tfhd_size + _TFDT.size + trun_size
    moof_size = 8 + _MFHD.size + traf_size
    return b"".join(
        (
            _BOX.pack(moof_size, b"moof"),
            _MFHD.pack(16, b"mfhd", 0, sequence_number & _UINT32_MAX),
            _BOX.pack(traf_size, b"traf"),
            _TFHD.pack(tfhd_size, b"tfhd", tfhd_flags, TRACK_ID),
            *map(_U32.pack, defaults),
            _TFDT.pack(20, b"tfdt", 1 << 24, run.base_time),
            # Version 1: composition offsets are signed.
            _TRUN.pack(trun_size, b"trun", 1 << 24 | trun_flags, count, moof_size + mdat_header),
            first_flags,
            rows.tobytes(),
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
