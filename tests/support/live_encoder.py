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


def ladder(seconds: int) -> Ladder:
    """The source of encoders that push for ``seconds``."""
    exact = ("-metadata:s:a:0", "language=eng", *EXACT, "{out}")
    high = barcode_video(seconds)
    low = barcode_video(seconds, width=240, height=136)
    return Ladder(
        high=made(
            Recipe(
                file=f"pushed_{seconds}_high.mp4",
                arguments=(*LAVFI, high, *LAVFI, tone(seconds, 440), *x264(25, rate="300k"), *AAC,
                           *exact),
            )
        ),
        low=made(
            Recipe(
                file=f"pushed_{seconds}_low.mp4",
                arguments=(*LAVFI, low, *x264(25, rate="140k"), *EXACT, "{out}"),
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
