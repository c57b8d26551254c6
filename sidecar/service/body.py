"""The body of a request that comes for hours, as it arrives."""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import ClientPayloadError, StreamReader, web

# What is read ahead of whoever stores it; then the sender has to wait.
READ_AHEAD = 1 << 20


class Broken(Exception):
    """The connection ended before the body did; all that had arrived has been read."""


class Quiet(Exception):
    """Nothing arrived for as long as was to be waited."""


class Body:
    """Reads ``content`` ahead, so that what has arrived is not lost with the connection.

    To be used in an ``async with`` block.
    """

    def __init__(self, content: StreamReader) -> None:
        self._content = content
        self._chunks: list[bytes] = []
        self._size = 0
        self._ended = False
        self._broken = False
        self._given_up = False
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._deadline: asyncio.Timeout | None = None
        self._patience: float | None = None

    async def __aenter__(self) -> Body:
        self._pump = asyncio.create_task(self._read_ahead())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pump.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._pump

    def hurry(self, quiet: float, most: float) -> None:
        """From now on ``read`` waits no longer than ``quiet`` seconds, and nothing is taken that
        arrives later than in ``most`` seconds."""
        loop = asyncio.get_running_loop()
        self._patience = quiet
        loop.call_later(most, self._pump.cancel)
        if self._deadline is not None:
            self._deadline.reschedule(loop.time() + quiet)

    async def read(self) -> bytes:
        """All that has arrived, or that does next; empty at the end of the body.

        Raises ``Broken``, or ``Quiet`` after ``hurry``.
        """
        if not self._chunks and not self._ended:
            self._arrived.clear()
            try:
                async with asyncio.timeout(self._patience) as self._deadline:
                    await self._arrived.wait()
            except TimeoutError:
                raise Quiet from None
            finally:
                self._deadline = None
        if not self._chunks and self._broken:
            raise Broken
        if not self._chunks and self._given_up:
            raise Quiet
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        self._room.set()
        return data

    async def _read_ahead(self) -> None:
        try:
            while data := await self._content.readany():
                self._chunks.append(data)
                self._size += len(data)
                self._arrived.set()
                if self._size >= READ_AHEAD:
                    self._room.clear()
                    await self._room.wait()
        except (ConnectionError, ClientPayloadError, web.RequestPayloadError):
            self._broken = True
        except asyncio.CancelledError:
            self._given_up = True
            raise
        finally:
            self._ended = True
            self._arrived.set()
