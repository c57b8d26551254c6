"""The text that DASH serves is itself a source: indexed and served again, it says the same."""

from __future__ import annotations

import pytest

from sidecar.media.index import index_media
from sidecar.media.presentation import Presentation
from sidecar.media.text.webvtt import read_webvtt
from sidecar.mux.plan import FileRanges, Inline, Plan
from tests.support.memory_source import MemorySource
from tests.support.requests import ask, text
from tests.support.subtitles import srt, ttml, webvtt
from tests.support.tracks import presentation, rendition, video_track


def stored(data: bytes) -> tuple[Presentation, bytes]:
    """A presentation whose text comes from the file ``data``, text or MP4."""
    track = index_media(MemorySource(data, "/media/text.cmft")).tracks[0]
    return presentation(rendition(video_track(seconds=12)), rendition(track)), data


def body(plan: Plan, file: bytes) -> bytes:
    whole = b""
    for part in plan.parts:
        if isinstance(part, FileRanges):
            for offset, length in zip(part.offset.tolist(), part.lengths.tolist(), strict=True):
                whole += file[offset : offset + length]
        else:
            assert isinstance(part, Inline)
            whole += part.data
    return whole


def packaged(data: bytes) -> bytes:
    """All that DASH serves of the text of ``data``, as one fragmented file."""
    shown, file = stored(data)
    base = "dash/video-textstream=1000"
    whole = body(ask(shown, f"{base}.dash").plan, file)
    for time in range(0, 12_000, 2000):
        whole += body(ask(shown, f"{base}-{time}.dash").plan, file)
    return whole


def cues(data: bytes) -> list[tuple[int, int, str]]:
    """What the WebVTT segments of HLS say, what two have in common once."""
    shown, file = stored(data)
    found = {}
    for number in (1, 2, 3):
        segment = ask(
            shown,
            f"video-textstream=1000-{number}.webvtt",
            read=lambda _, offset, length: file[offset : offset + length],
        ).plan
        for cue in read_webvtt(text(segment).encode()).cues.items:
            found[cue.begin, cue.end, cue.payload] = None
    return list(found)


@pytest.mark.parametrize("data", [webvtt(), srt(), ttml()], ids=["webvtt", "srt", "ttml"])
def test_served_text_says_what_its_source_does(data: bytes) -> None:
    source = cues(data)
    assert [(begin, end) for begin, end, _ in source] == [
        (500, 1500),
        (3200, 4800),
        (8200, 9000),
    ]
    assert source[0][2] == "<i>Größe &amp; mehr</i>"
    once = packaged(data)
    assert cues(once) == source
    twice = packaged(once)
    assert cues(twice) == source


def test_segments_of_stored_text_are_those_that_were_stored() -> None:
    once = packaged(webvtt())
    assert packaged(once) == once, "same boundaries, same samples: the same bytes"
