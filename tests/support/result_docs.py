"""The table of docs/results.md, from the contract and the statuses:
``python -m tests.support.result_docs``."""

from __future__ import annotations

import re
import sys

from sidecar.errors import Result
from sidecar.service.statuses import PLAYOUTS, status_of
from tests.support.media import ROOT

# In the order of the original's documentation.
FORMATS = ("smooth", "hds", "hls", "dash", "download")
HEAD = ("", "name", "meaning", *(f"`{PLAYOUTS[name]}`" for name in FORMATS))


def meanings() -> dict[str, str]:
    """What the contract says of each result."""
    text = (ROOT / "proto" / "origin" / "v1" / "origin.proto").read_text()
    body = text.partition("enum Result {")[2].partition("\n}")[0]
    found = re.findall(r"((?:  // .*\n)+)  (FMP4_\w+) = \d+;", body)
    return {name: " ".join(comment.replace("  // ", "").split()) for comment, name in found}


def table() -> str:
    """In Markdown, one row for each result, by number."""
    said = meanings()
    rows = [HEAD, ("---",) * len(HEAD)]
    for result in Result:
        statuses = [str(status_of(result, name)) for name in FORMATS]
        rows.append((str(result.value), f"`{result.name}`", said[result.name], *statuses))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    sys.stdout.write(table())
