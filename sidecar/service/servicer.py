"""One request: names to content, a row to a plan, errors to refusals."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import structlog

from sidecar.errors import (
    Forbidden,
    MediaError,
    NoLicense,
    NotFound,
    OriginError,
    Replaced,
    Result,
    StorageError,
    StorageTimeout,
)
from sidecar.formats.registry import find
from sidecar.formats.spec import Answer, Request, RequestKind
from sidecar.license.terms import VOD, License
from sidecar.rpc import origin_pb2, origin_pb2_grpc
from sidecar.service.convert import refusal, write_plan
from sidecar.service.licensing import DIRECTIVE, Licensing, lasting_ms
from sidecar.service.live import PublishingPoints, Question, answer_live, is_live
from sidecar.service.maker import Made, Maker
from sidecar.service.packaged import is_packaged
from sidecar.service.presentations import LoadedPresentation, PresentationCache
from sidecar.service.reader import MediaReader
from sidecar.service.remote import ALLOW_SRC, ttl_ms
from sidecar.service.spool import Spool
from sidecar.service.static import LOOK_AGAIN_MS, prefers_static, yield_to_static
from sidecar.service.stored import (
    in_thread,
    packaged_reply,
    reader,
    static_reply,
    stored_answer,
    write_stored,
)
from sidecar.storage.remote import RemoteStore
from sidecar.timeline.clips import WHOLE

# More plans than this make a reply that is slower to move than to make anew.
MAX_READ_AHEAD = 64
# Rows that rewrite media run in so many threads, which bounds the segments that stand in memory.
_MAKING = 2
_MAKING_REMOTE = 8
# nginx waits ten seconds for a plan, and takes a process that is later for one that hangs.
_REMOTE_SECONDS = 9.0

_EXPECTED = frozenset(
    {
        Result.FMP4_BAD_REQUEST,
        Result.FMP4_NOT_FOUND,
        Result.FMP4_METHOD_NOT_ALLOWED,
        Result.FMP4_FRAGMENT_NOT_FOUND,
        Result.FMP4_FRAGMENT_MISSING,
        Result.FMP4_FRAGMENT_NOT_AVAILABLE,
    }
)

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class OriginServicer(origin_pb2_grpc.OriginServicer):
    """``origin.v1.Origin``: every outcome that a client may cause is a plan."""

    def __init__(
        self,
        presentations: PresentationCache,
        licensing: Licensing,
        spool: Spool | None = None,
    ) -> None:
        self._presentations = presentations
        self._licensing = licensing
        executor = ThreadPoolExecutor(_MAKING, thread_name_prefix="make")
        spool = Spool(None, 0) if spool is None else spool
        self._maker = Maker(spool, executor)
        # A server that is slow holds up nothing that is made of local files.
        executor = ThreadPoolExecutor(_MAKING_REMOTE, thread_name_prefix="make-remote")
        self._remote_maker = Maker(spool, executor)
        self._read = MediaReader()
        self._points = PublishingPoints(self._read)

    async def Plan(  # noqa: N802 - the name of the rpc
        self, request: origin_pb2.PlanRequest, context: Any
    ) -> origin_pb2.PlanReply:
        """The plan for ``request`` and those read ahead; never raises for what a client asked."""
        directives = {given.name: tuple(given.args) for given in request.directives}
        try:
            license = self._licensing.require(VOD, directives.pop(DIRECTIVE, None))
        except NoLicense as error:  # which is in the log already, or was within a minute
            format_name, kind_name = _names(request, directives)
            return origin_pb2.PlanReply(
                plan=refusal(error.result, error.sentence, format_name, kind=kind_name)
            )
        try:
            store = self._presentations.stores.take(directives)
        except StorageError as error:
            return _refused(request, error, *_names(request, directives))
        if store is None:
            return await self._plan(request, directives, license, None)
        try:
            planned = self._plan(request, directives, license, store)
            return await asyncio.wait_for(planned, _REMOTE_SECONDS)
        except TimeoutError:
            # What was begun goes on, and may be there when it is asked for again.
            late = StorageTimeout("reading the content takes too long", path=store.access.base)
            return _refused(request, late, *_names(request, directives))

    async def _plan(
        self,
        request: origin_pb2.PlanRequest,
        directives: dict[str, tuple[str, ...]],
        license: License,
        store: RemoteStore | None,
    ) -> origin_pb2.PlanReply:
        format_name = kind_name = ""
        try:
            if request.method not in ("GET", "HEAD", ""):
                return origin_pb2.PlanReply(
                    plan=refusal(
                        Result.FMP4_METHOD_NOT_ALLOWED,
                        "only GET and HEAD are answered",
                        headers=[("Allow", "GET, HEAD, OPTIONS")],
                    )
                )
            if is_packaged(request.path, directives):
                format_name, kind_name = "hds", "hds.packaged"
                return await packaged_reply(request, self._read, store, license)
            static = prefers_static(directives)
            if static and store is not None and store.access.base:
                # Whether a file stands there would have to be asked for each of them.
                request.read_ahead = 0
            if static and (stands := await static_reply(request, store, license)) is not None:
                return stands
            found = find(request.virtual_path)
            if found is None:
                raise NotFound("no manifest or segment has this name")
            kind, match = found
            format_name, kind_name = kind.format, kind.name
            reply = origin_pb2.PlanReply()
            stored = None
            if kind.stored is not None:
                stored = await in_thread(
                    store, stored_answer, kind.stored, request, self._read, store
                )
            if stored is not None:
                await write_stored(reply.plan, *stored, store, license, format_name, kind_name)
                return reply
            if is_live(request.path):
                if store is not None and store.access.base:
                    raise NotFound("live presentations are not served from other servers")
                await self._live(kind, match, request, directives, reply)
                for message in (reply.plan, *(one.plan for one in reply.ahead)):
                    message.ttl_ms = lasting_ms(license)
                return reply
            loaded, answer = await self._loaded_answer(kind, match, request, store, directives)
            lasting = lasting_ms(license)
            sources = loaded.sources
            if loaded.remote is not None:
                sources = await loaded.remote.table(recheck=bool(request.recheck))
                remote = (loaded.remote.store, loaded.remote.identities, sources)
                lasting = min(lasting, ttl_ms(*remote, answer.plan.cache_class))
            if static:
                lasting = min(lasting, LOOK_AGAIN_MS)
            written = (sources, format_name)
            write_plan(reply.plan, answer.plan, *written, kind=kind_name, ttl_ms=lasting)
            for virtual_path, plan in answer.ahead:
                ahead = reply.ahead.add(virtual_path=virtual_path)
                write_plan(ahead.plan, plan, *written, kind=kind_name, ttl_ms=lasting)
            if static:
                await in_thread(store, yield_to_static, request, store, reply)
        except OriginError as error:
            return _refused(request, error, format_name, kind_name)
        except Exception:
            log.exception("fault", **_of_request(request), kind=kind_name)
            return origin_pb2.PlanReply(
                plan=refusal(
                    Result.FMP4_INTERNAL_ERROR, "the origin failed", format_name, kind=kind_name
                )
            )
        return reply

    async def _live(
        self,
        kind: RequestKind,
        match: re.Match[str],
        request: origin_pb2.PlanRequest,
        directives: dict[str, tuple[str, ...]],
        reply: origin_pb2.PlanReply,
    ) -> None:
        """Fills ``reply`` with the answer of a publishing point, and what is planned ahead."""
        point = await asyncio.to_thread(self._points.get, request.document_root, request.path)
        question = Question(
            kind=kind,
            match=match,
            virtual_path=request.virtual_path,
            args=request.args,
            directives=directives,
            read_ahead=min(request.read_ahead, MAX_READ_AHEAD),
        )
        asked = await asyncio.to_thread(point.request, question)
        reads = kind.reads_media
        if reads if isinstance(reads, bool) else reads(asked):

            def make(virtual_path: str, more: int) -> Answer:
                match = kind.pattern.fullmatch(virtual_path)
                if match is None:
                    raise NotFound("no segment has this name")
                ahead = more if kind.follows else question.read_ahead
                one = replace(question, virtual_path=virtual_path, match=match, read_ahead=ahead)
                return answer_live(point, one)[1]

            key = (request.virtual_path, request.args, tuple(sorted(directives.items())))
            # Segments stay what they are, other answers go on with what is received.
            made = point.made if kind.follows else Made()
            answer = await self._maker.answer(made, key, make, question.read_ahead)
        else:
            asked, answer = await asyncio.to_thread(answer_live, point, question)
        plans = [(reply.plan, answer.plan)]
        for virtual_path, plan in answer.ahead:
            plans.append((reply.ahead.add(virtual_path=virtual_path).plan, plan))
        for message, plan in plans:
            sealed = await asyncio.to_thread(point.seal, asked, plan)
            write_plan(message, sealed.plan, sealed.sources, kind.format, kind=kind.name)

    async def _loaded_answer(
        self,
        kind: RequestKind,
        match: re.Match[str],
        request: origin_pb2.PlanRequest,
        store: RemoteStore | None,
        directives: dict[str, tuple[str, ...]],
    ) -> tuple[LoadedPresentation, Answer]:
        """The presentation and the answer made of it."""
        where = (request.document_root, request.path, directives.get(ALLOW_SRC, ()), store)
        loaded = await self._presentations.get(*where, recheck=bool(request.recheck))
        try:
            return loaded, await self._answer(kind, match, request, loaded, directives)
        except Replaced:
            if store is None:
                raise
        # A file was replaced while it was read; now it is known to be another one.
        loaded = await self._presentations.get(*where)
        return loaded, await self._answer(kind, match, request, loaded, directives)

    async def _answer(
        self,
        kind: RequestKind,
        match: re.Match[str],
        request: origin_pb2.PlanRequest,
        loaded: LoadedPresentation,
        directives: dict[str, tuple[str, ...]],
    ) -> Answer:
        remote = loaded.remote
        selected, clip = loaded.presentation, WHOLE
        if kind.lists:
            selected, clip = loaded.selection(request.args)
        asked = Request(
            presentation=loaded.presentation,
            selected=selected,
            clip=clip,
            timeline=loaded.timeline,
            options=loaded.options(request.args),
            virtual_path=request.virtual_path,
            match=match,
            read=self._read if remote is None else reader(self._read, remote.store),
            read_ahead=min(request.read_ahead, MAX_READ_AHEAD),
            directives=directives,
        )
        reads = kind.reads_media
        if not (reads if isinstance(reads, bool) else reads(asked)):
            return kind.answer(asked)

        def make(virtual_path: str, more: int) -> Answer:
            match = kind.pattern.fullmatch(virtual_path)
            if match is None:
                raise NotFound("no segment has this name")
            read_ahead = more if kind.follows else asked.read_ahead
            return kind.answer(
                replace(asked, virtual_path=virtual_path, match=match, read_ahead=read_ahead)
            )

        question = (request.virtual_path, request.args, tuple(sorted(asked.directives.items())))
        maker = self._maker if remote is None else self._remote_maker
        return await maker.answer(loaded.made, question, make, asked.read_ahead)


def _names(
    request: origin_pb2.PlanRequest, directives: dict[str, tuple[str, ...]]
) -> tuple[str, str]:
    """The format and the kind of ``request`` as far as its names say."""
    if is_packaged(request.path, directives):
        return "hds", "hds.packaged"
    found = find(request.virtual_path)
    return (found[0].format, found[0].name) if found else ("", "")


def _of_request(request: origin_pb2.PlanRequest) -> dict[str, object]:
    return {
        "request_id": request.request_id,
        "method": request.method,
        "path": request.path,
        "virtual_path": request.virtual_path,
        "args": request.args,
    }


def _refused(
    request: origin_pb2.PlanRequest, error: OriginError, format_name: str, kind_name: str
) -> origin_pb2.PlanReply:
    _log_failure(request, error, kind_name)
    return origin_pb2.PlanReply(
        plan=refusal(error.result, error.sentence, format_name, kind=kind_name)
    )


def _log_failure(request: origin_pb2.PlanRequest, error: OriginError, kind_name: str) -> None:
    fields = _of_request(request) | {"kind": kind_name}
    fields |= {"result": error.result.name, "reason": error.sentence}
    if isinstance(error, MediaError):
        fields |= {"file": error.path, "box": error.box_path, "offset": error.offset}
    elif isinstance(error, StorageError | NotFound | Forbidden):
        fields |= {"file": error.path}
    said = {name: value for name, value in fields.items() if value not in ("", None)}
    if error.result in _EXPECTED:
        log.info("refused", **said)
    else:
        log.warning("failed", **said)
