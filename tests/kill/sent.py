"""What encoders send while processes are killed, and what is in it, sample by sample."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecar.live.model import Fragment
from sidecar.live.parser import StreamParser
from tests.support.live_origin import pieces

# Pictures a second, and in a group.
RATE, GROUP = 10, 5

_FORMS = {
    # name: streams, format, movflags
    "muxed": (("0",), "mp4", "frag_keyframe+empty_moov+default_base_moof"),
    "smooth": (("0",), "ismv", "isml+frag_keyframe"),
    "video": (("0:v",), "mp4", "cmaf+frag_keyframe"),
    "audio": (("0:a",), "mp4", "cmaf+frag_keyframe"),
}


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that a point can take. ``due``: seconds after the begin at which it is recorded.
    ``samples``: track_ID -> decode time -> bytes."""

    due: float
    data: bytes
    samples: dict[int, dict[int, bytes]]


@dataclass(frozen=True, slots=True)
class Sent:
    """A stream without its end."""

    header: bytes
    pieces: tuple[Piece, ...]

    @property
    def samples(self) -> dict[int, dict[int, bytes]]:
        """All of them: track_ID -> decode time -> bytes."""
        found: dict[int, dict[int, bytes]] = {}
        for piece in self.pieces:
            for track, samples in piece.samples.items():
                found.setdefault(track, {}).update(samples)
        return found


def encoded(seconds: float, key_frames: Sequence[float] = ()) -> dict[str, Sent]:
    """``seconds`` of picture and sound, in each of the forms that encoders send. ``key_frames``:
    when there are some, seconds, if groups are not all alike."""
    group = round(seconds * RATE) if key_frames else GROUP
    forced = ("-force_key_frames", ",".join(map(str, key_frames))) if key_frames else ()
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.mkv"
        _run(
            *("-f", "lavfi", "-i", f"testsrc2=s=96x54:r={RATE}:d={seconds}"),
            *("-f", "lavfi", "-i", f"sine=sample_rate=48000:d={seconds}"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"),
            *("-x264-params", f"keyint={group}:min-keyint={group if not forced else 1}:scenecut=0"),
            *forced,
            *("-c:a", "aac", "-b:a", "64k", str(whole)),
        )
        found = {}
        for name, (streams, form, flags) in _FORMS.items():
            file = Path(folder) / f"{name}.mp4"
            maps = [word for one in streams for word in ("-map", one)]
            rate = f"{GROUP * 1_000_000 // RATE}"
            cut = ("-frag_duration", rate) if name == "audio" else ()
            _run(
                "-i",
                str(whole),
                *maps,
                "-c",
                "copy",
                *cut,
                "-f",
                form,
                "-movflags",
                flags,
                str(file),
            )
            found[name] = _cut(file.read_bytes())
        return found


def _run(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments], check=True)


def _cut(data: bytes) -> Sent:
    (_, header), *others = pieces(data)
    parser = StreamParser()
    list(parser.feed(header))
    found = []
    for due, piece in others:
        taken = [one for one in parser.feed(piece) if isinstance(one, Fragment)]
        if taken:
            found.append(Piece(due, piece, _samples(taken[0])))
    return Sent(header, tuple(found))


def _samples(fragment: Fragment) -> dict[int, dict[int, bytes]]:
    found: dict[int, dict[int, bytes]] = {}
    for part in fragment.tracks:
        table, time = part.samples, part.time
        of_track = found[part.track_ID] = {}
        for offset, size, duration in zip(
            table.offset.tolist(), table.size.tolist(), table.duration.tolist(), strict=True
        ):
            of_track[time] = fragment.data[offset : offset + size]
            time += duration
    return found
