"""Events as encoders send them: message boxes beside a fragment, and the samples of tracks for
timed metadata (DASH-IF Live Media Ingest, ISO/IEC 23001-18, Azure's sparse tracks)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from sidecar.boxes.declared import read_hdlr, read_mdhd, read_tkhd
from sidecar.boxes.event import MAX_MESSAGE, EventMessage, read_emib, read_emsg
from sidecar.boxes.header import walk
from sidecar.boxes.leaf import Leaf
from sidecar.boxes.movie import Movie, SampleDefaults, TrackBoxes, read_stsd
from sidecar.errors import MediaError
from sidecar.live.model import EventTrack, IncomingTrack, TrackFragment
from sidecar.live.server_manifest_box import is_sparse
from sidecar.live.topbox import TopBox
from sidecar.media.breaks import section
from sidecar.media.columns import Columns
from sidecar.media.events import ID3, SCTE35, Event, plain
from sidecar.media.playable import printable
from sidecar.media.server_manifest import ServerManifest
from sidecar.units import rescale

_HANDLERS = (b"meta", b"data")
_ENTRIES = (b"urim", b"evte", b"scte", b"meta")
# What sample entries are of that say no scheme.
_SCHEMES = {b"scte": SCTE35}
_BOXES = (b"emib", b"emsg", b"emeb", b"embe")
_ENTRY = 8  # reserved bytes and data_reference_index
_SPARSE = struct.Struct(">III")
_SPARSE_VERSION = 1
# Of presentation times, seconds: they are kept in microseconds of 64 bits.
_LATEST = 1 << 42
MAX_EVENTS = 1 << 10


@dataclass(frozen=True, slots=True)
class Said:
    """The events of a fragment, and what is to be logged of those that are damaged."""

    events: tuple[Event, ...] = ()
    notes: tuple[str, ...] = ()


def event_tracks(movie: Movie, announced: ServerManifest) -> list[EventTrack]:
    """The tracks of ``movie`` that hold events. One whose boxes are damaged is none."""
    found = []
    for boxes in movie.tracks:
        try:
            if read_hdlr(boxes.leaf(b"hdlr")).handler_type in _HANDLERS:
                track = _event_track(movie, boxes, announced)
                found += [track] if track is not None else []
        except MediaError:
            continue
    return found


def _event_track(movie: Movie, boxes: TrackBoxes, announced: ServerManifest) -> EventTrack | None:
    track_id = read_tkhd(boxes.leaf(b"tkhd")).track_ID
    entry = read_stsd(boxes.leaf(b"stsd"))
    sparse = next((one for one in announced.entries if is_sparse(one)), None)
    if sparse is None and entry.type not in _ENTRIES:
        return None
    scheme = (sparse.param("scheme") if sparse else None) or _uri(entry.box)
    return EventTrack(
        track_ID=track_id,
        timescale=read_mdhd(boxes.leaf(b"mdhd")).timescale,
        entry=printable(entry.type),
        scheme=scheme or _SCHEMES.get(entry.type, ""),
        defaults=movie.defaults.get(track_id, SampleDefaults()),
    )


def _uri(entry: bytes) -> str:
    """What the ``uri `` box of a URIMetaSampleEntry says (ISO/IEC 14496-12 12.3.3), if anything."""
    (head,) = walk(entry, 0, len(entry))
    for child in walk(entry, head.body + _ENTRY, head.end):
        if child.type == b"uri ":
            return entry[child.body + 4 : child.end].split(b"\0", 1)[0].decode("utf-8", "replace")
    return ""


def events_beside(
    boxes: Iterable[TopBox], tracks: Iterable[tuple[IncomingTrack, TrackFragment]]
) -> Said:
    """The events of the ``emsg`` among ``boxes``, which belong to a fragment of ``tracks``."""
    begin: Fraction | None = None
    for track, part in tracks:
        offsets = part.samples.composition_offset
        elapsed = np.cumsum(part.samples.duration, dtype=np.int64) - part.samples.duration
        first = int((elapsed if offsets is None else elapsed + offsets).min()) + part.time
        presented = Fraction(first - track.edit_media_time, track.timescale)
        begin = presented if begin is None else min(begin, presented)
    events, notes = [], []
    for box in boxes:
        if box.type != b"emsg":
            continue
        try:
            message = read_emsg(box.leaf())
        except MediaError as error:
            notes.append(str(error))
            continue
        if message.relative and begin is None:
            continue
        event = _event(message, message.timescale, begin, inband=True)
        if event is not None:
            events.append(event)
    return Said(tuple(events), (*notes, *_damage(events)))


def events_of_samples(track: EventTrack, columns: Columns, mdat: TopBox, duration: int) -> Said:
    """The events of samples of ``track``, all of them in ``mdat``. ``duration``: of the fragment
    as tfxd says it, ticks, 0 = not said."""
    data = memoryview(mdat.data)
    events: list[Event] = []
    notes: list[str] = []
    times = columns.composition_time.tolist()
    places = (columns.offset - mdat.offset).tolist()
    for time, place, size in zip(times, places, columns.size.tolist(), strict=True):
        sample = data[place : place + size]
        try:
            events += _of_sample(track, sample, time, duration, mdat.offset + place)
        except MediaError as error:
            notes.append(str(error))
        if len(events) > MAX_EVENTS:
            notes.append(f"a fragment has more than {MAX_EVENTS} events")
            del events[MAX_EVENTS:]
            break
    return Said(tuple(events), (*notes, *_damage(events)))


def _of_sample(
    track: EventTrack, sample: memoryview, time: int, duration: int, offset: int
) -> Iterator[Event]:
    when = Fraction(time, track.timescale)
    if bytes(sample[4:8]) in _BOXES:
        for leaf in Leaf(b"mdat", sample, "mdat", offset).children():
            if leaf.type in (b"emib", b"emsg"):
                message = read_emib(leaf) if leaf.type == b"emib" else read_emsg(leaf)
                event = _event(
                    message, message.timescale or track.timescale, when, inband=False, known=when
                )
                if event is not None:
                    yield event
        return
    bare = _plain_message(track, bytes(sample), time, duration)
    if bare is not None and bare.message_data:
        event = _event(bare, track.timescale, when, inband=False, known=when)
        if event is not None:
            yield event


def _plain_message(
    track: EventTrack, sample: bytes, time: int, duration: int
) -> EventMessage | None:
    """What a sample without boxes says: as Smooth Streaming's sparse tracks do, or bare data."""
    number, delta, data = None, 0, sample
    if len(sample) >= _SPARSE.size:
        version, identity, later = _SPARSE.unpack_from(sample)
        if version == _SPARSE_VERSION:
            number, delta, data = identity, later, sample[_SPARSE.size :]
    scheme = track.scheme
    if not scheme:
        scheme = ID3 if data.startswith(b"ID3") else SCTE35 if section(data) is not None else ""
    if not scheme or len(data) > MAX_MESSAGE:
        return None
    return EventMessage(
        scheme_id_uri=scheme,
        value="",
        timescale=track.timescale,
        presentation_time=time + delta,
        relative=False,
        event_duration=duration or None,
        id=zlib.crc32(data) if number is None else number,
        message_data=data,
    )


def _event(
    message: EventMessage,
    timescale: int,
    begin: Fraction | None,
    *,
    inband: bool,
    known: Fraction | None = None,
) -> Event | None:
    """``begin``: what the times of relative messages count from, presentation time, seconds; None
    when nothing tells what came with the message. None for a time that is out of range."""
    time = message.presentation_time
    if message.relative:
        assert begin is not None
        time += rescale(begin.numerator, begin.denominator, timescale)
    when = Fraction(time, timescale)
    if not -_LATEST < when < _LATEST or abs(time) >> 62:
        return None
    known = known if known is not None else begin if begin is not None else when
    return plain(
        Event(
            scheme=message.scheme_id_uri,
            value=message.value,
            id=message.id,
            time=time,
            duration=message.event_duration,
            timescale=timescale,
            data=message.message_data,
            inband=inband,
            known=known,
        )
    )


def _damage(events: Iterable[Event]) -> Iterator[str]:
    for one in events:
        if one.scheme == SCTE35 and section(one.data) is None:
            yield f"a splice information section (event {one.id}) is damaged: it is passed on as is"
