"""Indexes of media files, kept in memory as long as the files stay what they are."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote

from sidecar.errors import MediaError, NotFound, UnsupportedMedia
from sidecar.media.index import index_media
from sidecar.media.track import MediaFile
from sidecar.storage.local import open_local
from sidecar.storage.source import SourceIdentity


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a file cannot be indexed: kept like an index, or a damaged file would be parsed anew
    by every request for it."""

    source: SourceIdentity
    error: MediaError
    references: tuple[SourceIdentity, ...]
    nbytes: int = 4096


def is_current(path: str, identity: SourceIdentity) -> bool:
    """Whether ``path``, symlinks followed, still leads to the file ``identity`` (one stat)."""
    try:
        status = os.stat(path)  # noqa: PTH116 - the hot path: no Path object
    except OSError:
        return False
    return (
        status.st_mtime_ns == identity.mtime_ns
        and status.st_size == identity.size
        and status.st_ino == identity.inode
    )


class IndexCache:
    """Least-recently-used cache of ``MediaFile`` by real path, bounded by the bytes they hold.

    ``on_drop`` hears of every path whose index leaves the cache, so that what was built from it
    can be dropped too. One event loop only.
    """

    def __init__(
        self, budget: int, executor: Executor, on_drop: Callable[[str], None] | None = None
    ) -> None:
        self.budget = budget
        self.nbytes = 0
        self.evictions = 0
        self._executor = executor
        self._on_drop = on_drop
        self._entries: OrderedDict[str, MediaFile | _Refusal] = OrderedDict()
        self._running: dict[str, asyncio.Task[MediaFile | _Refusal]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, path: str) -> MediaFile:
        """The index of the file at the real path ``path``; made in a thread, once for all callers.

        The budget is enforced by ``keep``. Raises what ``open_local`` and ``index_media`` raise.
        """
        entry = self._entries.get(path)
        if entry is not None and not _holds(path, entry):
            self._drop(path)
            entry = None
        if entry is None:
            task = self._running.get(path)
            if task is None:
                task = asyncio.create_task(self._make(path))
                self._running[path] = task
                task.add_done_callback(lambda done: self._finished(path, done))
            # A caller that goes away must not take the index from the others.
            entry = await asyncio.shield(task)
        if isinstance(entry, _Refusal):
            self.keep((entry,))
            raise entry.error.with_traceback(None)
        return entry

    def keep(self, files: Iterable[MediaFile | _Refusal]) -> None:
        """Makes ``files`` the most recently used, then drops others until the budget holds.

        Files of one presentation are kept together: evicting one of them would make the whole
        presentation be built anew, so they stay even when they alone exceed the budget.
        """
        kept = set()
        for entry in files:
            path = entry.source.path
            kept.add(path)
            if self._entries.get(path) is not entry:
                self._insert(path, entry)
            self._entries.move_to_end(path)
        if self.nbytes > self.budget:
            for path in [path for path in self._entries if path not in kept]:
                self._drop(path)
                self.evictions += 1
                if self.nbytes <= self.budget:
                    break

    async def _make(self, path: str) -> MediaFile | _Refusal:
        loop = asyncio.get_running_loop()
        entry = await loop.run_in_executor(self._executor, _index, path)
        self._insert(path, entry)
        return entry

    def _finished(self, path: str, task: asyncio.Task[MediaFile | _Refusal]) -> None:
        del self._running[path]
        if not task.cancelled():
            task.exception()  # seen, even when every caller has gone away

    def _insert(self, path: str, entry: MediaFile | _Refusal) -> None:
        self._drop(path)
        self._entries[path] = entry
        self.nbytes += entry.nbytes

    def _drop(self, path: str) -> None:
        entry = self._entries.pop(path, None)
        if entry is None:
            return
        self.nbytes -= entry.nbytes
        if self._on_drop is not None:
            self._on_drop(path)


def _holds(path: str, entry: MediaFile | _Refusal) -> bool:
    """Whether the file and those that it refers to are what they were."""
    return is_current(path, entry.source) and all(
        is_current(reference.path, reference) for reference in entry.references
    )


def _index(path: str) -> MediaFile | _Refusal:
    found: list[SourceIdentity] = []

    def data_file(location: str) -> SourceIdentity:
        found.append(_data_file(path, location))
        return found[-1]

    source = open_local(path)
    try:
        return index_media(source, data_file)
    except MediaError as error:
        error.path = error.path or path
        return _Refusal(source.identity, error, tuple(found))
    finally:
        source.close()


def _data_file(path: str, location: str) -> SourceIdentity:
    """The file that the media file ``path`` calls ``location``, relative to its folder.

    Whether a location may be read is for the caller to say: here the file is only identified.
    Raises ``UnsupportedMedia`` for other servers, ``NotFound``, ``StorageError``.
    """
    scheme, _, rest = location.rpartition("://")
    if scheme not in ("", "file"):
        raise UnsupportedMedia("its data is on another server")
    # A URL by the specification, a plain name from many muxers.
    names = dict.fromkeys((rest, unquote(rest)))
    for name in names:
        try:
            source = open_local(os.path.join(os.path.dirname(path), name))  # noqa: PTH118, PTH120
        except NotFound:
            continue
        source.close()
        return source.identity
    raise NotFound(f"the file {PurePosixPath(rest).name} with the media does not exist")
