"""Mutated MP4s through the indexer: only results or our errors, within bounds of memory and time.

    python tests/fuzz/run.py --count 10000 --seed 1

Each case is made from its seed and number alone, so one that broke a bound can be made again:
``--seed 1 --first 4711 --count 1 --keep DIR`` writes its file. Prints the figures; the exit status
is 1 when a case raised something else, gave an impossible index, or broke a bound.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from sidecar.errors import MediaError, OriginError  # noqa: E402
from sidecar.media.index import index_media  # noqa: E402
from sidecar.media.track import MediaFile  # noqa: E402
from tests.fuzz.mutate import mutate  # noqa: E402
from tests.support.memory_source import MemorySource  # noqa: E402

# Of this process' CPU, whatever else the machine does.
MAX_SECONDS = 2.0
MAX_MEMORY = 256 << 20
HANGS_AFTER = 20


@dataclass
class Figures:
    """Sums over cases. ``errors``: ours, by class. ``broken``: what must not happen."""

    cases: int = 0
    results: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    slowest_ms: float = 0.0
    slowest_case: int = -1
    peak_bytes: int = 0
    broken: list[str] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        self.cases += other.cases
        self.results += other.results
        self.errors += Counter(other.errors)
        self.broken += other.broken
        self.peak_bytes = max(self.peak_bytes, other.peak_bytes)
        if other.slowest_ms > self.slowest_ms:
            self.slowest_ms, self.slowest_case = other.slowest_ms, other.slowest_case

    def __str__(self) -> str:
        errors = ", ".join(f"{name} {count}" for name, count in sorted(self.errors.items()))
        return (
            f"cases    {self.cases}\n"
            f"results  {self.results}\n"
            f"errors   {sum(self.errors.values())} ({errors})\n"
            f"slowest  {self.slowest_ms:.1f} ms (case {self.slowest_case})\n"
            f"memory   {self.peak_bytes / (1 << 20):.1f} MB at most, the whole process\n"
            f"broken   {len(self.broken)}"
        )


def check(media: MediaFile, file_size: int) -> None:
    """What holds for every index, whatever the file: AssertionError otherwise."""
    for track in media.tracks:
        samples = track.samples
        n = len(samples)
        assert n > 0 and track.timescale > 0 and track.edit_media_time >= 0
        assert samples.decode_time.shape == (n + 1,) and samples.offset.shape == (n,)
        assert samples.decode_time[0] >= 0 and (np.diff(samples.decode_time) >= 0).all()
        assert samples.decode_time[-1] > samples.decode_time[-2]
        assert int(samples.offset.min()) >= 0
        assert int((samples.offset + samples.size).max()) <= file_size
        times = track.presentation_time()
        assert int(times.min()) >= -track.edit_media_time if track.edit_media_time else True
        if track.kind == "video":
            assert track.edit_media_time == 0 and int(times.min()) >= 0
        if samples.composition_offset is not None:
            assert samples.composition_offset.shape == (n,) and samples.composition_offset[0] == 0
        if samples.sync is not None:
            assert samples.sync.shape == (n,) and not samples.sync.all()
        if samples.fragment_start is not None:
            starts = samples.fragment_start
            assert starts[0] == 0 and (np.diff(starts) > 0).all() and starts[-1] < n
        for column in (samples.decode_time, samples.size, samples.offset):
            assert column.base is None, "the index keeps a larger array alive"
        assert track.duration > 0 and track.average_bitrate > 0


def make(seeds: dict[str, bytes], seed: int, number: int) -> bytes:
    names = sorted(seeds)
    return mutate(seeds[names[number % len(names)]], random.Random(f"{seed}/{number}"))


def run_case(data: bytes, figures: Figures, number: int) -> None:
    _forget_peak()
    signal.setitimer(signal.ITIMER_PROF, HANGS_AFTER)
    before = time.process_time()
    try:
        media = index_media(MemorySource(data))
        figures.results += 1
        elapsed = time.process_time() - before
        check(media, len(data))
    except OriginError as error:
        elapsed = time.process_time() - before
        figures.errors[type(error).__name__] += 1
        if not isinstance(error, MediaError) or not error.path or not error.sentence:
            figures.broken.append(f"case {number}: {error!r} lacks evidence")
    except BaseException:  # whatever it is, it is what the test looks for
        elapsed = time.process_time() - before
        figures.broken.append(f"case {number}: {traceback.format_exc()}")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    peak = _peak()
    figures.cases += 1
    figures.peak_bytes = max(figures.peak_bytes, peak)
    if elapsed * 1000 > figures.slowest_ms:
        figures.slowest_ms, figures.slowest_case = elapsed * 1000, number
    if elapsed > MAX_SECONDS:
        figures.broken.append(f"case {number}: {elapsed:.1f} s")
    if peak > MAX_MEMORY:
        figures.broken.append(f"case {number}: {peak >> 20} MB")


def _hangs(*_: object) -> None:
    raise TimeoutError(f"still running after {HANGS_AFTER} s of CPU time")


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise RuntimeError(f"no {name}")


def _peak() -> int:
    return _status("VmHWM")


def work(directory: Path, seed: int, first: int, count: int, step: int) -> Figures:
    """The cases ``first``, ``first + step`` ... of this process."""
    seeds = {path.stem: path.read_bytes() for path in directory.iterdir()}
    for data in seeds.values():  # so that imports and caches do not count as a case's memory
        index_media(MemorySource(data))
    # Memory that is asked for and never touched counts, too: beyond this malloc fails.
    limit = _status("VmSize") + MAX_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGPROF, _hangs)
    figures = Figures()
    for number in range(first, first + count * step, step):
        run_case(make(seeds, seed, number), figures, number)
    return figures


def write_seeds(directory: Path) -> None:
    from tests.fuzz.seeds import seeds

    for name, data in seeds().items():
        (directory / f"{name}.mp4").write_bytes(data)


def run(count: int, seed: int, *, first: int = 0, workers: int = 2) -> Figures:
    """``count`` cases from number ``first`` on, spread over processes."""
    total = Figures()
    with tempfile.TemporaryDirectory() as name:
        write_seeds(Path(name))
        shares = [count // workers + (index < count % workers) for index in range(workers)]
        commands = []
        for index, share in enumerate(shares):
            command = [sys.executable, __file__, "--worker", name, "--seed", str(seed)]
            command += ["--first", str(first + index), "--count", str(share)]
            commands.append([*command, "--step", str(workers)])
        running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands
        ]
        for index, process in enumerate(running):
            output, _ = process.communicate()
            if process.returncode != 0:
                total.broken.append(f"worker {index} ended with status {process.returncode}")
                continue
            total.add(Figures(**json.loads(output)))
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="only write the files of the cases there")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--step", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        figures = work(options.worker, options.seed, options.first, options.count, options.step)
        json.dump(vars(figures), sys.stdout)
        return 0
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as name:
            write_seeds(Path(name))
            seeds = {path.stem: path.read_bytes() for path in Path(name).iterdir()}
        for number in range(options.first, options.first + options.count):
            data = make(seeds, options.seed, number)
            (options.keep / f"{options.seed}-{number}.mp4").write_bytes(data)
        return 0
    began = time.perf_counter()
    figures = run(options.count, options.seed, first=options.first, workers=options.workers)
    sys.stdout.write(f"{figures}\ntook     {time.perf_counter() - began:.0f} s\n")
    for text in figures.broken[:20]:
        sys.stdout.write(f"\n{text}\n")
    return 1 if figures.broken else 0


if __name__ == "__main__":
    sys.exit(main())
