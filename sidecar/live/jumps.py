"""Whether a fragment that lies ahead of all that there is can be right about its time.

Of two encoders one may have a wrong clock, or be set up wrongly: what it sends would make all that
comes of the other one too late. After an outage times have gone on as the clock has, however long
it took; and an encoder that pushes faster than real time leaves nothing out.
"""

from __future__ import annotations

from sidecar.live.index import PointIndex
from sidecar.live.model import IncomingTrack
from sidecar.media.track import Kind

# Times later than this, seconds, count from 1970.
UTC_FROM = 365 * 86_400
# By which times since 1970 may be ahead of the clock of the origin, ms.
_AHEAD_MS = 300_000
# A fragment that lasts longer, ms, is taken for one that begins so long before its end.
_LONGEST_MS = 60_000
# Who has delivered something within this time, ms, delivers.
_DELIVERS_MS = 30_000


def objection(
    index: PointIndex,
    track: int,
    described: IncomingTrack,
    span_ms: tuple[int, int],
    *,
    connection: int,
    slack_ms: int,
    now_ms: int,
) -> str:
    """Why what is presented in ``span_ms`` (media time) of ``track``, which is counted as
    ``described``, cannot come over ``connection`` at ``now_ms`` (Unix time); empty when it can.

    ``slack_ms``: how far behind the newest of the track others may still be.
    """
    begin_ms, end_ms = span_ms
    if described.kind is not Kind.TEXT:
        begin_ms = max(begin_ms, end_ms - _LONGEST_MS)
    newest = _newest(index, track, described)
    if newest is not None:
        reached_ms, received_ms = newest
        if begin_ms - reached_ms - max(0, now_ms - received_ms) <= slack_ms:
            return ""
    ahead_ms = begin_ms - now_ms
    if ahead_ms > _AHEAD_MS and _counts_from_1970(index, begin_ms):
        return f"Times since 1970 are {ahead_ms // 1000} s ahead of the clock of the origin"
    others = index.one(
        "SELECT 1 FROM delivery JOIN connection ON connection.id = delivery.connection "
        "WHERE track = ? AND connection.id != ? AND state = 'open' "
        "AND received_ms BETWEEN ? AND ? LIMIT 1",
        *(track, connection, now_ms - _DELIVERS_MS, now_ms + _DELIVERS_MS),
    )
    if newest is not None and others is not None:
        return f"Times are {(begin_ms - newest[0]) // 1000} s ahead of another encoder's"
    return ""


def _newest(index: PointIndex, track: int, described: IncomingTrack) -> tuple[int, int] | None:
    """End of the newest, ms of media time, and when it came, Unix ms: of the track; where it has
    none, or is silent now and then, of all."""
    last = None
    if described.kind is not Kind.TEXT:
        last = index.one(
            "SELECT time + duration, received_ms FROM fragment WHERE track = ? "
            "ORDER BY time DESC LIMIT 1",
            track,
        )
    if last is not None:
        return described.media_ms(last[0]), int(last[1])
    last = index.one(
        "SELECT (SELECT max(end_ms) FROM file), received_ms FROM fragment ORDER BY id DESC LIMIT 1"
    )
    return None if last is None or last[0] is None else (int(last[0]), int(last[1]))


def _counts_from_1970(index: PointIndex, begin_ms: int) -> bool:
    epoch = index.setting("epoch_ms")
    return begin_ms > UTC_FROM * 1000 if epoch is None else epoch == "0"
