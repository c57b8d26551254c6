"""One indexed track of one media file: what every format plans from."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sidecar.codecs.facts import Facts
from sidecar.media.text.cues import TIMESCALE, TimedText
from sidecar.storage.source import SourceIdentity


class Kind(StrEnum):
    """The kind of a track; the value is the default trackName and the server manifest's word."""

    AUDIO = "audio"
    VIDEO = "video"
    TEXT = "textstream"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StoredFragments:
    """The source's fragments of a track, each a moof of this track alone with its mdat behind it.

    Rows are those of ``Samples.fragment_start``, times are ticks of the track's timescale.

    - ``offset``: int64[m], byte offset of the moof; ``moof_length``, ``length``: int64[m], bytes of
      the moof alone and of both boxes.
    - ``time``: int64[m+1], decode times as the file states them, ascending, maybe negative;
      the last value is the end of the last fragment.
    - ``moved``: what was added to the file's composition times to get presentation times.
    """

    offset: NDArray[np.int64]
    moof_length: NDArray[np.int64]
    length: NDArray[np.int64]
    time: NDArray[np.int64]
    moved: int = 0

    @property
    def nbytes(self) -> int:
        """Memory that the columns hold, bytes."""
        columns = (self.offset, self.moof_length, self.length, self.time)
        return sum(column.nbytes for column in columns)


def least_delay(composition_offset: NDArray[np.int32] | None) -> int:
    """Ticks by which the least of ``composition_offset`` lies below 0."""
    return 0 if composition_offset is None else -int(composition_offset.min(initial=0))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Samples:
    """The samples of a track in decode order, as columns of equal length n (except decode_time).

    ``decode_time`` starts at 0 or later and is what CMAF fragments say; ``composition_offset`` may
    be negative, so that
    ``presentation time = decode_time + composition_offset - Track.edit_media_time``.

    - ``decode_time``: int64[n+1], track timescale; the last value is the end of the last sample.
    - ``composition_offset``: int32[n], or None when all are 0.
    - ``size``: uint32[n], bytes.
    - ``offset``: int64[n], byte offset in the file.
    - ``sync``: bool[n], or None when every sample is a sync sample.
    - ``delay``: ticks by which samples are to be decoded earlier than that, for none to be
      presented before it is decoded: of samples that come and go the same for all of them, of which
      a few may need more. None: as many as the least composition offset lies below 0.
    - ``composition_delay``: the ticks that ``delay`` means; made here.
    - ``fragment_start``: int64[m], index of the first sample of each fragment of the source (the
      samples of a ``moov`` of a fragmented file count as one fragment), or None for a progressive
      file.
    - ``stored``: these fragments as they lie in the file, or None unless every one of them holds
      this track alone and all of it is presented.
    """

    decode_time: NDArray[np.int64]
    composition_offset: NDArray[np.int32] | None
    size: NDArray[np.uint32]
    offset: NDArray[np.int64]
    sync: NDArray[np.bool_] | None
    fragment_start: NDArray[np.int64] | None
    stored: StoredFragments | None = None
    delay: int | None = None
    composition_delay: int = field(init=False)

    def __post_init__(self) -> None:
        delay = least_delay(self.composition_offset) if self.delay is None else self.delay
        object.__setattr__(self, "composition_delay", delay)

    def __len__(self) -> int:
        return int(self.size.shape[0])

    @property
    def nbytes(self) -> int:
        """Memory that the columns hold, bytes."""
        columns = (self.decode_time, self.composition_offset, self.size, self.offset, self.sync,
                   self.fragment_start)  # fmt: skip
        stored = 0 if self.stored is None else self.stored.nbytes
        return stored + sum(column.nbytes for column in columns if column is not None)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Track:
    """One playable track with its sample index.

    ``timescale``: ticks per second of every time here. ``sample_entry_box``: the one entry of stsd,
    whole and unchanged. ``edit_media_time``: ticks of leading media that is decoded but not
    presented (audio priming); written as an edit list into init segments when not 0.
    ``language``: ISO 639-2/T or BCP 47, None when the media does not say (``und``).
    ``handler_name``: hdlr name, may be empty. ``source``: the file that holds the samples, not the
    one that describes them where that refers to another. ``text``: the content of a text file,
    which has no samples; None for tracks of media files. ``closed_captions``: whether pictures hold
    any, as far as the first ones tell; False for data in another file. ``text_delay``: ticks by
    which text is shown later than documents of TTML in its samples say, whose times are those of
    the presentation as the file has it (ISO/IEC 14496-30 5.3).
    """

    kind: Kind
    track_id: int
    timescale: int
    language: str | None
    handler_name: str
    sample_entry_box: bytes
    facts: Facts
    edit_media_time: int
    samples: Samples
    source: SourceIdentity
    text: TimedText | None = None
    closed_captions: bool = False
    text_delay: int = 0

    def presentation_time(self) -> NDArray[np.int64]:
        """int64[n]: presentation time of every sample, track timescale, decode order."""
        samples = self.samples
        times = samples.decode_time[:-1]
        if samples.composition_offset is not None:
            times = times + samples.composition_offset
        return times - self.edit_media_time if self.edit_media_time else times

    @property
    def duration(self) -> Fraction:
        """From presentation time 0 to the end of the last presented sample, seconds."""
        if self.text is not None:
            return Fraction(self.text.end, TIMESCALE)
        samples = self.samples
        durations = np.diff(samples.decode_time)
        end = int((self.presentation_time() + durations).max()) if len(samples) else 0
        return Fraction(end, self.timescale)

    @property
    def average_bitrate(self) -> int:
        """Bits per second over all samples, rounded up; at least 1."""
        samples = self.samples
        ticks = int(samples.decode_time[-1] - samples.decode_time[0])
        bits = 8 * int(samples.size.sum(dtype=np.int64))
        return max(1, -(-bits * self.timescale // max(1, ticks)))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MediaFile:
    """A media file, indexed: its playable tracks, and what was left out and why.

    ``references``: other files that hold samples of its tracks (``Track.source``).
    """

    source: SourceIdentity
    tracks: tuple[Track, ...]
    skipped: tuple[str, ...]
    references: tuple[SourceIdentity, ...] = ()

    @property
    def nbytes(self) -> int:
        """Memory that the index holds, bytes."""
        fixed = 2048
        texts = sum(track.text.nbytes for track in self.tracks if track.text is not None)
        return fixed + texts + sum(track.samples.nbytes + fixed for track in self.tracks)
