"""A publishing point in this process: what encoders push goes in, and players get their answers."""

from __future__ import annotations

import asyncio
import os
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from sidecar.live.connection import Connection
from sidecar.live.ledger import ConnectionState
from sidecar.live.model import EndOfStream, Fragment, Header
from sidecar.live.parser import StreamParser
from sidecar.live.point import Point
from sidecar.media.options import Options, parse_options
from sidecar.media.server_manifest import ServerManifest, write_server_manifest
from sidecar.rpc import origin_pb2
from sidecar.service.presentations import PresentationCache
from sidecar.service.servicer import OriginServicer
from tests.support.license import licensed

SECOND = 1_000_000_000
# A day in 2023, when encoders begin.
NOW = 1_700_000_000 * SECOND
_INLINE = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What nginx would send; ``plan``: from what it is."""

    status: int
    result: str
    body: bytes
    plan: origin_pb2.Plan

    @property
    def text(self) -> str:
        return self.body.decode()


class Origin:
    """One publishing point, ``/ch.isml`` below ``root``, with a writer and a reader of its own.

    ``options``: of its server manifest.
    """

    def __init__(self, root: Path, **options: object) -> None:
        self.root = root
        self.path = root / "ch.isml"
        metas = tuple((name, str(value)) for name, value in options.items())
        self.path.write_bytes(write_server_manifest(ServerManifest(metas=metas)))
        self.options: Options = parse_options(dict(metas), "")
        self.point = Point.open(self.path, self.options, NOW)
        self._connections: dict[tuple[str, str], tuple[StreamParser, Connection]] = {}
        self._executor = ThreadPoolExecutor(2)
        self._loop = asyncio.new_event_loop()
        self._read()

    def _read(self) -> None:
        self._servicer = OriginServicer(PresentationCache(64 << 20, self._executor), licensed())

    def close(self) -> None:
        self.point.close(NOW)
        self._loop.close()
        self._executor.shutdown()

    def reopen(self) -> None:
        """What a restart of all processes does."""
        self.point.close(NOW)
        self._connections.clear()
        self.point = Point.open(self.path, self.options, NOW)
        self._read()

    # What encoders do

    def push(
        self, data: bytes, *, stream: str = "main", encoder: str = "1", now: float = 0
    ) -> None:
        """More of what ``encoder`` sends of ``stream``, ``now`` seconds after it began."""
        known = self._connections.get((stream, encoder))
        if known is None:
            connection = self.point.connect(stream, encoder)
            known = self._connections[stream, encoder] = StreamParser(), connection
        parser, connection = known
        for incoming in parser.feed(data):
            connection.take(incoming, NOW + int(now * SECOND))

    def drop(self, *, stream: str = "main", encoder: str = "1") -> None:
        """The connection is gone."""
        _, connection = self._connections.pop((stream, encoder))
        connection.end(ConnectionState.BROKEN, NOW)

    # What players do

    def ask(self, virtual_path: str, args: str = "", **directives: str) -> Reply:
        """The answer to ``virtual_path``, percent-decoded; ``args``: its query."""
        request = self._request(virtual_path, args, directives)
        return _reply(self._loop.run_until_complete(self._servicer.Plan(request, None)).plan)

    def ahead(self, virtual_path: str, count: int) -> list[str]:
        """What is planned along with ``virtual_path`` for one who wants ``count`` more."""
        request = self._request(virtual_path, "", {})
        request.read_ahead = count
        reply = self._loop.run_until_complete(self._servicer.Plan(request, None))
        return [one.virtual_path for one in reply.ahead]

    def ask_while(
        self, virtual_path: str, work: Callable[[], None], args: str = "", **directives: str
    ) -> Reply:
        """As ``ask``; ``work`` is done once each time that the request is held."""
        request = self._request(virtual_path, args, directives)

        edges = self._servicer.edges
        held: asyncio.Queue[None] = asyncio.Queue()
        changed = edges.changed

        async def noticed(stamp: Path, seen_ns: int, until_ns: int) -> bool:
            held.put_nowait(None)
            return await changed(stamp, seen_ns, until_ns)

        async def run() -> origin_pb2.PlanReply:
            task = asyncio.create_task(self._servicer.Plan(request, None))
            while not task.done():
                waiting = asyncio.create_task(held.get())
                await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
                if waiting.done():
                    work()
                else:
                    waiting.cancel()
            return await task

        with mock.patch.object(edges, "changed", noticed):
            return _reply(self._loop.run_until_complete(run()).plan)

    def _request(
        self, virtual_path: str, args: str, directives: Mapping[str, str]
    ) -> origin_pb2.PlanRequest:
        return origin_pb2.PlanRequest(
            document_root=str(self.root),
            path="/ch.isml",
            virtual_path=virtual_path,
            args=args,
            directives=[
                origin_pb2.Directive(name=name, args=[value]) for name, value in directives.items()
            ],
            method="GET",
            request_id="r",
        )

    def get(self, url: str, **directives: str) -> Reply:
        """As ``ask``, of a URL below the point as manifests have it; it must be answered."""
        path, _, query = url.partition("?")
        reply = self.ask(urllib.parse.unquote(path), query, **directives)
        assert reply.result == "FMP4_OK", f"{url}: {reply.result} {reply.body[:200]!r}"
        return reply


@contextmanager
def opened(root: Path, **options: object) -> Iterator[Origin]:
    """An origin in the folder ``root``, which is made."""
    root.mkdir(exist_ok=True)
    origin = Origin(root, **options)
    try:
        yield origin
    finally:
        origin.close()


def pieces(data: bytes) -> list[tuple[float, bytes]]:
    """A stream cut behind each thing that a point can take: (seconds after the begin at which it
    has come when it is sent in real time, bytes)."""
    found: list[tuple[float, bytes]] = []
    parser = StreamParser()
    scales: dict[int, int] = {}
    begin: float | None = None
    at, seconds = 0, 0.0
    for incoming in parser.feed(data):
        if isinstance(incoming, Header):
            scales = {track.track_ID: track.timescale for track in incoming.tracks}
        elif isinstance(incoming, Fragment):
            scale = scales[incoming.tracks[0].track_ID]
            ends = [(part.time + part.duration) / scales[part.track_ID] for part in incoming.tracks]
            if begin is None:
                begin = max(0.0, float(round(ends[0] - incoming.tracks[0].duration / scale)))
            seconds = max(seconds, *(end - begin for end in ends))
        found.append((seconds, data[at : parser.offset]))
        at = parser.offset
    return found


def without_end(data: bytes) -> bytes:
    """The stream of an encoder that just went away."""
    parser = StreamParser()
    at = 0
    for incoming in parser.feed(data):
        if isinstance(incoming, EndOfStream):
            return data[:at]
        at = parser.offset
    return data


def push_all(origin: Origin, data: bytes, **to: str) -> None:
    """All of a stream, as if in real time."""
    for seconds, piece in pieces(data):
        origin.push(piece, now=seconds, **to)


def fetched(origin: Origin, urls: Iterable[str]) -> bytes:
    """The bodies of ``urls``, one after the other."""
    return b"".join(origin.get(url).body for url in urls)


def _reply(plan: origin_pb2.Plan) -> Reply:
    return Reply(
        status=plan.status,
        result=origin_pb2.Result.Name(plan.result),
        body=_body(plan),
        plan=plan,
    )


def _body(plan: origin_pb2.Plan) -> bytes:
    found: list[bytes] = []
    for part in plan.parts:
        if part.WhichOneof("kind") == "inline":
            found.append(part.inline)
            continue
        ranges = part.file
        of_each = ranges.sources or [ranges.source] * len(ranges.offset)
        for source, offset, length in zip(of_each, ranges.offset, ranges.length, strict=True):
            if source == _INLINE:
                found.append(ranges.inline[offset : offset + length])
            else:
                found.append(_file(plan.sources[source].path, offset, length))
    body = b"".join(found)
    assert len(body) == plan.length
    return body


def _file(path: str, offset: int, length: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        data = os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)
    assert len(data) == length, "the file is shorter than the plan says"
    return data
