"""What was measured, as lines of one table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from load import Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table. ``passed``: None where there is no bar."""

    what: str
    connections: str
    ours: str
    bandwidth: str = ""
    static: str = ""
    ratio: str = ""
    bar: str = ""
    passed: bool | None = None
    processor: str = ""
    late: str = ""


HEADINGS = {
    "what": "What",
    "connections": "Conn.",
    "ours": "Ours",
    "bandwidth": "MB/s",
    "static": "Static",
    "ratio": "Ratio",
    "bar": "Bar",
    "passed": "Pass",
    "processor": "Worker CPU µs/request, ours / static",
    "late": "p99 ms, ours / static",
}


def compared(what: str, connections: int, result: Comparison, bar: float | None) -> Line:
    """Requests/s beside those of static."""
    ours, static = result.ours, result.static
    return Line(
        what=what,
        connections=str(connections),
        ours=f"{ours.rate:.0f}/s",
        bandwidth=f"{ours.bandwidth / 1e6:.0f}",
        static=f"{static.rate:.0f}/s",
        ratio=f"{result.ratio:.2f}",
        bar="" if bar is None else f"≥ {bar:.2f}",
        passed=None if bar is None else result.ratio >= bar,
        processor=f"{ours.cpu:.0f} / {static.cpu:.0f}",
        late=f"{ours.p99:.1f} / {static.p99:.1f}",
    )


def table(lines: Iterable[Line]) -> str:
    """Markdown, columns padded so that it reads in a terminal too."""
    rows = [list(HEADINGS.values())]
    for line in lines:
        passed = {None: "", True: "yes", False: "**NO**"}[line.passed]
        rows.append([passed if key == "passed" else getattr(line, key) for key in HEADINGS])
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)
