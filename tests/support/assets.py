"""What the end-to-end tests serve, and which source each served rendition comes from."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

from tests.support.frames import Frame, decode, packets, probe
from tests.support.media import SHARED, generated, place, shared_files
from tests.support.stack import origin

NONE = Fraction(0)
LADDER = ("ladder_1.mp4", "ladder_2.mp4", "ladder_3.mp4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """``path``: of the presentation, as in URLs. ``files``: the sources of its renditions.

    ``lead``: seconds of video before a trimmed start that are served too, because the trim does
    not fall on a sync sample; the whole presentation is later by as much. ``misread``: by
    which ffmpeg presents the source's video and audio late, seconds. In fragmented files it adds
    the largest negative composition offset to all times, against ISO/IEC 14496-12 8.8.8 and unlike
    browsers; in PIFF files it does not read the times of fragments (tfxd), of which the first
    audio one is negative by the priming.
    """

    path: str
    files: tuple[str, ...]
    lead: Fraction = NONE
    misread: tuple[Fraction, Fraction] = (NONE, NONE)

    @property
    def name(self) -> str:
        return self.path.strip("/").replace("/", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStream:
    """One stream of a source file, as ffprobe lists it."""

    path: Path
    index: int
    kind: str
    codec: str
    language: str | None
    height: int | None
    channels: int | None


def _direct(
    file: str, *, lead: Fraction = NONE, misread: tuple[Fraction, Fraction] = (NONE, NONE)
) -> Asset:
    return Asset(path=f"/{file}", files=(file,), lead=lead, misread=misread)


ASSETS = (
    _direct("bframes_closed.mp4"),
    _direct("bframes_open.mp4"),
    Asset(path="/two_audio.ism", files=("two_audio.mp4",)),
    _direct("hevc.mp4"),
    _direct("variable_rate.mp4"),
    _direct("trimmed.mp4", lead=Fraction(3, 5)),
    _direct("audio_delayed.mp4"),
    _direct("video_delayed.mp4"),
    _direct("frag_plain.mp4"),
    Asset(path="/frag_separate.ism", files=("frag_separate.mp4",)),
    _direct("frag_sidx.mp4"),
    _direct("frag_cmaf.mp4", misread=(Fraction(2, 25), NONE)),
    _direct("frag_short.mp4"),
    _direct("frag_partial.mp4"),
    Asset(
        path="/frag_piff.ism",
        files=("frag_piff.ismv",),
        misread=(Fraction(2, 25), Fraction(1024, 48000)),
    ),
    Asset(path="/ladder.ism", files=("ladder_audio.mp4", *LADDER)),
)


def library(root: Path) -> None:
    """Fills ``root`` with every asset; raises ``AssertionError`` when ``origin create`` fails."""
    for file in {file for asset in ASSETS for file in asset.files}:
        place(root, file)
    for asset in ASSETS:
        if asset.path.endswith(".ism"):
            made = origin("create", "-o", root / asset.path[1:], *(root / f for f in asset.files))
            assert made.returncode == 0, made.stdout + made.stderr
    for path in shared_files():
        place(root / "shared", path)


def source_path(file: str) -> Path:
    """A generated file, or one of the shared samples (``shared/x.mp4``)."""
    return SHARED / file.removeprefix("shared/") if file.startswith("shared/") else generated(file)


@cache
def streams(file: str) -> tuple[SourceStream, ...]:
    """The audio and video streams of a source."""
    path = source_path(file)
    found = []
    for stream in probe(str(path)):
        if stream["codec_type"] in {"audio", "video"}:
            language = stream.get("tags", {}).get("language")
            found.append(
                SourceStream(
                    path=path,
                    index=stream["index"],
                    kind=stream["codec_type"],
                    codec=stream["codec_name"],
                    language=None if language == "und" else language,
                    height=stream.get("height"),
                    channels=stream.get("channels"),
                )
            )
    return tuple(found)


def source_of(asset: Asset, kind: str, *, height: int | None, channels: int | None) -> SourceStream:
    """The one source stream that a served rendition can come from."""
    found = [
        stream
        for file in asset.files
        for stream in streams(file)
        if stream.kind == kind and stream.height == height and stream.channels == channels
    ]
    assert len(found) == 1, f"{asset.name}: {kind} {height} {channels}: {found}"
    return found[0]


@cache
def whole(stream: SourceStream) -> list[Frame]:
    """All frames of a source stream, also those that its edit list leaves out."""
    return decode(str(stream.path), f"0:{stream.index}", ignore_edits=True)[0]


@cache
def presented(stream: SourceStream) -> dict[int, Fraction]:
    """When the source presents its frames: index into ``whole`` -> seconds.

    Frames are told by their bytes' place in the file: what is heard may well repeat itself.
    """
    path = str(stream.path)
    every = packets(path, stream.index, ignore_edits=True)
    times = [packet.time for packet in every]
    # A frame begins with its packet, but the first ones may be cut (Opus pre-skip) or missing: an
    # AAC decoder may say nothing of its first packet.
    index = {
        every[bisect_right(times, frame.time + Fraction(1, 2000)) - 1].position: number
        for number, frame in enumerate(whole(stream))
    }
    assert len(index) == len(whole(stream)), "each frame is of one packet"
    return {
        index[packet.position]: packet.time
        for packet in packets(path, stream.index)
        if not packet.is_discarded and packet.position in index
    }
