"""WebVTT files, read: every expectation is written beside its file."""

from __future__ import annotations

import pytest

from sidecar.errors import InvalidMedia, UnsupportedMedia
from sidecar.media.text import webvtt
from sidecar.media.text.cues import Cue
from sidecar.media.text.webvtt import read_webvtt

FILE = """WEBVTT - a title
Kind: captions

STYLE
::cue(b) { color: red }

REGION
id:fred
width:40%

NOTE
00:01.000 is not a time here

intro
00:01.000 --> 00:00:03.250 align:start line:0
<i>One</i> &amp; two
second line

100:00:00.000 --> 100:00:01.000
after a hundred hours

NOTE a comment

STYLE
::cue { color: blue }

00:05.000 --> 00:06.000
"""


def times(data: bytes) -> list[tuple[int, int]]:
    return [(cue.begin, cue.end) for cue in read_webvtt(data).cues.items]


def test_cues_settings_identifiers_and_header() -> None:
    text = read_webvtt(FILE.encode())
    assert text.cues.items == (
        Cue(
            begin=1000,
            end=3250,
            payload="<i>One</i> &amp; two\nsecond line",
            settings="align:start line:0",
            identifier="intro",
        ),
        Cue(begin=360_000_000, end=360_001_000, payload="after a hundred hours"),
    )
    assert text.header == "STYLE\n::cue(b) { color: red }\n\nREGION\nid:fred\nwidth:40%"
    assert text.skipped == ()
    assert text.ttml is None
    assert text.end == 360_001_000


@pytest.mark.parametrize(
    "data",
    [
        FILE.replace("\n", "\r\n").encode(),
        FILE.replace("\n", "\r").encode(),
        b"\xef\xbb\xbf" + FILE.encode(),
        b"\xff\xfe" + FILE.encode("utf-16-le"),
        b"\xfe\xff" + FILE.encode("utf-16-be"),
    ],
    ids=["crlf", "cr", "mark", "little", "big"],
)
def test_line_ends_and_encodings(data: bytes) -> None:
    assert read_webvtt(data).cues.items == read_webvtt(FILE.encode()).cues.items


def test_malformed_cues_are_counted_and_cost_no_others() -> None:
    text = read_webvtt(
        b"WEBVTT\n\n00:01.000 --> 00:02,000\ncomma\n\n00:03.000 --> 00:03.000\nno length\n\n"
        b"00:61.000 --> 01:02.000\nsixty-one\n\n00:04.000 --> 00:05.000\ngood\n"
        b"00:06.000 --> 00:07.000\nwithout a blank line\n"
    )
    assert [(cue.begin, cue.payload) for cue in text.cues.items] == [
        (4000, "good"),
        (6000, "without a blank line"),
    ]
    assert text.skipped == ("the cue at line 3 and 2 more: its times are not valid",)


def test_cues_are_put_in_order() -> None:
    assert times(b"WEBVTT\n\n00:05.000 --> 00:06.000\nb\n\n00:01.000 --> 00:09.000\na") == [
        (1000, 9000),
        (5000, 6000),
    ]


@pytest.mark.parametrize("data", [b"", b"WEBVTTX\n\n", b"00:01.000 --> 00:02.000\nx", b"\0WEBVTT"])
def test_the_signature_is_needed(data: bytes) -> None:
    with pytest.raises(InvalidMedia, match="line 1 "):
        read_webvtt(data)


def test_times_past_all_bounds_are_not_times() -> None:
    digits = "9" * 5000
    assert times(f"WEBVTT\n\n00:00.000 --> {digits}:00:00.000\nx".encode()) == []
    assert times(b"WEBVTT\n\n00:00.000 --> 9999:00:00.000\nx") == [(0, 9999 * 3_600_000)]


def test_the_number_of_cues_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webvtt, "MAX_CUES", 3)
    cue = "00:01.000 --> 00:02.000\nx\n\n"
    assert len(read_webvtt(("WEBVTT\n\n" + 3 * cue).encode()).cues) == 3
    with pytest.raises(UnsupportedMedia, match="more than 3"):
        read_webvtt(("WEBVTT\n\n" + 4 * cue).encode())
