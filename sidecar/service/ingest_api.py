"""Publishing points over HTTP: made, changed, purged, stopped, deleted, and told about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs

import structlog
from aiohttp import web

from sidecar.clock import now_ns
from sidecar.errors import BadRequest, Conflict, InvalidMedia, NotFound, StorageError
from sidecar.license.terms import LIVE
from sidecar.live import documents, retention
from sidecar.live.announced import announced
from sidecar.live.archive import archive_files
from sidecar.live.database import stamp_of
from sidecar.live.index import PointIndex
from sidecar.live.owner import is_fed
from sidecar.live.point import Point
from sidecar.live.recovery import overlook_lost
from sidecar.live.retention import make_room
from sidecar.live.statistics import StateFacts, connections_of, state_of, tracks_of
from sidecar.live.writer import PointState
from sidecar.media.moments import ALLOWED, parse_moment
from sidecar.media.options import option_name, parse_options
from sidecar.media.server_manifest import (
    MAX_BYTES,
    ServerManifest,
    read_server_manifest,
    write_server_manifest,
)
from sidecar.service.content import resolve, resolve_new
from sidecar.service.licensing import DIRECTIVE, Licensing
from sidecar.service.passed import Passed, answer, is_full
from sidecar.service.point_files import EXTENSIONS, read_point_manifest
from sidecar.service.points import Points, deleted_of, note_deleted
from sidecar.storage.whole import write_whole
from sidecar.units import rescale

KIND = "live.api"
DOCUMENTS = frozenset({"state", "statistics", "archive"})

_SMIL = "application/smil+xml"
_EVENT = "event_id"
# Whose bodies say nothing: what they do is in the URL.
_SMALL = 64 << 10
_MOST_ARGS = 20

_T = TypeVar("_T")

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class PointApi:
    """Answers what the API's locations pass on. One event loop only."""

    def __init__(self, points: Points, licensing: Licensing) -> None:
        self._points = points
        self._licensing = licensing
        self._actions = {
            "start": self._start,
            "stop": self._stop,
            "purge": self._purge,
            "event": self._change_event,
        }

    async def document(self, request: web.BaseRequest, asked: Passed) -> web.Response:
        """``state``, ``statistics`` or ``archive``, XML or what Accept wants of it."""
        path = self._existing(asked)
        as_json = _wants_json(request)
        body = await asyncio.to_thread(_document, path, asked.virtual_path, as_json)
        kind = documents.JSON if as_json else documents.XML
        headers = {"Cache-Control": "no-cache", "Vary": "Accept"}
        return answer(
            200,
            body,
            kind=f"live.{asked.virtual_path}",
            content_type=f"{kind}; charset=utf-8",
            headers=headers,
        )

    async def answer(self, request: web.BaseRequest, asked: Passed) -> web.Response:
        """Does what ``asked`` says. Raises ``OriginError`` when it cannot."""
        if asked.virtual_path in DOCUMENTS:
            return await self.document(request, asked)
        action = self._actions.get(asked.virtual_path)
        if action is not None:
            await _read(request, _SMALL)
            path = self._existing(asked)
            note = await action(path, asked)
            log.info("managed", path=asked.path, action=asked.virtual_path, by=asked.sender)
            return answer(200, f"{note}\n".encode(), kind=KIND)
        if asked.method in ("GET", "HEAD"):
            path = self._existing(asked)
            manifest = await asyncio.to_thread(_told, path)
            body, kind = write_server_manifest(manifest), _SMIL
            if _wants_json(request):
                body, kind = documents.settings_json(manifest), documents.JSON
            content_type = f"{kind}; charset=utf-8"
            headers = {"Vary": "Accept"}
            return answer(200, body, kind=KIND, content_type=content_type, headers=headers)
        if asked.method == "DELETE":
            await _read(request, _SMALL)
            return await self._delete(self._existing(asked), asked)
        return await self._put(request, asked)

    def _existing(self, asked: Passed) -> Path:
        return Path(resolve(asked.document_root, asked.path, EXTENSIONS).path)

    async def _put(self, request: web.BaseRequest, asked: Passed) -> web.Response:
        """Creates the point, or changes its settings; without a body nothing is changed."""
        self._licensing.require(LIVE, asked.directives.get(DIRECTIVE))
        body = await _read(request, MAX_BYTES)
        manifest = ServerManifest(metas=(("creator", "OpenOrigin"),))
        if body.strip():
            manifest = read_server_manifest(body, path=asked.path)
            parse_options(manifest.options, "")
        path = Path(
            await asyncio.to_thread(
                resolve_new, asked.document_root, asked.path, EXTENSIONS, make_folder=True
            )
        )
        existed = path.exists()
        if body.strip() or not existed:
            await asyncio.to_thread(_write, path, manifest)
        await asyncio.to_thread(_remove, [deleted_of(path)])
        log.info("managed", path=asked.path, action="change" if existed else "create",
                 by=asked.sender)  # fmt: skip
        text = f"the publishing point is {'changed' if existed else 'created'}\n"
        return answer(200 if existed else 201, text.encode(), kind=KIND)

    async def _delete(self, path: Path, asked: Passed) -> web.Response:
        # Nothing is written to the index: its disk may be full, or it may be damaged.
        forced = "force" in _query(asked)
        if not forced and await asyncio.to_thread(is_fed, stamp_of(path.with_suffix(".db3"))):
            raise Conflict("an encoder is connected: stop it first, or ?force")
        named = await asyncio.to_thread(_media_of, path, forced=forced)
        await asyncio.to_thread(note_deleted, path)
        # Whoever comes from now on, to whatever process, finds no publishing point.
        await asyncio.to_thread(_remove, [path])
        await self._points.close_point(path)
        await asyncio.to_thread(_remove_media, path, named, forced=forced)
        log.info("managed", path=asked.path, action="delete", by=asked.sender)
        return answer(200, b"the publishing point is deleted\n", kind=KIND)

    async def _start(self, path: Path, _: Passed) -> str:
        await self._run(path, lambda point: point.start(now_ns()))
        return "encoders may go on"

    async def _stop(self, path: Path, _: Passed) -> str:
        await self._run(path, lambda point: point.stop(now_ns()))
        return "the publishing point is stopped"

    async def _purge(self, path: Path, asked: Passed) -> str:
        given = _query(asked).get("t")
        if given is None:
            await self._making_room(path, lambda point: point.purge_all(now_ns()), None)
            return "all media are removed"
        try:
            moment = parse_moment(given)
        except ValueError:
            raise BadRequest(f"t must be {ALLOWED}") from None

        def before() -> int | None:
            with suppress(NotFound), closing(PointIndex.open(path.with_suffix(".db3"))) as index:
                zero = int(index.setting("epoch_ms") or 0)
                if moment.dated:
                    return int(1000 * moment.seconds) - zero
                wanted = int(1000 * moment.seconds) + _begin_ms(index)
                newest = retention.newest_ms(index)
                if newest is None or wanted > newest:
                    raise BadRequest("t lies behind the end of the media")
                return wanted
            return None

        # Once: what is removed first to make room moves the begin.
        before_ms = await asyncio.to_thread(before)
        count = 0
        if before_ms is not None:
            horizon = before_ms
            count = await self._making_room(
                path, lambda point: point.purge(now_ns(), horizon), horizon
            )
        return f"archive files that are removed: {count}"

    async def _making_room(
        self, path: Path, purge: Callable[[Point], int], before_ms: int | None
    ) -> int:
        """How many archive files ``purge`` removes. Where the disk is so full that this cannot be
        written down, the oldest of them are deleted first. ``before_ms``: media time up to which
        they may be, None = any."""

        def delete() -> int | None:
            if before_ms is None and is_fed(stamp_of(path.with_suffix(".db3"))):
                raise Conflict("an encoder is connected")
            try:
                with closing(PointIndex.open(path.with_suffix(".db3"))) as index:
                    return make_room(index, before_ms)
            except OSError as error:
                raise StorageError(f"cannot delete: {error.strerror}", path=str(path)) from error

        first = 0
        while True:
            try:
                return first + await self._run(path, purge)
            except StorageError as error:
                if not is_full(error):
                    raise
                deleted = await asyncio.to_thread(delete)
                if deleted is None:
                    raise
                first += deleted

    async def _change_event(self, path: Path, asked: Passed) -> str:
        event = _query(asked).get("id")
        if event is None:
            raise BadRequest("which event: ?id=NAME, or ?id= for none")
        parse_options({_EVENT: event} if event else {}, "")

        def change() -> None:
            manifest = read_point_manifest(path)
            metas = [meta for meta in manifest.metas if option_name(meta[0]) != _EVENT]
            if event:
                metas.append((_EVENT, event))
            _write(path, replace(manifest, metas=tuple(metas)))

        await asyncio.to_thread(change)
        return f"the event is {event}" if event else "there is no event"

    async def _run(self, path: Path, work: Callable[[Point], _T]) -> _T:
        async with self._points.use(path) as one:
            return await self._points.run(one, work)


def _wants_json(request: web.BaseRequest) -> bool:
    accepted = request.headers.get("Accept", "").lower()
    return documents.JSON in accepted and "xml" not in accepted


def _query(asked: Passed) -> dict[str, str]:
    try:
        given = parse_qs(asked.args, keep_blank_values=True, max_num_fields=_MOST_ARGS)
    except ValueError:
        raise BadRequest(f"the query has more than {_MOST_ARGS} arguments") from None
    return {name: values[-1] for name, values in given.items()}


async def _read(request: web.BaseRequest, most: int) -> bytes:
    """The body. Raises ``BadRequest`` when it has more than ``most`` bytes."""
    body = bytearray()
    async for data in request.content.iter_any():
        body += data
        if len(body) > most:
            raise BadRequest(f"the body has more than {most} bytes")
    return bytes(body)


def _told(path: Path) -> ServerManifest:
    """The server manifest, with the tracks that have come. They are not written into the file: it
    is whose settings these are, and each change of it has caches ask for everything anew."""
    manifest = read_point_manifest(path)
    with suppress(NotFound), closing(PointIndex.open(path.with_suffix(".db3"))) as index:
        manifest = replace(manifest, entries=announced(index) or manifest.entries)
    return manifest


def _write(path: Path, manifest: ServerManifest) -> None:
    data = write_server_manifest(manifest)
    if len(data) > MAX_BYTES:
        raise InvalidMedia(f"the server manifest has more than {MAX_BYTES} bytes")
    try:
        write_whole(path, data)
    except OSError as error:
        raise StorageError(f"cannot write: {error.strerror}", path=str(path)) from error


def _document(path: Path, name: str, as_json: bool) -> bytes:
    try:
        index = PointIndex.open(path.with_suffix(".db3"))
    except NotFound:  # nothing has come
        facts = StateFacts(state=PointState.IDLE, updated_ms=None)
        return _written(name, as_json, facts, None)
    with closing(index):
        overlook_lost(index)
        return _written(name, as_json, state_of(index), index)


def _written(name: str, as_json: bool, facts: StateFacts, index: PointIndex | None) -> bytes:
    if name == "state":
        return documents.state_json(facts) if as_json else documents.state_xml(facts)
    tracks = tracks_of(index) if index is not None else ()
    if name == "archive":
        write = documents.archive_json if as_json else documents.archive_xml
        return write(facts, tracks)
    connections = connections_of(index) if index is not None else ()
    tell = documents.statistics_json if as_json else documents.statistics_xml
    return tell(facts, tracks, connections)


def _begin_ms(index: PointIndex) -> int:
    """Where the earliest track begins, ms of media time."""
    begins = []
    for row in index.tracks():
        extent = index.extent(row.id)
        timescale = int((index.setting(f"track {row.id}") or " 1").rpartition(" ")[2])
        if extent is not None:
            begins.append(rescale(extent.begin, timescale, 1000))
    return min(begins, default=0)


def _media_of(path: Path, *, forced: bool) -> set[Path]:
    """The archive files that the index of the point at ``path`` knows; ``forced``: and all others
    that bear its name, whatever the index is like."""
    names: set[str] = set()
    try:
        with closing(PointIndex.open(path.with_suffix(".db3"))) as index:
            names.update(file.name for file in index.files())
            names.update(str(name) for (name,) in index.all("SELECT name FROM doomed"))
    except NotFound:  # nothing has come
        pass
    except StorageError:
        if not forced:
            raise
    found = {path.with_name(name) for name in names}
    return found | set(archive_files(path)) if forced else found


def _remove_media(path: Path, named: set[Path], *, forced: bool) -> None:
    """Deletes the files ``named``, what has been added since, and the index."""
    database = path.with_suffix(".db3")
    with suppress(StorageError):
        named = named | _media_of(path, forced=forced)
    _remove(sorted(named))
    _remove([database.with_name(database.name + end) for end in ("", "-wal", "-shm", "-stamp")])


def _remove(paths: list[Path]) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot delete: {error.strerror}", path=str(path)) from error
