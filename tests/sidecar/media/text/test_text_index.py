"""Text files as media files, told from others by their content."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.boxes.header import walk
from sidecar.codecs.describe import describe
from sidecar.errors import InvalidMedia, MediaError, UnsupportedMedia
from sidecar.media.build import presentation_from_media
from sidecar.media.index import index_media
from sidecar.media.text import index
from sidecar.media.text.cues import Cue, Schedule
from sidecar.media.text.srt import read_srt
from sidecar.media.text.ttml import read_ttml
from sidecar.media.text.webvtt import read_webvtt
from sidecar.media.track import Kind, MediaFile
from tests.support.memory_source import MemorySource
from tests.support.tracks import presentation, rendition, video_track

VTT = b"WEBVTT\n\nSTYLE\n::cue { color: red }\n\n00:01.000 --> 00:02.000\nx\n"
SRT = b"\r\n1\r\n00:00:01,000 --> 00:00:02,000\r\nx\r\n"
TTML = b'<?xml version="1.0"?><tt xml:lang="de"><body><p begin="1s" end="2s">x</p></body></tt>'


def media(data: bytes, path: str = "/media/memory.vtt") -> MediaFile:
    return index_media(MemorySource(data, path))


@pytest.mark.parametrize(
    ("data", "codec", "handler"),
    [
        (VTT, "wvtt", b"text"),
        (SRT, "wvtt", b"text"),
        (TTML, "stpp.ttml.im1t", b"subt"),
        (TTML.partition(b"?>")[2], "stpp.ttml.im1t", b"subt"),
        (b"\xef\xbb\xbf" + VTT, "wvtt", b"text"),
        (TTML.decode().encode("utf-16"), "stpp.ttml.im1t", b"subt"),
    ],
    ids=["webvtt", "srt", "ttml", "ttml without declaration", "mark", "ttml in utf-16"],
)
def test_one_track_without_samples(data: bytes, codec: str, handler: bytes) -> None:
    found = media(data, "/media/whatever.bin")
    (track,) = found.tracks
    assert (track.kind, track.timescale, len(track.samples)) == (Kind.TEXT, 1000, 0)
    assert track.facts.codec == codec
    assert track.duration == 2
    assert track.text is not None
    assert [(cue.begin, cue.end, cue.payload) for cue in track.text.cues.items] == [
        (1000, 2000, "x")
    ]
    facts = describe(track.sample_entry_box, handler, box_path="stsd", offset=0)
    assert facts == track.facts, "the sample entry says the same"
    assert found.nbytes > track.text.nbytes > 0


def test_style_sheets_are_in_the_sample_entry() -> None:
    entry = media(VTT).tracks[0].sample_entry_box
    (configuration,) = walk(entry, 16, len(entry))
    assert entry[configuration.body : configuration.end] == (
        b"WEBVTT\n\nSTYLE\n::cue { color: red }"
    )


def test_names_languages_and_bitrates() -> None:
    assert presentation_from_media("a", media(VTT)).renditions[0].selector == "textstream=1000"
    german = presentation_from_media("a", media(TTML)).renditions[0]
    assert (german.selector, german.language) == ("textstream_de=1000", "de")


def test_text_does_not_make_a_presentation_longer() -> None:
    text = rendition(media(VTT.replace(b"00:02", b"59:02")).tracks[0])
    assert presentation(text).duration == 59 * 60 + 2
    assert presentation(text, rendition(video_track(seconds=8))).duration == 8


def test_what_is_left_out_is_said() -> None:
    found = media(VTT + b"\n00:03.000 --> 00:02.000\ny\n")
    assert found.skipped == ("the cue at line 9: its times are not valid",)


@pytest.mark.parametrize("path", ["/a/b.vtt", "/a/b.SRT", "/a/b.xml"])
def test_a_name_of_text_with_another_content_is_refused(path: str) -> None:
    with pytest.raises(InvalidMedia, match="neither WebVTT, SRT nor TTML") as caught:
        media(b"\0\0\0\x10ftypisom\0\0\0\0", path)
    assert caught.value.path == path


def test_other_files_are_read_as_before() -> None:
    with pytest.raises(InvalidMedia, match="box"):
        media(b"no boxes at all", "/a/b.mp4")


def test_large_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MAX_BYTES", len(VTT) - 1)
    with pytest.raises(UnsupportedMedia, match="bytes is not read"):
        media(VTT)


CUES = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 60)).map(
        lambda pair: Cue(begin=pair[0], end=pair[0] + pair[1], payload=str(pair))
    ),
    max_size=30,
)


@given(cues=CUES, begin=st.integers(0, 130), length=st.integers(1, 50))
def test_overlapping_finds_what_looking_at_all_finds(
    cues: list[Cue], begin: int, length: int
) -> None:
    schedule = Schedule(cues)
    end = begin + length
    wanted = [cue for cue in schedule.items if cue.begin < end and cue.end > begin]
    assert schedule.overlapping(begin, end) == wanted
    assert schedule.end == max((cue.end for cue in cues), default=0)


PIECES = st.sampled_from(
    [
        b"WEBVTT", b"\n", b"\r\n", b"\n\n", b"-->", b" --> ", b"00:01.000", b"00:00:02,000", b"1",
        b"STYLE", b"{\\an8}", b"<i>", b"</b>", b"&", b"<tt ", b"<tt>", b"</tt>", b"<body>",
        b"<p begin='1s' ", b"dur='2s'>", b"</p>", b"</body>", b"<span begin='1f'>", b"<br/>",
        b"\xff\xfe", b"\0", b"\xc3", b"<!--", b"<?xml", b" xmlns:a='b'", b"tts:origin='1% 2%'",
    ]
)  # fmt: skip


@pytest.mark.parametrize("read", [read_webvtt, read_srt, read_ttml])
@given(pieces=st.lists(PIECES | st.binary(max_size=8), max_size=25))
@settings(max_examples=200, deadline=None)
def test_garbage_is_read_or_refused(read: object, pieces: list[bytes]) -> None:
    for data in (b"".join(pieces), b"WEBVTT\n\n" + b"".join(pieces)):
        try:
            text = read(data)  # type: ignore[operator]
        except MediaError as error:
            assert error.sentence
            continue
        for cue in text.cues.items:
            assert 0 <= cue.begin < cue.end
            assert cue.payload.strip()
            assert "" not in cue.payload.split("\n")
            assert "-->" not in cue.payload
