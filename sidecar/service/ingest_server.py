"""The HTTP side of one sidecar process: what nginx passes on, on a Unix socket of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path

import structlog
from aiohttp import web

from sidecar.errors import NotFound, OriginError, Result
from sidecar.service.ingest import KIND, STREAM, Ingest, log_refusal, refusal_of
from sidecar.service.ingest_api import DOCUMENTS, PointApi
from sidecar.service.passed import MAX_HEADER_BYTES, answer, passed
from sidecar.service.points import Points

_BACKLOG = 128
# The directive of locations that manage publishing points.
API = "usp_handle_api"
# How much of a body is read ahead by aiohttp itself.
_BUFFER = 128 << 10
# An answer that comes before its body has ended: whoever closes first loses it, so nginx does.
_LINGERING = 10.0
# What connections without a request have to end, seconds.
_CLOSING = 1.0

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class IngestServer:
    """Answers on ``path``, a Unix socket (mode 0660) that replaces a stale one."""

    def __init__(self, path: Path, ingest: Ingest, api: PointApi, points: Points) -> None:
        self._path = path
        self._ingest = ingest
        self._api = api
        self._points = points
        self._server = web.Server(
            self._answer,
            max_field_size=MAX_HEADER_BYTES,
            read_bufsize=_BUFFER,
            lingering_time=_LINGERING,
            auto_decompress=False,
            access_log=None,
        )
        self._listener: asyncio.Server | None = None
        self._chores: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[object]] = set()

    async def start(self) -> None:
        """Listens from now on. The working directory becomes the folder of the socket: an address
        holds 107 bytes, which a long path would exceed. Raises ``OSError``."""
        self._path.unlink(missing_ok=True)
        os.chdir(self._path.parent)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        mask = os.umask(0o117)
        try:
            listening.bind(self._path.name)
        finally:
            os.umask(mask)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_unix_server(
            self._server, sock=listening, backlog=_BACKLOG
        )
        self._chores = loop.create_task(self._points.maintain())

    async def stop(self, grace: float) -> None:
        """Takes no more streams in, finishes what has arrived of the others within ``grace``
        seconds, and closes the publishing points."""
        if self._listener is not None:
            self._listener.close()
            self._path.unlink(missing_ok=True)
        self._ingest.stop()
        if self._running:
            await asyncio.wait(self._running, timeout=grace)
        await self._server.shutdown(_CLOSING)
        if self._chores is not None:
            self._chores.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._chores
        await self._points.close()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            asked = passed(request)
        except OriginError as error:
            return refusal_of(error)
        try:
            if asked.is_on(API):
                return await self._api.answer(request, asked)
            if asked.virtual_path in DOCUMENTS:
                return await self._api.document(request, asked)
            if not asked.virtual_path:
                return await self._ingest.probe(request, asked)
            match = STREAM.fullmatch(asked.virtual_path)
            if match is None:
                raise NotFound("no stream has this name")
            return await self._ingest.take(request, asked, match)
        except OriginError as error:
            log_refusal(asked, error)
            return refusal_of(error)
        except ConnectionError:
            raise
        except Exception:
            log.exception("failed", path=asked.path, request_id=asked.request_id)
            return answer(
                500,
                b"the origin failed\n",
                kind=KIND,
                result=Result.FMP4_INTERNAL_ERROR,
            )
