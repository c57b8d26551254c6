"""The writer's side of a publishing point, as one process has it open.

Other processes may have the same one open. Media times decide what is new; clocks only say when
something came.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sidecar.errors import Conflict, StorageError
from sidecar.live import ledger, retention
from sidecar.live.archive import archive_files
from sidecar.live.connection import Connection
from sidecar.live.index import PointIndex
from sidecar.live.ledger import ConnectionState
from sidecar.live.owner import Owner
from sidecar.live.recovery import Report, check_sizes, recover
from sidecar.live.settings import PointSettings, point_settings
from sidecar.live.writer import PointState, PointWriter
from sidecar.media.options import Options

# Files that are being finished or deleted, when others wait for a disk that is slow.
_CHORES = 16


class Point:
    """An open publishing point; one for all connections of a process. Its methods, and those of its
    connections, may be called by several threads.

    Methods raise ``StorageError`` when the index or an archive file cannot be written; what they
    were to do was not done then, and may be tried again. ``recovered``: what was put right when
    it was opened.
    """

    def __init__(self, writer: PointWriter, recovered: Report) -> None:
        self._writer = writer
        self._connections: set[Connection] = set()
        self.recovered = recovered

    @classmethod
    def open(cls, path: Path, options: Options, now_ns: int) -> Point:
        """The point whose server manifest is at ``path`` and has ``options``. Its index is made
        when there is none; what a process that died has left behind is put right."""
        settings = point_settings(options)
        index = PointIndex.open(
            path.with_suffix(".db3"), create=True, synchronous=settings.sync.synchronous
        )
        try:
            with index.transaction():
                number = int(index.setting("owners") or 0) + 1
                index.set("owners", str(number))
            owner = Owner(index.stamp, number)
        except BaseException:
            index.close()
            raise
        try:
            with index.transaction():
                ledger.disown(index, owner.is_alive)
            recovered = _strays(index, path) + recover(index, settings.sync) + check_sizes(index)
            writer = PointWriter(index, settings, owner)
            # Who died may have committed something and not said so.
            writer.touch(now_ns)
        except BaseException:
            owner.release()
            index.close()
            raise
        return cls(writer, recovered)

    def close(self, now_ns: int) -> None:
        """Finishes archive files, waits for them, and lets go of the index. State and content stay
        as they are. Never fails: what cannot be finished now is when it is opened again."""
        writer = self._writer
        with writer.lock:
            for connection in list(self._connections):
                connection.end(ConnectionState.BROKEN, now_ns)
            with suppress(StorageError):
                writer.archive.finish()
                writer.chores.settle(wait=True)
            writer.archive.close()
            writer.chores.close()
            writer.owner.release()
            writer.index.close()

    def configure(self, options: Options) -> None:
        """Takes other options from now on; ``archive_sync`` when it is opened again."""
        with self._writer.lock:
            self._writer.settings = point_settings(options)

    @property
    def settings(self) -> PointSettings:
        return self._writer.settings

    @property
    def state(self) -> PointState:
        with self._writer.lock:
            return self._writer.state

    @property
    def connected(self) -> int:
        """Connections to this process that have not ended."""
        return len(self._connections)

    @property
    def is_fed(self) -> bool:
        """Whether an encoder is connected, to this or another process."""
        with self._writer.lock:
            return bool(self._connections) or self._writer.owner.others_are_fed()

    def header(self, stream: str) -> bytes | None:
        """``Header.data`` of the newest header of ``stream``, for encoders that send it once and
        their fragments in connections of their own; None when there is none."""
        with self._writer.lock:
            row = self._writer.index.one(
                "SELECT data FROM header WHERE stream = ? ORDER BY id DESC LIMIT 1", stream
            )
            return None if row is None else bytes(row[0])

    def connect(self, stream: str, identifier: str) -> Connection:
        """A connection of an encoder that is about to send ``stream``. ``identifier``: what tells
        it from others that send the same, the same when it comes again."""
        with self._writer.lock:
            connection = Connection(self._writer, stream, identifier, self._forget)
            self._connections.add(connection)
            self._writer.owner.tell_fed(True)
            return connection

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._writer.owner.tell_fed(False)

    # What operators do

    def stop(self, now_ns: int) -> None:
        """Nothing more will come: the presentation has ended. Connections get ``Conflict`` for what
        they send after that, also where others may go on."""
        writer, index = self._writer, self._writer.index
        with writer.lock:
            with index.transaction():
                ledger.end_streams(index)
                writer.name_tracks()
                index.set("stops", str(writer.stops + 1))
                writer.set_state(PointState.STOPPED, now_ns)
            writer.touch(now_ns)
            writer.archive.finish()

    def start(self, now_ns: int) -> None:
        """Lets encoders go on after a stop."""
        writer, index = self._writer, self._writer.index
        with writer.lock:
            with index.transaction():
                if writer.state is not PointState.STOPPED:
                    return
                for stream in ledger.streams(index):
                    ledger.know_stream(index, stream)
                used = retention.newest_ms(index) is not None
                index.set("begins anew", "1" if used else "")
                writer.set_state(PointState.STARTED if used else PointState.IDLE, now_ns)
            writer.touch(now_ns)

    def purge(self, now_ns: int, before_ms: int) -> int:
        """Removes archive files whose media ends at ``before_ms`` (media time) or before; returns
        how many."""
        writer, index = self._writer, self._writer.index
        with writer.lock:
            writer.archive.finish_before(before_ms)
            writer.chores.settle(wait=True)
            with index.transaction():
                count = retention.expire(index, before_ms, now_ns // 1_000_000, most=1 << 31)
            writer.touch(now_ns)
            return count

    def purge_all(self, now_ns: int) -> int:
        """Removes all media, and what is known of tracks and their times, as if the point were new;
        returns how many archive files. Raises ``Conflict`` when an encoder is connected."""
        writer, index = self._writer, self._writer.index
        with writer.lock:
            if self.is_fed:
                raise Conflict("an encoder is connected")
            writer.archive.finish()
            writer.chores.settle(wait=True)
            with index.transaction():
                count = retention.expire_all(index, now_ns // 1_000_000)
                writer.set_state(PointState.IDLE, now_ns)
            writer.touch(now_ns)
            return count

    def maintain(self, now_ns: int) -> Report:
        """What is to be done from time to time, some seconds apart, a little of it each time: files
        of writers that died are finished, what is older than what is kept is removed, files that
        no row refers to are deleted. Returns what was put right."""
        writer, index = self._writer, self._writer.index
        with writer.lock:
            writer.chores.settle()
            writer.note_departures()
            with index.transaction():
                ledger.disown(index, writer.owner.is_alive)
            report = recover(index, writer.settings.sync, most=1)
            if report.dropped:
                writer.touch(now_ns)
            writer.retain(now_ns)
            paths = retention.due(index, now_ns // 1_000_000)
            # Those that are being deleted may be among them: that does no harm, but a pile would.
            if paths and len(writer.chores) < _CHORES:
                writer.chores.add(lambda: retention.delete(paths), self._deleted(paths))
            return report

    def settle(self) -> None:
        """Waits for files that are being synced or deleted."""
        with self._writer.lock:
            self._writer.chores.settle(wait=True)

    def _deleted(self, paths: list[Path]) -> Callable[[], None]:
        def note() -> None:
            with self._writer.index.transaction():
                retention.forget(self._writer.index, paths)

        return note


def _strays(index: PointIndex, manifest: Path) -> Report:
    """Archive files of an index that was lost, if ``index`` is a new one."""
    strays = archive_files(manifest) if index.next_file == 1 else []
    if not strays:
        return Report()
    line = f"the index is empty: it knows none of {len(strays)} archive files, {strays[0].name} .."
    return Report(0, (line,))
