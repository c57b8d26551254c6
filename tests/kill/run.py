"""Processes are killed while encoders push and players watch: nothing that was committed is lost.

    python tests/kill/run.py [--kills 200] [--seed 1]

Ends processes of the sidecar (kill -9), and now and then a worker of nginx, at random moments and
just when a fragment comes. Exit status 1 when a committed fragment is not served as it was sent,
one is there twice, or a manifest was not true.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.kill.committed import Committed  # noqa: E402
from tests.kill.encoders import Encoder, EncoderOfSegments  # noqa: E402
from tests.kill.sent import Sent, encoded  # noqa: E402
from tests.kill.watchers import Patient, Seen, Watcher  # noqa: E402
from tests.support.stack import (  # noqa: E402
    Stack,
    children,
    eventually,
    is_alive,
    nginx_workers,
    origin,
    start,
)

# A process that lives longer is replaced at once, another one a while later.
_GROWN = 10.2
# Of all victims: workers of nginx, processes of the sidecar however young, those that write, and
# those that are killed just when a fragment comes.
_NGINX, _YOUNG, _BUSY, _AIMED = 0.12, 0.25, 0.9, 0.6
# So few processes are not spared for being young.
_FEW = 4
_WINDOW = 20
# Seconds to a kill: the processes before must have been replaced.
_SLOWEST = 6
_PERIOD = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """``pause``: seconds between two kills, on average. ``speed``: of encoders."""

    kills: int = 200
    workers: int = 8
    pause: float = 0.9
    speed: float = 2.0
    seed: int = 1


@dataclass(slots=True, kw_only=True)
class Figures:
    """What happened. ``wrong``: what must not."""

    kills: dict[str, int] = field(default_factory=dict)
    committed: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    reconnects: int = 0
    manifests: int = 0
    segments: int = 0
    again: int = 0
    seconds: float = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Channel:
    """``streams``: (name of the stream in URLs, of ``encoded``, how many encoders)."""

    name: str
    streams: tuple[tuple[str, str, int], ...]
    kind: type[Encoder] = Encoder
    archived: bool = True


_CHANNELS = (
    _Channel("one", (("main", "muxed", 1),)),
    _Channel("two", (("main", "muxed", 2),)),
    _Channel("smooth", (("main", "smooth", 1),)),
    _Channel("apart", (("video.cmfv", "video", 1), ("audio.cmfa", "audio", 1)), EncoderOfSegments),
    _Channel("passing", (("main", "muxed", 1),), archived=False),
)
_WATCHED = (("hls", "hls_fmp4"), ("hls", ""), ("dash", ""), ("smooth", ""))


def run(
    scale: Scale, storm: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
) -> Figures:
    """Kills as many processes as ``scale`` says and looks at what has become of everything.

    ``storm``: what is entered while that is pushed.
    """
    began = time.monotonic()
    sent = encoded(scale.speed * (60 + _SLOWEST * scale.kills))
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="origin-kill-") as scratch:
        media = Path(scratch) / "media"
        media.mkdir()
        for channel in _CHANNELS:
            options = [f"--dvr_window_length={_WINDOW}"]
            if channel.archived:
                options += ["--archiving=true", "--archive_segment_length=10"]
            made = origin("create", "-o", media / f"{channel.name}.isml", *options)
            if made.returncode:
                raise RuntimeError(made.stderr)
        stack = start(Path(scratch) / "run", media, workers=scale.workers)
        try:
            with storm():
                encoders, committed, seen = _storm(stack, scale, sent, figures)
            _judge(stack, encoders, committed, seen, figures)
        finally:
            stack.stop()
    figures.seconds = time.monotonic() - began
    return figures


def _storm(
    stack: Stack, scale: Scale, sent: dict[str, Sent], figures: Figures
) -> tuple[dict[str, list[Encoder]], dict[str, Committed], Seen]:
    """What was sent, what is in the archives and what players saw, by the names of channels."""
    port = int(stack.base.rpartition(":")[2])
    begin = time.monotonic() + 1
    arrivals = threading.Semaphore(0)
    encoders: dict[str, list[Encoder]] = {}
    committed: dict[str, Committed] = {}
    seen = Seen()
    watchers = []
    for channel in _CHANNELS:
        of_channel = encoders[channel.name] = []
        for stream, form, count in channel.streams:
            target = f"/{channel.name}.isml/Streams({stream})"
            for _ in range(count):
                one = channel.kind(port, target, sent[form], begin=begin, speed=scale.speed)
                one.on_sent = arrivals.release
                of_channel.append(one)
        pushed = {stream: sent[form] for stream, form, _ in channel.streams}
        committed[channel.name] = Committed(stack.media / f"{channel.name}.db3", pushed)
        watchers += [
            Watcher(stack.base, channel.name, of, query, seen, period=_PERIOD, seed=scale.seed)
            for of, query in _WATCHED
        ]
    threads = [one for found in encoders.values() for one in found]
    for thread in (*threads, *watchers):
        thread.start()
    killer = _Killer(stack, scale, arrivals)
    for _ in range(scale.kills):
        if not any(thread.is_alive() for thread in threads):
            figures.wrong.append("the encoders were at their end before all processes were killed")
            break
        killer.kill()
        for rows in committed.values():
            rows.look()
    moment = time.monotonic()
    for encoder in threads:
        encoder.stop(moment)
    for encoder in threads:
        encoder.join()
    eventually(lambda: _is_quiet(committed), "the last fragments")
    for watcher in watchers:
        watcher.stop()
    for watcher in watchers:
        watcher.join()
    figures.kills = killer.killed
    figures.reconnects = sum(one.lost for one in threads)
    figures.manifests, figures.segments, figures.again = seen.manifests, seen.segments, seen.again
    figures.wrong += seen.wrong
    for one in threads:
        figures.wrong += one.refused
    return encoders, committed, seen


def _judge(
    stack: Stack,
    encoders: dict[str, list[Encoder]],
    committed: dict[str, Committed],
    seen: Seen,
    figures: Figures,
) -> None:
    for channel in _CHANNELS:
        rows = committed[channel.name]
        figures.committed += len(rows.rows)
        figures.missing[channel.name] = rows.missing
        if channel.archived:
            figures.wrong += _faults(stack, channel, rows, seen)
        figures.wrong += _unkept(encoders[channel.name], rows)


def _is_quiet(committed: dict[str, Committed]) -> bool:
    """Whether nothing has been committed for a while; all that was is known then."""
    before = sum(len(one.rows) for one in committed.values())
    time.sleep(0.5)
    for one in committed.values():
        one.look()
    return before == sum(len(one.rows) for one in committed.values())


def _faults(stack: Stack, channel: _Channel, rows: Committed, seen: Seen) -> list[str]:
    """What is wrong with an archive that was kept from the first fragment on."""
    patient = Patient(stack.base, seen)

    def get(url: str) -> bytes:
        response = patient.request(f"/{channel.name}.isml/{url}")
        if response.status != 200:
            raise LookupError(f"{url}: {response.status} {response.body[:200]!r}")
        return response.body

    try:
        found = [*rows.faults(), *rows.unserved(get)]
        for url, digest in list(seen.digests.items()):
            name, _, rest = url.removeprefix("/").partition(".isml/")
            if name == channel.name and (problem := _changed(get, rest, digest)):
                found.append(problem)
    except LookupError as error:
        return [f"{channel.name}: {error}"]
    finally:
        patient.close()
    return found


def _changed(get: Callable[[str], bytes], url: str, digest: int) -> str:
    return "" if zlib.crc32(get(url)) == digest else f"{url} is not what it was"


def _unkept(encoders: list[Encoder], rows: Committed) -> list[str]:
    """Fragments whose encoder was told that they are taken, and that are not there."""
    there = set(rows.rows.values())
    return [
        f"{one.target}: fragment {at} was answered with 200 and was never committed"
        for one in encoders
        for at in one.acknowledged
        for track, samples in one.sent.pieces[at].samples.items()
        if (one.target.partition("(")[2][:-1], track, min(samples)) not in there
    ]


class _Killer:
    """Ends one process after the other. ``killed``: how many of which."""

    def __init__(self, stack: Stack, scale: Scale, arrivals: threading.Semaphore) -> None:
        self.killed = {"sidecar": 0, "nginx": 0}
        self._supervisor, self._nginx = stack.pid("sidecar"), stack.pid("nginx")
        self._media = str(stack.media)
        self._sockets = sorted((stack.run / "sockets").glob("ingest-*.sock"))
        self._scale = scale
        self._arrivals = arrivals
        self._random = random.Random(scale.seed)
        self._born = dict.fromkeys(children(self._supervisor), 0.0)

    def kill(self) -> None:
        """Ends the next one, a while from now."""
        rest = self._random.expovariate(1 / self._scale.pause)
        time.sleep(min(rest, 3 * self._scale.pause))
        name = "nginx" if self._random.random() < _NGINX else "sidecar"
        aimed = self._random.random() < _AIMED
        while True:
            victim = self._victim(name)
            if aimed:
                while self._arrivals.acquire(blocking=False):
                    pass
                self._arrivals.acquire(timeout=2)
                time.sleep(self._random.uniform(0, 0.008))
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.kill(victim, signal.SIGKILL)
                break
        eventually(lambda: not is_alive(victim), "its end")
        self.killed[name] += 1

    def _victim(self, name: str) -> int:
        while True:
            if name == "sidecar":
                found = self._of_sidecar(children(self._supervisor))
            else:
                found = nginx_workers(self._nginx)
            if found:
                return self._random.choice(sorted(found))
            time.sleep(0.05)

    def _of_sidecar(self, living: list[int]) -> list[int]:
        """Who may be the next one: most often one that writes, and nobody while few serve."""
        now = time.monotonic()
        self._born = {pid: self._born.get(pid, now) for pid in living}
        if sum(map(_listens, self._sockets)) <= self._scale.workers // 2:
            return []
        found = living
        if self._scale.workers > _FEW and self._random.random() >= _YOUNG:
            found = [pid for pid in living if now - self._born[pid] > _GROWN]
        busy = [pid for pid in found if self._writes(pid)]
        return busy if busy and self._random.random() < _BUSY else found

    def _writes(self, pid: int) -> bool:
        """Whether process ``pid`` has files of archives open."""
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                target = str(link.readlink())
            except OSError:
                continue
            if target.startswith(self._media) and ".mp4" in target:
                return True
        return False


def _listens(address: Path) -> bool:
    """Whether a process serves at ``address``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        return connection.connect_ex(str(address)) == 0


def main() -> int:
    """0 when nothing was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    figures = run(Scale(kills=asked.kills, workers=asked.workers, seed=asked.seed))
    killed = ", ".join(f"{count} of {name}" for name, count in figures.kills.items())
    missing = ", ".join(f"{count} of {name}" for name, count in figures.missing.items())
    sys.stdout.write(
        f"killed: {killed} in {figures.seconds:.0f} s; encoders came again {figures.reconnects} "
        f"times\n{figures.committed} fragments committed; never came: {missing}\n"
        f"{figures.manifests} manifests and {figures.segments} segments looked at, "
        f"{figures.again} asked for again\n{len(figures.wrong)} wrong\n"
    )
    for line, count in Counter(figures.wrong).most_common(100):
        sys.stdout.write(f"  {count} x {line}\n")
    return 1 if figures.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
