"""One request: names to content, a row to a plan, errors to refusals."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import structlog

from sidecar.clock import monotonic_ns, now_ns
from sidecar.errors import (
    Forbidden,
    FragmentNotAvailable,
    MediaError,
    NoLicense,
    NotFound,
    OriginError,
    Replaced,
    Result,
    StorageError,
    StorageTimeout,
)
from sidecar.formats.directives import seconds
from sidecar.formats.registry import find
from sidecar.formats.spec import Answer, Request, RequestKind
from sidecar.formats.urls import split_event
from sidecar.license.terms import VOD, License
from sidecar.rpc import origin_pb2, origin_pb2_grpc
from sidecar.service.convert import refusal, write_plan
from sidecar.service.edges import Edges, set_at
from sidecar.service.licensing import DIRECTIVE, Licensing, lasting_ms
from sidecar.service.live import (
    PublishingPoint,
    PublishingPoints,
    Question,
    Sealed,
    answer_live,
)
from sidecar.service.maker import Made, Maker
from sidecar.service.packaged import is_packaged
from sidecar.service.point_files import is_live
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
# Rows that read media run in one thread, which bounds what stands in memory; those whose answers
# follow each other, in another one, so that they need not wait for a whole film. More threads would
# take the interpreter from each other, dozens of times for each segment.
_MAKING = 1
# Those that mostly wait for another server.
_MAKING_REMOTE = 8
# nginx waits ten seconds for a plan, and takes a process that is later for one that hangs.
_REMOTE_SECONDS = 9.0
_BLOCKING_EDGE = "origin_blocking_edge"

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


@dataclass(frozen=True, slots=True)
class _Sealed:
    """The plans of an answer, the first and those of the virtual paths ``ahead``."""

    plans: tuple[Sealed, ...]
    ahead: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Looked:
    """What came of a look at ``point``: plans, or what is to be made from media (``asked``), or
    that it was too ``early``. ``seen_ns``: when the point had changed last before that."""

    point: PublishingPoint
    seen_ns: int
    sealed: _Sealed | None = None
    asked: Request | None = None
    early: FragmentNotAvailable | None = None


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
        spool = Spool(None, 0) if spool is None else spool
        # A server that is slow holds up nothing that is made of local files.
        self._maker, self._follower, self._remote_maker = (
            Maker(spool, ThreadPoolExecutor(threads, thread_name_prefix=name))
            for name, threads in (
                ("make", _MAKING),
                ("follow", _MAKING),
                ("make-remote", _MAKING_REMOTE),
            )
        )
        self._read = MediaReader()
        self._points = PublishingPoints(self._read)
        self.edges = Edges()

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
            virtual_path = _split(request)[1]
            found = find(virtual_path)
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
        folder, virtual_path = _split(request)
        question = Question(
            kind=kind,
            match=match,
            virtual_path=virtual_path,
            args=request.args,
            directives=directives,
            read_ahead=min(request.read_ahead, MAX_READ_AHEAD),
            folder=folder,
        )
        limit = seconds(directives, _BLOCKING_EDGE)
        until_ns = monotonic_ns() + int(limit * 1e9)
        while True:
            # One thread does all that can be done at once: handing over costs more than most of it.
            looked = await asyncio.to_thread(self._look, request, question, bool(limit))
            try:
                sealed = await self._sealed(looked, question)
                break
            except FragmentNotAvailable as error:
                left_ms = (until_ns - monotonic_ns()) // 1_000_000
                due_ms = error.due_ms
                if due_ms is None or due_ms - now_ns() // 1_000_000 > left_ms:
                    raise
                if not await self.edges.changed(looked.point.stamp, looked.seen_ns, until_ns):
                    raise
        messages = [reply.plan]
        messages += (reply.ahead.add(virtual_path=folder + path).plan for path in sealed.ahead)
        for message, one in zip(messages, sealed.plans, strict=True):
            write_plan(message, one.plan, one.sources, kind.format, kind=kind.name)

    def _look(self, request: origin_pb2.PlanRequest, question: Question, may_wait: bool) -> _Looked:
        """In a thread: the answer of a publishing point, unless media is to be read for it."""
        point = self._points.get(request.document_root, request.path)
        seen_ns = set_at(point.stamp) if may_wait else 0
        asked = None
        try:
            reads = question.kind.reads_media
            if not isinstance(reads, bool):
                asked = point.request(question)
                reads = reads(asked)
            if reads:
                return _Looked(point, seen_ns, asked=asked or point.request(question))
            sealed = _seal(point, *answer_live(point, question))
            return _Looked(point, seen_ns, sealed=sealed)
        except FragmentNotAvailable as error:
            return _Looked(point, seen_ns, early=error)

    async def _sealed(self, looked: _Looked, question: Question) -> _Sealed:
        """The plans of what was looked for. Raises ``FragmentNotAvailable`` when it was early."""
        if looked.early is not None:
            raise looked.early
        if looked.sealed is not None:
            return looked.sealed
        point, asked, kind = looked.point, looked.asked, question.kind
        assert asked is not None

        def make(virtual_path: str, more: int) -> Answer:
            match = kind.pattern.fullmatch(virtual_path)
            if match is None:
                raise NotFound("no segment has this name")
            ahead = more if kind.follows else question.read_ahead
            one = replace(question, virtual_path=virtual_path, match=match, read_ahead=ahead)
            return answer_live(point, one)[1]

        asked_with = f"{question.folder}?{question.args}"
        key = (question.virtual_path, asked_with, tuple(sorted(question.directives.items())))
        # Segments stay what they are, other answers go on with what is received.
        made = point.made if kind.follows else Made()
        maker = self._follower if kind.follows else self._maker
        answer = await maker.answer(made, key, make, question.read_ahead)
        return await asyncio.to_thread(_seal, point, asked, answer)

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
        if remote is not None:
            maker = self._remote_maker
        else:
            maker = self._follower if kind.follows else self._maker
        return await maker.answer(loaded.made, question, make, asked.read_ahead)


def _seal(point: PublishingPoint, asked: Request, answer: Answer) -> _Sealed:
    plans = [answer.plan, *(plan for _, plan in answer.ahead)]
    return _Sealed(
        plans=tuple(point.seal(asked, plan) for plan in plans),
        ahead=tuple(path for path, _ in answer.ahead),
    )


def _split(request: origin_pb2.PlanRequest) -> tuple[str, str]:
    """The folder of the event, where the virtual path lies in one, and what it is below that."""
    if is_live(request.path):
        return split_event(request.virtual_path)
    return "", request.virtual_path


def _names(
    request: origin_pb2.PlanRequest, directives: dict[str, tuple[str, ...]]
) -> tuple[str, str]:
    """The format and the kind of ``request`` as far as its names say."""
    if is_packaged(request.path, directives):
        return "hds", "hds.packaged"
    found = find(_split(request)[1])
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
