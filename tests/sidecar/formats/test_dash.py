"""MPDs and DASH segments, asked for by their URLs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from urllib.parse import unquote

import pytest
from lxml import etree

from sidecar.errors import FragmentMissing, FragmentNotAvailable, FragmentNotFound, NotFound
from sidecar.media.presentation import Presentation
from sidecar.mux.plan import CacheClass, Inline
from sidecar.timeline.segmenter import Timeline
from tests.support.dash_schema import dash_schema
from tests.support.golden import Golden, golden  # noqa: F401
from tests.support.requests import ask, text
from tests.support.tracks import (
    audio_facts,
    audio_track,
    policy,
    presentation,
    rendition,
    text_track,
    video_facts,
    video_track,
)

NS = {"m": "urn:mpeg:dash:schema:mpd:2011"}


def ladder(seconds: float = 30, **video: object) -> Presentation:
    return presentation(
        rendition(
            video_track(
                seconds=seconds,
                b_frames=True,
                facts=video_facts(width=640, height=360, codec="avc1.4D401E"),
                **video,  # type: ignore[arg-type]
            ),
            bitrate=401_000,
        ),
        rendition(
            video_track(seconds=seconds, b_frames=True, **video),  # type: ignore[arg-type]
            bitrate=2_500_000,
        ),
        rendition(
            audio_track(seconds=seconds, edit_media_time=1024),
            name="audio_eng",
            bitrate=128_002,
            language="eng",
            label="English & more",
        ),
        rendition(
            audio_track(seconds=seconds, track_id=3),
            name="audio_deu",
            bitrate=127_990,
            language="deu",
        ),
        name="sintel",
    )


def mpd(shown: Presentation, **options: object) -> etree._Element:
    plan = ask(shown, ".mpd", **options).plan
    (part,) = plan.parts
    assert isinstance(part, Inline)
    return etree.fromstring(part.data)


def starts(template: etree._Element) -> list[int]:
    """Times that a client makes of a SegmentTimeline."""
    made: list[int] = []
    time = 0
    for entry in template.iterfind("m:SegmentTimeline/m:S", NS):
        time = int(entry.get("t", time))
        for _ in range(int(entry.get("r", "0")) + 1):
            made.append(time)
            time += int(entry.get("d", ""))
    return [*made, time]


def representations(
    root: etree._Element,
) -> Iterator[tuple[etree._Element, etree._Element, etree._Element]]:
    for adaptation_set in root.iterfind(".//m:AdaptationSet", NS):
        for representation in adaptation_set.iterfind("m:Representation", NS):
            template = representation.find("m:SegmentTemplate", NS)
            if template is None:
                template = adaptation_set.find("m:SegmentTemplate", NS)
            assert template is not None
            yield adaptation_set, representation, template


def fill(template: str, representation: etree._Element, **values: int) -> str:
    made = template.replace("$RepresentationID$", representation.get("id", ""))
    for name, value in values.items():
        made = made.replace(f"${name}$", str(value))
    assert "$" not in made
    return "dash/" + unquote(made)


SHOWN = {
    "ladder": ladder(),
    "fragmented": ladder(fragments=[0, 75, 100, 300]),
    "open GOP": presentation(
        rendition(video_track(seconds=20, b_frames=True, open_gop=True)),
        rendition(audio_track(seconds=20)),
    ),
    "unaligned": presentation(
        rendition(video_track(seconds=20), bitrate=1),
        rendition(video_track(seconds=20, gop=47), bitrate=2),
    ),
    "timescales": presentation(
        rendition(video_track(seconds=20), bitrate=1),
        rendition(video_track(seconds=20, timescale=90000), bitrate=2),
    ),
    "video alone": presentation(rendition(video_track(seconds=20))),
    "audio alone": presentation(rendition(audio_track(seconds=20))),
    "text": presentation(
        rendition(video_track(seconds=20)),
        rendition(text_track(cues=[(0, 5000), (5000, 15000)])),
    ),
    "late video": presentation(
        rendition(video_track(seconds=10, start=10 * 12800)), rendition(audio_track(seconds=20))
    ),
    "odd names": presentation(
        rendition(
            video_track(
                seconds=8,
                facts=video_facts(width=720, height=576, pixel_aspect=(64, 45), codec="hvc1.2.4"),
            ),
            name='Füße & "co" $x$ %',
            label="control \x01 <b>",
        ),
        rendition(audio_track(seconds=8), language="not a language"),
        name="a b$c",
    ),
}
TEMPLATES = ["time", "number", "number_timeline"]


def test_mpd(golden: Golden) -> None:  # noqa: F811
    answer = ask(ladder(), ".mpd")
    assert answer.plan.content_type == "application/dash+xml"
    assert answer.plan.cache_class is CacheClass.MANIFEST
    golden.check("dash/time.mpd", text(answer.plan))
    golden.check("dash/number.mpd", text(ask(ladder(), ".mpd", mpd_segment_template="number").plan))


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("name", SHOWN)
def test_the_schema_holds(name: str, template: str) -> None:
    dash_schema().assertValid(mpd(SHOWN[name], mpd_segment_template=template))


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("name", SHOWN)
def test_every_url_that_a_client_makes_answers(name: str, template: str) -> None:
    shown = SHOWN[name]
    timeline = Timeline(shown)
    root = mpd(shown, mpd_segment_template=template)
    period = Fraction(_seconds(root.get("mediaPresentationDuration", "")))
    for _, representation, described in representations(root):
        init = fill(described.get("initialization", ""), representation)
        assert ask(shown, init, timeline=timeline).plan.length > 300
        media = described.get("media", "")
        if "duration" in described.attrib:
            length = Fraction(int(described.get("duration", "")))
            count = -(-period * int(described.get("timescale", "")) // length)
            urls = [fill(media, representation, Number=n + 1) for n in range(int(count))]
        else:
            times = starts(described)
            urls = [
                fill(media, representation, Number=number + 1, Time=time)
                for number, time in enumerate(times[:-1])
            ]
        for url in urls:
            answer = ask(shown, url, timeline=timeline)
            assert answer.plan.length > 0
        assert dict(answer.plan.headers) == {}, "the last one has no next"


def _seconds(duration: str) -> str:
    match = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?([\d.]+)S", duration)
    assert match is not None
    hours, minutes, seconds = match.groups()
    return str(3600 * int(hours or 0) + 60 * int(minutes or 0) + Fraction(seconds))


@pytest.mark.parametrize("name", SHOWN)
def test_the_timeline_is_that_of_the_segments(name: str) -> None:
    shown = SHOWN[name]
    timeline = Timeline(shown)
    root = mpd(shown)
    for _, representation, template in representations(root):
        selector = unquote(representation.get("id", ""))
        found = shown.find(selector)
        assert found is not None
        fragmented = found.track.samples.fragment_start is not None or name == "fragmented"
        segments = timeline.segments(found, policy(0, 0 if fragmented else 2))
        assert template.get("timescale") == str(segments.timescale)
        assert starts(template) == segments.start.tolist()


@pytest.mark.parametrize("name", SHOWN)
def test_the_root_tag_ends_within_512_bytes(name: str) -> None:
    document = text(ask(SHOWN[name], ".mpd").plan).encode()
    assert document.index(b">", document.index(b"<MPD")) < 512
    assert b"Created with OpenOrigin" in document


def test_durations_of_the_presentation() -> None:
    root = mpd(ladder(seconds=3723.5))
    assert root.get("mediaPresentationDuration") == "PT1H2M3.52S"
    assert root.get("maxSegmentDuration") == "PT2.006S"
    assert root.get("minBufferTime") == "PT10S"
    assert root.find("m:Period", NS).get("duration") == "PT1H2M3.52S"  # type: ignore[union-attr]
    assert list(root.attrib)[1:] == [
        "type",
        "mediaPresentationDuration",
        "maxSegmentDuration",
        "minBufferTime",
        "profiles",
    ]
    assert mpd(ladder(), mpd_min_buffer_time=Fraction(48, 25)).get("minBufferTime") == "PT1.92S"


def test_sets_by_language_and_codec() -> None:
    dolby = audio_facts(codec="ec-3", fourcc="EC-3", channels=6)
    hevc = video_facts(codec="hvc1.1.6.L93.B0")
    shown = presentation(
        rendition(video_track(seconds=8), bitrate=1000),
        rendition(video_track(seconds=8, facts=hevc), bitrate=2000),
        rendition(audio_track(seconds=8), name="audio_eng", bitrate=1, language="eng"),
        rendition(audio_track(seconds=8), name="audio_eng", bitrate=2, language="eng"),
        rendition(audio_track(seconds=8, facts=dolby), name="audio_eng", bitrate=3, language="eng"),
        rendition(audio_track(seconds=8), name="audio_eng_1", bitrate=4, language="eng"),
        rendition(audio_track(seconds=8), name="audio_deu", bitrate=5, language="deu"),
        rendition(audio_track(seconds=8), name="a", bitrate=6, language="eng", role="description"),
        rendition(text_track(cues=[(0, 8000)])),
    )
    sets = mpd(shown).findall(".//m:AdaptationSet", NS)
    assert [
        (
            one.get("group"),
            one.get("lang"),
            one.get("mimeType"),
            len(one.findall("m:Representation", NS)),
            one.find("m:Role", NS).get("value"),  # type: ignore[union-attr]
        )
        for one in sets
    ] == [
        ("1", "en", "audio/mp4", 2, "main"),
        ("1", "en", "audio/mp4", 1, "main"),
        ("1", "en", "audio/mp4", 1, "alternate"),
        ("1", "de", "audio/mp4", 1, "main"),
        ("1", "en", "audio/mp4", 1, "description"),
        ("3", "en", "application/mp4", 1, "subtitle"),
        ("2", None, "video/mp4", 1, "main"),
        ("2", None, "video/mp4", 1, "main"),
    ]
    assert [one.get("id") for one in sets] == [str(number) for number in range(1, 9)]
    channels = [one.find("m:AudioChannelConfiguration", NS) for one in sets[:2]]
    assert [one.get("value") for one in channels] == ["2", "6"]  # type: ignore[union-attr]
    assert sets[4].find("m:Accessibility", NS) is not None


def test_pictures() -> None:
    (one,) = mpd(SHOWN["odd names"]).findall(".//m:AdaptationSet[@contentType='video']", NS)
    assert (one.get("par"), one.get("sar")) == ("16:9", "64:45")
    representation = one.find("m:Representation", NS)
    assert representation is not None
    assert representation.get("id") == "F%C3%BC%C3%9Fe%20%26%20%22co%22%20%24x%24%20%25=1000"
    assert representation.get("frameRate") == "25"
    assert one.findtext("m:Label", namespaces=NS) == "control  <b>"
    film = video_track(seconds=8, fps=Fraction(24000, 1001), timescale=24000)
    found = mpd(presentation(rendition(film))).find(".//m:Representation", NS)
    assert found is not None
    assert found.get("frameRate") == "24000/1001"


def test_alignment_and_access_points() -> None:
    def video_set(name: str) -> etree._Element:
        found = mpd(SHOWN[name]).find(".//m:AdaptationSet[@contentType='video']", NS)
        assert found is not None
        return found

    assert video_set("ladder").get("segmentAlignment") == "true"
    assert video_set("ladder").get("startWithSAP") == "1"
    assert video_set("open GOP").get("startWithSAP") == "3"
    assert video_set("unaligned").get("segmentAlignment") == "false"
    assert len(video_set("unaligned").findall("m:Representation/m:SegmentTemplate", NS)) == 2
    assert video_set("timescales").get("segmentAlignment") == "true"
    assert len(video_set("timescales").findall("m:Representation/m:SegmentTemplate", NS)) == 2
    assert len(video_set("ladder").findall("m:SegmentTemplate", NS)) == 1


def test_numbers_with_one_duration_only_where_it_is_right() -> None:
    def template(shown: Presentation, kind: str) -> etree._Element:
        root = mpd(shown, mpd_segment_template="number")
        found = root.find(f".//m:AdaptationSet[@contentType='{kind}']/m:SegmentTemplate", NS)
        assert found is not None
        assert found.get("startNumber") == "1"
        return found

    even = ladder(seconds=30)
    assert template(even, "video").get("duration") is not None
    assert template(even, "audio").get("duration") is not None
    assert template(even, "video").find("m:SegmentTimeline", NS) is None
    uneven = presentation(rendition(video_track(seconds=60, gop=[20, 200])))
    assert template(uneven, "video").get("duration") is None
    assert template(uneven, "video").find("m:SegmentTimeline", NS) is not None


def test_audio_that_outlasts_the_video_asks_for_no_segment_more() -> None:
    # Ten GOPs of 2 s, and audio that ends 21 ms later: 20.021 / 2 would be eleven segments.
    shown = presentation(
        rendition(video_track(seconds=20)), rendition(audio_track(seconds=20.0213))
    )
    root = mpd(shown, mpd_segment_template="number")
    template = root.find(".//m:AdaptationSet[@contentType='video']/m:SegmentTemplate", NS)
    assert template is not None
    period = Fraction(_seconds(root.get("mediaPresentationDuration", "")))
    assert -(-period * 12800 // int(template.get("duration", ""))) == 10


def test_a_segment_names_the_next_and_brings_it_along() -> None:
    shown = ladder()
    answer = ask(shown, "dash/sintel-video=401000-25600.dash", read_ahead=2)
    assert answer.plan.content_type == "video/mp4"
    assert answer.plan.headers == (("Link", '<sintel-video=401000-51200.dash>; rel="next"'),)
    assert [path for path, _ in answer.ahead] == [
        "dash/sintel-video=401000-51200.dash",
        "dash/sintel-video=401000-76800.dash",
    ]
    numbered = ask(shown, "dash/sintel-video=401000-2.m4s", read_ahead=1)
    assert numbered.plan.headers == (("Link", '<sintel-video=401000-3.m4s>; rel="next"'),)
    assert numbered.plan.parts[0].data == answer.plan.parts[0].data  # type: ignore[union-attr]
    assert [path for path, _ in numbered.ahead] == ["dash/sintel-video=401000-3.m4s"]


def test_the_query_travels_to_every_segment() -> None:
    query = "mpd_minimum_fragment_length=4"
    root = mpd(ladder(), queries={"dash": query}, mpd_minimum_fragment_length=Fraction(4))
    for _, _, template in representations(root):
        assert template.get("initialization", "").endswith("$.dash")
        assert template.get("media", "").endswith(f"-$Time$.dash?{query}")
    assert root.get("maxSegmentDuration") == "PT4.011S"


@pytest.mark.parametrize(
    ("path", "error", "sentence"),
    [
        ("dash/x-video=401000-1.dash", FragmentMissing, "no segment starts at 1"),
        ("dash/x-video=401000-384000.dash", FragmentNotAvailable, "ends at 384000"),
        ("dash/x-video=401000-999999999999999999.dash", FragmentNotAvailable, "after the last"),
        ("dash/x-video=401000-0.m4s", FragmentNotFound, "before the first"),
        ("dash/x-video=401000-16.m4s", FragmentNotAvailable, "after the last, 15"),
        ("dash/x-video=5.dash", NotFound, "no such track"),
        ("dash/x-video=5-0.dash", NotFound, "no such track"),
    ],
)
def test_what_is_not_there(path: str, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        ask(ladder(), path)


def test_times_before_a_late_start() -> None:
    with pytest.raises(FragmentNotFound, match="before the first segment, at 128000"):
        ask(SHOWN["late video"], "dash/x-video=1000-0.dash")


def test_dash_can_be_switched_off() -> None:
    for path in (".mpd", "dash/x-video=401000.dash", "dash/x-video=401000-0.dash"):
        with pytest.raises(NotFound, match="switched off"):
            ask(ladder(), path, mpd_playout=False)
