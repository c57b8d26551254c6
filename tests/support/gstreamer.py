"""GStreamer as a client: ``gst-launch-1.0`` with ``playbin3``, as fast as it can."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from tests.support.frames import Frame

_PICTURE = re.compile(r"(\d+):(\d+):(\d+\.\d+) ([0-9a-f]{32})")
_BYTES_PER_SAMPLE = 4
# GStreamer 1.22 may have all of a short presentation before it has a pad for it, and then says that
# fragments cannot be downloaded. Its log tells that from fragments that cannot.
_RACE = "Can't push EOS on non-exposed pad"
_ATTEMPTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """``pictures``: as decoded, with the time of each. ``samples``: of sound, in one channel."""

    pictures: list[Frame]
    samples: int


def missing() -> str | None:
    """What is not there for GStreamer, or None."""
    return None if shutil.which("gst-launch-1.0") else "gst-launch-1.0 is not installed"


def play(url: str, sound: Path, *, channels: int, timeout: float = 180) -> Played:
    """Plays ``url`` to its end; ``sound`` is a file that gets what would be heard.

    Raises ``AssertionError`` with GStreamer's words when it fails, complains of anything, or
    decodes sound to other than ``channels`` channels.
    """
    heard = f"capsfilter caps=audio/x-raw,format=F32LE,channels={channels}"
    command = [
        *("gst-launch-1.0", "-q", "playbin3", f"uri={url}", "flags=video+audio"),
        "video-sink=checksumsink hash=md5 sync=false",
        f"audio-sink={heard} ! filesink sync=false location={sound}",
    ]
    log = sound.with_name("gstreamer.log")
    known = {"GST_DEBUG": "adaptivedemux2:1", "GST_DEBUG_FILE": str(log)}
    for _ in range(_ATTEMPTS):
        run = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            encoding="utf-8",
            env=os.environ | known,
        )
        if run.returncode == 0 or _RACE not in log.read_text():
            break
    assert run.returncode == 0 and not run.stderr, f"{run.stdout[-500:]}\n{run.stderr}"
    pictures = []
    for line in run.stdout.splitlines():
        found = _PICTURE.fullmatch(line)
        assert found, line
        hours, minutes, seconds, checksum = found.groups()
        time = 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)
        pictures.append(Frame(time, checksum))
    samples, rest = divmod(sound.stat().st_size, channels * _BYTES_PER_SAMPLE)
    assert rest == 0
    return Played(pictures=pictures, samples=samples)
