"""What is known of a publishing point: its state, what each track has, who delivers it how well.

Read from its index alone, so that any process can tell.
"""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.live import ledger
from sidecar.live.index import PointIndex
from sidecar.live.index_tracks import TrackRow
from sidecar.live.ledger import ConnectionState
from sidecar.live.writer import PointState
from sidecar.units import rescale

# What a bitrate is measured over, seconds up to the newest.
_MEASURED = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFacts:
    """``updated_ms``: when the state changed last, Unix time, None = never."""

    state: PointState
    updated_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Media without a gap, ticks of its track. ``begin_ms``, ``end_ms``: the same, Unix time."""

    begin: int
    end: int
    begin_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackFacts:
    """A track that has come, with what there is of it.

    ``kind``: video, audio or text; ``bitrate``: bit/s in URLs, 0 = not known yet; ``measured``:
    bit/s of the last minute; ``fragments``: in the index; ``duplicate``, ``late``: of all that
    were not taken; ``received_ms``: when the newest came, Unix time; ``drift_ms``: by how much
    later than it should have, going by the time of the first one (UTC streams: by its own).
    """

    stream: str
    track_ID: int  # noqa: N815 - the specification's spelling
    kind: str
    timescale: int
    bitrate: int
    measured: int
    fragments: int
    bytes: int
    duplicate: int
    late: int
    spans: tuple[Span, ...]
    received_ms: int | None
    drift_ms: int | None

    @property
    def gaps(self) -> int:
        """How often something is missing."""
        return max(0, len(self.spans) - 1)

    @property
    def missing(self) -> int:
        """How much is, ticks."""
        pairs = zip(self.spans, self.spans[1:], strict=False)
        return sum(after.begin - before.end for before, after in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFacts:
    """What a connection brought of the track ``track_ID``: fragments by what became of them, bytes
    of those that were taken, end of the newest (ticks) and when it came (Unix time)."""

    track_ID: int  # noqa: N815
    added: int
    duplicate: int
    late: int
    bytes: int
    time: int
    received_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFacts:
    """An encoder's connection, also one of the past. ``encoder``: its address and port."""

    stream: str
    encoder: str
    state: ConnectionState
    opened_ms: int
    deliveries: tuple[DeliveryFacts, ...]


def state_of(index: PointIndex) -> StateFacts:
    """The state of the point."""
    updated = index.setting("updated_ms")
    return StateFacts(
        state=PointState(index.setting("state") or PointState.IDLE),
        updated_ms=None if updated is None else int(updated),
    )


def tracks_of(index: PointIndex) -> tuple[TrackFacts, ...]:
    """All tracks, in the order in which they came."""
    epoch_ms = int(index.setting("epoch_ms") or 0)
    deliveries = ledger.deliveries(index)
    found = []
    for row in index.tracks():
        kind, _, timescale = (index.setting(f"track {row.id}") or " 1").rpartition(" ")
        of_track = [one for one in deliveries if one.track == row.id]
        found.append(
            _track(index, row, kind.strip(), int(timescale), epoch_ms, of_track),
        )
    return tuple(found)


def connections_of(index: PointIndex) -> tuple[ConnectionFacts, ...]:
    """All connections that are remembered, oldest first."""
    track_ids = {row.id: row.track_ID for row in index.tracks()}
    deliveries = ledger.deliveries(index)
    return tuple(
        ConnectionFacts(
            stream=one.stream,
            encoder=one.identifier,
            state=one.state,
            opened_ms=one.opened_ms,
            deliveries=tuple(
                DeliveryFacts(
                    track_ID=track_ids[given.track],
                    added=given.added,
                    duplicate=given.duplicate,
                    late=given.late,
                    bytes=given.bytes,
                    time=given.time,
                    received_ms=given.received_ms,
                )
                for given in deliveries
                if given.connection == one.id and given.track in track_ids
            ),
        )
        for one in ledger.connections(index)
    )


def _track(
    index: PointIndex,
    row: TrackRow,
    kind: str,
    timescale: int,
    epoch_ms: int,
    deliveries: list[ledger.Delivery],
) -> TrackFacts:
    spans = _spans(index, row.id, timescale, epoch_ms)
    last = index.one(
        "SELECT received_ms FROM fragment WHERE track = ? ORDER BY time DESC LIMIT 1", row.id
    )
    count = index.one("SELECT count(*) FROM fragment WHERE track = ?", row.id)
    received = int(last[0]) if last is not None else None
    return TrackFacts(
        stream=row.stream,
        track_ID=row.track_ID,
        kind=kind,
        timescale=timescale,
        bitrate=row.bitrate,
        measured=_measured(index, row.id, timescale, spans),
        fragments=int(count[0]) if count is not None else 0,
        bytes=sum(one.bytes for one in deliveries),
        duplicate=sum(one.duplicate for one in deliveries),
        late=sum(one.late for one in deliveries),
        spans=spans,
        received_ms=received,
        drift_ms=received - spans[-1].end_ms if received is not None and spans else None,
    )


def _spans(index: PointIndex, track: int, timescale: int, epoch_ms: int) -> tuple[Span, ...]:
    """Only the bounds of gaps leave the database, however much there is. A thousandth of a second
    is no gap: clocks of encoders differ by a tick or two."""
    rows = index.all(
        "SELECT before, time FROM ("
        "SELECT time, lag(time + duration) OVER (ORDER BY time) AS before "
        "FROM fragment WHERE track = ?) WHERE before IS NULL OR time > before + ? ORDER BY time",
        *(track, max(2, timescale // 1000)),
    )
    if not rows:
        return ()
    extent = index.extent(track)
    assert extent is not None
    begins = [int(time) for _, time in rows]
    ends = [*(int(before) for before, _ in rows[1:]), extent.end]
    return tuple(
        Span(
            begin=begin,
            end=end,
            begin_ms=epoch_ms + rescale(begin, timescale, 1000),
            end_ms=epoch_ms + rescale(end, timescale, 1000),
        )
        for begin, end in zip(begins, ends, strict=True)
    )


def _measured(index: PointIndex, track: int, timescale: int, spans: tuple[Span, ...]) -> int:
    if not spans:
        return 0
    end = spans[-1].end
    rows = index.fragments(track, end - _MEASURED * timescale, end)
    ticks = sum(row.duration for row in rows)
    octets = sum(int(row.samples.size.sum(dtype="i8")) for row in rows)
    return 8 * octets * timescale // ticks if ticks else 0
