"""Load on the real stack, beside nginx's static files in the same nginx: prints one table.

    python tests/bench/run.py [--quick] [--only hot --only cold ...] [--port 18700]

Needs wrk and ffmpeg. The assets (4 GB) are made once and kept in .cache/bench.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from assets import make_assets, make_server_manifests  # noqa: E402
from instance import Instance  # noqa: E402
from report import Line, table  # noqa: E402
from rows import ROWS, Bench  # noqa: E402


def main() -> int:
    """0 when every bar is met."""
    arguments = _arguments()
    cache = ROOT / ".cache" / "bench"
    cache.mkdir(parents=True, exist_ok=True)
    assets = make_assets(cache)
    make_server_manifests(assets)
    started = time.monotonic()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="origin-bench-") as scratch:
        instance = Instance(
            scratch=Path(scratch),
            media=assets.media,
            static=cache / "static",
            port=arguments.port,
            nopush=arguments.static_nopush,
        )
        bench = Bench(
            assets=assets,
            instance=instance,
            seconds=0.4,
            repeats=3 if arguments.quick else 12,
            restarts=1 if arguments.quick else 5,
            flat_requests=20_000 if arguments.quick else 100_000,
            scratch=Path(scratch),
        )
        instance.static.mkdir(exist_ok=True)
        instance.start()
        try:
            lines = _measure(bench, arguments.only or list(ROWS))
        finally:
            instance.stop()
        text = f"{_header(instance, load)}\n{table(lines)}\n"
    sys.stdout.write(text)
    sys.stdout.write(f"\n{time.monotonic() - started:.0f} s\n")
    result = ROOT / "build" / "bench.md"
    result.parent.mkdir(exist_ok=True)
    result.write_text(text)
    return 1 if any(line.passed is False for line in lines) else 0


def _measure(bench: Bench, names: list[str]) -> list[Line]:
    lines = []
    for name in names:
        for line in ROWS[name](bench):
            lines.append(line)
            sys.stderr.write(f"{line.what} [{line.connections}] {line.ours} {line.ratio}\n")
    return lines


def _header(instance: Instance, load: float) -> str:
    version = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=False).stderr
    return (
        f"{os.cpu_count()} CPUs ({_processor()}), load average {load:.1f} before, "
        f"Linux {platform.release()}, {version.strip()}, "
        "1 nginx worker, client and sidecar on the same CPUs.\n"
        "Asset: 2 h, 1280x720, 2.5 Mbit/s H.264 + 128 kbit/s AAC, interleaved packet by packet.\n"
        "Static: files of the same size from the same nginx, runs interleaved; "
        f"http{{}}: {'; '.join(instance.settings) or 'defaults'}.\n"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs: a look, not a figure")
    parser.add_argument("--only", action="append", choices=list(ROWS), help="this row; repeatable")
    parser.add_argument("--port", type=int, default=18700, help="and the next one for static files")
    parser.add_argument("--static-nopush", choices=("on", "off"), help="else as openresty.conf")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
