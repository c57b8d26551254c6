"""What encoders push in tests of playout: some seconds of picture and sound, made once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.media import AAC, LAVFI, piped, tone, x264

RATE = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """``form``, ``flags``: format and movflags of ffmpeg. ``gop``: pictures. ``seconds``: of all.

    ``sizes``: of the renditions. ``offset``: seconds at which times begin. ``keys``: seconds at
    which groups of pictures begin as well. ``unlike``: seconds in which no picture is like the one
    before it, so that encoders find less to reorder. ``more``: options of ffmpeg.
    """

    form: str
    flags: str
    seconds: float
    gop: int = 25
    sizes: tuple[str, ...] = ("96x54",)
    offset: str = "0"
    keys: str = "0"
    unlike: float = 0
    more: tuple[str, ...] = ()


SMOOTH = Encoding(form="ismv", flags="isml+frag_keyframe", seconds=12)
CMAF = Encoding(form="mp4", flags="cmaf+frag_keyframe", seconds=12)
_UNLIKE = "128+100*sin(N*2.7)+X*mod(N,3)"
# What x264 reorders is up to it: a picture at a time as long as none is like another, then two.
REORDERED = Encoding(
    form="mp4",
    flags="cmaf+frag_keyframe",
    seconds=12,
    unlike=10,
    more=("-x264-params", "keyint=25:min-keyint=25:scenecut=0:b-adapt=1"),
)
DELAYED = Encoding(form="mp4", flags="frag_keyframe+delay_moov+default_base_moof", seconds=12)


@cache
def pushed(encoding: Encoding) -> bytes:
    """All bytes that the encoder sends."""
    return pushed_file(encoding).read_bytes()


def pushed_file(encoding: Encoding) -> Path:
    """A file of them, which nobody changes."""
    length = encoding.seconds
    inputs: list[str] = []
    unlike = f"geq=lum='{_UNLIKE}':cb=128:cr=128:enable='lt(t,{encoding.unlike})'"
    for size in encoding.sizes:
        filters = f",format=yuv420p,{unlike}" if encoding.unlike else ""
        inputs += [*LAVFI, f"testsrc2=s={size}:r={RATE}:d={length}{filters}"]
    maps = [word for at in range(len(encoding.sizes) + 1) for word in ("-map", str(at))]
    return piped(
        *(*inputs, *LAVFI, tone(length, 440), *maps),
        *(*x264(encoding.gop), *AAC, "-metadata:s:a:0", "language=ger"),
        *("-force_key_frames", encoding.keys, "-output_ts_offset", encoding.offset),
        *encoding.more,
        *("-f", encoding.form, "-movflags", encoding.flags, "pipe:1"),
    )
