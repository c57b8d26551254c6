"""Who delivers to a publishing point, and how well: connections of encoders, streams that ended.

All functions take the point's index; those that write are to be called in a transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sidecar.live.index import PointIndex, Verdict

# Of a stream: an encoder that makes a connection for each segment may call each another name.
_MAX_CONNECTIONS = 64
# Stands for all connections that are not remembered any more; none has this number.
_FORGOTTEN = 0


class ConnectionState(StrEnum):
    """How a connection is, or how it went."""

    OPEN = "open"
    ENDED = "ended"  # with an end of stream
    CLOSED = "closed"  # as HTTP has it, but without one
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """A connection that delivered something. ``identifier``: what tells it from others of its
    stream; ``owner``: the process that served it (``live.owner``)."""

    id: int
    stream: str
    identifier: str
    owner: int
    opened_ms: int
    state: ConnectionState


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a connection brought of a track, or all that are not remembered any more: fragments by
    verdict, bytes of those added, end of the last (ticks) and when it came (Unix ms)."""

    connection: int
    track: int
    added: int
    duplicate: int
    late: int
    bytes: int
    time: int
    received_ms: int


def open_connection(
    index: PointIndex, stream: str, identifier: str, owner: int, now_ms: int
) -> int:
    """The number of the connection, the same for one that comes again under its name."""
    index.run(
        "INSERT INTO connection (stream, identifier, owner, opened_ms, state) "
        "VALUES (?, ?, ?, ?, 'open') ON CONFLICT (stream, identifier) DO UPDATE "
        "SET owner = ?3, state = 'open'",
        *(stream, identifier, owner, now_ms),
    )
    row = index.one(
        "SELECT id FROM connection WHERE stream = ? AND identifier = ?", stream, identifier
    )
    assert row is not None
    old = index.all(
        "SELECT id FROM connection WHERE stream = ? AND state != 'open' AND id != ? "
        "ORDER BY id DESC LIMIT -1 OFFSET ?",
        *(stream, row[0], _MAX_CONNECTIONS),
    )
    for (number,) in old:
        # What they brought still counts.
        index.run(
            "INSERT INTO delivery SELECT ?, track, added, duplicate, late, bytes, time, "
            "received_ms FROM delivery WHERE connection = ? "
            "ON CONFLICT (connection, track) DO UPDATE SET added = added + excluded.added, "
            "duplicate = duplicate + excluded.duplicate, late = late + excluded.late, "
            "bytes = bytes + excluded.bytes, time = excluded.time, "
            "received_ms = excluded.received_ms",
            *(_FORGOTTEN, number),
        )
        index.run("DELETE FROM delivery WHERE connection = ?", number)
        index.run("DELETE FROM connection WHERE id = ?", number)
    return int(row[0])


def set_connection_state(index: PointIndex, connection: int, state: ConnectionState) -> None:
    """The connection has come to ``state``; one that ended stays so."""
    index.run(
        "UPDATE connection SET state = ? WHERE id = ? AND state != 'ended'", state.value, connection
    )


def disown(index: PointIndex, is_alive: Callable[[int], bool]) -> int:
    """Marks the connections of processes that died; returns how many."""
    owners = index.all("SELECT DISTINCT owner FROM connection WHERE state = 'open'")
    return sum(
        index.run_many(
            "UPDATE connection SET state = 'broken' WHERE state = 'open' AND owner = ?", owner
        )
        for (owner,) in owners
        if not is_alive(owner)
    )


def connections(index: PointIndex) -> tuple[ConnectionRow, ...]:
    """All connections, in the order in which they were first made."""
    rows = index.all(
        "SELECT id, stream, identifier, owner, opened_ms, state FROM connection ORDER BY id"
    )
    return tuple(ConnectionRow(*(*row[:5], ConnectionState(row[5]))) for row in rows)


def deliveries(index: PointIndex) -> tuple[Delivery, ...]:
    """All deliveries, by connection and track."""
    rows = index.all(
        "SELECT connection, track, added, duplicate, late, bytes, time, received_ms "
        "FROM delivery ORDER BY connection, track"
    )
    return tuple(Delivery(*row) for row in rows)


def count_delivery(
    index: PointIndex,
    connection: int,
    track: int,
    verdict: Verdict,
    *,
    size: int,
    time: int,
    now_ms: int,
) -> None:
    """Counts one more fragment. ``size``: bytes of its samples; ``time``: its end, ticks."""
    added = verdict is Verdict.ADDED
    index.run(
        "INSERT INTO delivery VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (connection, track) DO UPDATE SET added = added + ?3, "
        "duplicate = duplicate + ?4, late = late + ?5, bytes = bytes + ?6, time = ?7, "
        "received_ms = ?8",
        *(connection, track, int(added), int(verdict is Verdict.DUPLICATE)),
        *(int(verdict is Verdict.LATE), size if added else 0, time, now_ms),
    )


# Streams


def know_stream(index: PointIndex, stream: str) -> None:
    """``stream`` goes on, or begins."""
    index.run("INSERT INTO stream VALUES (?, 0) ON CONFLICT (name) DO UPDATE SET ended = 0", stream)


def end_stream(index: PointIndex, stream: str) -> None:
    """Nothing more will come of ``stream``."""
    index.run("UPDATE stream SET ended = 1 WHERE name = ?", stream)


def end_streams(index: PointIndex) -> None:
    """Nothing more will come of any."""
    index.run("UPDATE stream SET ended = 1")


def streams(index: PointIndex) -> dict[str, bool]:
    """Stream -> whether it has ended."""
    return {row[0]: bool(row[1]) for row in index.all("SELECT name, ended FROM stream")}


def ends_of_streams(index: PointIndex) -> dict[str, int]:
    """Stream -> end of its newest media, ms of media time."""
    return dict(
        index.all("SELECT stream, max(end_ms) FROM file WHERE end_ms IS NOT NULL GROUP BY stream")
    )
