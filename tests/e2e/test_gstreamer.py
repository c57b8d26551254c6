"""GStreamer's own demultiplexers of DASH, HLS and Smooth Streaming: every picture of the source."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from tests.support.assets import ASSETS, Asset, presented, streams, whole
from tests.support.frames import packets
from tests.support.gstreamer import missing, play
from tests.support.stack import Stack

FORMATS = {
    "dash": "/.mpd",
    "hls ts": "/.m3u8",
    "hls fmp4": "/.m3u8?hls_fmp4=true",
    "smooth": "/Manifest",
}
AAC_FRAME = 1024
SAMPLING_RATE = 48000
CASES = [
    (name, asset)
    for name in FORMATS
    for asset in ASSETS
    # GStreamer knows no H.265 in Smooth Streaming.
    if (name, asset.path) != ("smooth", "/hevc.mp4")
]


@pytest.mark.parametrize(
    ("name", "asset"), CASES, ids=[f"{name} {asset.name}" for name, asset in CASES]
)
def test_plays_every_picture_at_its_time_and_all_the_sound(
    stack: Stack, name: str, asset: Asset, tmp_path: Path
) -> None:
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    sources = [stream for file in asset.files for stream in streams(file)]
    # It chooses the first sound.
    sound = next(stream for stream in sources if stream.kind == "audio")
    pictures = [stream for stream in sources if stream.kind == "video"]
    assert sound.channels is not None
    played = play(
        stack.base + asset.path + FORMATS[name], tmp_path / "sound", channels=sound.channels
    )

    videos = [whole(stream) for stream in pictures]
    assert len(played.pictures) == len(videos[0])
    # It may go from one rendition to another.
    for picture, same in zip(played.pictures, zip(*videos, strict=True), strict=True):
        assert picture.hash in {frame.hash for frame in same}
    late = [
        picture.time - frame.time for picture, frame in zip(played.pictures, videos[0], strict=True)
    ]
    assert max(late) - min(late) < 0.001
    every = packets(str(sound.path), sound.index, ignore_edits=True)
    unheard = Fraction(AAC_FRAME * len(every) - played.samples, SAMPLING_RATE)
    if name.startswith("hls"):
        # There it begins with the first picture.
        first = min(presented(pictures[0]).values())
        assert 0 <= unheard <= max(first - min(presented(sound).values()), 0)
    else:
        assert unheard == 0
