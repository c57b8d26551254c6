"""What ffmpeg sends as an encoder, each kind of stream made once, and what is in it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache

from tests.support.media import piped

_VIDEO = (
    *("-f", "lavfi", "-i", "testsrc2=s=96x54:r=25:d=2.2"),
    *("-c:v", "libx264", "-preset", "veryfast", "-threads", "1", "-bf", "2", "-g", "20"),
    *("-x264-params", "scenecut=0:b-adapt=0", "-pix_fmt", "yuv420p", "-b:v", "150k"),
)
_AUDIO = (
    *("-f", "lavfi", "-i", "sine=d=2.2:sample_rate=48000"),
    *("-c:a", "aac", "-b:a", "64k", "-metadata:s:a:0", "language=ger"),
)
_INPUTS = _VIDEO[:4] + _AUDIO[:4]
_BOTH = _INPUTS + _VIDEO[4:] + _AUDIO[4:]
_CMAF = "cmaf+frag_keyframe"
_KINDS: dict[str, tuple[tuple[str, ...], str, str, tuple[str, ...]]] = {
    # name: inputs and codecs, format, movflags, further options
    "smooth": (_BOTH, "ismv", "isml+frag_keyframe", ()),
    "smooth without manifest": (_BOTH, "ismv", "frag_keyframe", ()),
    "samples in moov": (_BOTH, "mp4", "isml+frag_keyframe", ()),
    "fragmented": (_BOTH, "mp4", "frag_keyframe+empty_moov+default_base_moof", ()),
    "file offsets": (_BOTH, "mp4", "frag_keyframe+empty_moov", ()),
    "edit lists": (_BOTH, "mp4", "frag_keyframe+delay_moov", ()),
    "cmaf": (_BOTH, "mp4", _CMAF, ()),
    "chunks": (_BOTH, "mp4", "empty_moov+default_base_moof+cmaf", ("-frag_duration", "200000")),
    "producer times": (_VIDEO, "mp4", _CMAF, ("-write_prft", "wallclock")),
    "audio": (_AUDIO, "mp4", "empty_moov+default_base_moof", ("-frag_duration", "500000")),
    "video": (_VIDEO, "ismv", "isml+frag_keyframe", ()),
}
NAMES = tuple(_KINDS)


@cache
def stream(name: str) -> bytes:
    """All bytes that the encoder sends."""
    inputs, form, flags, more = _KINDS[name]
    return piped(*inputs, *more, "-f", form, "-movflags", flags, "pipe:1").read_bytes()


@dataclass(frozen=True, slots=True)
class Packet:
    """A sample as libavformat reads it, times in ticks of the track; duration 0: not known."""

    dts: int
    pts: int
    duration: int
    size: int
    sync: bool


@cache
def packets(name: str) -> dict[int, list[Packet]]:
    """The samples of each track of the stream, by track_ID, without applying edit lists."""
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(stream(name))
        file.flush()
        command = [
            *("ffprobe", "-v", "error", "-ignore_editlist", "1", "-of", "json"),
            *("-show_packets", "-show_entries", "stream=index,id", file.name),
        ]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    ids = {one["index"]: int(one["id"], 16) for one in found["streams"]}
    by_track: dict[int, list[Packet]] = {track: [] for track in ids.values()}
    for one in found["packets"]:
        by_track[ids[one["stream_index"]]].append(
            Packet(
                dts=int(one["dts"]),
                pts=int(one["pts"]),
                duration=int(one.get("duration", 0)),
                size=int(one["size"]),
                sync="K" in one["flags"],
            )
        )
    return by_track
