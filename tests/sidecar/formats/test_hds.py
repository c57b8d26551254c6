"""F4M, bootstrap information and fragments of HDS, asked for by their URLs."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.errors import (
    FragmentNotAvailable,
    FragmentNotFound,
    NotFound,
    OriginError,
    UnsupportedMedia,
)
from sidecar.media.presentation import Presentation
from sidecar.media.track import Kind, Track
from sidecar.mux.plan import CacheClass, HeadedRanges
from sidecar.timeline.clips import Clip
from sidecar.timeline.segmenter import Timeline
from tests.support.f4m import Manifest, read_bootstrap, read_manifest
from tests.support.flv import AUDIO, VIDEO, Tag, read_fragment, samples
from tests.support.flv_tracks import aac_track, avc_track, muxable, zeros
from tests.support.plans import body
from tests.support.requests import ask, text
from tests.support.tracks import presentation, rendition, text_track


def manifest(shown: Presentation, **given_: object) -> Manifest:
    answer = ask(shown, ".f4m", **given_)  # type: ignore[arg-type]
    assert answer.plan.content_type == "application/f4m+xml"
    assert answer.plan.cache_class is CacheClass.MANIFEST
    return read_manifest(text(answer.plan).encode())


def all_tags(shown: Presentation, at: int = -1, **given_: object) -> list[list[Tag]]:
    """The tags of every fragment of a stream of the manifest."""
    timeline = Timeline(shown)
    media = manifest(shown, timeline=timeline, **given_).media[at]
    plans = [
        ask(shown, unquote(url.partition("?")[0]), timeline=timeline, **given_).plan  # type: ignore[arg-type]
        for url in media.fragments()
    ]
    assert {plan.content_type for plan in plans} == {"video/f4f"}
    return [read_fragment(body(plan, zeros)) for plan in plans]


def two_minutes(**video: object) -> Presentation:
    return muxable(
        video=avc_track(seconds=120, b_frames=True, **video),
        audio=aac_track(seconds=120, edit_media_time=1024),
    )


def test_a_manifest_of_one_stream() -> None:
    found = manifest(two_minutes())
    assert (found.id, found.mime_type, found.duration) == ("video", "video/mp4", 120)
    (media,) = found.media
    assert media.url == "video-audio=64000-video=2000000-"
    assert media.stream_id == "video-audio=64000-video=2000000"
    assert (media.bitrate, media.size) == (2064, (1280, 720))
    assert media.bootstrap.starts == list(range(0, 120_001, 4000))
    assert media.bootstrap.runs == 1
    assert media.facts == {
        "duration": 120,
        "width": 1280,
        "height": 720,
        "framerate": 25,
        "videodatarate": 2000,
        "videocodecid": 7,
        "audiodatarate": 64,
        "audiosamplerate": 48000,
        "audiosamplesize": 16,
        "audiochannels": 2,
        "audiocodecid": 10,
    }


def test_fragments_hold_every_sample_once() -> None:
    shown = two_minutes()
    fragments = all_tags(shown)
    assert len(fragments) == 30
    together = [tag for tags in fragments for tag in samples(tags)]
    video, audio = shown.of_kind(Kind.VIDEO)[0].track, shown.of_kind(Kind.AUDIO)[0].track
    sizes = [len(tag.data) for tag in together if tag.type == VIDEO]
    assert sizes == video.samples.size.tolist()
    # One frame is priming: it is heard before 0.
    sizes = [len(tag.data) for tag in together if tag.type == AUDIO]
    assert sizes == audio.samples.size[1:].tolist()
    times = [tag.timestamp for tag in together]
    assert times == sorted(times)


def test_a_ladder_shares_its_bootstrap_information() -> None:
    shown = presentation(
        *(rendition(avc_track(seconds=30), bitrate=rate) for rate in (400_000, 900_000, 2_000_000)),
        *(rendition(aac_track(seconds=30), bitrate=rate) for rate in (64_000, 128_000)),
    )
    found = manifest(shown)
    assert found.bootstraps == 1
    # The lowest audio with the lowest video, the highest with all others.
    assert [media.url for media in found.media] == [
        "video-audio=64000-video=400000-",
        "video-audio=128000-video=900000-",
        "video-audio=128000-video=2000000-",
    ]
    assert [media.bitrate for media in found.media] == [464, 1028, 2128]


def test_unlike_key_frames_have_information_of_their_own() -> None:
    shown = presentation(
        rendition(avc_track(seconds=30, gop=50), bitrate=1000),
        rendition(avc_track(seconds=30, gop=70), bitrate=2000),
    )
    found = manifest(shown)
    assert [media.bootstrap_id for media in found.media] == ["bootstrap1", "bootstrap2"]
    for at in (0, 1):
        assert all_tags(shown, at)


def test_the_first_choice_of_audio_is_muxed_others_can_be_asked_for() -> None:
    shown = presentation(
        rendition(avc_track(seconds=30), bitrate=1000),
        rendition(aac_track(seconds=30, track_id=2), name="audio_eng", bitrate=64_000),
        rendition(aac_track(seconds=30, track_id=3), name="audio_deu", bitrate=32_000),
    )
    assert [media.url for media in manifest(shown).media] == ["video-audio_eng=64000-video=1000-"]
    german = replace(shown, renditions=tuple(r for r in shown.renditions if r.name != "audio_eng"))
    (media,) = manifest(shown, selected=german).media
    assert media.url == "video-audio_deu=32000-video=1000-"
    assert samples(read_fragment(body(ask(shown, f"{media.url}Seg1-Frag1").plan, zeros)), AUDIO)


def test_other_codecs_are_left_out() -> None:
    hevc, ac3 = avc_track(seconds=9), aac_track(seconds=9, track_id=1)
    hevc = replace(hevc, facts=replace(hevc.facts, fourcc="HEV1"))
    ac3 = replace(ac3, facts=replace(ac3.facts, fourcc="AC-3"))
    tracks = [rendition(hevc, bitrate=9000), rendition(ac3, name="audio_ac3", bitrate=384_000)]
    words = rendition(text_track(cues=[(0, 1000)]))
    ours = [rendition(avc_track(seconds=9), bitrate=1000), rendition(aac_track(seconds=9))]
    shown = presentation(*tracks, *ours, words)
    assert [media.url for media in manifest(shown).media] == ["video-audio=1000-video=1000-"]
    for stem in ("video-video=9000", "video-audio_ac3=384000-video=1000"):
        with pytest.raises(UnsupportedMedia):
            ask(shown, f"{stem}-Seg1-Frag1")
    with pytest.raises(NotFound):
        ask(shown, "video-textstream=1000-Seg1-Frag1")
    with pytest.raises(UnsupportedMedia, match=r"neither H\.264 nor AAC"):
        ask(presentation(*tracks, words), ".f4m")


def test_audio_alone() -> None:
    shown = presentation(
        *(
            rendition(aac_track(seconds=30, edit_media_time=1024), bitrate=rate)
            for rate in (64_000, 128_000)
        )
    )
    found = manifest(shown)
    assert found.mime_type == "audio/mp4"
    assert [media.url for media in found.media] == ["video-audio=64000-", "video-audio=128000-"]
    tags = [tag for fragment in all_tags(shown) for tag in samples(fragment)]
    track = shown.renditions[0].track
    assert [len(tag.data) for tag in tags] == track.samples.size[1:].tolist()
    assert tags[0].timestamp == 0


def test_video_alone() -> None:
    shown = muxable(video=avc_track(seconds=30), audio=None)
    assert [media.url for media in manifest(shown).media] == ["video-video=2000000-"]
    assert sum(len(samples(tags)) for tags in all_tags(shown)) == 750


def test_clips_keep_numbers_and_times() -> None:
    shown = two_minutes()
    clip = Clip(Fraction(41), Fraction(70))
    (media,) = manifest(shown, clip=clip).media
    assert (media.bootstrap.first, media.bootstrap.starts) == (
        11,
        list(range(40_000, 72_001, 4000)),
    )
    assert media.facts["duration"] == 32
    assert manifest(shown, clip=clip).duration == 32
    path = "video-audio=64000-video=2000000.abst"
    assert read_bootstrap(body(ask(shown, path, clip=clip).plan)) == media.bootstrap
    with pytest.raises(NotFound):
        ask(shown, ".f4m", clip=Clip(Fraction(500), None))
    with pytest.raises(NotFound):
        ask(shown, path, clip=Clip(Fraction(500), None))


def test_the_bootstrap_by_itself() -> None:
    shown = two_minutes()
    answer = ask(shown, "other-audio=64000-video=2000000.abst")
    assert answer.plan.content_type == "video/abst"
    (media,) = manifest(shown).media
    assert read_bootstrap(body(answer.plan)) == media.bootstrap


def test_minimum_length() -> None:
    shown = two_minutes()
    found = manifest(shown, hds_minimum_fragment_length=Fraction(9), queries={"hds": "hds=9"})
    (media,) = found.media
    assert media.url == "video-audio=64000-video=2000000-?hds=9"
    assert media.bootstrap.starts[:3] == [0, 10_000, 20_000]
    (media,) = manifest(shown, hds_minimum_fragment_length=Fraction(0)).media
    assert media.bootstrap.starts[:3] == [0, 2000, 4000]


def test_switched_off() -> None:
    for path in (".f4m", "v-audio=64000-video=2000000.abst", "v-video=2000000-Seg1-Frag1"):
        with pytest.raises(NotFound, match="switched off"):
            ask(two_minutes(), path, hds_playout=False)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("v-audio=64000-video=2000000-Seg1-Frag0", FragmentNotFound),
        ("v-audio=64000-video=2000000-Seg1-Frag31", FragmentNotAvailable),
        ("v-video=2000001-Seg1-Frag1", NotFound),
        ("v-audio=1-Seg1-Frag1", NotFound),
    ],
)
def test_fragments_that_are_not_there(name: str, error: type[OriginError]) -> None:
    with pytest.raises(error):
        ask(two_minutes(), name)


@pytest.mark.parametrize("name", ["Seg0-Frag1", "Seg1-Frag01", "Seg1-Frag-1", "Frag1", "Seg1-Frag"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(AssertionError, match="no format answers"):
        ask(two_minutes(), f"v-video=2000000-{name}")


def test_read_ahead_and_the_link_to_the_next() -> None:
    shown = two_minutes()
    stem = "a b-audio=64000-video=2000000"
    answer = ask(shown, f"{stem}-Seg1-Frag28", read_ahead=64)
    assert [path for path, _ in answer.ahead] == [f"{stem}-Seg1-Frag29", f"{stem}-Seg1-Frag30"]
    link = "<a%20b-audio=64000-video=2000000-Seg1-Frag29>"
    assert answer.plan.headers == (("Link", f'{link}; rel="next"'),)
    assert answer.ahead[-1][1].headers == ()
    for path, plan in answer.ahead:
        assert body(plan, zeros) == body(ask(shown, path).plan, zeros)
    assert len(ask(shown, f"{stem}-Seg1-Frag1", read_ahead=64).ahead) < 30


def test_samples_stay_in_their_files() -> None:
    plan = ask(two_minutes(), "v-audio=64000-video=2000000-Seg1-Frag9").plan
    (ranges,) = (part for part in plan.parts if isinstance(part, HeadedRanges))
    inline = plan.length - int(ranges.lengths.sum())
    assert inline < 6000 < plan.length // 100


def test_audio_before_and_after_the_video() -> None:
    """Fragments of audio alone, rather than minutes of it in the first and in the last one."""
    shown = muxable(video=avc_track(seconds=20, start=12_800 * 30), audio=aac_track(seconds=120))
    fragments = all_tags(shown)
    assert max(tags[-1].timestamp - tags[0].timestamp for tags in fragments) < 10_000
    count = sum(len(samples(tags, AUDIO)) for tags in fragments)
    assert count == len(shown.of_kind(Kind.AUDIO)[0].track.samples)
    assert sum(len(samples(tags, VIDEO)) for tags in fragments) == 500


def nearest(ticks: int, timescale: int) -> int:
    return (2000 * ticks + timescale) // (2 * timescale)


@st.composite
def streams(draw: st.DrawFn) -> tuple[Track, Track | None]:
    video = avc_track(
        seconds=draw(st.integers(1, 40)),
        fps=draw(st.sampled_from([24, 25, Fraction(24000, 1001), Fraction(30000, 1001), 60])),
        timescale=draw(st.sampled_from([12_800, 24_000, 30_000, 90_000, 10_000_000, 2400])),
        gop=draw(st.lists(st.integers(1, 200), min_size=1, max_size=4)),
        b_frames=draw(st.booleans()),
        open_gop=draw(st.booleans()),
        start=draw(st.integers(0, 300_000)),
        size=20,
    )
    if draw(st.booleans()):
        return video, None
    rate = draw(st.sampled_from([48_000, 44_100, 22_050]))
    return video, aac_track(
        seconds=draw(st.integers(1, 45)),
        rate=rate,
        edit_media_time=draw(st.sampled_from([0, 0, 1024, 2112, 600])),
        start=draw(st.integers(0, 3 * rate)),
        size=20,
    )


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(streams(), st.sampled_from([None, 0, 2, 7]))
def test_any_stream(tracks: tuple[Track, Track | None], length: int | None) -> None:
    video, audio = tracks
    shown = muxable(video=video, audio=audio)
    options = {} if length is None else {"hds_minimum_fragment_length": Fraction(length)}
    fragments = all_tags(shown, **options)
    together = [tag for tags in fragments for tag in samples(tags)]
    times = [tag.timestamp for tag in together]
    assert times == sorted(times), "timestamps go back between fragments"

    pictures = [tag for tag in together if tag.type == VIDEO]
    presented = [nearest(time, video.timescale) for time in video.presentation_time().tolist()]
    assert [tag.presented for tag in pictures] == presented
    if audio is not None:
        sounds = [tag for tag in together if tag.type == AUDIO]
        heard = [nearest(time, audio.timescale) for time in audio.presentation_time().tolist()]
        left_out = len(heard) - len(sounds)
        half = nearest(1024, audio.timescale) // 2
        assert all(time < -half + 1 for time in heard[:left_out])
        assert [tag.timestamp for tag in sounds] == [max(0, time) for time in heard[left_out:]]

    starts = manifest(shown, **options).media[0].bootstrap.starts
    assert all(before < after for before, after in pairwise(starts))
    shown_first = [
        min(tag.presented for tag in samples(tags, VIDEO)) if samples(tags, VIDEO) else None
        for tags in fragments
    ]
    for at, (start, first) in enumerate(zip(starts, shown_first, strict=False)):
        # The first fragment also holds the sound that comes before the pictures.
        if first is not None and at:
            assert abs(start - first) <= 1
