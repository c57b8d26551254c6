"""The HTTP side of a sidecar process in this one, and what nginx would pass on to it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from prometheus_client import CollectorRegistry

from sidecar.rpc import origin_pb2
from sidecar.service.ingest import Ingest
from sidecar.service.ingest_api import PointApi
from sidecar.service.ingest_metrics import IngestMetrics
from sidecar.service.ingest_server import API, IngestServer
from sidecar.service.licensing import Licensing
from sidecar.service.passed import HEADER, KIND, RESULT, SENDER
from sidecar.service.points import Points
from tests.support.license import licensed

CREATE = {"origin_create_points": ("on",)}
MANAGE = {API: ("on",)}
Body = bytes | AsyncIterator[bytes] | None


async def in_two(first: bytes, rest: bytes, go_on: asyncio.Event) -> AsyncIterator[bytes]:
    """A body of which ``rest`` comes when ``go_on`` is set."""
    yield first
    await go_on.wait()
    yield rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``result``, ``kind``: what nginx is told and clients are not."""

    status: int
    result: str
    kind: str
    content_type: str
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(slots=True, kw_only=True)
class Process:
    """``root``: the document root. ``registry``: of its metrics."""

    root: Path
    server: IngestServer
    points: Points
    registry: CollectorRegistry
    session: aiohttp.ClientSession
    senders: int = field(default=0)

    async def ask(
        self,
        virtual_path: str,
        body: Body = None,
        *,
        method: str = "POST",
        path: str = "/ch.isml",
        args: str = "",
        directives: Mapping[str, tuple[str, ...]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer to a request that nginx passes on; a body that is no bytes goes in chunks."""
        self.senders += 1
        plan = origin_pb2.PlanRequest(
            document_root=str(self.root),
            path=path,
            virtual_path=virtual_path,
            args=args,
            method=method,
            request_id="r",
            directives=[
                origin_pb2.Directive(name=name, args=given)
                for name, given in (directives or {}).items()
            ],
        )
        own = {
            HEADER: base64.b64encode(plan.SerializeToString()).decode(),
            SENDER: f"192.0.2.1:{self.senders}",
            **(headers or {}),
        }
        async with self.session.request(method, "http://x/", data=body, headers=own) as answer:
            return Answer(
                status=answer.status,
                result=answer.headers.get(RESULT, ""),
                kind=answer.headers.get(KIND, ""),
                content_type=answer.headers.get("Content-Type", ""),
                body=await answer.read(),
            )

    async def manage(self, virtual_path: str = "", method: str = "POST", **given: object) -> Answer:
        """The same through a location of the API."""
        return await self.ask(virtual_path, method=method, directives=MANAGE, **given)  # type: ignore[arg-type]

    def counted(self, name: str, **labels: str) -> float:
        """The value of one of its metrics, 0 before it has any."""
        return self.registry.get_sample_value(f"origin_sidecar_ingest_{name}", labels) or 0.0


@asynccontextmanager
async def serving(
    folder: Path, root: Path, licensing: Licensing | None = None
) -> AsyncIterator[Process]:
    """A process with its socket in ``folder``."""
    points, registry = Points(), CollectorRegistry()
    known = licensing or licensed()
    ingest = Ingest(points, known, IngestMetrics(registry))
    server = IngestServer(folder / "ingest-0.sock", ingest, PointApi(points, known), points)
    await server.start()
    connector = aiohttp.UnixConnector(str(folder / "ingest-0.sock"))
    async with aiohttp.ClientSession(connector=connector) as session:
        process = Process(
            root=root, server=server, points=points, registry=registry, session=session
        )
        try:
            yield process
        finally:
            await session.close()
            await server.stop(5)


async def in_pieces(data: bytes, size: int = 5000) -> AsyncIterator[bytes]:
    """``data`` as an encoder sends it: pieces that begin anywhere in boxes."""
    for at in range(0, len(data), size):
        yield data[at : at + size]
