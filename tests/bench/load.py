"""Load from wrk, with the CPU time that the nginx worker spends on it."""

from __future__ import annotations

import json
import select
import signal
import statistics
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

_STARTS = 5
SCRIPT = Path(__file__).with_name("walk.lua")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One run. ``rate``: requests/s; ``bandwidth``: bytes/s; ``p99``: milliseconds;
    ``cpu``: microseconds of the nginx worker per request."""

    requests: int
    rate: float
    bandwidth: float
    p99: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Interleaved runs of ours and of static: medians, and the median of the ratios of pairs."""

    ours: Load
    static: Load
    ratio: float


class LoadFailed(Exception):
    """wrk did not run, or some requests failed."""


def hammer(
    url: str,
    *,
    connections: int,
    seconds: float,
    worker: int,
    paths: Path | None = None,
    headers: Iterable[str] = (),
) -> Load:
    """wrk on one URL, or going round the paths of a file, for ``seconds``. ``headers``: lines of
    every request."""
    arguments = [argument for line in headers for argument in ("-H", line)]
    arguments += [url] if paths is None else [url, "--", str(paths), "loop"]
    before = cpu_seconds(worker)
    report, _ = _wrk(arguments, connections=connections, seconds=seconds)
    spent = cpu_seconds(worker) - before
    return _load(report, report["requests"] / (report["microseconds"] / 1e6), spent)


def walk(url: str, paths: Path, *, connections: int, worker: int) -> Load:
    """wrk requests every path of a file exactly once; ends when all are answered."""
    with paths.open() as lines:
        count = sum(1 for _ in lines)
    before = cpu_seconds(worker)
    report, walked = _wrk([url, "--", str(paths), "once"], connections=connections, seconds=60)
    spent = cpu_seconds(worker) - before
    if walked is None:
        raise LoadFailed(f"{url}: {count} paths not walked in 60 s")
    return _load(report, (count + 1 - connections) / walked, spent)


def compare(ours: Callable[[], Load], static: Callable[[], Load], *, repeats: int) -> Comparison:
    """Pairs of runs; which side goes first alternates, so that drift falls on both."""
    pairs = []
    for turn in range(repeats):
        if turn % 2:
            mine, theirs = ours(), static()
        else:
            theirs, mine = static(), ours()
        pairs.append((theirs, mine))
    return Comparison(
        ours=median_load(load for _, load in pairs),
        static=median_load(load for load, _ in pairs),
        ratio=statistics.median(mine.rate / theirs.rate for theirs, mine in pairs),
    )


def median_load(loads: Iterable[Load]) -> Load:
    """Each figure's own median."""
    runs = list(loads)
    return Load(
        requests=sum(run.requests for run in runs),
        rate=statistics.median(run.rate for run in runs),
        bandwidth=statistics.median(run.bandwidth for run in runs),
        p99=statistics.median(run.p99 for run in runs),
        cpu=statistics.median(run.cpu for run in runs),
    )


def cpu_seconds(pid: int) -> float:
    """CPU time that the process has used, from the scheduler's nanosecond account."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def process_seconds(pids: Iterable[int]) -> float:
    """CPU time that all threads of these processes, which live, have used."""
    threads = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in threads) / 1e9


def _load(report: dict[str, float], rate: float, cpu: float) -> Load:
    requests = int(report["requests"])
    return Load(
        requests=requests,
        rate=rate,
        bandwidth=rate * report["bytes"] / requests,
        p99=report["p99"] / 1000,
        cpu=cpu / requests * 1e6,
    )


def _wrk(
    arguments: list[str], *, connections: int, seconds: float
) -> tuple[dict[str, float], float | None]:
    """The script's report, and the seconds that a walk took.

    wrk itself knows whole seconds only, and sleeps on after a walk: SIGINT ends it, report and all.
    """
    command = ["wrk", "-t1", f"-c{connections}", "-d1h", "--timeout", "10s"]
    command += ["-s", str(SCRIPT), *arguments]
    for _ in range(_STARTS):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None and process.stderr is not None
        ready, _, _ = select.select([process.stderr], [], [], seconds)
        line = process.stderr.readline() if ready else ""
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate()
        # On a busy machine it may not have come to catching the signal.
        if process.returncode != -signal.SIGINT:
            break
    last = output.strip().rsplit("\n", 1)[-1]
    if process.returncode != 0 or not last.startswith("{"):
        raise LoadFailed(f"wrk {arguments}: exit {process.returncode}: {line}{output.strip()}")
    report: dict[str, float] = json.loads(last)
    if report["failed"] or not report["requests"]:
        raise LoadFailed(f"{arguments[0]}: {report['failed']} failed of {report['requests']}")
    return report, float(line.split()[1]) if line.startswith("walked ") else None
