"""Indexes of real files against ffprobe, packet by packet.

ffprobe applies edit lists, so presentation times must be equal in all tracks up to one shift: that
by which a presentation is moved when an edit list begins between two sync samples.
"""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from sidecar.media.index import index_media
from sidecar.media.track import Kind, MediaFile, Track
from sidecar.storage.local import open_local
from tests.support.packets import Packet, probe_packets

pytestmark = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None,
    reason="ffmpeg and ffprobe are not installed",
)

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "media"

VIDEO = ("-f", "lavfi", "-i", "testsrc=s=128x72:r=25:d=4")
SOUND = ("-f", "lavfi", "-i", "sine=r=48000:d=4")
AAC = ("-c:a", "aac", "-b:a", "32k")
AVC = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25", "-bf", "2")
BOTH = (*VIDEO, *SOUND, *AVC, *AAC)
FLAGS = "-movflags"

# name -> arguments; {x.mp4} is the file of another recipe.
RECIPES: dict[str, tuple[str, ...]] = {
    "progressive.mp4": BOTH,
    "faststart.mp4": (*BOTH, FLAGS, "faststart"),
    "no edit list.mp4": (*BOTH, "-use_editlist", "0"),
    "negative offsets.mp4": (*BOTH, FLAGS, "negative_cts_offsets"),
    "open gop.mp4": (*BOTH, "-x264-params", "open-gop=1:b-adapt=0:scenecut=0"),
    "sound later.mp4": (*VIDEO, "-itsoffset", "0.5", *SOUND, *AVC, *AAC),
    "picture later.mp4": ("-itsoffset", "0.7", *VIDEO, *SOUND, *AVC, *AAC),
    "variable frame rate.mp4": (
        *BOTH, "-vsync", "vfr",
        "-vf", "select='not(eq(mod(n,7),3))',setpts='PTS+0.3*mod(N,3)/25/TB'",
    ),
    "two languages.mp4": (
        *VIDEO, *SOUND, *SOUND, *AVC, *AAC, "-map", "0", "-map", "1", "-map", "2",
        "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=fra",
    ),
    "hevc.mp4": (
        *VIDEO, *SOUND, "-c:v", "libx265", "-x265-params", "log-level=none:keyint=25",
        "-tag:v", "hvc1", "-c:a", "ac3",
    ),
    "opus.mp4": (*SOUND, "-c:a", "libopus"),
    "quicktime.mov": (*BOTH, "-timecode", "01:00:00:00", "-f", "mov"),
    "fragments.mp4": (*BOTH, FLAGS, "frag_keyframe+delay_moov+default_base_moof"),
    "fragments with data offsets.mp4": (*BOTH, FLAGS, "frag_keyframe+empty_moov"),
    "fragments without base.mp4": (*BOTH, FLAGS, "frag_keyframe+empty_moov+omit_tfhd_offset"),
    "fragments by track.mp4": (*BOTH, FLAGS, "frag_keyframe+empty_moov+separate_moof"),
    "fragments with sidx.mp4": (*BOTH, FLAGS, "frag_keyframe+delay_moov+global_sidx"),
    "fragments by time.mp4": (*BOTH, FLAGS, "empty_moov", "-frag_duration", "300000"),
    "cmaf.mp4": (*BOTH, FLAGS, "cmaf+frag_keyframe"),
    "partially fragmented.mp4": (*BOTH, FLAGS, "frag_keyframe"),
    "smooth.ismv": (*BOTH, "-f", "ismv"),
    "live smooth.ismv": (*BOTH, "-f", "ismv", FLAGS, "isml+frag_keyframe"),
    "start between sync samples.mp4": ("-ss", "1.52", "-i", "{progressive.mp4}", "-c", "copy"),
    "start inside a picture.mp4": ("-ss", "1.5", "-i", "{progressive.mp4}", "-c", "copy"),
    "start in an open gop.mp4": ("-ss", "1.5", "-i", "{open gop.mp4}", "-c", "copy"),
    "start and end.mp4": ("-ss", "1.5", "-t", "1.3", "-i", "{progressive.mp4}", "-c", "copy"),
}  # fmt: skip

# sidx makes ffprobe lose the sync flags of fragments.
NO_KEY_FLAGS = {"fragments with sidx.mp4"}
# ffprobe 5 presents fragments with negative composition offsets late, by the lowest of them, and
# counts a track whose tfxd is negative from 0.
DIFFERENT_CLOCKS = {"cmaf.mp4", "smooth.ismv", "live smooth.ismv"}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("indexed")


def generated(directory: Path, name: str) -> Path:
    path = directory / name
    if not path.exists():
        arguments = [
            str(generated(directory, argument[1:-1])) if argument.startswith("{") else argument
            for argument in RECIPES[name]
        ]
        subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments, str(path)], check=True)
    return path


def compare(track: Track, packets: list[Packet], *, keys: bool = True) -> set[Fraction]:
    """Asserts that the track has ffprobe's packets; returns by how much its times differ.

    Packets that ffprobe marks as not to be shown may be missing here, at both ends.
    """
    samples = track.samples
    theirs = {packet.position: packet for packet in packets}
    sync = [True] * len(samples) if samples.sync is None else samples.sync.tolist()
    positions = samples.offset.tolist()
    shared = [packet.position for packet in packets if packet.position in set(positions)]
    assert positions == shared, "other samples, or another order"
    assert all(packet.discard for packet in packets if packet.position not in set(positions))
    assert samples.size.tolist() == [theirs[position].size for position in positions]
    if keys:
        assert sync == [theirs[position].key for position in positions]
    times = [Fraction(time, track.timescale) for time in track.presentation_time().tolist()]
    decode = [Fraction(time, track.timescale) for time in samples.decode_time.tolist()]
    steps = [theirs[position].dts for position in positions]
    assert [b - a for a, b in pairwise(decode[:-1])] == [b - a for a, b in pairwise(steps)]
    return {time - theirs[position].pts for time, position in zip(times, positions, strict=True)}


def in_step(media: MediaFile, shifts: dict[int, set[Fraction]]) -> None:
    """All tracks differ from ffprobe by the same, within half a tick of each."""
    for track in media.tracks:
        assert len(shifts[track.track_id]) == 1, "times differ by more than a shift"
    found = [next(iter(shifts[track.track_id])) for track in media.tracks]
    tolerance = max(Fraction(1, 2 * track.timescale) for track in media.tracks)
    assert max(found) - min(found) <= tolerance
    assert min(found) >= 0


def index(path: Path) -> MediaFile:
    with open_local(str(path)) as source:
        return index_media(source)


@pytest.mark.parametrize("name", RECIPES)
def test_generated(directory: Path, name: str) -> None:
    path = generated(directory, name)
    packets = probe_packets(path)
    media = index(path)
    assert len(media.tracks) + len(media.skipped) == len(packets)
    shifts = {
        track.track_id: compare(track, packets[track.track_id], keys=name not in NO_KEY_FLAGS)
        for track in media.tracks
    }
    if name in DIFFERENT_CLOCKS:
        assert all(len(shift) == 1 for shift in shifts.values())
        video = next(track for track in media.tracks if track.kind is Kind.VIDEO)
        assert int(video.presentation_time().min()) == 0
    else:
        in_step(media, shifts)
    for track in media.tracks:
        if track.kind is Kind.VIDEO:
            assert track.edit_media_time == 0
            assert track.samples.sync is not None and track.samples.sync[0]


@pytest.mark.parametrize("name", ["smooth.ismv", "live smooth.ismv"])
def test_priming_of_smooth_sources(directory: Path, name: str) -> None:
    video, audio = index(generated(directory, name)).tracks
    # One AAC frame of 1024 samples at 48 kHz in ticks of 10 MHz, before the first picture.
    assert audio.edit_media_time == 213333
    assert audio.presentation_time()[0] == -213333
    assert video.presentation_time()[0] == 0


def test_languages(directory: Path) -> None:
    media = index(generated(directory, "two languages.mp4"))
    assert [track.language for track in media.tracks] == [None, "eng", "fra"]


def test_fragment_starts(directory: Path) -> None:
    for name in ("fragments.mp4", "fragments by track.mp4", "partially fragmented.mp4"):
        video = index(generated(directory, name)).tracks[0]
        assert video.samples.fragment_start is not None
        assert video.samples.fragment_start.tolist() == [0, 25, 50, 75], name


def test_timecode_is_skipped(directory: Path) -> None:
    media = index(generated(directory, "quicktime.mov"))
    assert [track.kind for track in media.tracks] == [Kind.VIDEO, Kind.AUDIO]
    assert len(media.skipped) == 1 and "tmcd" in media.skipped[0]


def test_a_trimmed_file_keeps_picture_and_sound_in_step(directory: Path) -> None:
    media = index(generated(directory, "start between sync samples.mp4"))
    video, audio = media.tracks
    assert video.presentation_time()[0] == 0
    # 0.52 s between the sync sample at 1 s and the start, less than 0.1 s of sound before 0.
    assert 0 <= -Fraction(int(audio.presentation_time()[0]), audio.timescale) <= Fraction(1, 8)


SHARED_FILES = sorted(SHARED.glob("*.mp4")) if SHARED.is_dir() else []


@pytest.mark.skipif(not SHARED_FILES, reason=f"no sample files: {SHARED} is absent")
@pytest.mark.parametrize("path", SHARED_FILES, ids=lambda path: path.name)
def test_sample_files(path: Path) -> None:
    packets = probe_packets(path)
    media = index(path)
    assert media.tracks
    in_step(
        media, {track.track_id: compare(track, packets[track.track_id]) for track in media.tracks}
    )
