"""The publishing points that this process writes to: opened, kept in order, closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from sidecar.clock import monotonic_ns, now_ns
from sidecar.errors import NotFound, OriginError, StorageError
from sidecar.live.point import Point
from sidecar.media.options import Options, parse_options
from sidecar.media.server_manifest import ServerManifest, write_server_manifest
from sidecar.service.point_files import identify_point, read_point_manifest
from sidecar.storage.source import SourceIdentity
from sidecar.storage.whole import create_whole

# So many points can wait for their disks at once; one that does keeps no other from writing.
_THREADS = 16
# Seconds between two looks at what is to be done beside ingest.
_ROUND = 2.0
# How long a point stays open without connections: encoders come back, and those that make one for
# each segment do so all the time. Longer than a removed file waits to be deleted.
_IDLE_NS = 120 * 10**9

_T = TypeVar("_T")

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class OpenPoint:
    """A point that is open, or being opened. ``users``: who needs it to stay so."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.users = 0
        self.left_ns = monotonic_ns()
        # One thread at a time: what the others of the same point would do is to wait.
        self.gate = asyncio.Lock()
        self.point: Point | None = None
        self.closed = False
        self.identity: SourceIdentity | None = None
        # Of its index: somebody may remove all files of a point, and begin anew.
        self.inode: int | None = None
        self.options: Options | None = None
        # Why it could not be kept in order the last time, as the log has it.
        self.failing = ""


class Points:
    """All of them. One event loop only; what touches a disk runs in threads."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="point")
        self._open: dict[Path, OpenPoint] = {}

    def __len__(self) -> int:
        return sum(one.point is not None for one in self._open.values())

    @asynccontextmanager
    async def use(self, path: Path) -> AsyncIterator[OpenPoint]:
        """The point whose server manifest is at ``path``, with its options as they are now; open as
        long as the block runs.

        Raises ``NotFound``, ``InvalidMedia`` or ``BadRequest`` for what is wrong with the server
        manifest, ``StorageError``.
        """
        one = self._open.get(path)
        if one is None:
            one = self._open[path] = OpenPoint(path)
        one.users += 1
        try:
            await self.run(one, lambda _: None)
            yield one
        finally:
            one.users -= 1
            one.left_ns = monotonic_ns()
            if one.point is None and not one.users and self._open.get(path) is one:
                del self._open[path]

    async def run(self, one: OpenPoint, work: Callable[[Point], _T]) -> _T:
        """What ``work`` returns, in a thread, of the point as its server manifest is now.

        Raises ``NotFound`` when it was deleted, and what ``work`` raises.
        """
        async with one.gate:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, partial(_refreshed, one, work))

    async def close_point(self, path: Path) -> None:
        """Closes the point at ``path`` if it is open; its connections end."""
        one = self._open.pop(path, None)
        if one is not None:
            await self._close(one)

    async def maintain(self) -> None:
        """Does from time to time what is to be done beside ingest, until it is cancelled."""
        while True:
            await asyncio.sleep(_ROUND)
            for path, one in list(self._open.items()):
                idle = not one.users and monotonic_ns() - one.left_ns > _IDLE_NS
                try:
                    if idle:
                        await self.close_point(path)
                    elif one.point is not None:
                        report = await self.run(one, lambda point: point.maintain(now_ns()))
                        _tell(path, report.lines, report.dropped)
                        if one.failing:
                            one.failing = ""
                            log.info("a publishing point works again", point=str(path))
                except NotFound:
                    await self.close_point(path)
                except OriginError as error:
                    if one.failing != str(error):
                        one.failing = str(error)
                        log.error("a publishing point fails", point=str(path), reason=str(error))

    async def close(self) -> None:
        """Closes all, which nobody may use any more."""
        for path in list(self._open):
            await self.close_point(path)
        self._executor.shutdown()

    async def _close(self, one: OpenPoint) -> None:
        async with one.gate:
            point, one.point, one.closed = one.point, None, True
            if point is None:
                return
            loop = asyncio.get_running_loop()
            try:
                await loop.run_in_executor(self._executor, lambda: point.close(now_ns()))
            except OriginError as error:
                log.error("a publishing point fails", point=str(one.path), reason=str(error))


def deleted_of(path: Path) -> Path:
    """The file that says that the point at ``path`` was deleted: encoders that do not know come
    again, and would make another one with default settings."""
    return path.with_suffix(".deleted")


def note_deleted(path: Path) -> None:
    """Says so. A disk without room for a name keeps nobody from deleting."""
    with suppress(OSError):
        deleted_of(path).touch()


def create_point(path: Path) -> bool:
    """Makes a server manifest with default settings at ``path``; whether there was none.

    Raises ``OSError``; ``NotFound`` for what was deleted, and is made again on purpose only.
    """
    if deleted_of(path).exists():
        raise NotFound("the publishing point was deleted: encoders do not make it again")
    manifest = ServerManifest(metas=(("creator", "OpenOrigin"),))
    return create_whole(path, write_server_manifest(manifest))


def _refreshed(one: OpenPoint, work: Callable[[Point], _T]) -> _T:
    if one.closed:
        raise NotFound("the publishing point was closed")
    identity = identify_point(one.path)
    if identity != one.identity:
        one.options = parse_options(read_point_manifest(one.path).options, "")
        one.identity = identity
        if one.point is not None:
            one.point.configure(one.options)
    if one.point is not None and one.inode != _inode_of_index(one.path):
        gone, one.point = one.point, None
        with suppress(StorageError):
            gone.close(now_ns())
    if one.point is None:
        assert one.options is not None
        one.point = Point.open(one.path, one.options, now_ns())
        one.inode = _inode_of_index(one.path)
        _tell(one.path, one.point.recovered.lines, one.point.recovered.dropped)
    return work(one.point)


def _inode_of_index(path: Path) -> int | None:
    try:
        return path.with_suffix(".db3").stat().st_ino
    except OSError:
        return None


def _tell(path: Path, lines: tuple[str, ...], dropped: int) -> None:
    for line in lines:
        say = log.warning if dropped else log.info
        say("recovered", point=str(path), what=line)
