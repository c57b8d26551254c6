"""Content in S3, on loopback, beside the same content on the disk: the asset of two hours played in
order, once cold and once more, and its first manifest where every request takes 20 ms longer.

    python tests/bench/remote.py [--quick]

The storage is an nginx that serves the bucket and does not look at signatures (those that do are a
hundred times slower than this; tests/e2e/test_remote_s3.py has one). The origin signs every
request.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from answers import Client, Site, Wrong, check_same, discover, save  # noqa: E402
from assets import Assets, make_assets, make_server_manifests  # noqa: E402
from load import Load, walk  # noqa: E402
from report import Line, table  # noqa: E402

from sidecar.cli.nginx import find_nginx  # noqa: E402
from tests.support.remote_http import Fault, serve  # noqa: E402
from tests.support.stack import Stack, eventually, free_port, nginx_workers, start  # noqa: E402

CACHE = ROOT / ".cache" / "bench"
KEYS = "s3_access_key AKIDEXAMPLE; s3_secret_key a-secret; s3_region eu-test-1;"
MEGABYTE = 1e6
# Of the rate of the same segments from the disk; of bytes fetched to bytes served; milliseconds.
_COLD_BAR, _AGAIN_BAR, _FETCHED_BAR, _FIRST_BAR = 0.5, 0.9, 1.05, 250
_LATENCY = 0.020


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """``url``: of a folder that holds every copy of the media there is, ``0/`` and so on."""

    url: str
    log: Path

    def fetched(self) -> int:
        """Bytes of bodies that it has sent."""
        return sum(int(line.split()[0]) for line in self.log.read_text().splitlines())


@contextmanager
def bucket(assets: Assets, folder: Path) -> Iterator[Bucket]:
    """The media under as many names as one asks for, so that each of them is cold once."""
    port = free_port()
    (folder / "logs").mkdir(parents=True)
    conf = folder / "nginx.conf"
    conf.write_text(f"""
daemon off;
{"user root;" if os.geteuid() == 0 else ""}
worker_processes 1;
error_log logs/error.log;
pid nginx.pid;
events {{ worker_connections 1024; }}
http {{
    log_format sent "$body_bytes_sent $http_range $uri";
    access_log logs/sent.log sent;
    sendfile on;
    tcp_nodelay on;
    keepalive_requests 1000000;
    open_file_cache max=100;
    server {{
        listen 127.0.0.1:{port};
        location ~ ^/bucket/[0-9]+/(.*)$ {{ alias {assets.media}/$1; }}
    }}
}}
""")
    command = [find_nginx().binary, "-p", f"{folder}/", "-c", conf, "-e", "logs/error.log"]
    process = subprocess.Popen(command)
    running = Bucket(url=f"http://127.0.0.1:{port}/bucket", log=folder / "logs" / "sent.log")
    try:
        eventually(running.log.exists, "nginx runs")
        yield running
    finally:
        process.terminate()
        process.wait()


def lines(*, quick: bool) -> Iterator[Line]:
    """The rows of the table."""
    CACHE.mkdir(parents=True, exist_ok=True)
    assets = make_assets(CACHE)
    make_server_manifests(assets)
    with (
        # Files are linked from there.
        tempfile.TemporaryDirectory(prefix="origin-remote-", dir=CACHE.resolve()) as scratch,
        bucket(assets, Path(scratch) / "bucket") as stored,
        serve(Path(scratch) / "media" / "first") as slow,
    ):
        folder = Path(scratch)
        for name in ("", "first"):
            _linked(assets.media / name, folder / "media" / name)
        stack = start(
            folder / "run",
            folder / "media",
            locations={
                "s3": f"ism_proxy_pass /s3/ {stored.url}/; {KEYS}",
                "slow": f"ism_proxy_pass /slow/ {slow.base}/; {KEYS}",
            },
        )
        try:
            with slow.fault("*", Fault(latency=_LATENCY)):
                yield from _first(stack, folder / "media" / "first", quick=quick)
            yield from _played(stack, stored, folder, quick=quick)
        finally:
            stack.stop()


def _linked(source: Path, folder: Path) -> None:
    """Has the files of ``source`` in ``folder``, too."""
    folder.mkdir(parents=True)
    for path in source.iterdir():
        if path.is_file():
            (folder / path.name).hardlink_to(path)


def _played(stack: Stack, stored: Bucket, folder: Path, *, quick: bool) -> Iterator[Line]:
    """Quarters of the asset: from the disk, from S3, and both once more, in turns."""
    client = Client(int(stack.base.rpartition(":")[2]))
    (worker, *_) = nginx_workers(stack.pid("nginx"))
    parts, copies = 8 if quick else 4, itertools.count()
    for connections in (1, 16):
        before = stored.fetched()
        copy = next(copies)
        names = f"/cold{copy}.ism", f"/s3/{copy}/one.ism"
        local, remote = (_played_of(discover(client, name)) for name in names)
        _settled(stored)
        index = stored.fetched() - before
        cuts = [len(local) * part // parts for part in range(parts + 1)]
        if quick:
            cuts = cuts[:3]
        runs: dict[str, list[tuple[Load, Load]]] = {"cold": [], "again": []}
        for first, last in itertools.pairwise(cuts):
            for label in runs:
                pair = [
                    _walk(stack, folder, paths[first:last], connections, worker)
                    for paths in (local, remote)
                ]
                runs[label].append((pair[0], pair[1]))
        for label, bar in (("cold", _COLD_BAR), ("again", _AGAIN_BAR)):
            yield _beside(label, connections, runs[label], bar)
        _settled(stored)
        fetched = stored.fetched() - before - index
        served = sum(run.bandwidth / run.rate * run.requests for _, run in runs["cold"])
        yield Line(
            what=f"fetched of S3, and {index / MEGABYTE:.1f} MB of index",
            connections=str(connections),
            ours=f"{fetched / MEGABYTE:.0f} MB",
            static=f"{served / MEGABYTE:.0f} MB served",
            ratio=f"{fetched / served:.3f}",
            bar=f"≤ {_FETCHED_BAR}",
            passed=fetched <= _FETCHED_BAR * served,
        )
        sample = [*range(0, cuts[-1], cuts[-1] // 20)]
        files = save(client, [local[at] for at in sample], folder / f"static{connections}")
        check_same(client, [remote[at] for at in sample], files)
    client.close()


def _played_of(site: Site) -> tuple[str, ...]:
    """What a player asks for, in its order: pictures and their sound."""
    return tuple(itertools.chain.from_iterable(zip(site.video, site.audio, strict=False)))


def _walk(
    stack: Stack, folder: Path, paths: tuple[str, ...], connections: int, worker: int
) -> Load:
    listed = folder / "paths.list"
    listed.write_text("".join(f"{path}\n" for path in paths))
    return walk(stack.base, listed, connections=connections, worker=worker)


def _beside(label: str, connections: int, runs: list[tuple[Load, Load]], bar: float) -> Line:
    """Rates of all parts together, from S3 and from the disk."""
    local, remote = (
        sum(run.requests for run in side) / sum(run.requests / run.rate for run in side)
        for side in zip(*runs, strict=True)
    )
    size = statistics.mean(run.bandwidth / run.rate for _, run in runs)
    ratio = statistics.median(theirs.rate / ours.rate for ours, theirs in runs)
    is_barred = connections == 1
    return Line(
        what=f"CMAF segments as they are played, {label}, {size / MEGABYTE:.2f} MB",
        connections=str(connections),
        ours=f"{remote:.0f}/s",
        bandwidth=f"{remote * size / MEGABYTE:.0f}",
        static=f"{local:.0f}/s",
        ratio=f"{ratio:.2f}",
        bar=f"≥ {bar:.2f}" if is_barred else "",
        passed=ratio >= bar if is_barred else None,
        late=f"{max(one.p99 for _, one in runs):.1f} / {max(one.p99 for one, _ in runs):.1f}",
    )


def _settled(stored: Bucket) -> None:
    """Waits until nothing more is fetched."""
    size = -1
    while size != (size := stored.fetched()):
        time.sleep(0.3)


def _first(stack: Stack, folder: Path, *, quick: bool) -> Iterator[Line]:
    """The first manifest of assets that nothing is known of: in S3, and as many on the disk."""
    port = int(stack.base.rpartition(":")[2])
    for what, name, bar in (("one file", "one", _FIRST_BAR), ("three files", "three", None)):
        for manifest in (".mpd", ".m3u8?hls_fmp4"):
            milliseconds: dict[str, list[float]] = {"/slow": [], "/first": []}
            for number, (place, times) in itertools.product(
                range(3 if quick else 9), milliseconds.items()
            ):
                copy = f"{name}{manifest[:4]}{number}{place[1:]}"
                (folder / copy).mkdir()
                for path in folder.glob("*.mp4"):
                    (folder / copy / path.name).hardlink_to(path)
                (folder / copy / "film.ism").hardlink_to(folder / f"{name}.ism")
                client = Client(port)
                times.append(client.timed(f"{place}/{copy}/film.ism/{manifest}") * 1000)
                client.close()
            remote, local = (statistics.median(times) for times in milliseconds.values())
            yield Line(
                what=f"first {manifest[1:5]}, {what}, {_LATENCY * 1000:.0f} ms a request",
                connections="1",
                ours=f"{remote:.0f} ms",
                static=f"{local:.0f} ms",
                ratio=f"+{remote - local:.0f} ms",
                bar=f"≤ {bar} ms" if bar else "",
                passed=remote <= bar if bar else None,
                late=" / ".join(f"{max(times):.0f}" for times in milliseconds.values()),
            )


def main() -> int:
    """0 when every bar is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs: a look, not a figure")
    load = os.getloadavg()[0]
    measured = list(lines(quick=parser.parse_args().quick))
    sys.stdout.write(
        f"{os.cpu_count()} CPUs, load average {load:.1f} before\n{table(measured)}\n"
        "(static: the same content on the disk)\n"
    )
    return 1 if any(line.passed is False for line in measured) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Wrong as wrong:
        sys.exit(str(wrong))
