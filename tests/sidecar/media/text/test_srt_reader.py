"""SRT files, read."""

from __future__ import annotations

import pytest

from sidecar.errors import InvalidMedia
from sidecar.media.text.cues import Cue
from sidecar.media.text.srt import read_srt

FILE = """1
00:00:01,000 --> 00:00:02,500
<I>Slanted</I> & <font color="#ff0000">red</font>
1 < 2

2
00:00:03,000 --> 00:00:04,000 X1:10 X2:20 Y1:30 Y2:40
{\\an8}{\\fad(1)}On top

3
0:0:5,5 -> 0:0:6
2001

4
00:00:09,000 --> 00:00:08,000
backwards

5
00:00:10,000 --> soon
no time

00:00:11.000 --> 00:00:12.000
without a number

with a gap
"""
CUES = (
    Cue(begin=1000, end=2500, payload="<i>Slanted</i> &amp; red\n1 &lt; 2"),
    Cue(begin=3000, end=4000, payload="On top", settings="line:0"),
    Cue(begin=5500, end=6000, payload="2001"),
    Cue(begin=11000, end=12000, payload="without a number\nwith a gap"),
)


@pytest.mark.parametrize(
    "data",
    [
        FILE.encode(),
        FILE.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + FILE.encode(),
        b"\xff\xfe" + FILE.encode("utf-16-le"),
    ],
    ids=["plain", "crlf", "mark", "utf-16"],
)
def test_cues(data: bytes) -> None:
    text = read_srt(data)
    assert text.cues.items == CUES
    assert text.skipped == ("the cue at line 15 and 1 more: its times are not valid",)


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        ("Grüße – “…”".encode(), "Grüße – “…”"),
        ("Grüße – “…”".encode("cp1252"), "Grüße – “…”"),
        (b"\x81 Gr\xfc\xdfe", "\x81 Grüße"),
    ],
    ids=["utf-8", "windows-1252", "latin-1"],
)
def test_encodings(data: bytes, payload: str) -> None:
    text = read_srt(b"1\n00:00:01,000 --> 00:00:02,000\n" + data)
    assert text.cues.items[0].payload == payload


@pytest.mark.parametrize(
    ("number", "settings"),
    [
        (1, "align:left"),
        (2, ""),
        (3, "align:right"),
        (4, "line:50% align:left"),
        (5, "line:50%"),
        (9, "line:0 align:right"),
        (10, ""),
    ],
)
def test_places(number: int, settings: str) -> None:
    text = read_srt(f"1\n0:00:01,000 --> 0:00:02,000\n{{\\an{number}}}x".encode())
    assert [(cue.payload, cue.settings) for cue in text.cues.items] == [("x", settings)]


def test_an_arrow_in_the_text_is_no_time_of_webvtt() -> None:
    text = read_srt(b"1\n00:00:01,000 --> 00:00:02,000\na -> b > c\n")
    assert text.cues.items[0].payload == "a -&gt; b &gt; c"


@pytest.mark.parametrize("data", [b"", b"1\n2\n3", b"WEBVTT"])
def test_no_cue_at_all_is_no_srt(data: bytes) -> None:
    with pytest.raises(InvalidMedia, match="line 1 "):
        read_srt(data)
