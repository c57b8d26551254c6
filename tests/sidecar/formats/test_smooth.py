"""Client manifests and fragments of Smooth Streaming, asked for by their URLs."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from lxml import etree

from sidecar.errors import (
    FragmentMissing,
    FragmentNotAvailable,
    FragmentNotFound,
    NotFound,
    UnsupportedMedia,
)
from sidecar.formats.registry import find
from sidecar.media.presentation import Presentation
from sidecar.media.track import Samples, StoredFragments, Track
from sidecar.mux.plan import CacheClass, FileRanges, Inline, Part, Plan
from sidecar.timeline.clips import Clip
from sidecar.timeline.segmenter import Timeline
from tests.support.golden import Golden, golden  # noqa: F401
from tests.support.requests import ask, text
from tests.support.smooth import ClientManifest, Fragment, read_fragment, read_manifest
from tests.support.tracks import (
    audio_facts,
    audio_track,
    presentation,
    rendition,
    text_track,
    video_facts,
    video_track,
)

SECOND = 10_000_000
SPS = bytes.fromhex("00000001674d401e0000000168ee3c80")


def ladder(seconds: float = 30) -> Presentation:
    return presentation(
        rendition(
            video_track(
                seconds=seconds,
                b_frames=True,
                facts=video_facts(
                    width=640,
                    height=360,
                    codec="avc1.4D401E",
                    codec_private_data=SPS,
                    pixel_aspect=(4, 3),
                ),
            ),
            bitrate=401_000,
        ),
        rendition(video_track(seconds=seconds, b_frames=True), bitrate=2_500_000),
        rendition(
            audio_track(seconds=seconds, edit_media_time=1024),
            name="audio_eng",
            bitrate=128_002,
            language="eng",
        ),
        rendition(
            audio_track(seconds=seconds, track_id=3),
            name="audio_deu",
            bitrate=127_990,
            language="deu",
        ),
        name="sintel",
    )


def manifest(shown: Presentation, path: str = "Manifest", **given: object) -> ClientManifest:
    return read_manifest(text(ask(shown, path, **given).plan).encode())  # type: ignore[arg-type]


def body(parts: tuple[Part, ...]) -> bytes:
    """Inline bytes, and zeros for what lies in files."""
    return b"".join(p.data if isinstance(p, Inline) else bytes(p.length) for p in parts)


def read(plan: Plan) -> Fragment:
    return read_fragment(body(plan.parts))


def test_a_manifest_as_a_whole(golden: Golden) -> None:  # noqa: F811
    golden.check("smooth/Manifest-2.0", text(ask(ladder(), "Manifest").plan))
    newer = ask(ladder(), "manifest", iss_client_manifest_version=22).plan
    golden.check("smooth/Manifest-2.2", text(newer))
    assert newer.content_type == "application/vnd.ms-sstr+xml"
    assert newer.cache_class is CacheClass.MANIFEST


@pytest.mark.parametrize("version", [20, 22])
def test_both_versions_list_the_same(version: int) -> None:
    listed = manifest(ladder(), iss_client_manifest_version=version)
    assert listed.attributes["MajorVersion"] == "2"
    assert listed.attributes["MinorVersion"] == str(version % 20)
    plain = manifest(ladder())
    assert [stream.chunks for stream in listed.streams] == [s.chunks for s in plain.streams]
    repeats = (
        b" r=" in text(ask(ladder(), "Manifest", iss_client_manifest_version=version).plan).encode()
    )
    assert repeats == (version == 22)


def test_the_root_element_begins_early() -> None:
    data = text(ask(ladder(), "Manifest").plan)
    assert data.index(">", data.index("<SmoothStreamingMedia")) < 512


def test_streams_and_their_levels() -> None:
    listed = manifest(ladder())
    assert [(s.kind, s.name) for s in listed.streams] == [
        ("audio", "audio_eng"),
        ("audio", "audio_deu"),
        ("video", "video"),
    ]
    english, _, video = listed.streams
    assert [level["Bitrate"] for level in video.levels] == ["401000", "2500000"]
    assert [level["Index"] for level in video.levels] == ["0", "1"]
    assert video.levels[0]["FourCC"] == "AVC1"
    assert video.levels[0]["CodecPrivateData"] == SPS.hex().upper()
    assert (video.attributes["MaxWidth"], video.attributes["DisplayWidth"]) == ("1280", "1280")
    assert english.attributes["Language"] == "eng"
    level = english.levels[0]
    assert level["FourCC"] == "AACL"
    assert (level["SamplingRate"], level["Channels"], level["AudioTag"]) == ("48000", "2", "255")


def test_display_size_stands_in_newer_manifests() -> None:
    (video,) = manifest(ladder(), iss_client_manifest_version=22).of("video")
    assert (video.levels[0]["DisplayWidth"], video.levels[0]["DisplayHeight"]) == ("853", "360")
    assert "DisplayWidth" not in video.levels[1]


def test_every_fragment_of_a_manifest_is_there_and_says_its_time() -> None:
    shown = ladder(seconds=12.4)
    timeline = Timeline(shown)
    listed = manifest(shown, timeline=timeline)
    assert listed.attributes["TimeScale"] == str(SECOND)
    ends = []
    for stream in listed.streams:
        for level in stream.levels:
            found = [
                read(ask(shown, stream.path(level, time), timeline=timeline).plan)
                for time, _ in stream.chunks
            ]
            assert [(one.time, one.duration) for one in found] == list(stream.chunks)
            assert [one.sequence for one in found] == list(range(1, len(found) + 1))
            ends.append(max(t + d for one in found for t, d in zip(
                one.presentation(), one.durations, strict=True)))  # fmt: skip
        for (time, duration), (following, _) in pairwise(stream.chunks):
            assert time + duration == following
    assert int(listed.attributes["Duration"]) == max(ends)


def test_audio_is_as_late_as_the_pictures_are() -> None:
    shown = ladder()
    delay = Fraction(shown.renditions[-1].track.samples.composition_delay, 12_800)
    listed = manifest(shown)
    english, german, video = listed.streams
    assert video.chunks[0] == (0, 2 * SECOND)
    first = read(ask(shown, video.path(video.levels[0], 0)).plan)
    assert first.presentation()[0] == delay * SECOND
    assert german.chunks[0][0] == delay * SECOND
    assert english.chunks[0][0] == round(delay * SECOND - Fraction(1024 * SECOND, 48_000))


def test_audio_alone_begins_at_0() -> None:
    shown = presentation(rendition(audio_track(seconds=10, edit_media_time=1024), bitrate=64_000))
    (stream,) = manifest(shown).streams
    assert stream.chunks[0][0] == 0
    assert stream.chunks[1][0] % SECOND != 0


def test_a_fragment_names_the_next_one_and_brings_it_along() -> None:
    shown = ladder()
    path = "QualityLevels(401000)/Fragments(video=20000000)"
    answer = ask(shown, path, read_ahead=2, queries={"smooth": "iss_minimum_fragment_length=2"})
    link = '<Fragments(video=40000000)?iss_minimum_fragment_length=2>; rel="next"'
    assert answer.plan.headers == (("Link", link),)
    assert answer.plan.content_type == "video/mp4"
    assert answer.plan.cache_class is CacheClass.MEDIA
    assert [virtual for virtual, _ in answer.ahead] == [
        "QualityLevels(401000)/Fragments(video=40000000)",
        "QualityLevels(401000)/Fragments(video=60000000)",
    ]
    for virtual, plan in answer.ahead:
        assert body(plan.parts) == body(ask(shown, virtual).plan.parts)
    last = ask(shown, "QualityLevels(401000)/Fragments(video=280000000)", read_ahead=4)
    assert last.plan.headers == () and last.ahead == ()


@pytest.mark.parametrize(
    ("time", "error"),
    [
        ("0", FragmentNotFound),
        ("20000001", FragmentMissing),
        ("100000000", FragmentNotAvailable),
        ("999999999999999999", FragmentNotAvailable),
    ],
)
def test_times_without_a_fragment(time: str, error: type[Exception]) -> None:
    shown = presentation(rendition(video_track(seconds=8, start=6400)))
    with pytest.raises(error):
        ask(shown, f"QualityLevels(1000)/Fragments(video={time})")


@pytest.mark.parametrize("selector", ["QualityLevels(999)/Fragments(video=0)",
                                      "QualityLevels(401000)/Fragments(nothing=0)"])  # fmt: skip
def test_a_rendition_that_does_not_exist(selector: str) -> None:
    with pytest.raises(NotFound):
        ask(ladder(), selector)


@pytest.mark.parametrize(
    "path",
    [
        "QualityLevels(401000)/Fragments(video=00)",
        "QualityLevels(0401000)/Fragments(video=0)",
        "QualityLevels(401000)/Fragments(video=-1)",
        "QualityLevels(401000)/Fragment(video=0)",
        "QualityLevels(401000,)/Fragments(video=0)",
        "QualityLevels(401000)/Fragments(video=0)/",
        "QualityLevels(401000)/Fragments(=0)",
        "MANIFEST",
        "Manifest.xml",
    ],
)
def test_other_paths_are_not_ours(path: str) -> None:
    assert find(path) is None


def test_custom_attributes_are_accepted() -> None:
    shown = ladder()
    plain = ask(shown, "QualityLevels(401000)/Fragments(video=0)")
    path = "QualityLevels(401000,hardware=true,x=y)/Fragments(video=0)"
    assert body(ask(shown, path).plan.parts) == body(plain.plan.parts)
    ((ahead, _),) = ask(shown, path, read_ahead=1).ahead
    assert ahead == "QualityLevels(401000,hardware=true,x=y)/Fragments(video=20000000)"


def test_the_other_nouns() -> None:
    shown = ladder()

    def parts(noun: str, name: str = "video", bitrate: int = 401_000, time: int = 20_000_000):
        return ask(shown, f"QualityLevels({bitrate})/{noun}({name}={time})").plan.parts

    whole = read_fragment(body(parts("Fragments")))
    assert body(parts("FragmentInfo")) == body(parts("Fragments"))[: whole.moof]
    assert sum(part.length for part in parts("RawFragments")) == sum(whole.sizes)
    key = read_fragment(body(parts("KeyFrames")))
    assert key.sizes == whole.sizes[:1]
    assert (key.time, key.duration) == (whole.time, whole.duration)
    audio = manifest(shown).streams[0].chunks[2][0]
    sound = ("audio_eng", 128_002, audio)
    assert body(parts("KeyFrames", *sound)) == body(parts("Fragments", *sound))


def test_the_minimum_length_is_carried_into_fragment_urls() -> None:
    query = "iss_minimum_fragment_length=5"
    listed = manifest(ladder(), iss_minimum_fragment_length=Fraction(5), queries={"smooth": query})
    (video,) = listed.of("video")
    assert video.chunks[0] == (0, 6 * SECOND)
    assert video.attributes["Url"].endswith(f"(video={{start time}})?{query}")


def test_source_fragments_are_the_default_of_fragmented_sources() -> None:
    track = video_track(seconds=12, gop=25, fragments=[0, 75, 150, 225])
    (video,) = manifest(presentation(rendition(track))).streams
    assert [duration for _, duration in video.chunks] == [3 * SECOND] * 4


def test_a_clip_lists_what_it_touches_and_urls_stay() -> None:
    whole = manifest(ladder())
    listed = manifest(ladder(), clip=Clip(begin=Fraction(7), end=Fraction(13)))
    assert listed.of("video")[0].chunks == whole.of("video")[0].chunks[3:7]
    for clipped, full in zip(listed.streams, whole.streams, strict=True):
        assert set(clipped.chunks) < set(full.chunks)
        assert clipped.attributes["Url"] == full.attributes["Url"]
    # From the first picture of the first fragment to the last one of the last.
    assert int(listed.attributes["Duration"]) == pytest.approx(8 * SECOND, abs=SECOND // 5)
    for stream in listed.streams:
        assert stream.chunks[0][0] == pytest.approx(6 * SECOND, abs=SECOND // 10)
        assert sum(stream.chunks[-1]) == pytest.approx(14 * SECOND, abs=SECOND // 10)
    with pytest.raises(NotFound):
        ask(ladder(), "Manifest", clip=Clip(begin=Fraction(100)))


def test_open_ends_of_clips() -> None:
    whole = manifest(ladder())
    late = manifest(ladder(), clip=Clip(begin=Fraction(6)))
    early = manifest(ladder(), clip=Clip(end=Fraction(6)))
    for full, last, first in zip(whole.streams, late.streams, early.streams, strict=True):
        assert first.chunks + last.chunks == full.chunks


def test_a_clip_of_sound_alone() -> None:
    shown = presentation(rendition(audio_track(seconds=30)))
    (whole,) = manifest(shown).streams
    (listed,) = manifest(shown, clip=Clip(begin=Fraction(5), end=Fraction(7))).streams
    assert listed.chunks == whole.chunks[2:4]


def test_only_selected_tracks_are_listed() -> None:
    shown = ladder()
    kept = tuple(r for r in shown.renditions if r.bitrate in (2_500_000, 127_990))
    listed = manifest(shown, selected=replace(shown, renditions=kept))
    assert [(s.name, [level["Bitrate"] for level in s.levels]) for s in listed.streams] == [
        ("audio_deu", ["127990"]),
        ("video", ["2500000"]),
    ]
    assert [s.chunks for s in listed.streams] == [
        s.chunks for s in manifest(shown).streams if s.name != "audio_eng"
    ]
    with pytest.raises(NotFound):
        ask(shown, "Manifest", selected=replace(shown, renditions=()))


def test_renditions_that_are_cut_elsewhere_have_streams_of_their_own() -> None:
    shown = presentation(
        rendition(video_track(seconds=12, gop=50), bitrate=1000),
        rendition(video_track(seconds=12, gop=35), bitrate=2000),
    )
    listed = manifest(shown)
    assert [(s.name, len(s.levels)) for s in listed.streams] == [("video", 1), ("video_2", 1)]
    for stream in listed.streams:
        (level,) = stream.levels
        for time, duration in stream.chunks:
            found = read(ask(shown, stream.path(level, time)).plan)
            assert (found.time, found.duration) == (time, duration)


def test_renditions_in_unlike_timescales_share_a_stream() -> None:
    shown = presentation(
        rendition(video_track(seconds=12, fps=Fraction(30000, 1001), gop=40, timescale=30_000),
                  bitrate=1000),
        rendition(video_track(seconds=12, fps=Fraction(30000, 1001), gop=40, timescale=1000),
                  bitrate=2000),
    )  # fmt: skip
    (video,) = manifest(shown).streams
    assert [level["Bitrate"] for level in video.levels] == ["1000", "2000"]
    for level in video.levels:
        for time, duration in video.chunks:
            answer = ask(shown, video.path(level, time), read_ahead=1)
            found = read(answer.plan)
            # Fragments say their own times; a millisecond is what the second one knows.
            assert abs(found.time - time) <= SECOND // 1000
            if answer.ahead:
                assert answer.ahead[0][0] == video.path(level, time + duration)


def test_names_of_renditions_of_one_ladder_may_differ() -> None:
    shown = presentation(
        rendition(video_track(seconds=6), name="low", bitrate=1000),
        rendition(video_track(seconds=6), name="high", bitrate=2000),
    )
    (video,) = manifest(shown).streams
    assert video.name == "low" and len(video.levels) == 2
    for level in video.levels:
        read(ask(shown, video.path(level, 0)).plan)
    read(ask(shown, "QualityLevels(2000)/Fragments(high=0)").plan)
    high = tuple(r for r in shown.renditions if r.name == "high")
    (alone,) = manifest(shown, selected=replace(shown, renditions=high)).streams
    read(ask(shown, alone.path(alone.levels[0], 20_000_000)).plan)


def test_codecs_and_what_describes_them() -> None:
    dolby = replace(
        audio_facts(codec="ec-3", fourcc="ec-3", channels=6),
        codec_private_data=bytes.fromhex("0600200f00"),
        audio_tag=0xFFFE,
    )
    shown = presentation(
        rendition(video_track(seconds=6, facts=video_facts(codec="hvc1.1.6.L93.B0"))),
        rendition(audio_track(seconds=6, facts=dolby), name="dolby"),
        rendition(audio_track(seconds=6, facts=audio_facts(codec="opus", fourcc="OPUS"))),
    )
    listed = manifest(shown)
    assert [(s.name, s.levels[0]["FourCC"]) for s in listed.streams] == [
        ("dolby", "EC-3"),
        ("video", "hvc1"),
    ]
    level = listed.streams[0].levels[0]
    assert level["CodecPrivateData"] == "00063F000000AF87FBA7022DFB42A4D405CD93843BDD0600200F00"
    assert (level["AudioTag"], level["Channels"]) == ("65534", "6")
    with pytest.raises(NotFound):
        ask(shown, "QualityLevels(1000)/Fragments(audio=0)")


DOCUMENT = (
    '<tt xmlns="http://www.w3.org/ns/ttml"><body><div>'
    '<p begin="00:00:03.500" end="00:00:04.500">Hello</p></div></body></tt>'
)


def test_text_is_ttml_whose_times_count_from_the_fragment() -> None:
    shown = presentation(
        rendition(video_track(seconds=6, b_frames=True)),
        rendition(
            text_track(cues=[(0, 2500), (2500, 3500)]), name="textstream_eng", language="eng"
        ),
    )
    (stream,) = manifest(shown).of("text")
    assert stream.attributes["Subtype"] == "SUBT"
    assert stream.levels[0]["FourCC"] == "TTML"
    # As late as the pictures.
    (time, duration) = stream.chunks[1]
    assert (
        time == 2 * SECOND + shown.renditions[1].track.samples.composition_delay * SECOND // 12800
    )

    def read_text(_: object, offset: int, length: int) -> bytes:
        return DOCUMENT.encode().ljust(500) * (length // 500)

    def parts(noun: str) -> bytes:
        path = stream.path(stream.levels[0], time).replace("Fragments", noun)
        plan = ask(shown, path, read=read_text).plan
        assert plan.content_type == "application/mp4"
        return body(plan.parts)

    whole = parts("Fragments")
    found = read_fragment(whole)
    assert (found.time, found.duration, found.durations) == (time, duration, [duration])
    data = parts("RawFragments")
    assert whole.endswith(data) and len(data) == found.sizes[0]
    (paragraph,) = etree.fromstring(data).iterfind(".//{*}p")
    assert paragraph.text == "Hello"
    assert (paragraph.get("begin"), paragraph.get("end")) == ("00:00:01.500", "00:00:02.000")
    assert parts("FragmentInfo") == whole[: found.moof]


def test_switched_off() -> None:
    for path in ("Manifest", "QualityLevels(401000)/Fragments(video=0)"):
        with pytest.raises(NotFound, match="switched off"):
            ask(ladder(), path, iss_playout=False)


# Pass-through.

ON: dict[str, tuple[str, ...]] = {"usp_iss_pass_through": ("on",)}


def stored(track: Track, *, time: int = 0, moved: int = 0) -> Track:
    """``track`` with fragments in its file, 1000 bytes of moof each; ``time``: of the first."""
    samples = track.samples
    assert samples.fragment_start is not None
    at = np.append(samples.fragment_start, len(samples))
    offset = 5000 + np.arange(len(at) - 1, dtype=np.int64) * 100_000
    fragments = StoredFragments(
        offset=offset,
        moof_length=np.full(len(offset), 1000, dtype=np.int64),
        length=np.full(len(offset), 90_000, dtype=np.int64),
        time=samples.decode_time[at] - int(samples.decode_time[0]) + time,
        moved=moved,
    )
    columns = {
        name: getattr(samples, name)
        for name in Samples.__slots__
        if name not in ("stored", "composition_delay")
    }
    return replace(track, samples=Samples(**columns, stored=fragments))


def passed() -> Presentation:
    """Stored 1000 ticks (of 12 800) later than presented; the sound is made."""
    video = video_track(seconds=10, b_frames=True, fragments=[0, 50, 100, 150, 200])
    return presentation(
        rendition(stored(video, time=1000, moved=-1000), bitrate=500),
        rendition(audio_track(seconds=10), bitrate=64),
    )


def test_stored_fragments_are_handed_out_as_they_are() -> None:
    shown = passed()
    (video,) = manifest(shown, directives=ON).of("video")
    assert video.timescale == 12_800
    assert [t for t, _ in video.chunks] == [1000 + 25_600 * n for n in range(5)]
    for number, (time, _) in enumerate(video.chunks):
        (part,) = ask(shown, video.path(video.levels[0], time), directives=ON).plan.parts
        assert isinstance(part, FileRanges)
        assert part.offset.tolist() == [5000 + 100_000 * number]
        assert part.lengths.tolist() == [90_000]
    answer = ask(shown, "QualityLevels(500)/FragmentInfo(video=1000)", directives=ON)
    (part,) = answer.plan.parts
    assert isinstance(part, FileRanges) and part.lengths.tolist() == [1000]
    assert answer.plan.headers == (("Link", '<FragmentInfo(video=26600)>; rel="next"'),)
    key = read(ask(shown, "QualityLevels(500)/KeyFrames(video=1000)", directives=ON).plan)
    assert (key.time, key.duration, key.presentation()[0]) == (1000, 25_600, 1000)


def test_what_is_made_goes_by_the_times_of_what_is_stored() -> None:
    shown = passed()
    (audio,) = manifest(shown, directives=ON).of("audio")
    assert audio.timescale == SECOND
    assert audio.chunks[0][0] == 1000 * SECOND // 12_800


@pytest.mark.parametrize("directives", [{}, {"usp_iss_pass_through": ("off",)}])
def test_without_the_directive_fragments_are_made(directives: dict[str, tuple[str, ...]]) -> None:
    shown = passed()
    (video,) = manifest(shown, directives=directives).of("video")
    assert video.timescale == SECOND
    parts = ask(shown, video.path(video.levels[0], 0), directives=directives).plan.parts
    assert isinstance(parts[0], Inline)


def test_a_flag_without_a_word_is_on() -> None:
    (video,) = manifest(passed(), directives={"usp_iss_pass_through": ()}).of("video")
    assert video.timescale == 12_800


def test_a_stored_time_before_0_moves_everything_as_much() -> None:
    """Clients go by the manifest: sound and picture must be as far apart there as in the file."""
    audio = audio_track(seconds=10, edit_media_time=1024, fragments=[0, 94, 188, 282])
    video = video_track(seconds=10, fragments=[0, 50, 100, 150, 200])
    shown = presentation(
        rendition(stored(audio, time=-1024), bitrate=64),
        rendition(stored(video), bitrate=500),
        rendition(audio_track(seconds=10, edit_media_time=1024), name="made", bitrate=63),
    )
    listed = manifest(shown, directives=ON)
    made, sound = listed.of("audio")
    (picture,) = listed.of("video")
    assert sound.chunks[0] == (0, 94 * 1024)
    assert [time for time, _ in sound.chunks[1:]] == [1024 * at for at in (94, 188, 282)]
    lead = Fraction(1024, 48_000)
    assert [t for t, _ in picture.chunks] == [
        round(lead * 12_800) + 25_600 * number for number in range(5)
    ]
    # Frame 95 of what is made is presented at 94 * 1024 / 48 000 s, and that much later here.
    assert [time for time, _ in made.chunks[:2]] == [0, 95 * 1024 * SECOND // 48_000]
    first = int(picture.chunks[0][0])
    for stream, time, offset in ((sound, 0, 5000), (picture, first, 5000)):
        (part,) = ask(shown, stream.path(stream.levels[0], time), directives=ON).plan.parts
        assert isinstance(part, FileRanges) and part.offset.tolist() == [offset]
    with pytest.raises(FragmentNotFound):
        ask(shown, "QualityLevels(500)/Fragments(video=0)", directives=ON)


def test_the_manifest_is_xml_without_namespaces() -> None:
    root = etree.fromstring(text(ask(ladder(), "Manifest").plan).encode())
    assert root.nsmap == {}


def test_nothing_that_smooth_carries_is_unsupported() -> None:
    opus = rendition(audio_track(seconds=6, facts=audio_facts(codec="opus", fourcc="OPUS")))
    with pytest.raises(UnsupportedMedia, match="no track that Smooth"):
        manifest(presentation(opus))
