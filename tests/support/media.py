"""Generated media: small ffmpeg sources, made once and cached by the hash of their recipe.

Every video carries a frame-number barcode in its top rows (``BARCODE``), so that a player's picture
can be compared with its media time: a player that skips or repeats frames says nothing of it.

``-aac_pns 0`` everywhere: perceptual noise substitution makes a decoder's output depend on all that
it decoded before, so that frame hashes would differ after a start in the middle.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "media"
SHARED = Path(os.environ.get("ORIGIN_TEST_MEDIA", ROOT.parent / "shared" / "data" / "media"))

FRAME_RATE = 25
WIDTH, HEIGHT = 320, 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Barcode:
    """The strip in the top ``height`` rows: a bit of the frame number each ``bit_width`` pixels."""

    bits: int = 16
    bit_width: int = WIDTH // 16
    height: int = 32


BARCODE = Barcode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one file is made. ``{out}`` is the file, ``{name.mp4}`` another recipe's file."""

    file: str
    arguments: tuple[str, ...]

    @property
    def needs(self) -> tuple[str, ...]:
        found = (re.fullmatch(r"\{([\w.]+)\}", argument) for argument in self.arguments)
        return tuple(match[1] for match in found if match and match[1] != "out")

    @property
    def key(self) -> str:
        """Hash of everything that the bytes depend on but ffmpeg itself."""
        parts = [self.file, *self.arguments, *(recipe(name).key for name in self.needs)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def barcode_video(seconds: float, *, width: int = WIDTH, height: int = HEIGHT) -> str:
    """A lavfi graph: moving picture under the barcode; 25 frames per second."""
    # A pixel for each bit, made large: what geq computes for each pixel takes its time.
    strip = (
        f"nullsrc=s={WIDTH // BARCODE.bit_width}x2:r={FRAME_RATE}:d={seconds},format=yuv444p,"
        "geq=lum='16+219*mod(floor(N/pow(2,X)),2)':cb=128:cr=128,"
        f"scale={WIDTH}:{BARCODE.height}:flags=neighbor,setsar=1,format=yuv420p"
    )
    picture = (
        f"testsrc2=s={WIDTH}x{HEIGHT - BARCODE.height}:r={FRAME_RATE}:d={seconds},format=yuv420p"
    )
    scale = "" if (width, height) == (WIDTH, HEIGHT) else f",scale={width}:{height}:flags=area"
    return f"{strip}[s];{picture}[p];[s][p]vstack{scale}"


def tone(seconds: float, frequency: int, *, rate: int = 48000, layout: str = "stereo") -> str:
    """A lavfi graph: a beeping tone with a slow tremolo, so that no two frames are alike."""
    return (
        f"sine=frequency={frequency}:beep_factor=3:sample_rate={rate}:duration={seconds},"
        f"tremolo=f=0.3:d=0.6,aformat=channel_layouts={layout},"
        "volume=0.8"
    )


def x264(gop: int = 50, *, parameters: str = "", rate: str = "200k") -> tuple[str, ...]:
    extra = f":{parameters}" if parameters else ""
    return (
        *("-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-b:v", rate),
        *("-pix_fmt", "yuv420p", "-threads", "1"),
        *("-x264-params", f"keyint={gop}:min-keyint={gop}:scenecut=0:b-adapt=0{extra}"),
    )


UNEVEN = "lt(n,100)+not(mod(n,3))*lt(n,180)+not(mod(n,4))"
AAC = ("-c:a", "aac", "-aac_pns", "0", "-b:a", "64k")
LAVFI = ("-f", "lavfi", "-i")
EXACT = ("-flags", "+bitexact", "-fflags", "+bitexact", "-map_metadata", "-1")


def _copy(file: str, source: str, *options: str, before: tuple[str, ...] = ()) -> Recipe:
    return Recipe(
        file=file,
        arguments=(
            *(*before, "-i", f"{{{source}}}", "-map", "0", "-c", "copy", *options),
            *("-fflags", "+bitexact", "{out}"),
        ),
    )


def _rendition(name: str, width: int, height: int, rate: str) -> Recipe:
    return Recipe(
        file=name,
        arguments=(
            *(*LAVFI, barcode_video(10, width=width, height=height), *x264(48, rate=rate)),
            *(*EXACT, "{out}"),
        ),
    )


RECIPES = (
    # Closed GOPs of 2 s with B-frames; video's and audio's edit lists take away the delay of
    # reordering (2 frames) and the encoder's priming (1024 samples).
    Recipe(
        file="bframes_closed.mp4",
        arguments=(
            *(*LAVFI, barcode_video(10), *LAVFI, tone(10, 440), *x264(), *AAC, *EXACT),
            "{out}",
        ),
    ),
    # Open GOPs: leading pictures are presented before the sync sample that they follow.
    Recipe(
        file="bframes_open.mp4",
        arguments=(
            *(*LAVFI, barcode_video(9), *LAVFI, tone(9, 500)),
            *(*x264(48, parameters="open-gop=1"), *AAC, *EXACT, "-movflags", "+faststart"),
            "{out}",
        ),
    ),
    # Two languages, of unlike channels and sampling rates: their frames fall differently.
    Recipe(
        file="two_audio.mp4",
        arguments=(
            *(*LAVFI, barcode_video(10), *LAVFI, tone(10, 440)),
            *(*LAVFI, tone(10, 700, rate=44100, layout="5.1")),
            *("-map", "0", "-map", "1", "-map", "2", *x264(), *AAC, "-b:a:1", "160k"),
            *(*EXACT, "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=ger"),
            "{out}",
        ),
    ),
    Recipe(
        file="hevc.mp4",
        arguments=(
            *(*LAVFI, barcode_video(8), *LAVFI, tone(8, 330, layout="mono")),
            *("-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-pix_fmt", "yuv420p"),
            *("-x265-params", "keyint=50:min-keyint=50:scenecut=0:bframes=3:pools=1:frame-threads=1"
              ":log-level=error"),
            *(*AAC, *EXACT, "{out}"),
        ),
    ),
    # 25 frames per second for 4 s, then every third or fourth frame only.
    Recipe(
        file="variable_rate.mp4",
        arguments=(
            *(*LAVFI, barcode_video(10) + f",select='{UNEVEN}'"),
            *(*LAVFI, tone(10, 600), *x264(250), "-force_key_frames", "0,2,4,6.4,8.32"),
            *("-vsync", "vfr", "-video_track_timescale", "90000", *AAC, *EXACT, "{out}"),
        ),
    ),
    # Edit lists: a start trimmed in the middle of a GOP; audio, then video, that begins later.
    _copy("trimmed.mp4", "bframes_closed.mp4", before=("-ss", "2.6")),
    Recipe(
        file="audio_delayed.mp4",
        arguments=(
            *("-i", "{bframes_closed.mp4}", "-itsoffset", "0.48", "-i", "{bframes_closed.mp4}"),
            *("-map", "0:v", "-map", "1:a", "-c", "copy", "-fflags", "+bitexact", "{out}"),
        ),
    ),
    Recipe(
        file="video_delayed.mp4",
        arguments=(
            *("-itsoffset", "0.52", "-i", "{bframes_closed.mp4}", "-i", "{bframes_closed.mp4}"),
            *("-map", "0:v", "-map", "1:a", "-c", "copy", "-fflags", "+bitexact", "{out}"),
        ),
    ),
    # Fragmented, as several muxers write it.
    _copy(
        "frag_plain.mp4",
        "bframes_closed.mp4",
        *("-movflags", "+frag_keyframe+empty_moov+default_base_moof+skip_trailer"),
    ),
    _copy(
        "frag_separate.mp4",
        "two_audio.mp4",
        *("-movflags", "+frag_keyframe+empty_moov+separate_moof"),
    ),
    # One track to a fragment, which does not refer to the file: fragments can be taken out of it.
    _copy(
        "frag_stored.mp4",
        "two_audio.mp4",
        *("-movflags", "+frag_keyframe+empty_moov+separate_moof+default_base_moof"),
    ),
    _copy(
        "frag_sidx.mp4",
        "bframes_closed.mp4",
        *("-movflags", "+dash+global_sidx+frag_keyframe+delay_moov"),
    ),
    _copy("frag_cmaf.mp4", "bframes_open.mp4", *("-movflags", "+cmaf+frag_keyframe+delay_moov")),
    _copy("frag_short.mp4", "bframes_closed.mp4", *("-movflags", "+delay_moov"),
          *("-frag_duration", "500000")),
    _copy("frag_partial.mp4", "bframes_closed.mp4", *("-movflags", "+frag_keyframe")),
    _copy("frag_piff.ismv", "bframes_closed.mp4", *("-f", "ismv", "-movflags", "+frag_keyframe")),
    # Sound that is not AAC: two codecs that transport streams carry too.
    Recipe(
        file="dolby.mp4",
        arguments=(
            *(*LAVFI, barcode_video(6), *LAVFI, tone(6, 440), *LAVFI, tone(6, 520)),
            *("-map", "0", "-map", "1", "-map", "2", *x264(), "-c:a:0", "ac3", "-b:a:0", "96k"),
            *("-c:a:1", "eac3", "-b:a:1", "64k", *EXACT, "{out}"),
        ),
    ),
    # Tens of megabytes in a few seconds: more than sockets and proxies can swallow.
    Recipe(
        file="heavy.mp4",
        arguments=(
            *(*LAVFI, "testsrc2=s=640x360:r=25:d=4,noise=alls=90:allf=t", "-c:v", "libx264"),
            *("-preset", "ultrafast", "-qp", "4", "-g", "25", "-pix_fmt", "yuv420p"),
            *("-threads", "1", *EXACT, "-movflags", "+faststart", "{out}"),
        ),
    ),
    # A ladder, one file per rendition, for a server manifest.
    _rendition("ladder_1.mp4", 160, 90, "60k"),
    _rendition("ladder_2.mp4", 240, 136, "140k"),
    _rendition("ladder_3.mp4", 320, 180, "300k"),
    Recipe(file="ladder_audio.mp4", arguments=(*LAVFI, tone(10, 440), *AAC, *EXACT, "{out}")),
)  # fmt: skip


@cache
def recipe(file: str) -> Recipe:
    """The recipe of ``file``; raises KeyError for an unknown one."""
    for candidate in RECIPES:
        if candidate.file == file:
            return candidate
    raise KeyError(file)


def generated(file: str) -> Path:
    """The file that ``recipe(file)`` makes, from the cache or made now.

    Raises ``RuntimeError`` with ffmpeg's words when it fails.
    """
    return made(recipe(file))


def made(wanted: Recipe) -> Path:
    """The same for a recipe that is not one of ``RECIPES``."""

    def make(partial: Path) -> None:
        replace = {f"{{{name}}}": str(generated(name)) for name in wanted.needs} | {
            "{out}": str(partial)
        }
        _ffmpeg(*(replace.get(argument, argument) for argument in wanted.arguments))

    return _kept(CACHE / wanted.key / wanted.file, make)


def piped(*arguments: str) -> Path:
    """A file of what ffmpeg writes to its standard output, where it cannot seek: ``arguments`` end
    with ``pipe:1``. From the cache or made now; raises ``RuntimeError`` as ``generated`` does."""
    key = hashlib.sha256("\0".join(("pipe", *arguments)).encode()).hexdigest()[:16]

    def make(partial: Path) -> None:
        partial.write_bytes(_ffmpeg(*arguments))

    return _kept(CACHE / key / "piped.mp4", make)


def _kept(path: Path, make: Callable[[Path], None]) -> Path:
    """``path``, which ``make`` makes under the name that it is given where it is not there."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / "lock").open("w") as lock:
        # Tests in several processes may want it at once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            partial = path.with_name(f"{os.getpid()}.{path.name}")
            try:
                make(partial)
                partial.rename(path)
            finally:
                partial.unlink(missing_ok=True)
    return path


def _ffmpeg(*arguments: str) -> bytes:
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments]
    run = subprocess.run(command, capture_output=True, check=False)
    if run.returncode:
        raise RuntimeError(f"{' '.join(command)}: {run.stderr.decode(errors='replace')}")
    return run.stdout


def shared_files() -> list[Path]:
    """The public sample files, or none when they are not on this machine."""
    return sorted(SHARED.glob("*.mp4")) if SHARED.is_dir() else []


def place(directory: Path, *files: str | Path, name: str | None = None) -> None:
    """Puts real copies of generated (by name) or other (by path) files into ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    for file in files:
        source = generated(file) if isinstance(file, str) else file
        shutil.copyfile(source, directory / (name or source.name))
