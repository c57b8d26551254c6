"""describe() against files of real encoders and against garbage."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.boxes.header import BoxHeader, walk
from sidecar.codecs.describe import describe
from sidecar.codecs.facts import AudioFacts, Facts, VideoFacts
from sidecar.errors import InvalidMedia, MediaError, UnsupportedMedia
from tests.support.bitwriter import box, esds, sound_entry, visual_entry
from tests.support.media import shared_files

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None, reason="ffmpeg is missing"
)
PICTURE = ("-f", "lavfi", "-i", "testsrc2=s=128x96:r=25:d=0.2")
SOUND = ("-f", "lavfi", "-i", "sine=r=48000:d=0.3")
PQ = ("-color_trc", "smpte2084", "-colorspace", "bt2020nc", "-color_primaries", "bt2020")

# Name -> arguments, the codec string (None: another test knows it).
ENCODED: dict[str, tuple[tuple[str, ...], str | None]] = {
    "avc_cropped": (
        (*PICTURE, "-vf", "scale=224:100,setsar=32/27", "-c:v", "libx264", "-profile:v",
         "baseline", "-pix_fmt", "yuv420p", "-level", "1.3"), "avc1.42C00D"),
    "avc_422": (
        (*PICTURE, "-c:v", "libx264", "-pix_fmt", "yuv422p10le", "-tag:v", "avc3", "-level",
         "3.1", "-color_trc", "bt709"), "avc3.7A001F"),
    "avc_444": ((*PICTURE, "-c:v", "libx264", "-pix_fmt", "yuv444p", "-level", "4"),
                "avc1.F40028"),
    "avc_interlaced": (
        (*PICTURE, "-vf", "scale=352:276,setsar=64/45", "-c:v", "libx264", "-pix_fmt", "yuv420p",
         "-flags", "+ilme+ildct", "-level", "3"), "avc1.64001E"),
    "hevc_main": ((*PICTURE, "-vf", "scale=130:98", "-c:v", "libx265", "-x265-params",
                   "log-level=none", "-pix_fmt", "yuv420p", "-tag:v", "hvc1"), None),
    "hevc_pq": (
        (*PICTURE, "-vf", "setsar=4/3", "-c:v", "libx265", "-x265-params",
         "log-level=none:high-tier=1:level-idc=5.1", "-pix_fmt", "yuv420p10le", *PQ), None),
    "hevc_lists": (
        (*PICTURE, "-c:v", "libx265", "-x265-params",
         "log-level=none:scaling-list=default:ref=5:bframes=4", "-pix_fmt", "yuv444p",
         "-color_trc", "arib-std-b67"), None),
    "av1": ((*PICTURE, "-c:v", "libaom-av1", "-cpu-used", "8", "-pix_fmt", "yuv420p"),
            "av01.0.00M.08"),
    "av1_pq": ((*PICTURE, "-c:v", "libaom-av1", "-cpu-used", "8", "-pix_fmt", "yuv420p10le", *PQ),
               "av01.0.00M.10.0.110.09.16.09.0"),
    "aac": ((*SOUND, "-c:a", "aac", "-ac", "2"), "mp4a.40.2"),
    "aac_51": ((*SOUND, "-c:a", "aac", "-ac", "6", "-ar", "44100"), "mp4a.40.2"),
    "aac_quad": (("-f", "lavfi", "-i", "aevalsrc=0|0|0|0:c=quad:d=0.3", "-c:a", "aac"),
                 "mp4a.40.2"),
    "ac3": ((*SOUND, "-c:a", "ac3", "-ac", "6"), "ac-3"),
    "eac3": ((*SOUND, "-c:a", "eac3", "-ac", "2"), "ec-3"),
    "opus": ((*SOUND, "-c:a", "libopus", "-ac", "2"), "Opus"),
    "mp3": ((*SOUND, "-c:a", "libmp3lame", "-ac", "2"), "mp4a.40.34"),
}  # fmt: skip
TRANSFERS = {"bt709": "SDR", "smpte2084": "PQ", "arib-std-b67": "HLG"}


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout + done.stderr


def child(data: bytes, parent: BoxHeader, *path: bytes) -> BoxHeader:
    for name in path:
        parent = next(one for one in walk(data, parent.body, parent.end) if one.type == name)
    return parent


def described(path: Path) -> list[Facts]:
    data = path.read_bytes()
    found = []
    moov = next(one for one in walk(data, 0, len(data)) if one.type == b"moov")
    for trak in walk(data, moov.body, moov.end):
        if trak.type == b"trak":
            handler = child(data, trak, b"mdia", b"hdlr").body + 8
            stsd = child(data, trak, b"mdia", b"minf", b"stbl", b"stsd")
            entry = next(iter(walk(data, stsd.body + 8, stsd.end)))
            found.append(
                describe(
                    data[entry.start : entry.end],
                    data[handler : handler + 4],
                    box_path="stsd",
                    offset=entry.start,
                )
            )
    return found


def streams(path: Path) -> list[dict[str, Any]]:
    text = subprocess.run(
        ("ffprobe", "-v", "error", "-show_streams", "-of", "json", path),
        capture_output=True, check=True, timeout=180,
    ).stdout  # fmt: skip
    found: list[dict[str, Any]] = json.loads(text)["streams"]
    return found


def agree(facts: Facts, stream: dict[str, Any]) -> None:
    if isinstance(facts, VideoFacts):
        assert (facts.width, facts.height) == (stream["width"], stream["height"])
        ratio = Fraction(stream.get("sample_aspect_ratio", "1:1").replace(":", "/"))
        assert Fraction(*facts.pixel_aspect) == ratio
        assert facts.video_range == TRANSFERS.get(stream.get("color_transfer", ""))
    else:
        assert isinstance(facts, AudioFacts)
        assert facts.sampling_rate == int(stream["sample_rate"])
        assert facts.channels == stream["channels"]


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encoded")


def encode(folder: Path, name: str) -> Path:
    path = folder / f"{name}.mp4"
    if not path.exists():
        run("ffmpeg", "-v", "error", "-y", *ENCODED[name][0], path)
    return path


@needs_ffmpeg
@pytest.mark.parametrize("name", ENCODED)
def test_encoders_agree(encoded: Path, name: str) -> None:
    path = encode(encoded, name)
    (facts,) = described(path)
    agree(facts, streams(path)[0])
    codec = ENCODED[name][1]
    if codec is not None:
        assert facts.codec == codec


@needs_ffmpeg
@pytest.mark.parametrize("name", ["hevc_main", "hevc_pq", "hevc_lists"])
def test_hevc_codec_string_from_a_trace_of_the_parameter_sets(encoded: Path, name: str) -> None:
    path = encode(encoded, name)
    trace = run("ffmpeg", "-i", path, "-c", "copy", "-bsf:v", "trace_headers", "-f", "null", "-")
    sps = trace[trace.index("Sequence Parameter Set") :]

    def field(field_name: str) -> int:
        match = re.search(rf"\b{re.escape(field_name)}\s+[01]+ = (\d+)", sps)
        assert match is not None, field_name
        return int(match[1])

    compatibility = sum(
        field(f"general_profile_compatibility_flag[{index}]") << index for index in range(32)
    )
    section = sps[sps.index("general_progressive_source_flag") : sps.index("general_level_idc")]
    bits = "".join(re.findall(r"\s([01]+) = \d+", section))
    assert len(bits) == 48
    flags = int(bits, 2).to_bytes(6).rstrip(b"\0")
    (facts,) = described(path)
    tier = "LH"[field("general_tier_flag")]
    assert facts.codec == ".".join(
        (
            facts.sample_entry,
            str(field("general_profile_idc")),
            f"{compatibility:X}",
            f"{tier}{field('general_level_idc')}",
            *(f"{byte:X}" for byte in flags),
        )
    )


@needs_ffmpeg
@pytest.mark.skipif(not shared_files(), reason="the shared sample files are missing")
def test_files_of_other_muxers_agree() -> None:
    for path in shared_files():
        try:
            found = described(path)
        except InvalidMedia:
            assert path.name == "sample_mdat_too_long.mp4"
            continue
        probed = [one for one in streams(path) if one["codec_type"] in ("video", "audio")]
        for facts, stream in zip(found, probed, strict=True):
            agree(facts, stream)


@pytest.mark.parametrize(
    ("entry", "handler", "reason"),
    [
        (visual_entry(b"vp09"), b"vide", "sample entry vp09 of handler vide is not served"),
        (visual_entry(b"encv"), b"vide", "is encrypted"),
        (sound_entry(b"enca"), b"soun", "is encrypted"),
        (sound_entry(b"mp4a", esds(0x40, b"\x11\x90")), b"vide", "mp4a of handler vide"),
        (visual_entry(b"avc1"), b"meta", "avc1 of handler meta"),
        (box(b"\0\1\2\3", bytes(90)), b"vide", "sample entry 00010203"),
        (box(b"tmcd", b""), b"tmcd", "tmcd"),
    ],
)
def test_what_is_not_served_is_named(entry: bytes, handler: bytes, reason: str) -> None:
    with pytest.raises(UnsupportedMedia, match=reason):
        describe(entry, handler, box_path="stsd", offset=7)


TYPES = [b"avc1", b"avc3", b"hvc1", b"hev1", b"av01", b"mp4a", b"ac-3", b"ec-3", b"Opus",
         b"stpp", b"wvtt"]  # fmt: skip
CONFIGS = [b"avcC", b"hvcC", b"av1C", b"esds", b"dac3", b"dec3", b"dOps", b"pasp", b"colr",
           b"wave", b"vttC"]  # fmt: skip


@given(
    st.sampled_from(TYPES),
    st.lists(st.tuples(st.sampled_from(CONFIGS), st.binary(max_size=80)), max_size=3),
    st.sampled_from([b"vide", b"soun", b"text"]),
    st.integers(0, 3),
    st.binary(max_size=40),
)
@settings(max_examples=400)
def test_garbage_ends_in_facts_or_our_error(
    box_type: bytes,
    children: list[tuple[bytes, bytes]],
    handler: bytes,
    version: int,
    tail: bytes,
) -> None:
    boxes = b"".join(box(name, body) for name, body in children) + tail
    entry = (
        sound_entry(box_type, boxes, version=version)
        if handler == b"soun"
        else visual_entry(box_type, boxes)
    )
    for data in (entry, entry[: len(entry) // 2]):
        try:
            describe(data, handler, box_path="stsd", offset=0)
        except MediaError as error:
            assert error.sentence


@needs_ffmpeg
@pytest.mark.parametrize("name", ["avc_422", "hevc_lists", "av1_pq", "aac_quad", "eac3"])
def test_every_bit_of_a_configuration_may_flip(encoded: Path, name: str) -> None:
    data = encode(encoded, name).read_bytes()
    moov = next(one for one in walk(data, 0, len(data)) if one.type == b"moov")
    trak = child(data, moov, b"trak")
    stsd = child(data, trak, b"mdia", b"minf", b"stbl", b"stsd")
    entry = next(iter(walk(data, stsd.body + 8, stsd.end)))
    handler = child(data, trak, b"mdia", b"hdlr").body + 8
    whole = data[entry.start : entry.end]
    # The configuration only: an encoder's message in an SEI says nothing.
    for bit in range(8 * 8, 8 * min(len(whole), 260)):
        mutated = bytearray(whole)
        mutated[bit // 8] ^= 0x80 >> bit % 8
        try:
            facts = describe(bytes(mutated), data[handler : handler + 4], box_path="stsd", offset=0)
        except MediaError:
            continue
        if isinstance(facts, VideoFacts):
            assert 0 <= facts.width <= 1 << 16 and 0 <= facts.height <= 1 << 16
        elif isinstance(facts, AudioFacts):
            assert facts.channels > 0 and facts.sampling_rate > 0
