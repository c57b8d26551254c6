"""CMAF: header (init segment) and segments of one track (ISO/IEC 23000-19, 14496-12)."""

from __future__ import annotations

import struct

import numpy as np

from sidecar.boxes.write import box
from sidecar.media.presentation import Rendition
from sidecar.media.track import Track
from sidecar.mux.decoding import decoding
from sidecar.mux.movie import NO_SAMPLES, movie_header, track_box, track_extends
from sidecar.mux.plan import FileRanges, Inline, Part
from sidecar.mux.ranges import byte_ranges
from sidecar.mux.runs import MFHD, TRACK_ID, Run, column_slice, mdat_header, run_boxes

_TFHD_DEFAULT_BASE_IS_MOOF = 0x020000

_STYP = box(b"styp", b"msdh", bytes(4), b"msdhcmfscmff")
_UINT32_MAX = 0xFFFFFFFF
_BOX = struct.Struct(">I4s")
_TFDT = struct.Struct(">I4sIQ")


def init_segment(rendition: Rendition) -> bytes:
    """The CMAF header of ``rendition``: ``ftyp`` and ``moov`` without samples (23000-19 7.3.1).

    The sample entry is the source's, byte for byte. Tracks with priming or reordered pictures get
    the edit list that skips the one and takes back the delay of the other; times in media segments
    are decode times before that edit.
    """
    track = rendition.track
    media_time = edit_media_time(track)
    brands = b"iso6cmfc" if media_time else b"iso6cmfccmf2"
    # Duration 0 in a file whose movie fragments follow: to the end (14496-12 8.6.6.1).
    edits = [(0, media_time)] if media_time else []
    trak = track_box(rendition, track_id=TRACK_ID, tables=NO_SAMPLES, edits=edits)
    return box(b"ftyp", b"iso6", bytes(4), brands) + box(
        b"moov",
        movie_header(track.timescale, 0, TRACK_ID + 1),
        *trak,
        box(b"mvex", track_extends(TRACK_ID)),
    )


def media_segment(track: Track, first: int, last: int, sequence_number: int) -> tuple[Part, ...]:
    """Samples ``first`` .. ``last``-1 (at least one) as a CMAF segment of one fragment.

    The parts are ``styp``, ``moof`` and the header of ``mdat`` as one inline part, then the
    samples as ranges of the source; decode times are those of the track. The cost depends on the
    number of samples in the segment only.
    """
    run = _run(track, first, last)
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


def edit_media_time(track: Track) -> int:
    """Of the edit list in the init segment, ticks; 0 = none."""
    return track.edit_media_time + track.samples.composition_delay


def _run(track: Track, first: int, last: int) -> Run:
    """No composition offset is negative, since the edit list takes the delay back.

    Readers of negative ones disagree: libavformat (ffmpeg, mpv ...) presents a fragmented track
    late by the largest of them, that is, out of step with the sound.
    """
    samples = track.samples
    decode_time, composition = decoding(track, first, last)
    return Run(
        base_time=int(decode_time[0]),
        duration=decode_time[1:] - decode_time[:-1],
        size=samples.size[first:last],
        composition=composition,
        sync=column_slice(samples.sync, first, last),
    )


def _fragment(
    track: Track, first: int, last: int, run: Run, sequence_number: int
) -> tuple[Part, ...]:
    offset, length = byte_ranges(track.samples, first, last)
    payload = int(np.add.reduce(length))
    head = Inline(segment_head(run, payload, sequence_number))
    return (head, FileRanges(track.source, offset, length)) if payload else (head,)


def segment_head(run: Run, payload: int, sequence_number: int) -> bytes:
    """All of a segment that stands before the ``payload`` bytes of its samples."""
    mdat = mdat_header(payload)
    return b"".join((_STYP, _moof(run, sequence_number, len(mdat)), mdat))


def _moof(run: Run, sequence_number: int, mdat_head: int) -> bytes:
    """``moof`` of one ``traf`` with one ``trun``; only what varies stands in its rows."""
    # Version 1: composition offsets are signed.
    flags = _TFHD_DEFAULT_BASE_IS_MOOF
    tfhd, trun = run_boxes(run, version=1, tfhd_flags=flags)
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
