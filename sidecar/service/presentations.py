"""Presentations as requests name them, built once and kept as long as their files are unchanged."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

import structlog

from sidecar.errors import InvalidMedia, MediaError, Replaced
from sidecar.media.build import presentation_from_manifest, presentation_from_media
from sidecar.media.options import Options, parse_options
from sidecar.media.presentation import Presentation
from sidecar.media.select import select
from sidecar.media.server_manifest import ServerManifest, read_server_manifest
from sidecar.media.track import MediaFile
from sidecar.service.content import (
    Content,
    RemoteContent,
    check_references,
    remote_content,
    resolve,
    resolve_source,
)
from sidecar.service.convert import SourceTable
from sidecar.service.index_cache import IndexCache, is_current, still_held
from sidecar.service.index_cache import Key as IndexKey
from sidecar.service.maker import Made
from sidecar.service.remote import RemoteStores, RemoteTable
from sidecar.storage.local import open_local
from sidecar.storage.remote import RemoteStore
from sidecar.storage.source import SourceIdentity
from sidecar.timeline.clips import Clip, clip_of
from sidecar.timeline.segmenter import Timeline

# A server manifest of 10 000 tracks fits; anything larger is not one.
MAX_MANIFEST_BYTES = 8 << 20
# Presentations hold little beside their indexes, which have a budget of their own.
MAX_PRESENTATIONS = 512
_MAX_QUERIES = 64

# Document root, path below it, folders that its sources may lie in, and what it may be made of on
# other servers.
_Key = tuple[str, str, tuple[str, ...], RemoteStore | None]

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


@dataclass(slots=True, eq=False, kw_only=True)
class LoadedPresentation:
    """A presentation with what every request to it shares.

    ``lookups``: each local file as it was named (symlinks unresolved) and what was found there.
    ``remote``: what it is made of on other servers, None = nothing.
    ``made``: what has been rewritten of it.
    """

    presentation: Presentation
    timeline: Timeline
    sources: SourceTable
    files: tuple[MediaFile, ...]
    lookups: tuple[tuple[str, SourceIdentity], ...]
    remote: RemoteTable | None = None
    made: Made = field(default_factory=Made)
    _options: dict[str, Options] = field(default_factory=dict)
    _selections: dict[str, tuple[Presentation, Clip]] = field(default_factory=dict)

    def options(self, query: str) -> Options:
        """Playout options of ``query`` over those of the manifest; raises ``BadRequest``."""
        options = self._options.get(query)
        if options is None:
            options = parse_options(self.presentation.options, query)
            if len(self._options) >= _MAX_QUERIES:
                self._options.clear()
            self._options[query] = options
        return options

    def selection(self, query: str) -> tuple[Presentation, Clip]:
        """The tracks and the part of the presentation that ``query`` selects.

        Raises ``BadRequest``, or ``NotFound`` when it selects nothing.
        """
        found = self._selections.get(query)
        if found is None:
            options = self.options(query)
            selected = select(self.presentation, options)
            found = (selected, clip_of(selected, options))
            if len(self._selections) >= _MAX_QUERIES:
                self._selections.clear()
            self._selections[query] = found
        return found

    @property
    def is_current(self) -> bool:
        return all(is_current(path, identity) for path, identity in self.lookups)


class PresentationCache:
    """Presentations by document root, path and allowed folders. One event loop only."""

    def __init__(self, index_budget: int, executor: Executor) -> None:
        self.index = IndexCache(index_budget, executor, on_drop=self._index_dropped)
        self._executor = executor
        self.stores = RemoteStores()
        self._entries: OrderedDict[_Key, LoadedPresentation] = OrderedDict()
        self._users: dict[IndexKey, set[_Key]] = {}
        self._running: dict[_Key, asyncio.Task[LoadedPresentation]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    async def get(
        self,
        document_root: str,
        path: str,
        allowed: tuple[str, ...] = (),
        store: RemoteStore | None = None,
        *,
        recheck: bool = False,
    ) -> LoadedPresentation:
        """The presentation that ``path`` names below ``document_root``, or in ``store`` where that
        stands for it; what it names may lie in the folders ``allowed`` as well, and in ``store``.
        ``recheck``: what is on other servers is looked at again now.

        Raises ``BadRequest``, ``Forbidden``, ``NotFound``, ``StorageError`` or a ``MediaError``.
        """
        key = (document_root, path, allowed, store)
        loaded = self._entries.get(key)
        if loaded is not None:
            remote = loaded.remote
            if recheck and remote is not None:
                remote.store.expire(remote.identities)
            is_current = loaded.is_current
            if is_current and remote is not None:
                is_current = await still_held(remote.store, remote.identities)
                # Meanwhile others may have dropped it, and loaded it anew.
                is_current = is_current and self._entries.get(key) is loaded
            if is_current:
                self._entries.move_to_end(key)
                self.index.keep(loaded.files, store)
                return loaded
            if self._entries.get(key) is loaded:
                self._forget(key)
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._load(key))
            self._running[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        return await asyncio.shield(task)

    async def _load(self, key: _Key) -> LoadedPresentation:
        try:
            loaded = await self._made(key)
        except Replaced:
            # Something was replaced while it was read; now it is known to be another one.
            loaded = await self._made(key)
        self._remember(key, loaded)
        for warning in loaded.presentation.warnings:
            log.warning("left out", path=key[1], reason=warning)
        return loaded

    async def _made(self, key: _Key) -> LoadedPresentation:
        document_root, path, allowed, store = key
        if store is not None and store.access.base:
            return await self._from_server(remote_content(store.access, path), store)
        content = resolve(document_root, path, allowed=allowed)
        if content.is_manifest:
            return await self._from_manifest(content, store)
        return await self._from_media(content, store)

    async def _from_media(self, content: Content, store: RemoteStore | None) -> LoadedPresentation:
        media = await self.index.get(content.path, store)
        check_references(content, media.references)
        return _loaded(
            presentation_from_media(content.name, media),
            (media,),
            ((content.asked, media.source), *_references((media,))),
            store,
        )

    async def _from_server(self, content: RemoteContent, store: RemoteStore) -> LoadedPresentation:
        if not content.is_manifest:
            media = await self.index.get(content.url, store)
            return _loaded(presentation_from_media(content.name, media), (media,), (), store)
        loop = asyncio.get_running_loop()
        manifest, identity = await loop.run_in_executor(
            store.executor, _read_remote_manifest, store, content.url
        )
        sources = dict.fromkeys(entry.src for entry in manifest.entries)
        urls = {src: store.access.url_of_source(content.url, src) for src in sources}
        files = await self._indexed(urls, store)
        try:
            presentation = presentation_from_manifest(content.name, manifest, identity, files)
        except MediaError as error:
            error.path = error.path or content.url
            raise
        unique = {media.source.path: media for media in files.values()}
        return _loaded(presentation, tuple(unique.values()), (), store, (identity,))

    async def _indexed(
        self, paths: Mapping[str, str], store: RemoteStore | None
    ) -> dict[str, MediaFile]:
        """The index of each file by what it is called."""
        unique = list(dict.fromkeys(paths.values()))
        indexed = await asyncio.gather(*(self.index.get(path, store) for path in unique))
        by_path = dict(zip(unique, indexed, strict=True))
        return {src: by_path[path] for src, path in paths.items()}

    async def _from_manifest(
        self, content: Content, store: RemoteStore | None
    ) -> LoadedPresentation:
        loop = asyncio.get_running_loop()
        manifest, identity = await loop.run_in_executor(
            self._executor, _read_manifest, content.path
        )
        paths = {
            src: store.access.url_of_source("", src)
            if store is not None and "://" in src
            else resolve_source(content, src)
            for src in dict.fromkeys(entry.src for entry in manifest.entries)
        }
        files = await self._indexed(paths, store)
        indexed = tuple({media.source.path: media for media in files.values()}.values())
        for media in indexed:
            check_references(content, media.references)
        try:
            presentation = presentation_from_manifest(content.name, manifest, identity, files)
        except MediaError as error:
            error.path = error.path or content.path
            raise
        folder = content.path.rpartition("/")[0]
        lookups = [(content.asked, identity)]
        lookups += [
            (src if src.startswith("/") else f"{folder}/{src}", media.source)
            for src, media in files.items()
            if not media.source.is_remote
        ]
        lookups += _references(indexed)
        return _loaded(presentation, indexed, tuple(lookups), store)

    def _remember(self, key: _Key, loaded: LoadedPresentation) -> None:
        self.index.keep(loaded.files, key[3])
        self._entries[key] = loaded
        for media in loaded.files:
            self._users.setdefault((media.source.path, key[3]), set()).add(key)
        while len(self._entries) > MAX_PRESENTATIONS:
            self._forget(next(iter(self._entries)))

    def _forget(self, key: _Key) -> None:
        loaded = self._entries.pop(key, None)
        for media in loaded.files if loaded is not None else ():
            index_key = (media.source.path, key[3])
            users = self._users.get(index_key, set())
            users.discard(key)
            if not users:
                self._users.pop(index_key, None)

    def _index_dropped(self, index_key: IndexKey) -> None:
        for key in tuple(self._users.get(index_key, ())):
            self._forget(key)

    def _finished(self, key: _Key, task: asyncio.Task[LoadedPresentation]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # seen, even when every caller has gone away


def _references(files: Iterable[MediaFile]) -> list[tuple[str, SourceIdentity]]:
    """Lookups of the local files that ``files`` refer to."""
    return [(one.path, one) for media in files for one in media.references if not one.is_remote]


def _loaded(
    presentation: Presentation,
    files: tuple[MediaFile, ...],
    lookups: tuple[tuple[str, SourceIdentity], ...],
    store: RemoteStore | None,
    documents: tuple[SourceIdentity, ...] = (),
) -> LoadedPresentation:
    """``documents``: what has been read in ``store`` beside ``files``."""
    modified = presentation.last_modified_ns // 1_000_000_000
    remote = None
    if store is not None:
        read = [one for media in files for one in (media.source, *media.references)]
        found = tuple(dict.fromkeys(one for one in (*documents, *read) if one.is_remote))
        remote = RemoteTable(store, found, presentation.sources, modified) if found else None
    return LoadedPresentation(
        presentation=presentation,
        timeline=Timeline(presentation),
        sources=SourceTable(presentation.sources if remote is None else (), modified),
        files=files,
        lookups=lookups,
        remote=remote,
    )


def _read_remote_manifest(store: RemoteStore, url: str) -> tuple[ServerManifest, SourceIdentity]:
    data, identity = store.document(url, MAX_MANIFEST_BYTES)
    return read_server_manifest(data, path=url), identity


def _read_manifest(path: str) -> tuple[ServerManifest, SourceIdentity]:
    source = open_local(path)
    try:
        identity = source.identity
        if identity.size > MAX_MANIFEST_BYTES:
            raise InvalidMedia(f"a server manifest of {identity.size} bytes is not read", path=path)
        return read_server_manifest(source.read(0, identity.size), path=path), identity
    finally:
        source.close()
