"""What encoders send: bodies of hours, parsed, and taken in by publishing points as they come."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from pathlib import Path

import structlog
from aiohttp import web

from sidecar.clock import monotonic_ns, now_ns
from sidecar.errors import (
    BadRequest,
    Conflict,
    MediaError,
    NotFound,
    OriginError,
    Result,
    StorageError,
)
from sidecar.license.terms import LIVE
from sidecar.live.connection import Connection, Outcome, Taken
from sidecar.live.headers import read_header
from sidecar.live.ledger import ConnectionState
from sidecar.live.model import EndOfStream, Header, Incoming
from sidecar.live.parser import StreamParser
from sidecar.live.point import Point
from sidecar.service.body import Body, Broken, Quiet
from sidecar.service.content import resolve_new
from sidecar.service.ingest_metrics import IngestMetrics
from sidecar.service.licensing import DIRECTIVE, Licensing
from sidecar.service.passed import Passed, answer, refused
from sidecar.service.point_files import EXTENSIONS
from sidecar.service.points import OpenPoint, Points, create_point

KIND = "live.ingest"
STREAM = re.compile(r"(?:Events\((?P<event>[^()/]{1,64})\)/)?Streams\((?P<stream>[^/]{1,128})\)")

# The directive by which encoders may create points.
_CREATES = "origin_create_points"
# A disk that fails is tried again every so many seconds, for so long; the encoder waits meanwhile.
_RETRY, _RETRIES = 0.5, 20
# What a probe may send to the point itself; an encoder whose URL lacks its stream sends more.
_PROBE_BYTES = 4 << 10
# Bytes that are parsed between two looks at the clock, and for how long others wait meanwhile.
_PARSED_AT_ONCE, _TURN_NS = 16 << 10, 5_000_000
# When this process ends: how long a body may be silent before it is given up, and how long it may
# go on, seconds.
_QUIET, _MOST = 0.2, 2.0

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Ingest:
    """Takes streams in. One event loop only."""

    def __init__(self, points: Points, licensing: Licensing, metrics: IngestMetrics) -> None:
        self._points = points
        self._licensing = licensing
        self._metrics = metrics
        self._bodies: set[Body] = set()
        self._stopping = False

    def stop(self) -> None:
        """Has all streams end soon, after what has arrived of them."""
        self._stopping = True
        for body in self._bodies:
            body.hurry(_QUIET, _MOST)

    async def probe(self, request: web.BaseRequest, asked: Passed) -> web.Response:
        """Whether an encoder may send to the point: the first step of its start sequence."""
        async with self._points.use(await self._path(asked)):
            size = 0
            async for data in request.content.iter_any():
                size += len(data)
                if size > _PROBE_BYTES:
                    raise BadRequest("media is sent to a stream: .isml/Streams(name)")
        return answer(200, kind=KIND)

    async def take(
        self, request: web.BaseRequest, asked: Passed, match: re.Match[str]
    ) -> web.Response:
        """Takes in the body; answers at its end, or where it cannot go on."""
        # From the first moment: of an encoder that goes away only what was read is known.
        async with Body(request.content) as body:
            if self._stopping:
                body.hurry(_QUIET, _MOST)
            self._bodies.add(body)
            try:
                with self._metrics.stream():
                    async with self._points.use(await self._path(asked)) as one:
                        event = one.options.event_id if one.options else ""
                        if event and match["event"] not in (None, event):
                            raise Conflict(f"the event {event} is going on, not {match['event']}")
                        return await self._take(one, body, asked, match["stream"])
            finally:
                self._bodies.discard(body)

    async def _path(self, asked: Passed) -> Path:
        """The server manifest of the point, which is created when that is allowed."""
        self._licensing.require(LIVE, asked.directives.get(DIRECTIVE))
        path = Path(resolve_new(asked.document_root, asked.path, EXTENSIONS))
        if asked.is_on(_CREATES) and not path.exists():
            try:
                created = await asyncio.to_thread(create_point, path)
            except OSError as error:
                raise StorageError(
                    f"the publishing point cannot be created: {error.strerror}", path=str(path)
                ) from error
            if created:
                log.info("created", point=asked.path, encoder=asked.sender)
        return path

    async def _take(self, one: OpenPoint, body: Body, asked: Passed, stream: str) -> web.Response:
        source = _Source(self._points, one, asked, stream, self._metrics)
        state = ConnectionState.BROKEN
        reason = ""
        try:
            await source.open()
            while data := await body.read():
                await source.feed(data)
                self._licensing.require(LIVE, asked.directives.get(DIRECTIVE))
            await source.finish()
            state = ConnectionState.CLOSED
            return answer(200, kind=KIND)
        except Broken:
            reason = "the connection is gone"
            return answer(400, kind=KIND, result=Result.FMP4_BAD_REQUEST)  # to nobody
        except Quiet:
            reason = "this process ends"
            return answer(
                503,
                b"the origin is restarting, connect again\n",
                kind=KIND,
                result=Result.FMP4_UNAVAILABLE,
                headers={"Retry-After": "1"},
            )
        except OriginError as error:
            reason = error.sentence
            raise
        finally:
            await source.close(state, reason)


async def parse(parser: StreamParser, data: bytes, found: deque[Incoming]) -> None:
    """Adds to ``found`` what is complete with ``data``, and lets others go on in between: there may
    be a box for each eight bytes. Raises as ``StreamParser.feed``; what came before is found."""
    began = monotonic_ns()
    view = memoryview(data)
    for at in range(0, len(view), _PARSED_AT_ONCE):
        if monotonic_ns() - began > _TURN_NS:
            await asyncio.sleep(0)
            began = monotonic_ns()
        found.extend(parser.feed(view[at : at + _PARSED_AT_ONCE]))


class _Source:
    """One connection of an encoder, from its bytes to its point."""

    def __init__(
        self,
        points: Points,
        one: OpenPoint,
        asked: Passed,
        stream: str,
        metrics: IngestMetrics,
    ) -> None:
        self._points = points
        self._one = one
        self._asked = asked
        self._stream = stream
        self._metrics = metrics
        self._connection: Connection | None = None
        self._point: Point | None = None
        self._parser = StreamParser()
        # Of an earlier connection; it counts when this one has none of its own.
        self._known: Header | None = None
        self._waiting: deque[Incoming] = deque()
        self._counts = dict.fromkeys(Outcome, 0)

    async def open(self) -> None:
        """Makes the connection known to the point."""

        def connect(point: Point) -> bytes | None:
            self._point = point
            self._connection = point.connect(self._stream, self._asked.sender)
            return point.header(self._stream)

        stored = await self._points.run(self._one, connect)
        if stored is not None:
            self._known = read_header(stored)
            self._parser = StreamParser(self._known)

    async def feed(self, data: bytes) -> None:
        """Takes in what is complete with ``data``; what came before a mistake stays."""
        began = monotonic_ns()
        mistake = None
        self._metrics.received(len(data))
        try:
            await parse(self._parser, data, self._waiting)
        except OriginError as error:
            mistake = error
        if self._waiting:
            await self._store()
            self._metrics.stored((monotonic_ns() - began) / 1e9)
        if mistake is not None:
            raise mistake

    async def finish(self) -> None:
        """The body has ended."""
        self._waiting.extend(self._parser.finish())
        if self._waiting:
            await self._store()

    async def close(self, state: ConnectionState, reason: str) -> None:
        """Ends the connection, with a line in the log."""
        connection = self._connection
        if connection is None:
            return
        try:
            await self._points.run(self._one, lambda _: connection.end(state, now_ns()))
        except OriginError:  # the point has gone, and has ended its connections
            connection.end(state, now_ns())
        counts = {outcome.value: count for outcome, count in self._counts.items() if count}
        say = {"reason": reason} if reason else {}
        tell = log.info if counts else log.debug
        tell("encoder disconnected", **self._names(), **counts, **say)

    async def _store(self) -> None:
        for attempt in range(_RETRIES + 1):
            try:
                await self._points.run(self._one, self._take_waiting)
                return
            except StorageError as error:
                if not attempt:
                    log.error("cannot store", **self._names(), reason=str(error))
                if attempt == _RETRIES:
                    raise
            await asyncio.sleep(_RETRY)

    def _take_waiting(self, point: Point) -> None:
        """In a thread: stores all that waits; what is stored does not wait any more."""
        connection = self._connection
        assert connection is not None
        if point is not self._point:
            raise NotFound("the publishing point was removed and made anew")
        while self._waiting:
            item = self._waiting[0]
            if isinstance(item, Header):
                self._known = None
                self._log_header(item)
            elif self._known is not None:
                connection.take(self._known, now_ns())
                self._known = None
            taken = connection.take(item, now_ns())
            self._waiting.popleft()
            self._count(item, taken)

    def _log_header(self, header: Header) -> None:
        log.info(
            "encoder connected",
            **self._names(),
            tracks=[f"{track.kind.value} {track.facts.codec}" for track in header.tracks]
            + [f"events {track.entry} {track.scheme}".strip() for track in header.events],
            **({"left_out": list(header.skipped)} if header.skipped else {}),
        )

    def _count(self, item: Incoming, taken: Taken) -> None:
        self._counts[taken.outcome] += 1
        if not isinstance(item, Header | EndOfStream):
            self._metrics.fragment(taken.outcome.value, len(item.data))
        if taken.note:
            tell = log.info if taken.outcome is Outcome.ACCEPTED else log.warning
            tell("taken", **self._names(), note=taken.note)

    def _names(self) -> dict[str, object]:
        return {
            "point": self._asked.path,
            "stream": self._stream,
            "encoder": self._asked.sender,
            "request_id": self._asked.request_id,
        }


def log_refusal(asked: Passed, error: OriginError) -> None:
    """A line about a request that ended in ``error``, with the evidence."""
    fields: dict[str, object] = {
        "request_id": asked.request_id,
        "method": asked.method,
        "path": asked.path,
        "virtual_path": asked.virtual_path,
        "encoder": asked.sender,
        "result": error.result.name,
        "reason": str(error) if isinstance(error, StorageError) else error.sentence,
    }
    if isinstance(error, MediaError):
        fields |= {"box": error.box_path or None, "offset": error.offset}
    said = {name: value for name, value in fields.items() if value is not None}
    if isinstance(error, NotFound | BadRequest):
        log.info("refused", **said)
    else:
        log.warning("failed", **said)


def refusal_of(error: OriginError) -> web.Response:
    """The answer to a stream that is not taken, or not any further."""
    return refused(error, kind=KIND)
