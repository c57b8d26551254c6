"""Browser players on the stack: a page on loopback, driven by tests/e2e/players/drive.mjs."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.media import FRAME_RATE, ROOT

PLAYERS = ROOT / "tests" / "e2e" / "players"
MODULES = ROOT / "tests" / "node_modules"
DASHJS = MODULES / "dashjs" / "dist" / "modern" / "umd"
PAGE = {
    "/": (PLAYERS / "index.html", "text/html"),
    "/player.js": (PLAYERS / "player.js", "text/javascript"),
    "/text.html": (PLAYERS / "text.html", "text/html"),
    "/text.js": (PLAYERS / "text.js", "text/javascript"),
    "/live.html": (PLAYERS / "live.html", "text/html"),
    "/live.js": (PLAYERS / "live.js", "text/javascript"),
    "/begin": (PLAYERS / "live.html", "text/html"),
    "/hls.js": (MODULES / "hls.js" / "dist" / "hls.js", "text/javascript"),
    "/dash.js": (DASHJS / "dash.all.debug.js", "text/javascript"),
    "/shaka.js": (
        MODULES / "shaka-player" / "dist" / "shaka-player.compiled.debug.js",
        "text/javascript",
    ),
    "/dash.mss.js": (DASHJS / "dash.mss.debug.js", "text/javascript"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One presentation for one player: ``hls``, ``dash``, ``smooth`` (by dash.js too),
    or ``shaka``, which tells DASH from HLS by itself.

    ``seeks``: forwards and back. ``early``: switch renditions before that. Once dash.js has the end
    of a Smooth presentation, it fetches no other quality of it.
    """

    player: str
    url: str
    seeks: bool = True
    early: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveJob:
    """One live presentation of ``seconds`` for one player (as in ``Job``), to be watched to its
    end. ``after``: how long to wait with it when the others begin, seconds."""

    player: str
    url: str
    seconds: float
    after: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TextJob:
    """One presentation with its text of ``language``; for dash.js, that of ``codec`` too.

    ``count``: of its cues. ``looks``: times at which to look at the picture and the text, seconds,
    and whether there is any text then.
    """

    player: str
    url: str
    language: str
    codec: str = ""
    count: int
    looks: tuple[tuple[float, bool], ...]


def missing() -> str | None:
    """What is not there for browser tests, or None."""
    if shutil.which("node") is None:
        return "node is not installed"
    if _browser() is None:
        return "chromium-headless-shell is not installed"
    if not (MODULES / "playwright-core").is_dir():
        return "tests/node_modules is not there: run tests/support/install_node.sh"
    return None


def _browser() -> str | None:
    """Chromium without its windows takes less than half the time that it takes with them."""
    return shutil.which("chromium-headless-shell") or shutil.which("chromium")


class _Pages(BaseHTTPRequestHandler):
    seen: Callable[[str], bool]

    def do_GET(self) -> None:
        if not self.seen(self.path):
            self.send_response(204)
            self.end_headers()
            return
        path, content_type = PAGE.get(self.path, (Path(), ""))
        body = path.read_bytes() if content_type else b""
        self.send_response(200 if content_type else 404)
        self.send_header("Content-Type", content_type or "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def _page(seen: Callable[[str], bool]) -> Iterator[str]:
    handler = type("Pages", (_Pages,), {"seen": staticmethod(seen)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def play(jobs: list[Job], *, at_once: int = 3, timeout: float = 290) -> list[dict[str, Any]]:
    """One report per job; raises ``AssertionError`` when the browser cannot be driven."""
    return _tried("", [asdict(job) for job in jobs], at_once, timeout)


def show(jobs: list[TextJob], *, at_once: int = 3, timeout: float = 290) -> list[dict[str, Any]]:
    """As ``play``, of the text of presentations: what cues there are, and what is shown when."""
    return _tried("text.html", [asdict(job) for job in jobs], at_once, timeout)


def watch(
    jobs: list[LiveJob], loaded: threading.Event, begin: threading.Event, *, timeout: float = 290
) -> list[dict[str, Any]]:
    """As ``play``, of live presentations as they come; all at once. ``loaded`` is set when the
    players are ready; they start when ``begin`` is set."""
    pages = 0

    def seen(path: str) -> bool:
        nonlocal pages
        pages += path == "/live.js"
        if pages == len(jobs):
            loaded.set()
        return begin.is_set() or path != "/begin"

    return _drive("live.html", [asdict(job) for job in jobs], len(jobs), timeout, seen)


def assert_moves(report: dict[str, Any]) -> None:
    """Six seconds of video were decoded at least, and several pictures of it were looked at.

    How many of them a machine shows in time says nothing of what it was given.
    """
    assert report["decoded"] > 6 * FRAME_RATE
    assert len({number for _, number in report["frames"]}) > 4


def _tried(
    page: str, jobs: list[dict[str, Any]], at_once: int, timeout: float
) -> list[dict[str, Any]]:
    reports = _drive(page, jobs, at_once, timeout)
    # One in some hundred times dash.js stops without a word. What it does not play because of the
    # media it does not play twice; errors and wrong pictures are not tried again.
    stuck = [at for at, report in enumerate(reports) if _is_stuck(report)]
    if stuck:
        again = _drive(page, [jobs[at] for at in stuck], 1, timeout)
        for at, report in zip(stuck, again, strict=True):
            reports[at] = report
    return reports


def _is_stuck(report: dict[str, Any]) -> bool:
    failed = report["failed"]
    return len(failed) > 0 and "timed out" in failed[0] and '"errors":[]' in failed[0]


def _drive(
    page: str,
    jobs: list[dict[str, Any]],
    at_once: int,
    timeout: float,
    seen: Callable[[str], bool] = lambda path: True,
) -> list[dict[str, Any]]:
    """``seen`` is called with each path that a page loads, by any thread: whether it is there."""
    with _page(seen) as url:
        request = {
            "page": url + page,
            "executable": _browser(),
            "atOnce": at_once,
            "jobs": jobs,
        }
        run = subprocess.run(
            ["node", str(PLAYERS / "drive.mjs")],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    assert run.returncode == 0, run.stderr
    reports: list[dict[str, Any]] = json.loads(run.stdout)
    return reports
