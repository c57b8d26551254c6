"""FLV tags of H.264 and AAC, as the fragments of HTTP Dynamic Streaming hold them.

Adobe Flash Video File Format Specification 10.1, E.4: a tag is a header of 11 bytes, what kind of
data follows (5 bytes for H.264, 2 for AAC), the sample, and the size of all that in 4 bytes.
Samples need no rewriting, so they stay in their files.

Timestamps are milliseconds, each rounded from the absolute time of its sample: they are half a
millisecond off at the most, however long the presentation. Presentation times are exact in that
sense; decode times are those of the source less a constant (``reordering``), so that no picture is
presented before it is decoded, as the first pictures of a source with B-pictures otherwise were.
There are no times before 0: decode times that would be follow each other every millisecond from 0
on, and sound that is only there to prime the decoder is left out. Nor is there room for times since
1970: they begin anew every 23 days, between two fragments (``written``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sidecar.codecs.aac import decoder_config
from sidecar.codecs.entry import sound_entry, visual_entry
from sidecar.errors import UnsupportedMedia
from sidecar.media.presentation import Rendition
from sidecar.media.track import Kind, Track
from sidecar.mux.plan import HeadedRanges, Inline, Part
from sidecar.mux.runs import mdat_header

TIMESCALE = 1000

_AUDIO, _VIDEO = 8, 9
_TAG_HEADER = 11
_AVC, _KEY_FRAME, _INTER_FRAME = 7, 0x10, 0x20
# AAC; for it rate, size and channels have fixed values: the decoder's configuration counts.
_AAC = 0xAF
_SEQUENCE_HEADER, _CODED = 0, 1
_MAX_DATA = (1 << 24) - 1
# Times begin anew after so many ms: Timestamp and TimestampExtended are 31 bits and a sign, and a
# fragment goes on where it has begun.
_PERIOD = 2_000_000_000

# A row: size of the tag before, tag header, and the begin of VIDEODATA or AUDIODATA.
_ROW = 4 + _TAG_HEADER + 5
_ROW_DATA = {Kind.VIDEO: 5, Kind.AUDIO: 2}

# The fourCCs of server manifests.
_VIDEO_CODECS = frozenset({"AVC1"})
_AUDIO_CODECS = frozenset({"AACL", "AACH"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Samples ``first`` .. ``last``-1 of ``track``; may be none."""

    track: Track
    first: int
    last: int


def is_supported(rendition: Rendition) -> bool:
    """Whether FLV can hold it: H.264 with its parameter sets in the sample entry, or AAC."""
    track = rendition.track
    if not len(track.samples):
        return False
    if track.kind is Kind.VIDEO:
        facts = rendition.video
        return facts.fourcc in _VIDEO_CODECS and bool(facts.codec_private_data)
    if track.kind is Kind.AUDIO:
        return rendition.audio.fourcc in _AUDIO_CODECS and bool(rendition.audio.codec_private_data)
    return False


def milliseconds(ticks: NDArray[np.int64], timescale: int) -> NDArray[np.int64]:
    """``ticks`` in milliseconds, to the nearest, halves upwards; exact where they fit 64 bits."""
    whole, rest = np.divmod(ticks, timescale)
    times: NDArray[np.int64] = whole * TIMESCALE + (2 * TIMESCALE * rest + timescale) // (
        2 * timescale
    )
    return times


def written(time: int) -> int:
    """``time`` (ms, at least 0), at which a fragment begins, as timestamps of tags say it."""
    return time % _PERIOD


def first_tick(millisecond: NDArray[np.int64], timescale: int) -> NDArray[np.int64]:
    """The first tick that ``milliseconds`` makes ``millisecond`` or more of."""
    whole, rest = np.divmod(millisecond, TIMESCALE)
    ticks: NDArray[np.int64] = whole * timescale - ((1 - 2 * rest) * timescale) // (2 * TIMESCALE)
    return ticks


def reordering(tracks: Sequence[Track]) -> int:
    """Milliseconds by which all video of ``tracks`` must be decoded earlier than its source says,
    for every picture to be decoded by the time that it is presented."""
    return max(
        (-(-TIMESCALE * track.samples.composition_delay // track.timescale) for track in tracks),
        default=0,
    )


def decode_times(span: Span, earlier: int) -> NDArray[np.int64]:
    """Timestamps of the tags of ``span``, ms, ascending; ``earlier``: ``reordering`` of video."""
    track, samples = span.track, span.track.samples
    here = slice(span.first, span.last)
    decode_time = samples.decode_time[here] - track.edit_media_time
    if track.kind is Kind.AUDIO:
        return np.maximum(milliseconds(decode_time, track.timescale), 0)
    times = milliseconds(decode_time, track.timescale) - earlier
    turn = np.arange(span.first, span.last, dtype=np.int64)
    times = np.maximum(times, np.minimum(turn, earlier))
    times = np.minimum(times, _presentation_times(span))
    # A picture that is decoded as early as it must takes those before it along.
    ascending: NDArray[np.int64] = np.minimum.accumulate(times[::-1])[::-1]
    return ascending


def fragment(video: Span | None, audio: Span | None, earlier: int) -> tuple[Part, ...]:
    """An ``mdat`` box of the tags of ``video`` and ``audio`` in the order of their timestamps.

    It begins with the decoder configurations of both, also where one has no samples here, so that
    it can be played alone. At equal times video comes first.

    Raises ``UnsupportedMedia`` for a sample that does not fit a tag.
    """
    spans = [span for span in (video, audio) if span is not None]
    times = [decode_times(span, earlier) for span in spans]
    start = min((int(time[0]) for time in times if len(time)), default=0)
    before = start - written(start)
    rows = np.concatenate(
        [_rows(span, time, before) for span, time in zip(spans, times, strict=True)]
    )
    which = np.repeat(np.arange(len(spans)), [span.last - span.first for span in spans])
    size = np.concatenate([_column(span, span.track.samples.size) for span in spans])
    offset = np.concatenate([_column(span, span.track.samples.offset) for span in spans])
    order = np.argsort(np.concatenate(times), kind="stable")
    # A sample without a byte is no picture and no sound.
    order = order[size[order] > 0]

    head = b"".join(_configuration(span.track, start - before) for span in spans)
    rows, which = rows[order], which[order]
    data_size = np.array([_ROW_DATA[span.track.kind] for span in spans])[which] + size[order]
    if int(data_size.max(initial=0)) > _MAX_DATA:
        raise UnsupportedMedia(
            f"a sample of {int(size.max())} bytes does not fit a tag of FLV",
            path=spans[0].track.source.path,
        )
    tag_size = data_size + _TAG_HEADER
    # The size of a tag stands behind it, that is, before the next one.
    rows[1:, :4] = _bytes_of(tag_size[:-1], 4)
    rows[:, 5:8] = _bytes_of(data_size, 3)
    payload = len(head) + int((tag_size + 4).sum())
    head = mdat_header(payload) + head
    if not len(order):
        return (Inline(head),)
    return (
        Inline(head),
        HeadedRanges(
            tuple(span.track.source for span in spans),
            which,
            offset[order],
            size[order],
            _heads(rows, spans, which),
        ),
        Inline(int(tag_size[-1]).to_bytes(4)),
    )


def _column(span: Span, column: NDArray[np.int64] | NDArray[np.uint32]) -> NDArray[np.int64]:
    return column[span.first : span.last].astype(np.int64)


def _presentation_times(span: Span) -> NDArray[np.int64]:
    """Milliseconds, at least 0."""
    track, samples = span.track, span.track.samples
    time = samples.decode_time[span.first : span.last] - track.edit_media_time
    if samples.composition_offset is not None:
        time = time + samples.composition_offset[span.first : span.last]
    return np.maximum(milliseconds(time, track.timescale), 0)


def _rows(span: Span, time: NDArray[np.int64], before: int) -> NDArray[np.uint8]:
    """uint8[n, _ROW]: the bytes before each sample but for sizes. ``time``: of decoding, ms;
    timestamps count from ``before``."""
    rows = np.zeros((len(time), _ROW), dtype=np.uint8)
    said = time - before
    rows[:, 8:11] = _bytes_of(said & 0xFFFFFF, 3)
    rows[:, 11] = said >> 24 & 0xFF
    if span.track.kind is Kind.AUDIO:
        rows[:, 4] = _AUDIO
        rows[:, 15:17] = (_AAC, _CODED)
        return rows
    sync = span.track.samples.sync
    is_key = True if sync is None else sync[span.first : span.last]
    rows[:, 4] = _VIDEO
    rows[:, 15] = np.where(is_key, _KEY_FRAME | _AVC, _INTER_FRAME | _AVC)
    rows[:, 16] = _CODED
    rows[:, 17:20] = _bytes_of(_presentation_times(span) - time, 3)
    return rows


def _heads(
    rows: NDArray[np.uint8], spans: Sequence[Span], which: NDArray[np.int64]
) -> tuple[bytes, ...]:
    """The rows as bytes; no tag of a sample stands before the first one."""
    data = rows.tobytes()
    length = [4 + _TAG_HEADER + _ROW_DATA[span.track.kind] for span in spans]
    begins = range(0, len(data), _ROW)
    heads = [
        data[begin : begin + length[at]] for begin, at in zip(begins, which.tolist(), strict=True)
    ]
    heads[0] = heads[0][4:]
    return tuple(heads)


def _bytes_of(values: NDArray[np.int64], count: int) -> NDArray[np.uint8]:
    """uint8[n, count]: the low bytes of ``values``, most significant first."""
    return values.astype(">i8").view(np.uint8).reshape(-1, 8)[:, 8 - count :]


def _configuration(track: Track, time: int) -> bytes:
    """The tag of the decoder's configuration: avcC, or the AudioSpecificConfig."""
    if track.kind is Kind.AUDIO:
        entry = sound_entry(track.sample_entry_box, box_path="stsd", offset=0)
        specific = decoder_config(entry.require(b"esds"))[1]
        return tag(_AUDIO, time, bytes((_AAC, _SEQUENCE_HEADER)) + specific)
    config = visual_entry(track.sample_entry_box, box_path="stsd", offset=0).require(b"avcC").body
    return tag(_VIDEO, time, bytes((_KEY_FRAME | _AVC, _SEQUENCE_HEADER, 0, 0, 0)) + config)


def tag(tag_type: int, time: int, data: bytes) -> bytes:
    """A tag with the size behind it; ``time``: ms."""
    size = len(data)
    header = bytes((tag_type, *size.to_bytes(3), *(time & 0xFFFFFF).to_bytes(3), time >> 24 & 0xFF))
    return header + bytes(3) + data + (_TAG_HEADER + size).to_bytes(4)
