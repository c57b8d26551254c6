"""Damaged media is refused with a status, one log line that says where, and no traceback."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.frames import decode, dropped
from tests.support.http import Client
from tests.support.media import generated
from tests.support.stack import Stack


def box_at(data: bytes, name: bytes) -> int:
    """Offset of the first box called ``name``."""
    at = data.index(name) - 4
    assert at >= 0
    return at


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def sized(name: bytes, size: int) -> Callable[[bytes], bytes]:
    """The box ``name`` claims ``size`` bytes."""
    return lambda data: patched(data, box_at(data, name), struct.pack(">I", size))


def counted(name: bytes, count: int, *, skip: int = 12) -> Callable[[bytes], bytes]:
    """The table ``name`` claims ``count`` entries; ``skip``: bytes from its start to the count."""
    return lambda data: patched(data, box_at(data, name) + skip, struct.pack(">I", count))


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "cut_in_moov": ("bframes_open.mp4", lambda data: data[: box_at(data, b"moov") + 900]),
    "cut_in_mdat": ("bframes_open.mp4", lambda data: data[: len(data) // 2]),
    "moov_too_large": ("bframes_open.mp4", sized(b"moov", 0x7FFFFFFF)),
    "trak_too_large": ("bframes_open.mp4", sized(b"trak", 0x00FFFFFF)),
    "stbl_too_small": ("bframes_open.mp4", sized(b"stbl", 9)),
    "box_smaller_than_its_header": ("bframes_open.mp4", sized(b"mdhd", 4)),
    "huge_stsz": ("bframes_open.mp4", counted(b"stsz", 0xFFFFFFFF, skip=16)),
    "huge_stts": ("bframes_open.mp4", counted(b"stts", 0xFFFFFFFF)),
    "huge_stsc": ("bframes_open.mp4", counted(b"stsc", 0x7FFFFFFF)),
    "huge_stco": ("bframes_open.mp4", counted(b"stco", 0x3FFFFFFF)),
    "huge_run": ("frag_plain.mp4", counted(b"trun", 0xFFFFFFFF)),
    "moof_too_large": ("frag_plain.mp4", sized(b"moof", 0x7FFFFFFF)),
    "traf_too_large": ("frag_plain.mp4", sized(b"traf", 0x00FFFFFF)),
    "zero_timescale": (
        "bframes_open.mp4",
        lambda data: patched(data, box_at(data, b"mdhd") + 20, bytes(4)),
    ),
}
EMPTY: dict[str, bytes] = {
    "empty": b"",
    "seven_bytes": b"\0\0\0\x10fty",
    "no_media_at_all": b"GIF89a" + bytes(5000),
    "no_moov": struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0) + struct.pack(">I4s", 8, b"free"),
    "no_tracks": struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0) + struct.pack(">I4s", 8, b"moov"),
}


@pytest.fixture(scope="module")
def folder(stack: Stack) -> Path:
    made = stack.media / "damaged"
    made.mkdir()
    for name, (source, damage) in DAMAGE.items():
        (made / f"{name}.mp4").write_bytes(damage(generated(source).read_bytes()))
    for name, data in EMPTY.items():
        (made / f"{name}.mp4").write_bytes(data)
    return made


@pytest.mark.parametrize("name", [*DAMAGE, *EMPTY])
@pytest.mark.parametrize("manifest", [".m3u8", ".mpd"])
def test_refused_with_the_evidence_in_the_log(
    client: Client, stack: Stack, folder: Path, name: str, manifest: str
) -> None:
    before = len(stack.log())
    answer = client.request(f"/damaged/{name}.mp4/{manifest}")
    assert answer.status in {415, 500, 502}, (answer.status, answer.body[:200])
    assert answer.status == 415
    text = answer.body.decode()
    assert len(text.strip()) > 10 and str(folder) not in text and "Traceback" not in text
    lines = [line for line in stack.log()[before:].splitlines() if line.strip()]
    assert not any("Traceback" in line for line in lines), lines
    naming = [line for line in lines if f"{name}.mp4" in line]
    assert len(naming) == 1, lines
    if name in DAMAGE:
        assert "offset" in naming[0] and "box" in naming[0], naming[0]


def test_a_file_cut_in_a_later_fragment_is_served_up_to_there(client: Client, stack: Stack) -> None:
    data = generated("frag_plain.mp4").read_bytes()
    (stack.media / "recording.mp4").write_bytes(data[: data.rindex(b"moof") + 40])
    whole = decode(str(generated("frag_plain.mp4")), "0:v:0", "0:a:0")
    served = decode(f"{stack.base}/recording.mp4/.m3u8?hls_fmp4", "0:v:0", "0:a:0")
    for every, found in zip(whole, served, strict=True):
        start, end = dropped(every, found)
        assert start == 0
        assert 0 < end < len(every) / 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not xml",
        "<smil>",
        '<smil xmlns="http://www.w3.org/2001/SMIL20/Language"/>',
        '<smil xmlns="http://www.w3.org/2001/SMIL20/Language"><body><switch/></body></smil>',
        "<smil><body><switch><video systemBitrate='1'/></switch></body></smil>",
        "<smil><body><switch><video src='none.mp4' systemBitrate='1'/></switch></body></smil>",
        "<smil><body><switch><video src='ladder_1.mp4' systemBitrate='-1'/></switch></body></smil>",
        "<smil><body><switch><video src='ladder_1.mp4' systemBitrate='x'/></switch></body></smil>",
        "<html><body>no</body></html>",
        "<a>" * 100_000,
    ],
    ids=lambda text: text[-40:] or "empty",
)
def test_server_manifests_that_make_no_sense(client: Client, stack: Stack, text: str) -> None:
    path = stack.media / "senseless.ism"
    path.write_text(text)
    before = len(stack.log())
    answer = client.request("/senseless.ism/.m3u8")
    assert 400 <= answer.status < 600 and answer.status != 500, (answer.status, answer.body[:200])
    assert "Traceback" not in stack.log()[before:]
    assert str(stack.media).encode() not in answer.body
