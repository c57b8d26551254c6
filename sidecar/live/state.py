"""What a publishing point says of itself: its state, its statistics, its archive.

Documents are dicts of JSON values, made of the index alone. In SMIL they have the same names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from lxml import etree

from sidecar.live.headers import read_header
from sidecar.live.index import PointIndex, TrackRow
from sidecar.live.ledger import connections, deliveries
from sidecar.live.model import Header, IncomingTrack
from sidecar.live.rows import unpack_samples
from sidecar.live.writer import PointState
from sidecar.media.naming import default_name
from sidecar.media.server_manifest import NAMESPACE
from sidecar.units import rescale

Document = dict[str, Any]
ReadHeader = Callable[[bytes], Header]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The years 1 and 9998: beyond lies nothing that a date can say.
_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_370_764_800_000
# Fragments that a bitrate is measured over.
_RECENT = 10
# Media that is closer together than this, ms, is continuous.
_JOINED_MS = 50
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def state(index: PointIndex) -> Document:
    """``state``, and when it or the media changed last (``updated``)."""
    updated = index.stamp.stat().st_mtime_ns // 1000 if index.stamp.exists() else 0
    return {
        "updated": _date(Fraction(updated, 1000), "microseconds"),
        "state": index.setting("state") or PointState.IDLE.value,
    }


def statistics(index: PointIndex, read: ReadHeader = read_header) -> Document:
    """The state, and of each track how it was received.

    ``bitrate``: bit/s that names the track; ``measured_bitrate``: of its last fragments;
    ``fragments``, ``gaps``: that are there, that never came; ``begin``, ``end``: of what is there;
    ``connections``: of encoders that sent the track. Of each: ``added``, ``duplicates``, ``late``
    fragments; ``bytes`` of those added; ``last``: end of its last fragment; ``received``: when that
    came; ``drift``: how many seconds after its end that was, by the origin's clock.
    """
    epoch_ms = int(index.setting("epoch_ms") or 0)
    known = {one.id: one for one in connections(index)}
    by_track: dict[int, list[Document]] = {}
    scales = {row.id: one for row, one in _tracks(index, read)}
    for one in deliveries(index):
        track, connection = scales.get(one.track), known.get(one.connection)
        if track is None or connection is None:
            continue
        last = epoch_ms + _media_ms(track, one.time)
        by_track.setdefault(one.track, []).append(
            {
                "identifier": connection.identifier,
                "state": connection.state.value,
                "opened": _date(connection.opened_ms),
                "added": one.added,
                "duplicates": one.duplicate,
                "late": one.late,
                "bytes": one.bytes,
                "last": _date(last),
                "received": _date(one.received_ms),
                "drift": (one.received_ms - last) / 1000,
            }
        )
    tracks = []
    for row, track in _tracks(index, read):
        said = _named(row, track) | {"measured_bitrate": _measured(index, row, track)}
        said |= _counted(index, row, track, epoch_ms)
        tracks.append(said | {"connections": by_track.get(row.id, [])})
    return state(index) | {"tracks": tracks}


def archive(index: PointIndex, read: ReadHeader = read_header) -> Document:
    """The state, and of each track the ``ranges`` (``start``, ``end``) of which all is there."""
    epoch_ms = int(index.setting("epoch_ms") or 0)
    tracks = []
    for row, track in _tracks(index, read):
        ranges = [
            {
                "start": _date(epoch_ms + _media_ms(track, begin)),
                "end": _date(epoch_ms + _media_ms(track, end)),
            }
            for begin, end in _continuous(index, row.id, track.timescale)
        ]
        tracks.append(_named(row, track) | {"ranges": ranges})
    return state(index) | {"tracks": tracks}


def as_xml(document: Document) -> bytes:
    """A document as SMIL: metas in the head, a ``video``, ``audio`` or ``textstream`` for each
    track, with a ``connection`` or ``c`` for each connection or range."""
    root = etree.Element(f"{{{NAMESPACE}}}smil", nsmap={None: NAMESPACE})  # type: ignore[dict-item]
    head = etree.SubElement(root, f"{{{NAMESPACE}}}head")
    for name, value in document.items():
        if name != "tracks":
            meta = etree.SubElement(head, f"{{{NAMESPACE}}}meta")
            meta.set("name", name)
            meta.set("content", _text(value))
    if "tracks" in document:
        body = etree.SubElement(root, f"{{{NAMESPACE}}}body")
        switch = etree.SubElement(body, f"{{{NAMESPACE}}}switch")
        for track in document["tracks"]:
            element = _element(switch, track["kind"], track)
            for one in track.get("connections", ()):
                _element(element, "connection", one)
            for one in track.get("ranges", ()):
                _element(element, "c", one)
    return etree.tostring(root, xml_declaration=True, encoding="utf-8", pretty_print=True)


_ATTRIBUTES = {
    "stream": "src",
    "bitrate": "systemBitrate",
    "language": "systemLanguage",
    "track_id": "trackID",
    "name": "trackName",
    "measured_bitrate": "measuredBitrate",
}


def _element(parent: etree._Element, name: str, values: Document) -> etree._Element:
    element = etree.SubElement(parent, f"{{{NAMESPACE}}}{name}")
    for key, value in values.items():
        if key == "kind" or isinstance(value, list) or value is None:
            continue
        text = f"Streams({value})" if key == "stream" else _text(value)
        element.set(_ATTRIBUTES.get(key, key), _NOT_XML.sub("\ufffd", text))
    return element


def _text(value: object) -> str:
    return _NOT_XML.sub("\ufffd", str(value))


def _tracks(index: PointIndex, read: ReadHeader) -> Iterator[tuple[TrackRow, IncomingTrack]]:
    headers: dict[int, Header] = {}
    for row in index.tracks():
        if row.header not in headers:
            headers[row.header] = read(index.header(row.header))
        for one in headers[row.header].tracks:
            if one.track_ID == row.track_ID:
                yield row, one


def _named(row: TrackRow, track: IncomingTrack) -> Document:
    return {
        "stream": row.stream,
        "kind": track.kind.value,
        "track_id": row.track_ID,
        "name": track.name or default_name(track.kind, track.language),
        "language": track.language,
        "bitrate": track.bitrate or row.bitrate,
    }


def _counted(index: PointIndex, row: TrackRow, track: IncomingTrack, epoch_ms: int) -> Document:
    extent = index.extent(row.id)
    if extent is None:
        return {"fragments": 0, "gaps": 0, "begin": None, "end": None}
    counted = index.one("SELECT count(DISTINCT sequence) FROM fragment WHERE track = ?", row.id)
    assert counted is not None
    return {
        "fragments": counted[0],
        "gaps": extent.last_sequence - extent.first_sequence + 1 - counted[0],
        "begin": _date(epoch_ms + _media_ms(track, extent.begin)),
        "end": _date(epoch_ms + _media_ms(track, extent.end)),
    }


def _measured(index: PointIndex, row: TrackRow, track: IncomingTrack) -> int:
    """Bit/s of the last fragments, 0 without any."""
    rows = index.all(
        "SELECT duration, samples FROM fragment WHERE track = ? ORDER BY time DESC LIMIT ?",
        *(row.id, _RECENT),
    )
    span = sum(duration for duration, _ in rows)
    size = sum(int(unpack_samples(samples).size.sum(dtype="i8")) for _, samples in rows)
    return 8 * size * track.timescale // span if span else 0


def _continuous(index: PointIndex, track: int, timescale: int) -> list[tuple[int, int]]:
    """Begin and end, ticks, of each stretch of ``track`` without a hole."""
    rows = index.all(
        "SELECT min(time), max(reached) FROM ("
        " SELECT time, reached, sum(begins) OVER (ORDER BY time) AS stretch FROM ("
        "  SELECT time, time + duration AS reached, time > coalesce(max(time + duration) OVER ("
        "   ORDER BY time ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), time) + ? AS begins"
        "  FROM fragment WHERE track = ?)) GROUP BY stretch ORDER BY 1",
        *(rescale(_JOINED_MS, 1000, timescale), track),
    )
    return [(row[0], row[1]) for row in rows]


def _media_ms(track: IncomingTrack, ticks: int) -> int:
    return rescale(ticks - track.edit_media_time, track.timescale, 1000)


def _date(ms: Fraction | int, precision: str = "milliseconds") -> str:
    """Unix ms as ISO 8601, in UTC."""
    within = min(max(ms, _FIRST_MS), _LAST_MS)
    date = _EPOCH + timedelta(microseconds=int(1000 * within))
    return date.replace(tzinfo=None).isoformat(timespec=precision) + "Z"
