"""MPDs of clips, of selected tracks, and with trick play: everything that they name exists."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from sidecar.errors import FragmentMissing, FragmentNotAvailable, NotFound
from sidecar.media.options import parse_options
from sidecar.media.presentation import Presentation
from sidecar.media.select import select
from sidecar.mux.plan import Inline
from sidecar.timeline.clips import clip_of
from sidecar.timeline.segmenter import Timeline
from tests.support.dash_schema import dash_schema
from tests.support.mpd import parse_duration
from tests.support.requests import ask
from tests.support.tracks import (
    audio_track,
    presentation,
    rendition,
    video_facts,
    video_track,
)

NS = {"m": "urn:mpeg:dash:schema:mpd:2011"}
TRICK_PLAY = "http://dashif.org/guidelines/trickmode"
TEMPLATES = ("time", "number", "number_timeline")
SINCE_1970 = 1_544_100_900

SHOWN = {
    "ladder": presentation(
        rendition(video_track(seconds=30, b_frames=True), bitrate=400_000),
        rendition(video_track(seconds=30, b_frames=True), bitrate=2_500_000),
        rendition(audio_track(seconds=30, edit_media_time=1024), bitrate=128_000),
    ),
    "other timescales": presentation(
        rendition(video_track(seconds=30, gop=48, fps=24, timescale=24_000), bitrate=1),
        rendition(video_track(seconds=30, gop=48, fps=24, timescale=90_000), bitrate=2),
        rendition(audio_track(seconds=30, rate=44_100)),
    ),
    "unaligned": presentation(
        rendition(video_track(seconds=30), bitrate=1),
        rendition(video_track(seconds=30, gop=47), bitrate=2),
        rendition(audio_track(seconds=30)),
    ),
    "audio alone": presentation(rendition(audio_track(seconds=30))),
    "late video": presentation(
        rendition(video_track(seconds=15, start=15 * 12_800)), rendition(audio_track(seconds=30))
    ),
    "short video": presentation(
        rendition(video_track(seconds=15)), rendition(audio_track(seconds=30))
    ),
    "recorded": presentation(rendition(video_track(seconds=30, start=SINCE_1970 * 12_800))),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A representation as a client reads it; times in seconds of the Period."""

    id: str
    kind: str
    adaptation_set: etree._Element
    init: str
    urls: list[str]
    starts: list[Fraction]
    ends: list[Fraction]


def mpd(shown: Presentation, query: str) -> etree._Element:
    options = parse_options({}, query)
    selected = select(shown, options)
    fields = {name: getattr(options, name) for name in options.__slots__}
    clip = clip_of(selected, options)
    return etree.fromstring(body(shown, ".mpd", selected=selected, clip=clip, **fields))


def body(shown: Presentation, virtual_path: str, **asked: Any) -> bytes:
    (part,) = ask(shown, virtual_path, **asked).plan.parts
    assert isinstance(part, Inline)
    return part.data


def duration(root: etree._Element) -> Fraction:
    period = root.find("m:Period", NS)
    assert period is not None
    assert period.get("duration") == root.get("mediaPresentationDuration")
    return parse_duration(period.get("duration", ""))


def listed(root: etree._Element) -> Iterator[Listed]:
    for adaptation_set in root.iterfind(".//m:AdaptationSet", NS):
        for element in adaptation_set.iterfind("m:Representation", NS):
            template = element.find("m:SegmentTemplate", NS)
            if template is None:
                template = adaptation_set.find("m:SegmentTemplate", NS)
            assert template is not None
            yield read(root, adaptation_set, element, template)


def read(
    root: etree._Element,
    adaptation_set: etree._Element,
    element: etree._Element,
    template: etree._Element,
) -> Listed:
    timescale = int(template.get("timescale", ""))
    offset = int(template.get("presentationTimeOffset", "0"))
    spans: list[tuple[int, int]] = []
    if template.get("duration"):
        each = int(template.get("duration", ""))
        count = -(-duration(root) * timescale // each)
        spans = [(offset + each * index, each) for index in range(count)]
    else:
        time = 0
        for entry in template.iterfind("m:SegmentTimeline/m:S", NS):
            time = int(entry.get("t", time))
            for _ in range(int(entry.get("r", "0")) + 1):
                spans.append((time, int(entry.get("d", ""))))
                time += spans[-1][1]
    identity = element.get("id", "")

    def url(name: str, time: int, number: int) -> str:
        made = template.get(name, "").replace("$RepresentationID$", identity)
        made = made.replace("$Time$", str(time)).replace("$Number$", str(number))
        return f"dash/{unquote(made)}"

    first = int(template.get("startNumber", "1"))
    return Listed(
        id=identity,
        kind=adaptation_set.get("contentType", ""),
        adaptation_set=adaptation_set,
        init=url("initialization", 0, 0),
        urls=[url("media", time, first + at) for at, (time, _) in enumerate(spans)],
        starts=[Fraction(time - offset, timescale) for time, _ in spans],
        ends=[Fraction(time + length - offset, timescale) for time, length in spans],
    )


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("name", SHOWN)
@given(st.integers(0, 29_900), st.integers(1, 40_000) | st.none())
@settings(max_examples=12, deadline=None)
def test_clips(name: str, template: str, begin: int, length: int | None) -> None:
    shown = SHOWN[name]
    whole = {one.id: one for one in listed(mpd(shown, f"mpd_segment_template={template}"))}
    query = f"mpd_segment_template={template}&vbegin={begin / 1000:.3f}"
    query += f"&vend={(begin + length) / 1000:.3f}" if length else ""
    root = mpd(shown, query)
    dash_schema().assertValid(root)
    found = {one.id: one for one in listed(root)}
    video = [one for one in found.values() if one.kind == "video"]
    for one in found.values():
        # The URLs are some of those of the whole, in a row.
        at = whole[one.id].urls.index(one.urls[0])
        assert one.urls == whole[one.id].urls[at : at + len(one.urls)]
        assert one.init == whole[one.id].init
        assert one.ends[-1] > 0
        assert one.starts[-1] < duration(root)
    # Something is presented from the begin of the Period to its end.
    assert min(one.starts[0] for one in found.values()) <= Fraction(1, 1000)
    ends = [one.ends[-1] for one in found.values()]
    assert duration(root) <= max(ends) + Fraction(1, 1000)
    if template != "number":  # whose last segment may be shorter than said
        # durations are whole milliseconds, rounded down
        last = max(one.ends[-1] for one in video or found.values())
        assert duration(root) > last - Fraction(1, 1000)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_clip_begins_with_a_segment_of_the_video(template: str) -> None:
    root = mpd(SHOWN["ladder"], f"vbegin=7&vend=11&mpd_segment_template={template}")
    assert duration(root) == 6  # from 6 s to 12 s
    for one in listed(root):
        assert abs(one.starts[0]) < Fraction(1, 40)
        assert len(one.urls) == 3
    offsets = {
        Fraction(int(one.get("presentationTimeOffset", "")), int(one.get("timescale", "")))
        for one in root.iterfind(".//m:SegmentTemplate", NS)
    }
    assert offsets == {6}
    if template != "time":
        numbers = {one.get("startNumber") for one in root.iterfind(".//m:SegmentTemplate", NS)}
        assert numbers == {"4"}


def test_recordings_count_from_their_begin() -> None:
    root = mpd(SHOWN["recorded"], "")
    assert duration(root) == 30
    assert mpd(SHOWN["recorded"], "t=10-12").get("mediaPresentationDuration") == "PT2S"
    dated = mpd(SHOWN["recorded"], "vbegin=2018-12-06T12:55:10Z&vend=2018-12-06T12:55:12Z")
    assert etree.tostring(dated) == etree.tostring(mpd(SHOWN["recorded"], "t=10-12"))


def test_the_tracks_of_a_filter() -> None:
    root = mpd(SHOWN["ladder"], "filter=type==%22video%22%26%26systemBitrate%3E400000")
    assert [one.id for one in listed(root)] == ["video=2500000"]
    assert {one.get("maxBandwidth") for one in root.iterfind(".//m:AdaptationSet", NS)} == {
        "2500000"
    }
    # Its segments are those of the whole.
    whole = [one for one in listed(mpd(SHOWN["ladder"], "")) if one.id == "video=2500000"]
    assert [one.urls for one in listed(root)] == [one.urls for one in whole]


def test_tracks_that_present_nothing_in_the_clip_are_left_out() -> None:
    shown = presentation(rendition(video_track(seconds=30)), rendition(audio_track(seconds=5)))
    assert [one.kind for one in listed(mpd(shown, "vbegin=10"))] == ["video"]
    assert [one.kind for one in listed(mpd(shown, "vend=4"))] == ["audio", "video"]


def trick_play(root: etree._Element) -> dict[str, str]:
    """Number of each trick-mode set -> that of the set that it belongs to."""
    return {
        mark.getparent().get("id", ""): mark.get("value", "")  # type: ignore[union-attr]
        for mark in root.iterfind(".//m:EssentialProperty", NS)
        if mark.get("schemeIdUri") == TRICK_PLAY
    }


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("name", ["ladder", "other timescales", "unaligned", "late video"])
def test_key_frames_of_ordinary_video(name: str, template: str) -> None:
    shown = SHOWN[name]
    query = f"mpd_segment_template={template}"
    assert not trick_play(mpd(shown, query))
    root = mpd(shown, f"{query}&fixed_gop")
    dash_schema().assertValid(root)
    sets = trick_play(root)
    ids = {one.get("id"): one for one in root.iterfind(".//m:AdaptationSet", NS)}
    assert len(sets) == 1
    timeline = Timeline(shown)
    for number, main in sets.items():
        assert ids[number].get("codingDependency") == "false"
        assert (ids[number].get("contentType"), ids[main].get("contentType")) == ("video", "video")
        names = [one.id for one in listed(root) if one.adaptation_set is ids[main]]
        of_set = [one for one in listed(root) if one.adaptation_set is ids[number]]
        assert [one.id for one in of_set] == [f"keyframes-{name}" for name in names]
        for one in of_set:
            found = shown.find(one.id.removeprefix("keyframes-"))
            assert found is not None
            key_frames = timeline.key_frames(found)
            assert key_frames is not None
            assert len(one.urls) == len(key_frames)
            assert body(shown, one.init) == body(shown, f"dash/x-{found.selector}.dash")
            for index in (0, len(one.urls) - 1):
                plan = ask(shown, one.urls[index]).plan
                sample = int(key_frames.first_sample[index])
                assert plan.parts[-1].length == int(found.track.samples.size[sample])  # type: ignore[union-attr]
            bandwidth = [e.get("bandwidth") for e in ids[number].iterfind("m:Representation", NS)]
            assert all(int(given or "0") > 0 for given in bandwidth)
    assert len({one.id for one in listed(root)}) == len(list(listed(root)))


def test_a_playout_rate_keeps_the_picture_rate() -> None:
    root = mpd(SHOWN["ladder"], "fixed_gop")
    (number,) = trick_play(root)
    (element,) = (one for one in root.iterfind(".//m:AdaptationSet", NS) if one.get("id") == number)
    assert element.get("maxPlayoutRate") == "50"  # 25 pictures a second, a key frame every 2 s


def test_key_frames_that_do_not_exist() -> None:
    with pytest.raises(FragmentMissing):
        ask(SHOWN["ladder"], "dash/keyframes/x-video=400000-1.dash")
    with pytest.raises(FragmentNotAvailable):
        ask(SHOWN["ladder"], "dash/keyframes/x-video=400000-99.m4s")
    with pytest.raises(NotFound, match="only video"):
        ask(SHOWN["ladder"], "dash/keyframes/x-audio=128000-0.dash")


def test_a_sync_sample_track_is_trick_play() -> None:
    shown = presentation(
        *SHOWN["ladder"].renditions,
        rendition(
            video_track(seconds=30, fps=Fraction(1, 2), all_sync=True),
            name="trick",
            bitrate=90_000,
        ),
    )
    for query in ("", "fixed_gop"):
        root = mpd(shown, query)
        dash_schema().assertValid(root)
        assert trick_play(root) == {"3": "2"}
        of_set = [one for one in listed(root) if one.adaptation_set.get("id") == "3"]
        assert [one.id for one in of_set] == ["trick=90000"]
        assert of_set[0].adaptation_set.get("maxPlayoutRate") == "50"
        for url in of_set[0].urls:
            ask(shown, url)
    # It changes nothing of the others.
    before = [one.urls for one in listed(mpd(SHOWN["ladder"], ""))]
    assert [one.urls for one in listed(root)][:3] == before
    # Alone, it is video like any other.
    alone = mpd(shown, "filter=trackName==%22trick%22")
    assert not trick_play(alone)
    assert [one.id for one in listed(alone)] == ["trick=90000"]


def test_the_trick_play_of_a_clip() -> None:
    root = mpd(SHOWN["ladder"], "fixed_gop&vbegin=7&vend=11")
    dash_schema().assertValid(root)
    (found, *_) = (one for one in listed(root) if one.id.startswith("keyframes-"))
    assert found.starts == [0, 2, 4]


def test_sets_of_other_codecs_belong_to_the_one_they_are_like() -> None:
    hevc = video_facts(codec="hvc1.1.6.L93.B0")
    shown = presentation(
        *SHOWN["ladder"].renditions,
        rendition(video_track(seconds=30, facts=hevc), name="video_hevc", bitrate=800_000),
        rendition(
            video_track(seconds=30, fps=1, all_sync=True, facts=hevc), name="trick", bitrate=50_000
        ),
    )
    root = mpd(shown, "")
    codecs = {
        one.get("id"): {r.get("codecs") for r in one.iterfind("m:Representation", NS)}
        for one in root.iterfind(".//m:AdaptationSet", NS)
    }
    ((number, main),) = trick_play(root).items()
    assert codecs[number] == codecs[main] == {"hvc1.1.6.L93.B0"}
