"""Text of media files with edit lists is shown at one time in all formats.

Times in documents of TTML are those of the presentation, edit list applied (ISO/IEC 14496-30 5.3);
WebVTT is shown while its sample is.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import count
from typing import Any

import pytest

from sidecar.codecs.describe import describe
from sidecar.codecs.facts import Facts
from sidecar.errors import FragmentNotAvailable
from sidecar.media import playable
from sidecar.media.build import presentation_from_media
from sidecar.media.filters import parse_filter
from sidecar.media.index import index_media
from sidecar.media.presentation import Presentation
from sidecar.media.text.ttml import read_ttml
from sidecar.media.text.webvtt import read_webvtt
from sidecar.mux.plan import FileRanges, Plan
from sidecar.storage.source import ReadRange, SourceIdentity
from sidecar.timeline.clips import Clip
from tests.support.boxes import FTYP, Trak, box, elst, moov
from tests.support.isobmff import boxes, read_init, read_segment
from tests.support.memory_source import MemorySource
from tests.support.plans import body
from tests.support.requests import ask, text
from tests.support.smooth import read_fragment, read_manifest
from tests.support.text import decode_wvtt
from tests.support.tracks import video_facts

Shown = set[tuple[int, int, str]]
TEXT = "textstream=1000"
SECOND = 10_000_000


@pytest.fixture(autouse=True)
def made_up_video(monkeypatch: pytest.MonkeyPatch) -> None:
    def described(entry: bytes, handler: bytes, *, box_path: str, offset: int) -> Facts:
        if handler == b"vide":
            return video_facts()
        return describe(entry, handler, box_path=box_path, offset=offset)

    monkeypatch.setattr(playable, "describe", described)


def ttml(*paragraphs: tuple[int, int, str]) -> bytes:
    inside = "".join(f'<p begin="{a}s" end="{b}s">{words}</p>' for a, b, words in paragraphs)
    return f'<tt xmlns="http://www.w3.org/ns/ttml"><body><div>{inside}</div></body></tt>'.encode()


def wvtt(words: str) -> bytes:
    return box(b"vttc", box(b"payl", words.encode())) if words else box(b"vtte")


class Film:
    """24 s of video, a sync sample every 4 s, and ``samples`` of text, 6 s each; ticks are ms."""

    def __init__(self, entry: bytes, samples: list[bytes], *, edit: bytes, video_edit: bytes):
        start = len(FTYP) + 8
        video = Trak(sizes=[5] * 24, delta=1000, sync=range(1, 24, 4), edit=video_edit)
        sizes = [len(sample) for sample in samples]
        written = Trak(
            track_id=2, handler_type=b"text", entry=entry, sizes=sizes, delta=6000, edit=edit
        )
        tracks = moov(video.build(start), written.build(start + 120))
        self.data = FTYP + box(b"mdat", bytes(120), *samples) + tracks
        self.shown: Presentation = presentation_from_media(
            "film", index_media(MemorySource(self.data))
        )
        self.read: ReadRange = self._read

    def _read(self, identity: SourceIdentity, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]

    def plan(self, path: str, **given: Any) -> Plan:
        return ask(self.shown, path, read=self.read, **given).plan

    def body(self, path: str, **given: Any) -> bytes:
        return body(self.plan(path, **given), self.read)

    def hls(self) -> Shown:
        found = set()
        for number in count(1):
            try:
                document = self.body(f"film-{TEXT}-{number}.webvtt")
            except FragmentNotAvailable:
                return joined(found)
            cues = read_webvtt(document).cues.items
            found |= {(cue.begin, cue.end, cue.payload) for cue in cues}
        raise AssertionError

    def dash(self) -> Shown:
        head = self.body(f"dash/film-{TEXT}.dash")
        init = read_init(head)
        assert init.media_time == 0, "players do not apply edit lists to text"
        found = set()
        for number in count(1):
            try:
                data = self.body(f"dash/film-{TEXT}-{number}.m4s")
            except FragmentNotAvailable:
                return joined(found)
            segment = read_segment(data, init)
            at = next(begin for name, begin, _ in boxes(data) if name == "mdat")
            time = segment.decode_time
            for duration, size in zip(segment.durations, segment.sizes, strict=True):
                sample, at = data[at : at + size], at + size
                time, until = time + duration, time + duration
                begin = time - duration
                if b"<tt" in sample:
                    cues = read_ttml(sample).cues.items
                    found |= {
                        (max(begin, cue.begin), min(until, cue.end), cue.payload)
                        for cue in cues
                        if cue.begin < until and cue.end > begin
                    }
                else:
                    found |= {(begin, until, cue.payload) for cue in decode_wvtt(sample)}
        raise AssertionError

    def smooth(self) -> Shown:
        (stream,) = read_manifest(text(self.plan("Manifest")).encode()).of("text")
        found = set()
        for time, _ in stream.chunks:
            data = self.body(stream.path(stream.levels[0], time))
            at = next(begin for name, begin, _ in boxes(data) if name == "mdat")
            begin = read_fragment(data).time * 1000 // SECOND
            found |= {
                (begin + cue.begin, begin + cue.end, cue.payload)
                for cue in read_ttml(data[at:]).cues.items
            }
        return joined(found)


def joined(pieces: Shown) -> Shown:
    """``pieces`` of one text that follow each other or overlap as one."""
    found: list[tuple[int, int, str]] = []
    for begin, end, words in sorted(pieces, key=lambda one: (one[2], one[0])):
        if found and found[-1][2] == words and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]), words)
        else:
            found.append((begin, end, words))
    return set(found)


EMPTY = elst((2000, -1), (12_000, 0))
TRIMMED = elst((10_000, 2000))
# Between two sync samples: the pictures from the one before are shown too, and all is 2 s later.
PICTURES = elst((18_000, 6000))
STPP = box(b"stpp", bytes(6) + b"\0\1", b"http://www.w3.org/ns/ttml\0\0\0")
WVTT = box(b"wvtt", bytes(6) + b"\0\1", box(b"vttC", b"WEBVTT"))


@pytest.mark.parametrize(
    ("edit", "video_edit", "expected"),
    [
        (b"", b"", {(1000, 3000, "a"), (5000, 7000, "b")}),
        (EMPTY, b"", {(2000, 3000, "a"), (5000, 7000, "b")}),
        (TRIMMED, b"", {(1000, 3000, "a"), (5000, 7000, "b")}),
        (b"", PICTURES, {(3000, 5000, "a"), (7000, 9000, "b")}),
        (EMPTY, PICTURES, {(4000, 5000, "a"), (7000, 9000, "b")}),
    ],
    ids=["none", "empty", "trimmed", "pictures", "both"],
)
def test_ttml(edit: bytes, video_edit: bytes, expected: Shown) -> None:
    document = ttml((1, 3, "a"), (5, 7, "b"))
    film = Film(STPP, [document, document], edit=edit, video_edit=video_edit)
    assert film.hls() == expected
    assert film.dash() == expected
    assert film.smooth() == expected


@pytest.mark.parametrize(
    ("edit", "video_edit", "expected"),
    [
        (b"", b"", {(0, 6000, "a"), (6000, 12_000, "b")}),
        (EMPTY, b"", {(2000, 8000, "a"), (8000, 14_000, "b")}),
        (TRIMMED, b"", {(0, 4000, "a"), (4000, 10_000, "b")}),
        (b"", PICTURES, {(2000, 8000, "a"), (8000, 14_000, "b")}),
        (EMPTY, PICTURES, {(4000, 10_000, "a"), (10_000, 16_000, "b")}),
    ],
    ids=["none", "empty", "trimmed", "pictures", "both"],
)
def test_webvtt(edit: bytes, video_edit: bytes, expected: Shown) -> None:
    film = Film(WVTT, [wvtt("a"), wvtt("b")], edit=edit, video_edit=video_edit)
    assert film.hls() == expected
    assert film.dash() == expected
    assert film.smooth() == expected


def test_only_documents_that_say_other_times_are_rewritten() -> None:
    document = ttml((1, 3, "a"))
    for video_edit, stored in ((b"", True), (PICTURES, False)):
        film = Film(STPP, [document, document], edit=b"", video_edit=video_edit)
        parts = film.plan(f"dash/film-{TEXT}-1.m4s").parts
        assert any(isinstance(part, FileRanges) for part in parts) == stored


def test_parts_of_a_download_have_no_documents_of_other_times() -> None:
    document = ttml((1, 3, "a"))
    film = Film(STPP, [document, document], edit=b"", video_edit=b"")
    chosen = {"filter": parse_filter("true")}
    whole = film.body("x.mp4", **chosen)
    assert whole.count(b"<tt") == 2
    part = film.body("x.mp4", clip=Clip(begin=Fraction(4), end=Fraction(12)), **chosen)
    assert b"<tt" not in part and len(part) > 500
    moved = Film(STPP, [document, document], edit=b"", video_edit=PICTURES)
    for name in ("x.mp4", "x.ismv"):
        assert b"<tt" not in moved.body(name, **chosen)
