"""The header boxes of a stream: which tracks it has, and what they are called."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from sidecar.boxes.header import walk
from sidecar.boxes.movie import SampleDefaults, read_moov
from sidecar.boxes.piff import LIVE_SERVER_MANIFEST
from sidecar.errors import InvalidMedia, UnsupportedMedia
from sidecar.live.events import event_tracks
from sidecar.live.initial import InitialSamples, initial_samples, without_samples
from sidecar.live.model import EventTrack, Header, IncomingTrack
from sidecar.live.server_manifest_box import announced_track, read_live_server_manifest
from sidecar.live.topbox import TopBox, top_box
from sidecar.media.playable import DataFiles, Playable, playable_tracks
from sidecar.media.server_manifest import ServerManifest
from sidecar.storage.source import SourceIdentity

# Bytes of a fragment that are taken, unless said otherwise: 25 s of 80 Mbit/s.
MAX_FRAGMENT = 256 << 20

_STREAM = DataFiles(SourceIdentity("", 0, 0, 0), None)
_FACTS = struct.Struct(">I4sIIIIQQ")


@dataclass(frozen=True, slots=True, eq=False)
class ReadHeader:
    """A header, and the samples that its moov came with."""

    header: Header
    samples: InitialSamples | None


def read_header(data: bytes) -> Header:
    """The header that the boxes in ``data`` are: a stream's, or ``Header.data``.

    Raises ``InvalidMedia`` when they are damaged or there is no moov, ``UnsupportedMedia`` when
    none of its tracks can be served.
    """
    boxes = (top_box(data[box.start : box.end], box.start) for box in walk(data, 0, len(data)))
    return read_header_boxes(boxes, limit=MAX_FRAGMENT).header


def read_header_boxes(boxes: Iterable[TopBox], *, limit: int) -> ReadHeader:
    """As ``read_header``, of boxes that need not lie side by side in their stream.

    ``limit``: bytes that samples of the moov may have.
    """
    kept: dict[bytes, TopBox] = {}
    for box in boxes:
        if box.type in (b"ftyp", b"moov") or box.header.extended_type == LIVE_SERVER_MANIFEST:
            kept.setdefault(box.type, box)
    moov = kept.get(b"moov")
    if moov is None:
        raise InvalidMedia("the stream has no moov")
    movie = read_moov(moov.leaf())
    if not movie.fragmented:
        raise UnsupportedMedia(
            "the moov has no mvex, so nothing may follow it", box_path="moov", offset=moov.offset
        )
    skipped: list[str] = []
    playable = playable_tracks(movie, True, _STREAM, skipped)
    announced = _announced(kept.get(b"uuid"), skipped)
    events = tuple(event_tracks(movie, announced))
    for one in events:
        skipped = [reason for reason in skipped if not reason.startswith(f"track {one.track_ID} (")]
    if not playable and not events:
        reasons = "; ".join(skipped) or "there is no track"
        raise UnsupportedMedia(
            f"nothing in the stream can be served: {reasons}", box_path="moov", offset=moov.offset
        )
    tracks = tuple(
        _track(track, playable, movie.defaults.get(track.track_id), announced) for track in playable
    )
    samples = initial_samples(movie, playable, moov.offset, limit)
    data = b"".join(
        without_samples(box) if box is moov and samples is not None else box.data
        for box in kept.values()
    )
    header = Header(
        data=data,
        digest=_digest(tracks, events),
        tracks=tracks,
        events=events,
        skipped=tuple(skipped),
    )
    return ReadHeader(header, samples)


def _announced(box: TopBox | None, skipped: list[str]) -> ServerManifest:
    """What the live server manifest says: nothing when it cannot be read, as media can be served
    without it."""
    if box is None:
        return ServerManifest()
    try:
        return read_live_server_manifest(bytes(box.leaf().body))
    except InvalidMedia as error:
        skipped.append(f"the live server manifest: {error.sentence}")
        return ServerManifest()


def _track(
    track: Playable,
    tracks: list[Playable],
    defaults: SampleDefaults | None,
    announced: ServerManifest,
) -> IncomingTrack:
    entry = announced_track(announced, track, tracks)
    return IncomingTrack(
        track_ID=track.track_id,
        kind=track.kind,
        timescale=track.timescale,
        language=(entry.language if entry else None) or track.language,
        handler_name=track.handler_name,
        sample_entry_box=track.sample_entry_box,
        facts=track.facts,
        defaults=defaults or SampleDefaults(),
        edit_media_time=track.window.media_time,
        delay=track.window.delay,
        name=entry.track_name if entry else None,
        bitrate=entry.bitrate if entry else None,
    )


def _digest(tracks: Iterable[IncomingTrack], events: Iterable[EventTrack]) -> bytes:
    """SHA-256 of what samples are decoded and timed by, so not of creation times and names."""
    digest = hashlib.sha256()
    for track in tracks:
        defaults = track.defaults
        digest.update(
            _FACTS.pack(
                track.track_ID,
                track.kind.value[:4].encode(),
                track.timescale,
                defaults.default_sample_duration,
                defaults.default_sample_size,
                defaults.default_sample_flags,
                track.edit_media_time,
                track.delay,
            )
        )
        digest.update(struct.pack(">I", len(track.sample_entry_box)))
        digest.update(track.sample_entry_box)
    for one in events:
        digest.update(repr(one).encode())
    return digest.digest()
