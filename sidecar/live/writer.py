"""What the connections of a process share of a publishing point that they write to."""

from __future__ import annotations

import threading
from enum import StrEnum

from sidecar.errors import StorageError
from sidecar.live import ledger, retention
from sidecar.live.archive import Archive
from sidecar.live.chores import Chores
from sidecar.live.index import PointIndex
from sidecar.live.ledger import ConnectionRow, ConnectionState
from sidecar.live.owner import Owner
from sidecar.live.settings import PointSettings

# A clock that is put back by more, ms, had been wrong before.
_SET_BACK_MS = 60_000
# Commits of a fragment each, some 30 kB of WAL.
_CHECKPOINT_EACH = 200


class PointState(StrEnum):
    """Where a publishing point is between its first header and its last fragment."""

    IDLE = "idle"
    STARTING = "starting"
    STARTED = "started"
    STOPPING = "stopping"
    STOPPED = "stopped"


class PointWriter:
    """The index, the archive and the rest of an open point. ``lock`` is held by whoever uses it.

    Methods raise ``StorageError`` when the index fails.
    """

    def __init__(self, index: PointIndex, settings: PointSettings, owner: Owner) -> None:
        self.lock = threading.RLock()
        self.index = index
        self.settings = settings
        self.owner = owner
        self.chores = Chores()
        self.archive = Archive(index, self.chores, settings.sync)
        self._stamp_ns = 0
        self._departed: list[tuple[int, ConnectionState]] = []
        self._commits = 0
        index.leave_checkpoints()

    @property
    def state(self) -> PointState:
        return PointState(self.index.setting("state") or PointState.IDLE)

    @property
    def stops(self) -> int:
        """How often an operator has stopped it."""
        return int(self.index.setting("stops") or 0)

    def set_state(self, state: PointState, now_ns: int) -> None:
        """In a transaction."""
        self.index.set("state", state.value)
        self.index.set("updated_ms", str(now_ns // 1_000_000))

    def touch(self, now_ns: int) -> None:
        """Tells readers of a commit, also when the clock was put back."""
        if not self._stamp_ns:
            try:
                self._stamp_ns = self.index.stamp.stat().st_mtime_ns
            except OSError as error:
                path = str(self.index.stamp)
                raise StorageError(f"cannot look at it: {error.strerror}", path=path) from error
        self._stamp_ns = max(now_ns, self._stamp_ns + 1)
        self.index.touch(self._stamp_ns)

    def committed(self, now_ns: int) -> None:
        """Another fragment was committed."""
        self._commits += 1
        if self._commits % _CHECKPOINT_EACH == 0:
            self.chores.add(self.index.checkpoint)
        self.touch(now_ns)

    def received_ms(self, now_ns: int) -> int:
        """Now, Unix ms, but not before what came last."""
        now_ms = now_ns // 1_000_000
        row = self.index.one("SELECT received_ms FROM fragment ORDER BY id DESC LIMIT 1")
        last = int(row[0]) if row is not None else now_ms
        return last if now_ms < last <= now_ms + _SET_BACK_MS else now_ms

    def is_open(self, one: ConnectionRow) -> bool:
        """Whether an encoder holds the connection, to this or another process."""
        departed = (number for number, _ in self._departed)
        return (
            one.state is ConnectionState.OPEN
            and one.id not in departed
            and self.owner.is_alive(one.owner)
        )

    def depart(self, connection: int, state: ConnectionState) -> None:
        """The connection is over. Never fails: what cannot be noted now is noted later."""
        self._departed.append((connection, state))
        try:
            self.note_departures()
        except StorageError:
            return

    def returned(self, connection: int) -> None:
        """The connection is open again: that it was over need not be noted any more."""
        self._departed = [one for one in self._departed if one[0] != connection]

    def note_departures(self) -> None:
        if self._departed:
            with self.index.transaction():
                for number, state in self._departed:
                    ledger.set_connection_state(self.index, number, state)
            self._departed.clear()

    def retain(self, now_ns: int) -> None:
        """Removes some of what is older than what is kept."""
        kept = self.settings.kept
        newest = None if kept is None else retention.confirmed_ms(self.index)
        if kept is None or newest is None:
            return
        horizon = newest - int(1000 * kept)
        if not retention.is_due(self.index, horizon):
            return
        self.archive.finish_before(horizon)
        with self.index.transaction():
            removed = retention.expire(self.index, horizon, now_ns // 1_000_000)
        if removed:
            self.touch(now_ns)

    def name_tracks(self) -> None:
        """Measures the bitrate of tracks that are known by one fragment only. In a transaction."""
        for track in self.index.tracks():
            extent = self.index.extent(track.id)
            if not track.bitrate and extent is not None:
                described = self.index.setting(f"track {track.id}") or ""
                timescale = int(described.rpartition(" ")[2])
                bitrate = self.index.measured(track.id, extent.first_sequence, timescale)
                self.index.set_bitrate(track.id, bitrate)
