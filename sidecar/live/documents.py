"""State, statistics and archive of a publishing point as documents, XML and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import quoteattr

from sidecar.live.statistics import ConnectionFacts, Span, StateFacts, TrackFacts
from sidecar.media.server_manifest import NAMESPACE, ServerManifest

XML, JSON = "application/xml", "application/json"

_REPLACED = "\ufffd"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# From the year 1 to the end of 9998: beyond, encoders may count, but dates do not.
_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_370_764_799_999
# Names of streams may have them.
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# As server manifests call them.
_ELEMENTS = {"video": "video", "audio": "audio", "text": "textstream"}

Json = str | int | None | list["Json"] | dict[str, "Json"]


def settings_json(manifest: ServerManifest) -> bytes:
    """The settings of ``manifest``, and its tracks."""
    return _json(
        {
            "settings": dict(manifest.options),
            "tracks": [
                {
                    "name": one.track_name,
                    "type": one.kind.value,
                    "bitrate": one.bitrate,
                    "language": one.language,
                    "src": one.src,
                    "id": one.track_id,
                }
                for one in manifest.entries
            ],
        }
    )


def state_json(facts: StateFacts) -> bytes:
    """The state alone."""
    return _json(_state(facts))


def state_xml(facts: StateFacts) -> bytes:
    """The same as a SMIL head."""
    return _smil(facts, ())


def statistics_json(
    facts: StateFacts, tracks: Iterable[TrackFacts], connections: Iterable[ConnectionFacts]
) -> bytes:
    """State, tracks and connections."""
    return _json(
        {
            **_state(facts),
            "tracks": [_track(one) for one in tracks],
            "connections": [
                {**_connection(one), "tracks": [*_deliveries(one)]} for one in connections
            ],
        }
    )


def statistics_xml(
    facts: StateFacts, tracks: Iterable[TrackFacts], connections: Iterable[ConnectionFacts]
) -> bytes:
    """The same: elements ``track`` and ``connection``, values as attributes."""
    lines = [line for one in tracks for line in _element("    ", "track", _track(one))]
    for one in connections:
        inner = [
            line for delivery in _deliveries(one) for line in _element("      ", "track", delivery)
        ]
        lines += _element("    ", "connection", _connection(one), inner)
    return _smil(facts, lines)


def archive_json(facts: StateFacts, tracks: Iterable[TrackFacts]) -> bytes:
    """Of each track the ranges of media without gaps."""
    return _json(
        {
            **_state(facts),
            "tracks": [
                {
                    **_name(one),
                    "ranges": [{"start": start, "end": end} for start, end in _ranges(one.spans)],
                }
                for one in tracks
            ],
        }
    )


def archive_xml(facts: StateFacts, tracks: Iterable[TrackFacts]) -> bytes:
    """The same as ``c`` elements below one for each track, named as in server manifests."""
    lines: list[str] = []
    for one in tracks:
        inner = [
            line
            for start, end in _ranges(one.spans)
            for line in _element("      ", "c", {"start": start, "end": end})
        ]
        attributes: dict[str, Json] = {
            "src": one.stream,
            "systemBitrate": one.bitrate or one.measured,
            "trackID": one.track_ID,
        }
        lines += _element("    ", _ELEMENTS.get(one.kind, one.kind), attributes, inner)
    return _smil(facts, lines)


def _state(facts: StateFacts) -> dict[str, Json]:
    return {"state": facts.state.value, "updated": _moment(facts.updated_ms)}


def _name(one: TrackFacts) -> dict[str, Json]:
    return {"stream": one.stream, "track_id": one.track_ID, "kind": one.kind}


def _track(one: TrackFacts) -> dict[str, Json]:
    spans = one.spans
    return {
        **_name(one),
        "bitrate": one.bitrate,
        "measured_bitrate": one.measured,
        "timescale": one.timescale,
        "begin": spans[0].begin if spans else None,
        "end": spans[-1].end if spans else None,
        "begin_time": _moment(spans[0].begin_ms) if spans else None,
        "end_time": _moment(spans[-1].end_ms) if spans else None,
        "fragments": one.fragments,
        "bytes": one.bytes,
        "gaps": one.gaps,
        "missing_ticks": one.missing,
        "duplicates": one.duplicate,
        "late": one.late,
        "received": _moment(one.received_ms),
        "drift_ms": one.drift_ms,
    }


def _connection(one: ConnectionFacts) -> dict[str, Json]:
    return {
        "stream": one.stream,
        "encoder": one.encoder,
        "state": one.state.value,
        "opened": _moment(one.opened_ms),
    }


def _deliveries(one: ConnectionFacts) -> Iterator[dict[str, Json]]:
    for given in one.deliveries:
        yield {
            "track_id": given.track_ID,
            "fragments": given.added,
            "duplicates": given.duplicate,
            "late": given.late,
            "bytes": given.bytes,
            "end": given.time,
            "received": _moment(given.received_ms),
        }


def _ranges(spans: Iterable[Span]) -> Iterator[tuple[str, str]]:
    for span in spans:
        yield _written(span.begin_ms), _written(span.end_ms)


def _moment(unix_ms: int | None) -> str | None:
    return None if unix_ms is None else _written(unix_ms)


def _written(unix_ms: int) -> str:
    """``2026-11-23T13:00:00.000000Z``"""
    within = min(max(unix_ms, _FIRST_MS), _LAST_MS)
    text = (_EPOCH + timedelta(milliseconds=within)).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")


def _json(value: Mapping[str, Json]) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"


def _smil(facts: StateFacts, body: Iterable[str]) -> bytes:
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        "<!-- Created with OpenOrigin -->",
        "<smil",
        f'  xmlns="{NAMESPACE}">',
        "  <head>",
    ]
    for name, content in sorted(_state(facts).items(), reverse=True):
        if content is not None:
            lines += _element("    ", "meta", {"name": name, "content": content}, beside=True)
    lines.append("  </head>")
    body = list(body)
    if body:
        lines += ["  <body>", *body, "  </body>"]
    return "\n".join([*lines, "</smil>", ""]).encode()


def _element(
    indent: str,
    name: str,
    attributes: Mapping[str, Json],
    inner: Iterable[str] = (),
    *,
    beside: bool = False,
) -> Iterator[str]:
    """Its lines; attributes without a value are left out. ``beside``: all on one line."""
    given = [
        f"{key}={quoteattr(_NOT_XML.sub(_REPLACED, str(value)))}"
        for key, value in attributes.items()
        if value is not None
    ]
    inner = list(inner)
    between = " " if beside else f"\n{indent}  "
    opening = f"{indent}<{name}{between}{between.join(given)}>"
    if not inner:
        yield f"{opening}</{name}>"
        return
    yield opening
    yield from inner
    yield f"{indent}</{name}>"
