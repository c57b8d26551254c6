"""A day of a live channel, simulated: what it keeps, what it lists, and what a manifest costs.

    python tests/bench/day.py [--hours 24]

Encoders push fragments of four seconds of two pictures and one sound; the clock is an argument. One
channel keeps a window of two hours, the other one everything, with a window of ten minutes. Memory
is that of this process, with encoders and players, which allocates as those of the sidecar do.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from report import Line, table  # noqa: E402

from sidecar.service.supervisor import MALLOC  # noqa: E402
from tests.support.live_day import MOST_FILES, Scale, grown, most_rows, run  # noqa: E402

_MEMORY_BAR, _COST_BAR = 1.1, 1.3


def lines(scale: Scale) -> Iterator[Line]:
    """The rows of the table."""
    figures = run(scale)
    hours = f"{scale.length / 3600:g} h"
    full = scale.window + scale.early
    yield Line(
        what=f"day: manifests of {hours} that list what they should not",
        connections="1",
        ours=f"{len(figures.wrong)} of {figures.looks}",
        bar="0",
        passed=not figures.wrong,
    )
    yield Line(
        what=f"day: files of a window of {scale.window / 3600:g} h, most",
        connections="1",
        ours=f"{figures.files}",
        bar=f"≤ {MOST_FILES}",
        passed=figures.files <= MOST_FILES,
    )
    most = most_rows(scale.window)
    yield Line(
        what="day: rows of that window, most",
        connections="1",
        ours=f"{figures.rows}",
        bar=f"≤ {most:.0f}",
        passed=figures.rows <= most,
    )
    before, after = _around(figures.memory, full)
    yield Line(
        what=f"day: memory after {hours}, next to that after {full / 3600:g} h",
        connections="1",
        ours=f"{after / 1e6:.0f} MB",
        ratio=f"{after / before:.2f}",
        bar=f"≤ {_MEMORY_BAR}",
        passed=after / before <= _MEMORY_BAR,
    )
    told = {
        "window": (f"manifests of a window of {scale.window / 3600:g} h", full),
        "archive": (f"manifests of a channel that keeps everything, {hours}", scale.early),
        "first minute": (f"its first minute as MPD, {hours}", scale.early),
    }
    for name, (what, early) in told.items():
        ratio = grown(figures.costs[name], early)
        cost = statistics.median(one for _, one in figures.costs[name][-10:])
        yield Line(
            what=f"day: {what}, next to {early / 3600:g} h",
            connections="1",
            ours=f"{cost * 1000:.1f} ms",
            ratio=f"{ratio:.2f}",
            bar=f"≤ {_COST_BAR}",
            passed=ratio <= _COST_BAR,
        )


def _around(memory: list[tuple[int, int]], early: int) -> tuple[int, int]:
    """Resident bytes, the most from ``early`` seconds on for a while and the most since."""
    last = memory[-1][0]
    until = min(2 * early, (early + last) // 2)
    return (
        max(one for at, one in memory if early <= at <= until),
        max(one for at, one in memory if at > until),
    )


def main() -> int:
    """0 when every bar is met."""
    if not MALLOC.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **MALLOC})
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24)
    scale = Scale(length=int(parser.parse_args().hours * 3600))
    if scale.length <= scale.window + scale.early + 2 * scale.each:
        parser.error("memory is compared with that after three hours")
    measured = list(lines(scale))
    sys.stdout.write(table(measured) + "\n")
    return 1 if any(line.passed is False for line in measured) else 0


if __name__ == "__main__":
    sys.exit(main())
