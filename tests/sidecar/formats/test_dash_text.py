"""Text in MPDs: sets of segments and of sidecar files, their roles, and what their URLs answer."""

from __future__ import annotations

from fractions import Fraction

import pytest
from lxml import etree

from sidecar.errors import NotFound
from sidecar.media.index import index_media
from sidecar.media.presentation import Presentation, Rendition
from sidecar.mux.plan import FileRanges
from sidecar.timeline.clips import Clip
from tests.support.dash_schema import dash_schema
from tests.support.isobmff import boxes, read_init
from tests.support.memory_source import MemorySource
from tests.support.requests import ask, text
from tests.support.text import decode_wvtt, stored_track
from tests.support.tracks import presentation, rendition, video_track

NS = {"m": "urn:mpeg:dash:schema:mpd:2011"}
VTT = b"WEBVTT\n\nSTYLE\n::cue { color: red }\n\n00:01.000 --> 00:05.000 line:0\n<i>a</i>\n"
TTML = b'<tt xmlns="http://www.w3.org/ns/ttml"><body><p begin="1s" end="5s">a</p></body></tt>'


def of_file(data: bytes, name: str, **said: str | None) -> Rendition:
    return rendition(index_media(MemorySource(data)).tracks[0], name=name, **said)  # type: ignore[arg-type]


def shown() -> Presentation:
    return presentation(
        rendition(video_track(seconds=8)),
        of_file(VTT, "textstream_eng", language="eng"),
        of_file(VTT, "cc", language="eng", role="caption", label="For the deaf"),
        of_file(TTML, "textstream_fra", language="fra", role="forced-subtitle"),
    )


def sets(**options: object) -> list[etree._Element]:
    document = text(ask(shown(), ".mpd", **options).plan).encode()
    root = etree.fromstring(document)
    return root.findall(".//m:AdaptationSet[@contentType='text']", NS)


def described(one: etree._Element) -> tuple[str | None, ...]:
    role, access = one.find("m:Role", NS), one.find("m:Accessibility", NS)
    assert role is not None
    return (
        one.get("lang"),
        one.get("mimeType"),
        one.get("codecs"),
        role.get("value"),
        access.get("value") if access is not None else None,
        one.findtext("m:Label", None, NS),
    )


SEGMENTED = [
    ("en", "application/mp4", "wvtt", "subtitle", None, None),
    ("en", "application/mp4", "wvtt", "caption", "caption", "For the deaf"),
    ("fr", "application/mp4", "stpp.ttml.im1t", "forced-subtitle", None, None),
]
SIDECARS = [
    ("en", "text/vtt", None, "subtitle", None, None),
    ("en", "text/vtt", None, "caption", "caption", "For the deaf"),
]
BOTH = {"mpd_sidecar_webvtt": True, "mpd_sidecar_ttml": True}
TTML_SIDECAR = ("fr", "application/ttml+xml", None, "forced-subtitle", None, None)


def test_sets() -> None:
    assert [described(one) for one in sets()] == SEGMENTED
    webvtt = sets(mpd_sidecar_webvtt=True)
    assert [described(one) for one in webvtt] == [*SEGMENTED, *SIDECARS]
    ttml = sets(mpd_sidecar_ttml=True)
    assert [described(one) for one in ttml] == [*SEGMENTED, TTML_SIDECAR]
    assert [described(one) for one in sets(**BOTH)] == [*SEGMENTED, *SIDECARS, TTML_SIDECAR]


def test_the_schema_agrees() -> None:
    schema = dash_schema()
    for wanted in ({}, BOTH):
        document = text(ask(shown(), ".mpd", **wanted).plan).encode()
        schema.assertValid(etree.fromstring(document))


def test_ids_are_used_once() -> None:
    found = sets(**BOTH)
    assert len({one.get("id") for one in found}) == len(found)
    ids = [one.get("id") for each in found for one in each.findall("m:Representation", NS)]
    assert len(set(ids)) == len(ids) == 6


def test_clips_have_no_sidecars() -> None:
    clip = Clip(begin=Fraction(2))
    assert [described(one) for one in sets(clip=clip, **BOTH)] == SEGMENTED


def test_segments_begin_where_those_of_the_video_do() -> None:
    for one in sets()[:3]:
        template = one.find("m:SegmentTemplate", NS)
        assert template is not None
        assert template.get("timescale") == "1000"
        runs = template.findall(".//m:S", NS)
        assert [(run.get("t"), run.get("d"), run.get("r")) for run in runs] == [("0", "2000", "3")]


def test_sidecars() -> None:
    found = sets(**BOTH)[3:]
    urls = [one.findtext("m:Representation/m:BaseURL", None, NS) for one in found]
    assert urls == [
        "video-textstream_eng=1000.webvtt",
        "video-cc=1000.webvtt",
        "video-textstream_fra=1000.ttml",
    ]
    answer = ask(shown(), f"dash/{urls[0]}").plan
    assert answer.content_type == "text/vtt; charset=utf-8"
    assert text(answer) == (
        "WEBVTT\n\nSTYLE\n::cue { color: red }\n\n"
        "00:00:01.000 --> 00:00:05.000 line:0\n<i>a</i>\n\n"
    )
    whole = ask(shown(), f"dash/{urls[2]}").plan
    assert whole.content_type == "application/ttml+xml"
    (part,) = whole.parts
    assert isinstance(part, FileRanges), "the file itself"
    assert (part.offset.tolist(), part.lengths.tolist()) == ([0], [len(TTML)])


def test_sidecars_of_media_files() -> None:
    sample = b"\0\0\0\x11vttc\0\0\0\x09payla"
    for entry, data, ending, wanted in (
        ("wvtt", sample, "webvtt", "WEBVTT\n\n00:00:00.000 --> 00:00:06.000\na\n\n"),
        ("stpp", TTML, "ttml", 'begin="00:00:01.000" end="00:00:05.000"'),
    ):
        track, file, _ = stored_track([(3000, data), (3000, data)], entry=entry, timescale=1000)
        one = presentation(rendition(video_track(seconds=8)), rendition(track))
        plan = ask(
            one,
            f"dash/video-textstream=1000.{ending}",
            read=lambda _, offset, length, file=file: file[offset : offset + length],  # type: ignore[misc]
        ).plan
        assert wanted in text(plan)


def test_segments() -> None:
    base = "dash/video-textstream_eng=1000"
    (init,) = ask(shown(), f"{base}.dash").plan.parts
    assert read_init(init.data).handler == "text"  # type: ignore[union-attr]
    assert b"vttCWEBVTT\n\nSTYLE\n::cue { color: red }" in init.data  # type: ignore[union-attr]
    answer = ask(shown(), f"{base}-4000.dash", read_ahead=5)
    assert answer.plan.content_type == "application/mp4"
    assert answer.plan.headers[0][1] == '<video-textstream_eng=1000-6000.dash>; rel="next"'
    assert [path for path, _ in answer.ahead] == [f"{base}-6000.dash"]
    (segment,) = answer.plan.parts
    data = segment.data  # type: ignore[union-attr]
    begin, end = next((a, b) for name, a, b in boxes(data) if name == "mdat")
    # Two samples: what is left of the cue for a second, then nothing.
    assert [one.payload for one in decode_wvtt(data[begin : end - 8])] == ["<i>a</i>"]
    assert decode_wvtt(data[end - 8 : end]) == []
    assert ask(shown(), f"{base}-3.m4s").plan.parts[0].data == data  # type: ignore[union-attr]


def test_ttml_is_in_a_track_of_subtitles() -> None:
    (init,) = ask(shown(), "dash/video-textstream_fra=1000.dash").plan.parts
    assert read_init(init.data).handler == "subt"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "path",
    [
        "dash/video-video=1000.webvtt",
        "dash/video-textstream_eng=1000.ttml",
        "dash/video-textstream_fra=1000.webvtt",
        "dash/video-nobody=1000.webvtt",
    ],
)
def test_what_is_not_there(path: str) -> None:
    with pytest.raises(NotFound):
        ask(shown(), path)


def test_dash_can_be_switched_off() -> None:
    with pytest.raises(NotFound, match="switched off"):
        ask(shown(), "dash/video-textstream_eng=1000.webvtt", mpd_playout=False)
