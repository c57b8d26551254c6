"""The media that the bench serves: made once, kept in the cache directory."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLIP_SECONDS = 60
FRAMES_PER_SECOND = 25
LONG_LOOPS = 120
SHORT_LOOPS = 2
SPARSE_COPIES = 50
COLD_COPIES = 13
DISK_NEEDED = 12 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One step of the ladder: a clip of 60 s and what is made of it."""

    name: str
    width: int
    height: int
    video_kbps: int
    audio_kbps: int


LADDER = (
    Rung(name="high", width=1280, height=720, video_kbps=2520, audio_kbps=128),
    Rung(name="mid", width=960, height=540, video_kbps=1000, audio_kbps=96),
    Rung(name="low", width=640, height=360, video_kbps=450, audio_kbps=64),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """Where things are. ``media`` is the document root; names below are relative to it."""

    cache: Path
    media: Path

    def clip(self, rung: Rung) -> Path:
        return self.cache / f"clip-{rung.name}.mp4"

    def long(self, rung: Rung) -> Path:
        return self.media / f"long-{rung.name}.mp4"

    @property
    def short(self) -> Path:
        return self.media / "short-high.mp4"

    def sparse(self, index: int) -> Path:
        """2-hour assets without media bytes: what indexing them costs is what it always costs."""
        return self.media / "many" / f"asset{index:02d}.mp4"

    def first(self, rung: Rung) -> Path:
        """Sparse too; asked for only by the rows that time the first request after a start."""
        return self.media / "first" / f"long-{rung.name}.mp4"


def make_assets(cache: Path) -> Assets:
    """Every media file, generated where absent. Raises RuntimeError when the disk is too small."""
    assets = Assets(cache=cache, media=cache / "media")
    for folder in ("many", "first"):
        (assets.media / folder).mkdir(parents=True, exist_ok=True)
    absent = [rung for rung in LADDER if not assets.long(rung).exists()]
    if absent and shutil.disk_usage(cache).free < DISK_NEEDED:
        raise RuntimeError(f"{cache}: less than {DISK_NEEDED >> 30} GiB free for the 2-hour assets")
    for rung in LADDER:
        _once(assets.clip(rung), lambda path, rung=rung: _encode(rung, path))
        _once(assets.long(rung), lambda path, rung=rung: _loop(assets.clip(rung), LONG_LOOPS, path))
        _once(assets.first(rung), lambda path, rung=rung: _sparse_copy(assets.long(rung), path))
    _once(assets.short, lambda path: _loop(assets.clip(LADDER[0]), SHORT_LOOPS, path))
    for index in range(SPARSE_COPIES):
        _once(assets.sparse(index), lambda path: _sparse_copy(assets.long(LADDER[0]), path))
    return assets


def make_server_manifests(assets: Assets) -> None:
    """``one.ism``, ``three.ism`` (also below ``first``), and copies of ``one.ism``: names under
    which no segment has been asked for yet. Made anew in every run, by ``origin create``."""
    for folder in (assets.media, assets.media / "first"):
        sources = [f"long-{rung.name}.mp4" for rung in LADDER]
        _create(folder, "one.ism", sources[:1])
        _create(folder, "three.ism", sources)
    for index in range(COLD_COPIES):
        shutil.copyfile(assets.media / "one.ism", assets.media / f"cold{index}.ism")


def _create(folder: Path, name: str, sources: list[str]) -> None:
    new = folder / f".new-{name}"
    new.unlink(missing_ok=True)
    command = [sys.executable, "-m", "sidecar", "create", "-o", new.name, *sources]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    new.rename(folder / name)


def _once(path: Path, make: Callable[[Path], None]) -> None:
    if path.exists():
        return
    sys.stdout.write(f"making {path.name}\n")
    sys.stdout.flush()
    partial = path.with_name(f".partial-{path.name}")
    make(partial)
    partial.rename(path)


def _encode(rung: Rung, path: Path) -> None:
    """A noisy picture, so that the encoder reaches its bitrate, and a tone in noise."""
    rate = f"{rung.video_kbps}k"
    picture = (
        f"testsrc2=size={rung.width}x{rung.height}:rate={FRAMES_PER_SECOND},"
        "noise=alls=12:allf=t,format=yuv420p"
    )
    sound = "sine=frequency=440:sample_rate=48000,aformat=channel_layouts=stereo"
    _ffmpeg(
        "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, "-t", str(CLIP_SECONDS),
        "-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high",
        "-g", "50", "-keyint_min", "50", "-sc_threshold", "0", "-bf", "2",
        "-b:v", rate, "-maxrate", rate, "-bufsize", rate, "-x264-params", "open-gop=0",
        "-c:a", "aac", "-b:a", f"{rung.audio_kbps}k", "-f", "mp4", str(path),
    )  # fmt: skip


def _loop(clip: Path, times: int, path: Path) -> None:
    """The clip ``times`` times by packet copy; the muxer interleaves packet by packet."""
    _ffmpeg(
        "-stream_loop", str(times - 1), "-i", str(clip), "-t", str(times * CLIP_SECONDS),
        "-c", "copy", "-movflags", "+faststart", "-f", "mp4", str(path),
    )  # fmt: skip


def _sparse_copy(original: Path, path: Path) -> None:
    """Same size and same moov as the original, but a hole for mdat: indexing reads no more."""
    with original.open("rb") as source, path.open("wb") as copy:
        position = 0
        while True:
            source.seek(position)
            head = source.read(16)
            size, kind = struct.unpack(">I4s", head[:8])
            if kind == b"mdat":
                copy.write(head)
                break
            source.seek(position)
            copy.write(source.read(size))
            position += size
        copy.truncate(os.fstat(source.fileno()).st_size)


def _ffmpeg(*arguments: str) -> None:
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *arguments]
    subprocess.run(command, check=True)
