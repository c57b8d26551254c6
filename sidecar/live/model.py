"""What an encoder sends, parsed: headers and fragments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sidecar.boxes.movie import SampleDefaults
from sidecar.codecs.facts import Facts
from sidecar.media.events import Event
from sidecar.media.track import Kind
from sidecar.units import rescale


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class IncomingTrack:
    """A track of a stream's header.

    ``timescale``: ticks per second of its times. ``sample_entry_box``: the one entry of stsd.
    ``language``: None when neither the header nor the live server manifest says. ``name``,
    ``bitrate`` (bit/s): trackName and systemBitrate of the live server manifest, None without.
    ``defaults``: of its trex. ``edit_media_time``: of its edit list, ticks (audio priming); a
    sample is presented at decode time + composition offset - ``edit_media_time``. ``delay``: ticks
    by which an empty edit moves all of it later; ``TrackFragment.time`` has that in it already.
    """

    track_ID: int  # noqa: N815 - the specification's spelling
    kind: Kind
    timescale: int
    language: str | None
    handler_name: str
    sample_entry_box: bytes
    facts: Facts
    defaults: SampleDefaults
    edit_media_time: int = 0
    delay: int = 0
    name: str | None = None
    bitrate: int | None = None

    def media_ms(self, ticks: int) -> int:
        """Presentation time of decode time ``ticks``, ms."""
        return rescale(ticks - self.edit_media_time, self.timescale, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTrack:
    """A track whose samples are events. ``entry``: type of its sample entry. ``scheme``: of those
    that do not say theirs, may be empty. ``defaults``: of its trex."""

    track_ID: int  # noqa: N815
    timescale: int
    entry: str
    scheme: str
    defaults: SampleDefaults


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Header:
    """The header boxes of a stream: ``ftyp``, ``moov``, maybe a live server manifest.

    ``data``: these boxes as they came, with the samples of a moov that has some taken out, so
    that it can stand in front of fragments. ``digest``: of what decoding depends on; a header that
    is sent again has the same. ``tracks``: those that can be served. ``events``: those that hold
    events; there may be no others. ``skipped``: why others not.
    """

    data: bytes
    digest: bytes
    tracks: tuple[IncomingTrack, ...]
    events: tuple[EventTrack, ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SampleTable:
    """The samples of one track in one fragment, decode order, columns of equal length n >= 1.

    ``duration``: uint32[n], ticks; ``size``: uint32[n], bytes; ``composition_offset``: int32[n] or
    None when all are 0; ``sync``: bool[n] or None when all are sync samples; ``offset``: int64[n],
    bytes from the first byte of the fragment's ``data``.
    """

    duration: NDArray[np.uint32]
    size: NDArray[np.uint32]
    composition_offset: NDArray[np.int32] | None
    sync: NDArray[np.bool_] | None
    offset: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TrackFragment:
    """What a fragment holds of one track.

    ``time``: decode time of its first sample, ticks, may be negative. ``duration``: ticks, to the
    end of the last. ``begins``: its first sample is a sync sample, so playback can begin here; a
    CMAF chunk that goes on in a fragment does not.
    """

    track_ID: int  # noqa: N815
    time: int
    duration: int
    begins: bool
    samples: SampleTable


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Fragment:
    """One moof with its mdat, and the boxes that belong to it (styp, prft, emsg, sidx) before it.

    ``data``: all of these bytes as they came. ``moof``: offset of the moof in it.
    ``events``: those of its emsg boxes and of its samples. ``notes``: what is damaged of them.
    """

    data: bytes
    moof: int
    tracks: tuple[TrackFragment, ...]
    events: tuple[Event, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EndOfStream:
    """An ``mfra`` box: the encoder says that nothing more will come."""


Incoming = Header | Fragment | EndOfStream
