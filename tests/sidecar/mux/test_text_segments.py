"""Text as documents and segments, read back by independent readers."""

from __future__ import annotations

import struct
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from sidecar.errors import InvalidMedia
from sidecar.media.index import index_media
from sidecar.media.presentation import Rendition
from sidecar.media.text.cues import Cue, Schedule, TimedText
from sidecar.media.text.ttml import read_ttml
from sidecar.media.text.webvtt import read_webvtt
from sidecar.media.track import Track
from sidecar.mux.cmaf import init_segment
from sidecar.mux.plan import FileRanges, Inline, Part
from sidecar.mux.text import smooth_document, text_segment, timed_text
from sidecar.mux.ttml import ttml_document
from sidecar.mux.webvtt import webvtt_document
from sidecar.mux.wvtt import cues_of_sample, wvtt_samples
from sidecar.storage.source import SourceIdentity
from sidecar.timeline.segmenter import Timeline
from sidecar.timeline.segments import SegmentList
from tests.support.isobmff import boxes, read_init, read_segment
from tests.support.memory_source import MemorySource
from tests.support.text import Shown, decode_wvtt, stored_track
from tests.support.tracks import policy, presentation, rendition, video_track

VTT = b"""WEBVTT

STYLE
::cue { color: red }

a
00:01.000 --> 00:05.000 line:0
<i>one</i>

00:04.500 --> 00:06.000
two &amp; three
four

00:13.000 --> 00:14.000
five
"""
TTML = b"""<?xml version="1.0"?>
<tt xmlns="http://www.w3.org/ns/ttml" xmlns:tts="http://www.w3.org/ns/ttml#styling" xml:lang="en">
<head><styling><style xml:id="s" tts:fontStyle="italic"/></styling></head>
<body style="s"><div begin="1s"><p end="4s">one</p><p begin="3.5s" end="5s">two</p>
<p begin="12s" end="13s">five</p></div></body></tt>"""
NS = {"t": "http://www.w3.org/ns/ttml"}


def no_read(identity: SourceIdentity, offset: int, length: int) -> bytes:
    raise AssertionError("nothing is to be read")


def of_file(data: bytes) -> Rendition:
    return rendition(index_media(MemorySource(data)).tracks[0], name="textstream_eng")


def cut(text: Rendition, *, seconds: float = 16, length: float = 4) -> SegmentList:
    shown = presentation(text, rendition(video_track(seconds=seconds)))
    return Timeline(shown).segments(text, policy(Fraction(length)))


def body(parts: tuple[Part, ...], file: bytes = b"") -> bytes:
    whole = b""
    for part in parts:
        if isinstance(part, Inline):
            whole += part.data
        else:
            assert isinstance(part, FileRanges)
            for offset, length in zip(part.offset.tolist(), part.lengths.tolist(), strict=True):
                whole += file[offset : offset + length]
    return whole


def samples_of(text: Rendition, data: bytes) -> list[tuple[int, int, bytes]]:
    """(decode time, end, bytes) of the samples of the segment ``data``."""
    segment = read_segment(data, read_init(init_segment(text)))
    position = next(begin for name, begin, _ in boxes(data) if name == "mdat")
    found = []
    time = segment.decode_time
    for duration, size in zip(segment.durations, segment.sizes, strict=True):
        found.append((time, time + duration, data[position : position + size]))
        time, position = time + duration, position + size
    return found


def test_webvtt_documents() -> None:
    text = read_webvtt(VTT)
    document = webvtt_document(text.cues.overlapping(4000, 5000), header=text.header, mpegts=900000)
    assert document.decode() == (
        "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000\n\n"
        "STYLE\n::cue { color: red }\n\n"
        "a\n00:00:01.000 --> 00:00:05.000 line:0\n<i>one</i>\n\n"
        "00:00:04.500 --> 00:00:06.000\ntwo &amp; three\nfour\n\n"
    )
    assert webvtt_document([]) == b"WEBVTT\n\n"
    assert read_webvtt(webvtt_document(text.cues.items, header=text.header)).cues.items == (
        text.cues.items
    )


def test_wvtt_segments_of_a_file() -> None:
    text = of_file(VTT)
    segments = cut(text)
    assert segments.start.tolist() == [0, 4000, 8000, 12000, 16000]
    decoded = [
        [(begin, end, decode_wvtt(data)) for begin, end, data in samples_of(text, whole)]
        for whole in (body(text_segment(text, segments, index, unread)) for index in range(4))
    ]
    one = Shown(payload="<i>one</i>", settings="line:0", identifier="a")
    two = Shown(payload="two &amp; three\nfour")
    assert decoded == [
        [(0, 1000, []), (1000, 4000, [one])],
        [(4000, 4500, [one]), (4500, 5000, [one, two]), (5000, 6000, [two]), (6000, 8000, [])],
        [(8000, 12000, [])],
        [(12000, 13000, []), (13000, 14000, [Shown(payload="five")]), (14000, 16000, [])],
    ]


def test_a_cue_that_is_split_has_one_source_id() -> None:
    text = of_file(VTT)
    segments = cut(text)
    ids = set()
    for index in (0, 1):
        for _, _, data in samples_of(text, body(text_segment(text, segments, index, unread))):
            for name, begin, end in boxes(data):
                inside = {kind: data[a:b] for kind, a, b in boxes(data, begin, end)}
                if name == "vttc" and inside["payl"] == b"<i>one</i>":
                    ids.add(inside["vsid"])
    assert len(ids) == 1
    (whole,) = [
        data for *_, data in samples_of(text, body(text_segment(text, segments, 3, unread)))
    ][1:2]
    assert b"vsid" not in whole


def test_stpp_segments_of_a_file() -> None:
    text = of_file(TTML)
    segments = cut(text)
    shown = []
    for index in range(4):
        ((begin, end, data),) = samples_of(text, body(text_segment(text, segments, index, unread)))
        assert (begin, end) == (4000 * index, 4000 * index + 4000)
        root = etree.fromstring(data)
        assert len(root.findall(".//t:style", NS)) == 1
        shown.append(
            [(p.get("begin"), p.get("end"), p.text, p.get("style")) for p in root.iter("{*}p")]
        )
    assert shown == [
        [("00:00:01.000", "00:00:04.000", "one", "s")],
        [
            ("00:00:04.000", "00:00:05.000", "one", "s"),
            ("00:00:04.500", "00:00:06.000", "two", "s"),
        ],
        [],
        [("00:00:13.000", "00:00:14.000", "five", "s")],
    ]


def test_smooth_documents_count_from_their_begin() -> None:
    for data in (TTML, VTT):
        document = smooth_document(of_file(data), 4000, 8000, no_read)
        root = etree.fromstring(document)
        assert [(p.get("begin"), p.get("end")) for p in root.iter("{*}p")] == [
            ("00:00:00.000", "00:00:01.000"),
            ("00:00:00.500", "00:00:02.000"),
        ]


def test_webvtt_as_ttml() -> None:
    cues = [
        Cue(begin=0, end=1000, payload='<b>a<i>b</b>c</i> &lt;&amp;"\n<c.red>d</c>\x01'),
        Cue(begin=1000, end=2000, payload="<v Ann>e", settings="line:0 align:left"),
        Cue(begin=2000, end=3000, payload="<u>f", settings="line:50%,center"),
        Cue(begin=3000, end=4000, payload="g", settings="line:-1 align:center"),
    ]
    document = ttml_document(TimedText(cues=Schedule(cues)), 0, 4000, language='a"b')
    root = etree.fromstring(document)
    assert root.get("{http://www.w3.org/XML/1998/namespace}lang") == 'a"b'
    found = read_ttml(document)
    assert [cue.payload for cue in found.cues.items] == [
        '<b>a</b><b><i>b</i></b>c &lt;&amp;"\nd',
        "e",
        "<u>f</u>",
        "g",
    ]
    assert [p.get("region") for p in root.iter("{*}p")] == ["bottom", "top", "middle", "bottom"]
    assert [cue.settings for cue in found.cues.items] == [
        "",
        "line:10% align:left",
        "line:50%,center",
        "",
    ]


def test_paragraphs_with_timed_spans_begin_where_they_did() -> None:
    text = read_ttml(
        b'<tt xmlns="http://www.w3.org/ns/ttml"><body><p begin="2s" end="9s">a'
        b'<span begin="4s">b</span></p></body></tt>'
    )
    document = ttml_document(text, 4000, 8000)
    assert b'begin="00:00:02.000" end="00:00:08.000"' in document
    assert [(cue.begin, cue.end, cue.payload) for cue in read_ttml(document).cues.items] == [
        (2000, 6000, "a"),
        (6000, 8000, "ab"),
    ]


# ---- text in media files


def wvtt(*payloads: str) -> bytes:
    def one(name: bytes, inside: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(inside), name) + inside

    return b"".join(one(b"vttc", one(b"payl", text.encode())) for text in payloads) or one(
        b"vtte", b""
    )


def unread(identity: SourceIdentity, offset: int, length: int) -> bytes:
    raise AssertionError("samples stay where they are")


def stored(*samples: tuple[int, bytes], entry: str = "wvtt") -> tuple[Track, bytes, list[int]]:
    """A track of (duration, bytes) at 90 kHz from 1 s on, its file, and a list of reads."""
    return stored_track(samples, entry=entry, timescale=90_000, start=90_000)


def test_stored_samples_are_cut_in_time_only() -> None:
    track, file, _ = stored((3 * 90_000, wvtt("a")), (9 * 90_000, wvtt("b")), (9_000, wvtt()))
    text = rendition(track)
    segments = cut(text)
    found = []
    for index in range(4):
        parts = text_segment(text, segments, index, unread)
        found.append(
            [
                (begin / 90_000, end / 90_000, [one.payload for one in decode_wvtt(data)])
                for begin, end, data in samples_of(text, body(parts, file))
            ]
        )
        assert sum(isinstance(part, FileRanges) for part in parts) == 1
    assert found == [
        [(0, 1, []), (1, 4, ["a"])],
        [(4, 8, ["b"])],
        [(8, 12, ["b"])],
        [(12, 13, ["b"]), (13, 13.1, []), (13.1, 16, [])],
    ]


def test_where_a_track_has_no_sample_an_empty_one_is_shown() -> None:
    track, file, _ = stored((90_000, TTML), entry="stpp")
    text = rendition(track)
    segments = cut(text)
    (sample,) = samples_of(text, body(text_segment(text, segments, 3, unread), file))
    assert sample[:2] == (12 * 90_000, 16 * 90_000)
    assert list(etree.fromstring(sample[2]).iter("{*}p")) == []
    first = samples_of(text, body(text_segment(text, segments, 0, unread), file))
    assert [(begin / 90_000, end / 90_000) for begin, end, _ in first] == [(0, 1), (1, 2), (2, 4)]
    assert first[1][2] == TTML


def test_cues_of_stored_samples_are_whole_again() -> None:
    pieces = [(90_000, wvtt("a", "b"))] * 3 + [(90_000, wvtt("b")), (90_000, wvtt())]
    track, file, reads = stored(*pieces, *[(90_000, wvtt(str(at))) for at in range(40)])

    def read(identity: SourceIdentity, offset: int, length: int) -> bytes:
        reads.append(length)
        return file[offset : offset + length]

    text = timed_text(track, 2000, 3000, read)
    assert [(c.begin, c.end, c.payload) for c in text.cues.overlapping(2000, 3000)] == [
        (1000, 4000, "a"),
        (1000, 5000, "b"),
    ]
    assert len(reads) == 1, "one read"
    assert sum(reads) < len(file) / 1.5, "not the whole track"
    late = timed_text(track, 30_000, 31_000, read).cues.overlapping(30_000, 31_000)
    assert [(c.begin, c.payload) for c in late] == [(30_000, "24")]
    assert timed_text(track, 1_000_000, 1_001_000, read).cues.overlapping(10**6, 10**6 + 9) == []


def test_stored_documents_count_while_their_sample_is_shown() -> None:
    track, file, _ = stored((3 * 90_000, TTML), (3 * 90_000, TTML), entry="stpp")

    def read(identity: SourceIdentity, offset: int, length: int) -> bytes:
        return file[offset : offset + length]

    text = timed_text(track, 0, 16_000, read)
    # Shown from 1 s to 7 s: what is said to come at 13 s never does; what is cut in two is whole.
    assert [(c.begin, c.end, c.payload) for c in text.cues.items] == [
        (1000, 5000, "<i>one</i>"),
        (4500, 6000, "<i>two</i>"),
    ]
    assert text.ttml is not None
    assert [(p.begin, p.end) for p in text.ttml.paragraphs.items] == [(1000, 5000), (4500, 6000)]
    assert b"<styling>" in smooth_document(rendition(track), 4000, 8000, read)


def test_a_damaged_sample_is_an_error_of_ours() -> None:
    track, file, _ = stored((90_000, b"\0\0\0\x63vttcxx"))
    with pytest.raises(InvalidMedia):
        timed_text(track, 0, 4000, lambda _, offset, length: file[offset : offset + length])


CUES = st.lists(
    st.tuples(st.integers(0, 90), st.integers(1, 50), st.sampled_from("abc")).map(
        lambda one: Cue(begin=one[0] * 100, end=(one[0] + one[1]) * 100, payload=one[2])
    ),
    max_size=12,
)


@given(cues=CUES, begin=st.integers(0, 100), length=st.integers(1, 60))
@settings(deadline=None)
def test_samples_show_at_any_time_what_the_cues_do(
    cues: list[Cue], begin: int, length: int
) -> None:
    begin, end = begin * 100, (begin + length) * 100
    inside = Schedule(cues).overlapping(begin, end)
    time = begin
    for duration, data in wvtt_samples(inside, begin, end):
        assert duration > 0
        for at in (time, time + duration - 1):
            wanted = sorted(cue.payload for cue in cues if cue.begin <= at < cue.end)
            assert sorted(one.payload for one in decode_wvtt(data)) == wanted
        again = cues_of_sample(data, time, time + duration)
        assert [cue.payload for cue in again] == [one.payload for one in decode_wvtt(data)]
        time += duration
    assert time == end
