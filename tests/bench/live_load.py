"""Encoders and players of live channels, each kind in a process of its own that does little else.

What they say on standard output is JSON; moments are those of the monotonic clock, which all
processes share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import uvloop

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.support.live_origin import pieces  # noqa: E402

# Pictures come in groups of so many seconds, and so do fragments.
GOP_SECONDS = 2
# Seconds that channels are on before anything is measured.
WARM = 8
_CHUNK = 32 << 10
_PROBE = 0.004
# A fragment that is not listed so many seconds after it was due is late for good.
_LATE = 2 * GOP_SECONDS
# Bodies from this size on are counted, not kept.
_KEPT = 64 << 10
# What all connections of a process read into, one after the other.
_SCRATCH = bytearray(256 << 10)
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")
_SEGMENT = re.compile(r"(?m)^([^#\s]\S*-(\d+)\.m4s\S*)")


class Connection(asyncio.BufferedProtocol):
    """One that is kept alive, for a request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, int, bytes]] | None = None
        self._head = bytearray()
        self._body = bytearray()
        self._status = self._size = self._left = 0

    @classmethod
    async def open(cls, base: str) -> Connection:
        host, _, port = base.removeprefix("http://").partition(":")
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(cls, host, int(port)))[1]

    async def get(self, target: str) -> tuple[int, int, bytes]:
        """Status, size of the body, and the body when it is small."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(f"GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        return await self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("closed"))

    def get_buffer(self, sizehint: int) -> bytearray:
        return _SCRATCH

    def buffer_updated(self, count: int) -> None:
        data = memoryview(_SCRATCH)[:count]
        if not self._status:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            found = _LENGTH.search(self._head, 0, end)
            assert found is not None
            self._status = int(self._head[9:12])
            self._size = self._left = int(found[1])
            data = memoryview(bytes(self._head[end + 4 :]))
            self._head.clear()
        self._left -= len(data)
        if self._size < _KEPT:
            self._body += data
        if not self._left:
            assert self._answer is not None
            answer = self._status, self._size, bytes(self._body)
            self._body.clear()
            self._status = 0
            self._answer.set_result(answer)


class _Sender(asyncio.Protocol):
    """An encoder's connection; nothing is answered before its end."""

    def __init__(self) -> None:
        self._room = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(0)

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    async def send(self, data: bytes) -> None:
        """Returns when the kernel has all of it."""
        self._room.set()
        self._transport.write(data)
        await self._room.wait()


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))


def _begin(asked: argparse.Namespace, channel: int) -> float:
    """Encoders do not begin all at once."""
    return float(asked.at + GOP_SECONDS * channel / asked.channels)


def _sent(asked: argparse.Namespace) -> list[tuple[float, bytes]]:
    found = pieces(Path(asked.source).read_bytes())
    return [one for one in found if one[0] <= asked.seconds + WARM + GOP_SECONDS]


# Encoders


async def _encoders(asked: argparse.Namespace) -> dict[str, Any]:
    """Pushes every channel in real time. ``sent``: when the kernel had the last byte of each
    fragment, by channel."""
    framed = [(due, _framed(data)) for due, data in _sent(asked)]
    sent = await asyncio.gather(*(_encoder(asked, framed, at) for at in range(asked.channels)))
    return {"sent": sent}


def _framed(data: bytes) -> bytes:
    parts = (data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK))
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


async def _encoder(
    asked: argparse.Namespace, framed: list[tuple[float, bytes]], at: int
) -> list[float]:
    begin = _begin(asked, at)
    await _until(begin)
    host, _, port = asked.base.removeprefix("http://").partition(":")
    _, sender = await asyncio.get_running_loop().create_connection(_Sender, host, int(port))
    head = f"POST /ch{at:02d}.isml/Streams(main) HTTP/1.1\r\nHost: bench\r\n"
    await sender.send(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
    sent = []
    for due, data in framed:
        await _until(begin + due)
        await sender.send(data)
        sent.append(time.monotonic())
    await sender.send(b"0\r\n\r\n")
    await asyncio.sleep(1)
    return sent[1:]


# When fragments are listed


async def _probe(asked: argparse.Namespace) -> dict[str, Any]:
    """Looks for each fragment from the moment on at which it is due. ``listed``: when an answer
    had it, by channel, null for those that were not looked for."""
    dues = [due for due, _ in _sent(asked)][1:]
    listed = await asyncio.gather(*(_listed(asked, dues, at) for at in range(asked.channels)))
    return {"listed": listed}


async def _listed(asked: argparse.Namespace, dues: list[float], at: int) -> list[float | None]:
    connection: Connection | None = None
    found: list[float | None] = []
    for number, due in enumerate(dues, 1):
        if due <= WARM:
            found.append(None)
            continue
        moment = _begin(asked, at) + due
        await _until(moment)
        connection = connection or await Connection.open(asked.base)
        wanted = f"-{number}.m4s"
        while True:
            there = wanted in await _playlist(connection, at, "video")
            now = time.monotonic()
            if there or now > moment + _LATE:
                break
            await asyncio.sleep(_PROBE)
        found.append(now if there else moment + _LATE)
    return found


_PLAYLISTS: dict[tuple[int, str], str] = {}


async def _playlist(connection: Connection, at: int, kind: str) -> str:
    """The media playlist of the pictures or the sound of channel ``at``; empty where none is."""
    folder = f"/ch{at:02d}.isml"
    name = _PLAYLISTS.get((at, kind))
    if name is None:
        status, _, body = await connection.get(f"{folder}/.m3u8?hls_fmp4")
        found = re.search(rf"(?m)^(?:.*URI=\")?(ch\S*-{kind}[^\"\s]*)", body.decode())
        if status != 200 or found is None:
            return ""
        name = _PLAYLISTS[at, kind] = found[1]
    status, _, body = await connection.get(f"{folder}/{name}")
    return body.decode() if status == 200 else ""


# Players


async def _players(asked: argparse.Namespace) -> dict[str, Any]:
    counts = {"bytes": 0, "answers": 0, "failed": 0, "missed": 0}
    await _until(asked.at + WARM - 1)
    await asyncio.gather(*(_player(asked, at, counts) for at in range(asked.players)))
    return counts


async def _player(asked: argparse.Namespace, at: int, counts: dict[str, int]) -> None:
    """Fetches each segment of pictures and sound of a channel, as they are listed."""
    await asyncio.sleep(GOP_SECONDS * at / asked.players)
    channel = at % asked.channels
    await asyncio.gather(*(_track(asked, channel, kind, counts) for kind in ("video", "audio")))


async def _track(
    asked: argparse.Namespace, channel: int, kind: str, counts: dict[str, int]
) -> None:
    connection = await Connection.open(asked.base)
    until = asked.at + WARM + asked.seconds
    newest = 0
    while time.monotonic() < until:
        begun = time.monotonic()
        playlist = await _playlist(connection, channel, kind)
        counts["answers"] += 1
        counts["failed"] += not playlist
        names = {int(number): name for name, number in _SEGMENT.findall(playlist)}
        # Who begins wants three segments.
        wanted = [number for number in names if number > newest][-3 if not newest else 0 :]
        if wanted and newest:
            counts["missed"] += wanted[0] != newest + 1
        for number in wanted:
            status, size, _ = await connection.get(f"/ch{channel:02d}.isml/{names[number]}")
            counts["answers"] += 1
            counts["failed"] += status != 200
            counts["bytes"] += size
            newest = number
        # A playlist that has nothing new is asked for again after half of a segment.
        pause = GOP_SECONDS if wanted else GOP_SECONDS / 2
        await _until(begun + pause)


ROLES: dict[str, Callable[[argparse.Namespace], Awaitable[dict[str, Any]]]] = {
    "encoders": _encoders,
    "probe": _probe,
    "players": _players,
}


def main() -> None:
    """Plays one role."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=ROLES)
    for name in ("base", "source"):
        parser.add_argument(f"--{name}")
    for name in ("seconds", "channels", "players"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--at", type=float)
    asked = parser.parse_args()
    sys.stdout.write(json.dumps(uvloop.run(ROLES[asked.role](asked))))


if __name__ == "__main__":
    main()
