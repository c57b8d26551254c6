"""Live channels: encoders push into twenty of them in real time, two hundred players watch.

    python tests/bench/channels.py [--seconds 60] [--channels 20] [--players 200]

A row of ``make bench``, too. Encoders and players have processes of their own (``live_load.py``),
as has who looks when fragments are listed: what they do is no time of ours.
"""

from __future__ import annotations

import argparse
import json
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

from live_load import GOP_SECONDS, ROLES, WARM  # noqa: E402
from load import process_seconds  # noqa: E402
from report import Line, table  # noqa: E402

from sidecar.media.server_manifest import ServerManifest, write_server_manifest  # noqa: E402
from tests.support.stack import Stack, children, nginx_workers, start  # noqa: E402

CACHE = ROOT / ".cache" / "bench"
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
        manifest = ServerManifest(metas=(("dvr_window_length", "30"),))
        for name in _names(scale):
            (media / f"{name}.isml").write_bytes(write_server_manifest(manifest))
        source = _source(scale.seconds + WARM + 2 * GOP_SECONDS)
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
    started = time.monotonic() + 2
    asked = ["--base", stack.base, "--source", str(source), "--at", str(started)]
    for name in ("seconds", "channels", "players"):
        asked += [f"--{name}", str(getattr(scale, name))]
    load = Path(__file__).with_name("live_load.py")
    roles = [
        subprocess.Popen([sys.executable, load, role, *asked], stdout=subprocess.PIPE, text=True)
        for role in ROLES
    ]
    of = {
        name: [stack.pid(name), *below(stack.pid(name))]
        for name, below in (("sidecar", children), ("nginx", nginx_workers))
    }
    time.sleep(max(0.0, started + WARM - time.monotonic()))
    before, begun = {name: process_seconds(of[name]) for name in of}, time.monotonic()
    time.sleep(scale.seconds)
    elapsed = time.monotonic() - begun
    cores = {name: (process_seconds(of[name]) - before[name]) / elapsed for name in of}
    found: dict[str, Any] = {"cores": cores}
    for one in roles:
        found |= json.loads(one.communicate(timeout=60)[0])
    found["fragments"] = sum(map(len, found["sent"]))
    found["delays"] = [
        listed - sent
        for of_channel in zip(found["sent"], found["listed"], strict=True)
        for sent, listed in zip(*of_channel, strict=True)
        if listed is not None
    ]
    return found


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
    delays = sorted(found["delays"])
    p99 = delays[int(len(delays) * 0.99)] * 1000
    yield Line(
        what="live: last byte of a fragment to its place in a playlist, p99",
        connections=str(scale.channels),
        ours=f"{p99:.0f} ms",
        bar=f"≤ {_LISTED_BAR:.0f} ms",
        passed=p99 <= _LISTED_BAR,
        late=f"median {delays[len(delays) // 2] * 1000:.0f} ms, worst {delays[-1] * 1000:.0f} ms",
    )
    cores = sum(found["cores"].values())
    each = ", ".join(f"{name} {used:.2f}" for name, used in found["cores"].items())
    yield Line(
        what=f"live: cores ({each})",
        connections=str(scale.channels + scale.players),
        ours=f"{cores:.2f}",
        bandwidth=f"{found['bytes'] / scale.seconds / 1e6:.0f}",
        bar=f"≤ {_CORES_BAR}",
        passed=cores <= _CORES_BAR,
    )
    yield Line(
        what="live: answers to players that were none, or segments that they missed",
        connections=str(scale.players),
        ours=f"{found['failed']} of {found['answers']}, {found['missed']}",
        bar="0",
        passed=found["failed"] == found["missed"] == 0,
    )


def main() -> int:
    """0 when every bar is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, given in (("seconds", 60), ("channels", 20), ("players", 200)):
        parser.add_argument(f"--{name}", type=int, default=given)
    scale = Scale(**vars(parser.parse_args()))
    measured = list(lines(scale))
    sys.stdout.write(table(measured) + "\n")
    return 1 if any(line.passed is False for line in measured) else 0


if __name__ == "__main__":
    sys.exit(main())
