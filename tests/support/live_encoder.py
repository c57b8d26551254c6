"""ffmpeg as an encoder that pushes in real time."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.media import AAC, EXACT, LAVFI, Recipe, barcode_video, made, tone, x264

# What ffmpeg says of every Smooth stream whose sound has priming.
_EXPECTED = "starts with a nonzero dts"
SMOOTH = ("-f", "ismv", "-movflags", "isml+frag_keyframe")
CMAF = ("-f", "mp4", "-movflags", "cmaf+frag_keyframe")


@dataclass(frozen=True, slots=True)
class Ladder:
    """Two renditions of one picture with frame numbers, GOPs of a second, and sound. Each picture
    has a file of its own, since ffmpeg seeks to a sync sample of one only; the sound is in
    ``high``."""

    high: Path
    low: Path


def ladder(
    seconds: int, *, high: tuple[int, int] = (320, 180), low: tuple[int, int] = (240, 136)
) -> Ladder:
    """The source of encoders that push for ``seconds``. ``high``, ``low``: pixels."""
    exact = ("-metadata:s:a:0", "language=eng", *EXACT, "{out}")
    files = [f"pushed_{seconds}_{width}.mp4" for width, _ in (high, low)]
    pictures = [barcode_video(seconds, width=width, height=height) for width, height in (high, low)]
    return Ladder(
        high=made(
            Recipe(
                file=files[0],
                arguments=(*LAVFI, pictures[0], *LAVFI, tone(seconds, 440),
                           *x264(25, rate="300k"), *AAC, *exact),
            )
        ),
        low=made(
            Recipe(
                file=files[1],
                arguments=(*LAVFI, pictures[1], *x264(25, rate="140k"), *EXACT, "{out}"),
            )
        ),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Encoder:
    """A running ffmpeg."""

    process: subprocess.Popen[str]

    def kill(self) -> None:
        """As an encoder dies: nothing more is sent, not even an end."""
        self.process.kill()
        self.process.wait()

    def finish(self, timeout: float) -> None:
        """Waits until all has been sent. Raises ``AssertionError`` with what ffmpeg complained
        of."""
        _, said = self.process.communicate(timeout=timeout)
        lines = [line for line in said.splitlines() if _EXPECTED not in line]
        assert self.process.returncode == 0, said
        assert not lines, said


def push(url: str, source: Ladder, form: tuple[str, ...], *, begin: float = 0) -> Encoder:
    """Sends ``source``, from ``begin`` (seconds) on, as fast as it plays, over one POST."""
    command = ["ffmpeg", "-nostdin", "-v", "warning", "-copyts"]
    for file in (source.high, source.low):
        command += ["-re", *(("-ss", str(begin)) if begin else ()), "-i", str(file)]
    command += ["-map", "0:v", "-map", "1:v", "-map", "0:a", "-c", "copy"]
    command += [*form, "-method", "POST", url]
    return Encoder(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
