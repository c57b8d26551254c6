"""The files that are mutated: small ones of every kind that the indexer knows."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from tests.support.boxes import (
    AUDIO,
    Traf,
    Trak,
    Trun,
    box,
    co64,
    ctts,
    elst,
    empty,
    init,
    moof,
    progressive,
    stsc,
    stss,
    stsz,
    stts,
    stz2,
    tfxd,
    trex,
    words,
)

_VIDEO = ("-f", "lavfi", "-i", "testsrc=s=64x36:r=25:d=1")
_SOUND = ("-f", "lavfi", "-i", "sine=r=48000:d=1")
_AVC = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "12",
        "-b:v", "40k", "-pix_fmt", "yuv420p")  # fmt: skip
_AAC = ("-c:a", "aac", "-b:a", "16k")
_HEVC = ("-c:v", "libx265", "-x265-params", "log-level=none:keyint=12", "-tag:v", "hvc1")
_RECIPES: dict[str, tuple[str, ...]] = {
    "progressive": (*_VIDEO, *_SOUND, *_AVC, *_AAC),
    "faststart": (*_VIDEO, *_SOUND, *_AVC, *_AAC, "-movflags", "faststart"),
    "trimmed": (*_VIDEO, *_SOUND, *_AVC, *_AAC, "-ss", "0.3"),
    "quicktime": (*_VIDEO, *_SOUND, *_AVC, *_AAC, "-timecode", "01:00:00:00", "-f", "mov"),
    "hevc": (*_VIDEO, *_SOUND, *_HEVC, "-c:a", "ac3", "-b:a", "64k"),
    "opus": (*_SOUND, "-c:a", "libopus"),
    "eac3": (*_SOUND, "-c:a", "eac3", "-b:a", "64k"),
    "fragmented": (*_VIDEO, *_SOUND, *_AVC, *_AAC, "-movflags", "frag_keyframe+delay_moov"),
    "cmaf": (*_VIDEO, *_SOUND, *_AVC, *_AAC, "-movflags", "cmaf+frag_keyframe"),
    "partial": (*_VIDEO, *_SOUND, *_AVC, *_AAC, "-movflags", "frag_keyframe"),
    "smooth": (*_VIDEO, *_SOUND, *_AVC, *_AAC, "-f", "ismv"),
    "implicit": (*_VIDEO, *_SOUND, *_AVC, *_AAC, "-movflags",
                 "frag_keyframe+empty_moov+omit_tfhd_offset"),
}  # fmt: skip


def crafted(avc1: bytes, mp4a: bytes) -> dict[str, bytes]:
    """Files of a few hundred bytes that use what ffmpeg does not write.

    ``avc1``, ``mp4a``: sample entries that decoders would accept.
    """
    sizes = (10, 20, 30, 40)
    compact = [stts((4, 40)), stz2(4, 1, 2, 3, 4), stsc((1, 4, 1)), co64(60), stss(1, 3),
               ctts((2, 80), (2, -40), version=1)]  # fmt: skip
    common = [
        stts((64, 512)),
        stsz(common=1, count=64),
        stsc((1, 3, 1), (3, 58, 1)),
        co64(8, 9, 10),
    ]
    video = Trak(entry=avc1, sizes=sizes, sync=(1, 3), edit=elst((40, -1), (120, 40)))
    audio = Trak(track_id=2, handler_type=AUDIO, entry=mp4a, timescale=48000, delta=1024)
    trun = Trun(flags=0xF01, rows=[(40, 10, 0x2000000, 0), (40, 20, 0x10000, -5 & 0xFFFFFFFF)],
                data_offset=8, version=1)  # fmt: skip
    bare = Trun(flags=1, rows=[(), ()], data_offset=8)
    fragments = b"".join(
        moof(Traf(time=80 * n, truns=[trun, Trun(flags=0x200, rows=[(3,), (4,)])]),
             Traf(track_id=2, time=None, extra=tfxd(2048 * n), default_base_is_moof=False,
                  defaults=(1024, 5, 0), truns=[bare]))
        + box(b"mdat", bytes(80)) for n in range(6)
    )  # fmt: skip
    tracks = (empty(entry=avc1), empty(track_id=2, handler_type=AUDIO, entry=mp4a))
    return {
        "edited": progressive(video, audio, timescale=1000),
        "compact": progressive(Trak(entry=avc1, sizes=sizes, tables=compact), moov_first=True),
        "common size": progressive(
            Trak(handler_type=AUDIO, entry=mp4a, sizes=(64,), tables=common)
        ),
        "runs": init(*tracks, defaults=[trex(1), trex(2)]) + fragments,
        "many tracks": progressive(
            *(Trak(track_id=n + 1, handler_type=AUDIO, entry=mp4a) for n in range(20))
        ),
        "extended": progressive(
            video, before=box(b"uuid", bytes(40)), after=box(b"free", words(1))
        ),
    }


def seeds() -> dict[str, bytes]:
    """All of them by name. ffmpeg makes most; raises when it is missing or fails."""
    found: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as directory:
        for name, arguments in _RECIPES.items():
            target = Path(directory) / f"{name}.mp4"
            output = arguments if "-f" in arguments[-2:] else (*arguments, "-f", "mp4")
            command = ["ffmpeg", "-v", "error", "-fflags", "+bitexact", *output, "-y", str(target)]
            subprocess.run(command, check=True)
            found[name] = target.read_bytes()
    return found | crafted(
        _entry(found["progressive"], b"avc1"), _entry(found["progressive"], b"mp4a")
    )


def _entry(data: bytes, entry_type: bytes) -> bytes:
    """The sample entry of that type: the type follows its size, after stsd."""
    start = data.index(entry_type, data.index(b"moov")) - 4
    return data[start : start + int.from_bytes(data[start : start + 4])]
