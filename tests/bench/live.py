"""Live channels: encoders push into twenty of them in real time, two hundred players watch.

    python tests/bench/live.py [--seconds 60] [--channels 20] [--players 200]

The players are a process of their own, and so are the encoders: what they do is no time of ours.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from load import process_seconds  # noqa: E402
from report import Line, table  # noqa: E402

from tests.support.live_origin import pieces  # noqa: E402
from tests.support.stack import Stack, children, origin, start  # noqa: E402

# Pictures of 2.5 Mbit/s in groups of two seconds, and sound.
GOP_SECONDS = 2
CACHE = ROOT / ".cache" / "bench"
# Seconds that channels are on before anything is measured.
_WARM = 8
_CHUNK = 32 << 10
_PROBE = 0.004
# From the last byte of a fragment to its place in a playlist, and cores of sidecar and nginx.
_LISTED_BAR, _CORES_BAR = 50.0, 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is going on."""

    seconds: int = 60
    channels: int = 20
    players: int = 200


def lines(scale: Scale) -> Iterator[Line]:
    """The rows of the table."""
    with tempfile.TemporaryDirectory(prefix="origin-live-") as scratch:
        folder = Path(scratch)
        media = folder / "media"
        media.mkdir()
        for name in _names(scale):
            made = origin("create", "-o", media / f"{name}.isml", "--dvr_window_length=30")
            if made.returncode:
                raise RuntimeError(made.stderr)
        source = _source(scale.seconds + _WARM + 2 * GOP_SECONDS)
        stack = start(folder / "run", media, workers=2)
        try:
            found = _measure(stack, scale, source)
            statistics = [_statistics(stack, name) for name in _names(scale)]
        finally:
            stack.stop()
    yield from _told(scale, found, statistics)


def _names(scale: Scale) -> list[str]:
    return [f"ch{number:02d}" for number in range(scale.channels)]


def _source(seconds: int) -> Path:
    """What every encoder sends: fragmented MP4, both tracks in each fragment."""
    path = CACHE / f"live_{seconds}.mp4"
    if path.exists():
        return path
    CACHE.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    command = [
        *("ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i"),
        f"testsrc2=s=640x360:r=25:d={seconds},noise=alls=12:allf=t",
        *("-f", "lavfi", "-i", f"sine=sample_rate=48000:d={seconds}"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"),
        *("-b:v", "2500k", "-minrate", "2500k", "-maxrate", "2500k", "-bufsize", "2500k"),
        *("-x264-params", f"nal-hrd=cbr:keyint={25 * GOP_SECONDS}:min-keyint=25:scenecut=0"),
        *("-c:a", "aac", "-b:a", "128k", "-f", "mp4"),
        *("-movflags", "frag_keyframe+empty_moov+default_base_moof", str(partial)),
    ]
    subprocess.run(command, check=True)
    partial.rename(path)
    return path


def _measure(stack: Stack, scale: Scale, source: Path) -> dict[str, Any]:
    """What encoders and players saw, and the CPU time of ours meanwhile."""
    started = time.time() + 1
    common = [sys.executable, __file__, "--base", stack.base, "--source", str(source)]
    common += ["--seconds", str(scale.seconds), "--channels", str(scale.channels)]
    common += ["--players", str(scale.players), "--at", str(started)]
    encoders, players = (
        subprocess.Popen([*common, "--role", role], stdout=subprocess.PIPE, text=True)
        for role in ("encoders", "players")
    )
    pids = [stack.pid("nginx"), *children(stack.pid("nginx"))]
    pids += [stack.pid("sidecar"), *children(stack.pid("sidecar"))]
    time.sleep(max(0.0, started + _WARM - time.time()))
    before, begun = process_seconds(pids), time.monotonic()
    time.sleep(scale.seconds)
    spent, elapsed = process_seconds(pids) - before, time.monotonic() - begun
    pushed, watched = (json.loads(one.communicate(timeout=60)[0]) for one in (encoders, players))
    return {"cores": spent / elapsed, **pushed, **watched}


def _statistics(stack: Stack, name: str) -> dict[str, Any]:
    client = stack.client()
    answer = client.request(f"/{name}.isml/statistics", headers={"Accept": "application/json"})
    client.close()
    found: dict[str, Any] = json.loads(answer.body)
    return found


def _told(scale: Scale, found: dict[str, Any], statistics: list[dict[str, Any]]) -> Iterator[Line]:
    tracks = [track for one in statistics for track in one["tracks"]]
    kept = sum(track["fragments"] for track in tracks)
    lost = 2 * found["fragments"] - kept
    late = sum(track["late"] + track["gaps"] for track in tracks)
    load = f"{scale.channels} channels, {scale.players} players, {scale.seconds} s"
    yield Line(
        what=f"live: fragments lost or late ({load})",
        connections=str(scale.channels),
        ours=f"{lost} and {late} of {2 * found['fragments']}",
        bar="0",
        passed=lost == late == 0,
    )
    listed = sorted(found["listed"])
    p99 = listed[int(len(listed) * 0.99)] * 1000
    yield Line(
        what="live: last byte of a fragment to its place in a playlist, p99",
        connections=str(scale.channels),
        ours=f"{p99:.0f} ms",
        bar=f"≤ {_LISTED_BAR:.0f} ms",
        passed=p99 <= _LISTED_BAR,
        late=f"median {listed[len(listed) // 2] * 1000:.0f} ms, worst {listed[-1] * 1000:.0f} ms",
    )
    yield Line(
        what="live: cores of sidecar and nginx",
        connections=str(scale.channels + scale.players),
        ours=f"{found['cores']:.2f}",
        bandwidth=f"{found['bytes'] / scale.seconds / 1e6:.0f}",
        bar=f"≤ {_CORES_BAR}",
        passed=found["cores"] <= _CORES_BAR,
    )
    yield Line(
        what="live: answers to players that were none, or segments that they missed",
        connections=str(scale.players),
        ours=f"{found['failed']} of {found['answers']}, {found['missed']}",
        bar="0",
        passed=found["failed"] == found["missed"] == 0,
    )


# HTTP as players and encoders speak it


class Connection:
    """One that is kept alive."""

    def __init__(self, base: str) -> None:
        host, _, port = base.removeprefix("http://").partition(":")
        self._address = host, int(port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, target: str) -> tuple[int, bytes]:
        """Status and body."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address, limit=1 << 20)
        reader, writer = self._streams
        writer.write(f"GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"(?i)\r\ncontent-length: (\d+)", head)[1])  # type: ignore[index]
        return int(head[9:12]), await reader.readexactly(length)


async def _post(base: str, target: str) -> asyncio.StreamWriter:
    host, _, port = base.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {target} HTTP/1.1\r\nHost: bench\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode())
    return writer


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    for at in range(0, len(data), _CHUNK):
        part = data[at : at + _CHUNK]
        writer.write(b"%x\r\n%b\r\n" % (len(part), part))
    await writer.drain()


# Encoders


async def _encoders(asked: argparse.Namespace) -> dict[str, Any]:
    """Pushes every channel in real time. ``listed``: seconds from the last byte of each fragment
    to its place in a playlist."""
    sent = pieces(Path(asked.source).read_bytes())
    sent = [piece for piece in sent if piece[0] <= asked.seconds + _WARM + GOP_SECONDS]
    listed: list[float] = []
    await asyncio.gather(*(_encoder(asked, sent, at, listed) for at in range(asked.channels)))
    return {"fragments": (len(sent) - 1) * asked.channels, "listed": listed}


async def _encoder(
    asked: argparse.Namespace, sent: list[tuple[float, bytes]], at: int, listed: list[float]
) -> None:
    # Encoders do not begin all at once.
    begin = asked.at + GOP_SECONDS * at / asked.channels
    await asyncio.sleep(begin - time.time())
    writer = await _post(asked.base, f"/ch{at:02d}.isml/Streams(main)")
    probe = Connection(asked.base)
    probes: list[asyncio.Task[None]] = []
    for number, (due, data) in enumerate(sent):
        await asyncio.sleep(max(0.0, begin + due - time.time()))
        await _send(writer, data)
        if due > _WARM:
            probes.append(asyncio.create_task(_listed(probe, at, number, listed)))
            await probes[-1]
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _listed(probe: Connection, at: int, number: int, listed: list[float]) -> None:
    """Asks until the fragment is in the playlist."""
    begun = time.monotonic()
    while True:
        playlist = await _playlist(probe, at, "video")
        if re.search(rf"-{number}\.m4s", playlist):
            listed.append(time.monotonic() - begun)
            return
        if time.monotonic() - begun > 2 * GOP_SECONDS:
            listed.append(float(2 * GOP_SECONDS))
            return
        await asyncio.sleep(_PROBE)


_PLAYLISTS: dict[tuple[int, str], str] = {}


async def _playlist(connection: Connection, at: int, kind: str) -> str:
    """The media playlist of the pictures or the sound of channel ``at``; empty where none is."""
    folder = f"/ch{at:02d}.isml"
    name = _PLAYLISTS.get((at, kind))
    if name is None:
        status, body = await connection.get(f"{folder}/.m3u8?hls_fmp4")
        found = re.search(rf"(?m)^(?:.*URI=\")?(ch\S*-{kind}[^\"\s]*)", body.decode())
        if status != 200 or found is None:
            return ""
        name = _PLAYLISTS[at, kind] = found[1]
    status, body = await connection.get(f"{folder}/{name}")
    return body.decode() if status == 200 else ""


# Players


async def _players(asked: argparse.Namespace) -> dict[str, Any]:
    counts = {"bytes": 0, "answers": 0, "failed": 0, "missed": 0}
    await asyncio.sleep(max(0.0, asked.at + _WARM - 1 - time.time()))
    await asyncio.gather(*(_player(asked, at, counts) for at in range(asked.players)))
    return counts


async def _player(asked: argparse.Namespace, at: int, counts: dict[str, int]) -> None:
    """Fetches each segment of pictures and sound of a channel, as they are listed."""
    channel = at % asked.channels
    until = asked.at + _WARM + asked.seconds
    await asyncio.sleep(GOP_SECONDS * at / asked.players)
    await asyncio.gather(
        *(_track(asked.base, channel, kind, until, counts) for kind in ("video", "audio"))
    )


async def _track(base: str, channel: int, kind: str, until: float, counts: dict[str, int]) -> None:
    connection = Connection(base)
    newest = 0
    while time.time() < until:
        begun = time.monotonic()
        playlist = await _playlist(connection, channel, kind)
        counts["answers"] += 1
        counts["failed"] += not playlist
        listed = re.findall(r"(?m)^([^#\s]\S*-(\d+)\.m4s\S*)", playlist)
        names = {int(number): name for name, number in listed}
        # Who begins wants three segments.
        wanted = [number for number in names if number > newest][-3 if not newest else 0 :]
        if wanted and newest:
            counts["missed"] += wanted[0] != newest + 1
        for number in wanted:
            status, body = await connection.get(f"/ch{channel:02d}.isml/{names[number]}")
            counts["answers"] += 1
            counts["failed"] += status != 200
            counts["bytes"] += len(body)
            newest = number
        # A playlist that has nothing new is asked for again after half of a segment.
        pause = GOP_SECONDS if wanted else GOP_SECONDS / 2
        await asyncio.sleep(max(0.0, begun + pause - time.monotonic()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, given in (("seconds", 60), ("channels", 20), ("players", 200)):
        parser.add_argument(f"--{name}", type=int, default=given)
    parser.add_argument("--role", choices=("encoders", "players"), help=argparse.SUPPRESS)
    for name in ("base", "source"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    parser.add_argument("--at", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """0 when every bar is met."""
    asked = _arguments()
    if asked.role:
        role = _encoders if asked.role == "encoders" else _players
        sys.stdout.write(json.dumps(asyncio.run(role(asked))))
        return 0
    scale = Scale(seconds=asked.seconds, channels=asked.channels, players=asked.players)
    measured = list(lines(scale))
    sys.stdout.write(table(measured) + "\n")
    return 1 if any(line.passed is False for line in measured) else 0


if __name__ == "__main__":
    sys.exit(main())
