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
from sidecar.storage.remote import RemoteStore
from sidecar.storage.source import Source, SourceIdentity


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


# Real path or canonical URL; and what the location reads on other servers, None = nothing. A local
# file may refer to media there, so that its index depends on that, too.
Key = tuple[str, RemoteStore | None]


class IndexCache:
    """Least-recently-used cache of ``MediaFile`` by ``Key``, bounded by the bytes they hold.

    ``on_drop`` hears of every key whose index leaves the cache, so that what was built from it
    can be dropped too. One event loop only.
    """

    def __init__(
        self, budget: int, executor: Executor, on_drop: Callable[[Key], None] | None = None
    ) -> None:
        self.budget = budget
        self.nbytes = 0
        self.evictions = 0
        self._executor = executor
        self._on_drop = on_drop
        self._entries: OrderedDict[Key, MediaFile | _Refusal] = OrderedDict()
        self._running: dict[Key, asyncio.Task[MediaFile | _Refusal]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, path: str, store: RemoteStore | None = None) -> MediaFile:
        """The index of the file at the real path, or URL in ``store``, ``path``; made in a thread,
        once for all callers.

        The budget is enforced by ``keep``. Raises what ``open_local``, ``store`` and
        ``index_media`` raise.
        """
        key = (path, store)
        entry = self._entries.get(key)
        if entry is not None and not (
            _holds(path, entry) if store is None else await still_held(store, _sources(entry))
        ):
            self._drop(key)
            entry = None
        if entry is None:
            task = self._running.get(key)
            if task is None:
                task = asyncio.create_task(self._make(key))
                self._running[key] = task
                task.add_done_callback(lambda done: self._finished(key, done))
            # A caller that goes away must not take the index from the others.
            entry = await asyncio.shield(task)
        if isinstance(entry, _Refusal):
            self.keep((entry,), store)
            raise entry.error.with_traceback(None)
        return entry

    def keep(self, files: Iterable[MediaFile | _Refusal], store: RemoteStore | None = None) -> None:
        """Makes ``files`` the most recently used, then drops others until the budget holds.

        Files of one presentation are kept together: evicting one of them would make the whole
        presentation be built anew, so they stay even when they alone exceed the budget.
        """
        kept = set()
        for entry in files:
            key = (entry.source.path, store)
            kept.add(key)
            if self._entries.get(key) is not entry:
                self._insert(key, entry)
            self._entries.move_to_end(key)
        if self.nbytes > self.budget:
            for key in [key for key in self._entries if key not in kept]:
                self._drop(key)
                self.evictions += 1
                if self.nbytes <= self.budget:
                    break

    async def _make(self, key: Key) -> MediaFile | _Refusal:
        loop = asyncio.get_running_loop()
        # A server that is slow takes no thread from local files.
        executor = self._executor if key[1] is None else key[1].executor
        entry = await loop.run_in_executor(executor, _index, *key)
        self._insert(key, entry)
        return entry

    def _finished(self, key: Key, task: asyncio.Task[MediaFile | _Refusal]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # seen, even when every caller has gone away

    def _insert(self, key: Key, entry: MediaFile | _Refusal) -> None:
        self._drop(key)
        self._entries[key] = entry
        self.nbytes += entry.nbytes

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self.nbytes -= entry.nbytes
        if self._on_drop is not None:
            self._on_drop(key)


async def still_held(store: RemoteStore, identities: Iterable[SourceIdentity]) -> bool:
    """Whether local files, and those in ``store``, are what they were; asks servers where it is
    time for that. Raises what they raise."""
    remote = []
    for identity in identities:
        if identity.is_remote:
            remote.append(identity)
        elif not is_current(identity.path, identity):
            return False
    if store.are_fresh(remote):
        return True
    loop = asyncio.get_running_loop()
    asked = (loop.run_in_executor(store.executor, store.holds, identity) for identity in remote)
    return all(await asyncio.gather(*asked))


def _holds(path: str, entry: MediaFile | _Refusal) -> bool:
    """Whether the file and those that it refers to are what they were."""
    return is_current(path, entry.source) and all(
        is_current(reference.path, reference) for reference in entry.references
    )


def _sources(entry: MediaFile | _Refusal) -> tuple[SourceIdentity, ...]:
    """The file and those that it refers to."""
    return (entry.source, *entry.references)


def _index(path: str, store: RemoteStore | None) -> MediaFile | _Refusal:
    found: list[SourceIdentity] = []

    def data_file(location: str) -> SourceIdentity:
        found.append(_data_file(source.identity, location, store))
        return found[-1]

    source: Source
    if store is not None and not path.startswith("/"):
        source = store.open(path)
    else:
        source = open_local(path)
    try:
        return index_media(source, data_file)
    except MediaError as error:
        error.path = error.path or path
        return _Refusal(source.identity, error, tuple(found))
    finally:
        source.close()


def _data_file(source: SourceIdentity, location: str, store: RemoteStore | None) -> SourceIdentity:
    """The file that the media file ``source`` calls ``location``, relative to its folder.

    Whether a folder may be read is for the caller to say: here the file is only identified.
    Raises ``Forbidden`` for URLs that may not be read, ``UnsupportedMedia`` for all where none may,
    ``NotFound``, ``StorageError``.
    """
    path = source.path
    scheme, _, rest = location.rpartition("://")
    is_url = source.is_remote or scheme.lower() in ("http", "https")
    if store is not None and is_url:
        document = path if source.is_remote else ""
        return store.identity(store.access.url_of_source(document, location))
    if is_url or scheme not in ("", "file"):
        raise UnsupportedMedia("its data is on another server")
    # A URL by the specification, a plain name from many muxers.
    names = dict.fromkeys((rest, unquote(rest)))
    for name in names:
        try:
            file = open_local(os.path.join(os.path.dirname(path), name))  # noqa: PTH118, PTH120
        except NotFound:
            continue
        file.close()
        return file.identity
    raise NotFound(f"the file {PurePosixPath(rest).name} with the media does not exist")
