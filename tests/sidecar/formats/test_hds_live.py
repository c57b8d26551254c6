"""Live manifests of HDS, the bootstrap information that players ask for again, and fragments.

Bootstrap information is read by yt-dlp's own reader.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from lxml import etree
from yt_dlp.downloader.f4m import build_fragments_list, read_bootstrap_info

from sidecar.codecs.facts import TextFacts
from sidecar.errors import (
    FragmentMissing,
    FragmentNotAvailable,
    FragmentNotFound,
    NotFound,
    OriginError,
    UnsupportedMedia,
)
from sidecar.formats.hds.bootstrap import bootstrap
from sidecar.formats.hds.fragments import FragmentList
from sidecar.live.model import IncomingTrack
from sidecar.media.track import Samples, Track
from sidecar.mux.flv import Span, decode_times
from tests.support import live_feed
from tests.support.f4m import NS, read_manifest, read_on_metadata
from tests.support.flv import AUDIO, VIDEO, Tag, read_fragment, samples
from tests.support.flv_tracks import aac_track, avc_track, zeros
from tests.support.golden import Golden, golden  # noqa: F401
from tests.support.live_feed import LATENCY, SINCE_1970, Feed
from tests.support.plans import body

# Timestamps of tags begin anew after so many ms.
PERIOD = 2_000_000_000
STEM = "ch-audio_eng=64000-video=400000"


def video(track_id: int, bitrate: int) -> IncomingTrack:
    return decodable(live_feed.video(track_id, bitrate), avc_track(seconds=1))


def audio(track_id: int, bitrate: int) -> IncomingTrack:
    return decodable(live_feed.audio(track_id, bitrate), aac_track(seconds=1))


def decodable(track: IncomingTrack, like: Track) -> IncomingTrack:
    """``track`` with the configuration of ``like``."""
    assert not isinstance(track.facts, TextFacts) and not isinstance(like.facts, TextFacts)
    facts = replace(track.facts, codec_private_data=like.facts.codec_private_data)
    return replace(track, sample_entry_box=like.sample_entry_box, facts=facts)


LADDER = (video(1, 400_000), video(2, 2_500_000), audio(3, 64_000))


@pytest.fixture
def ladder() -> tuple[IncomingTrack, ...]:
    return LADDER


def information(feed: Feed, query: str = "", stem: str = STEM) -> dict[str, Any]:
    found: dict[str, Any] = read_bootstrap_info(feed.body(f"{stem}.abst", query))
    return found


def runs(info: dict[str, Any]) -> list[tuple[int, int, int, int | None]]:
    """(first fragment, its time, duration, discontinuity) of each entry."""
    (table,) = info["fragments"]
    keys = ("first", "ts", "duration", "discontinuity_indicator")
    return [tuple(entry[key] for key in keys) for entry in table["fragments"]]


def tags(feed: Feed, number: int, query: str = "", stem: str = STEM) -> list[Tag]:
    plan = feed.ask(f"{stem}-Seg1-Frag{number}", query).plan
    assert plan.content_type == "video/f4f"
    return read_fragment(body(plan, zeros))


def test_golden(feed: Feed, golden: Golden) -> None:  # noqa: F811
    feed.push(*range(20))
    golden.check("hds/live.f4m", feed.body(".f4m").decode())
    golden.check("hds/live-start-over.f4m", feed.body(".f4m", "vbegin=00:00:11").decode())


def test_the_manifest_names_what_is_asked_for_again(feed: Feed) -> None:
    feed.push(*range(20))
    query = "dvr_window_length=20&hds_minimum_fragment_length=4&time_shift=4"
    root = etree.fromstring(feed.body(".f4m", query))
    assert root.findtext("f:streamType", namespaces=NS) == "live"
    assert root.find("f:duration", NS) is None
    (window,) = root.findall("f:dvrInfo", NS)
    assert window.attrib == {"windowDuration": "20"}
    urls = {node.get("id"): node.get("url", "") for node in root.findall("f:bootstrapInfo", NS)}
    media = root.findall("f:media", NS)
    assert len(urls) == len(media) == 2
    for one in media:
        path, _, rest = urls[one.get("bootstrapInfoId")].partition("?")
        assert unquote(path) == f"{one.get('streamId')}.abst"
        assert set(rest.split("&")) == set(query.split("&"))
        assert one.get("url") == f"{one.get('streamId')}-?hds_minimum_fragment_length=4"
        metadata = read_on_metadata(b64decode(one.findtext("f:metadata", "", NS)))
        assert metadata["duration"] == 0
        found = information(feed, rest, str(one.get("streamId")))
        assert found["live"]
        assert {duration for _, _, duration, _ in runs(found)} == {4000}


def test_what_stays_while_it_grows(feed: Feed) -> None:
    feed.push(*range(20))
    before = feed.ask(".f4m").plan
    feed.push(20)
    assert body(feed.ask(".f4m").plan) == body(before)
    assert before.last_modified is None


def test_the_window(feed: Feed) -> None:
    feed.push(*range(40))
    info = information(feed, "dvr_window_length=20")
    # One run, from the fragment in which the window begins.
    assert runs(info) == [(30, 58_080, 2000, None)]
    # The newest two.
    assert build_fragments_list(info) == [(1, 39), (1, 40)]
    data = feed.body(f"{STEM}.abst")
    version, flags, scale, now = (
        int.from_bytes(data[at : at + size]) for at, size in ((12, 4), (16, 1), (17, 4), (21, 8))
    )
    assert (version, flags, scale, now) == (40, 0x20, 1000, 80_080)
    plan = feed.ask(f"{STEM}.abst").plan
    assert plan.last_modified == SINCE_1970 + 80 + LATENCY // 1000
    begun = information(feed, "vbegin=00:00:11")
    assert runs(begun)[0][:2] == (6, 10_080)


def test_the_end(feed: Feed) -> None:
    feed.push(*range(20))
    feed.stop()
    found = read_manifest(feed.body(".f4m"))
    assert found.bootstraps == 1
    # The window of 15, and three that players may be told of before.
    assert found.media[0].bootstrap.first == 3
    assert found.media[0].bootstrap.starts[-1] == 40_080
    clip = read_manifest(feed.body(".f4m", "vbegin=00:00:04&vend=00:00:10"))
    assert clip.media[0].bootstrap.starts == [4080, 6080, 8080, 10_080]
    assert clip.duration == 6
    for url in (url for media in clip.media for url in media.fragments()):
        assert samples(read_fragment(body(feed.ask(url).plan, zeros)))


def test_what_is_left_of_the_sound_has_a_fragment_of_its_own(feed: Feed) -> None:
    feed.push(*range(5))
    before = [tags(feed, number) for number in range(1, 6)]
    feed.push(5, only=[3])
    feed.stop()
    assert [tags(feed, number) for number in range(1, 6)] == before
    rest = samples(tags(feed, 6))
    assert rest
    assert {tag.type for tag in rest} == {AUDIO}
    heard = [tag.timestamp for one in before for tag in samples(one) if tag.type == AUDIO]
    assert rest[0].timestamp - heard[-1] in (21, 22)
    assert build_fragments_list(information(feed))[-1] == (1, 6)


def test_a_clip_of_what_goes_on_is_over(feed: Feed) -> None:
    feed.push(*range(20))
    clip = read_manifest(feed.body(".f4m", "vbegin=00:00:04&vend=00:00:10"))
    assert clip.media[0].bootstrap.starts == [4080, 6080, 8080, 10_080]
    assert feed.ask(".f4m", "vbegin=00:00:04&vend=00:00:10").plan.last_modified is not None


def test_fragments_hold_every_sample_once(feed: Feed) -> None:
    feed.push(*range(10))
    together = [tag for number in range(1, 10) for tag in samples(tags(feed, number))]
    times = [tag.timestamp for tag in together]
    assert times == sorted(times)
    pictures = [tag for tag in together if tag.type == VIDEO]
    assert [tag.timestamp for tag in pictures] == list(range(0, 18_000, 40))
    assert {tag.composition for tag in pictures} == {80}
    assert [tag.timestamp for tag in pictures if tag.is_key] == list(range(0, 18_000, 2000))
    sound = [tag for tag in together if tag.type == AUDIO]
    heard = [(2000 * 1024 * at + 48_000) // 96_000 for at in range(len(sound))]
    assert [tag.timestamp for tag in sound] == heard


def test_bytes_do_not_depend_on_what_is_at_hand(tmp_path: Path) -> None:
    feed = Feed(tmp_path, LADDER, archiving="true")
    feed.push(*range(12))
    numbers = range(1, 11)
    before = {at: body(feed.ask(f"{STEM}-Seg1-Frag{at}").plan, zeros) for at in numbers}
    feed.push(*range(12, 120))
    for number, data in before.items():
        assert body(feed.ask(f"{STEM}-Seg1-Frag{number}").plan, zeros) == data
    assert min(tag.timestamp for tag in samples(tags(feed, 31), VIDEO)) == 60_000


def test_times_since_1970_begin_anew(dated: Feed) -> None:
    info = information(dated)
    first, time, _, _ = runs(info)[0]
    assert first == SINCE_1970 // 2 + 5
    when = 1000 * (SINCE_1970 + 8) + 80
    assert time == when % PERIOD
    key = next(tag for tag in samples(tags(dated, first)) if tag.is_key and tag.type == VIDEO)
    assert key.presented == time


def test_a_window_in_which_times_begin_anew(tmp_path: Path) -> None:
    begin = PERIOD // 1000 - 21
    feed = Feed(tmp_path, LADDER, begin=begin, dvr_window_length=40)
    feed.push(*range(20))
    listed = runs(information(feed))
    # The list goes on, tags do not.
    first = listed[0][0]
    assert listed == [(first, begin * 1000 + 80, 2000, None)]
    times = [samples(tags(feed, first + at))[-1].timestamp for at in range(19)]
    (turn,) = [at for at, (one, other) in enumerate(pairwise(times)) if one > other]
    assert times[turn] > PERIOD and times[turn + 1] < 4000


def test_holes(dated: Feed) -> None:
    listed = runs(information(dated))
    hole = SINCE_1970 // 2 + 11
    time = listed[0][1] + 2000 * (hole - listed[0][0])
    assert listed[1:] == [(hole, time, 0, 3), (hole + 2, time + 4000, 2000, None)]
    assert build_fragments_list(information(dated))[-1] == (1, SINCE_1970 // 2 + 20)
    dated.push(10, 11)
    assert len(runs(information(dated))) == 1


def test_a_list_neither_begins_nor_ends_with_a_hole(dated: Feed) -> None:
    found = runs(information(dated, "vbegin=21&vend=30"))
    assert found[0][0] == SINCE_1970 // 2 + 13
    *_, last, end = runs(information(dated, "vbegin=12&vend=21"))
    assert last[0] < SINCE_1970 // 2 + 11
    assert end == (0, 0, 0, 0)
    with pytest.raises(NotFound):
        information(dated, "vbegin=20.5&vend=21.5")


def test_statuses(dated: Feed) -> None:
    first = SINCE_1970 // 2 + 1

    def asked(number: int) -> type[OriginError] | None:
        try:
            tags(dated, number)
        except OriginError as error:
            return type(error)
        return None

    assert asked(first - 1) is FragmentNotFound
    assert asked(first) is None
    assert asked(first + 9) is None
    assert asked(first + 10) is FragmentMissing
    assert asked(first + 11) is FragmentMissing
    assert asked(first + 12) is None
    assert asked(first + 18) is None
    assert asked(first + 20) is FragmentNotAvailable


def test_reading_ahead_ends_at_holes(dated: Feed) -> None:
    first = SINCE_1970 // 2 + 1
    answer = dated.ask(f"{STEM}-Seg7-Frag{first + 7}", read_ahead=64)
    assert [path for path, _ in answer.ahead] == [f"{STEM}-Seg7-Frag{first + at}" for at in (8, 9)]
    assert answer.plan.last_modified == SINCE_1970 + 16 + LATENCY // 1000
    link = f'<{STEM}-Seg7-Frag{first + 8}>; rel="next"'
    assert answer.plan.headers == (("Link", link),)
    for path, plan in answer.ahead:
        assert body(plan, zeros) == body(dated.ask(path).plan, zeros)


def test_sound_that_is_missing_does_not_cost_the_pictures(feed: Feed) -> None:
    feed.push(*range(20), only=(1, 2))
    feed.push(*range(8), *range(9, 20), only=(3,))
    assert {tag.type for tag in samples(tags(feed, 8))} == {VIDEO, AUDIO}
    found = samples(tags(feed, 9))
    assert len([tag for tag in found if tag.type == VIDEO]) == 50
    # A frame that is heard at the turn came with the fragment before.
    assert len([tag for tag in found if tag.type == AUDIO]) <= 1


def test_sound_alone(tmp_path: Path) -> None:
    feed = Feed(tmp_path, [audio(1, 64_000)])
    feed.push(*range(9))
    stem = "ch-audio_eng=64000"
    found = runs(information(feed, stem=stem))
    together = [tag for at in range(1, 9) for tag in samples(tags(feed, at, stem=stem))]
    assert found[0][0] == 1
    assert [tag.timestamp for tag in together] == [
        (2000 * 1024 * at + 48_000) // 96_000 for at in range(len(together))
    ]


def test_numbers_that_do_not_fit_are_refused() -> None:
    start = np.arange(0, 10, 2)
    ordinary: dict[str, Any] = {"video": None, "audio": None, "earlier": 0}
    fragments = FragmentList(
        start=start, video_first=None, audio_first=None, first_number=2**32 - 3, **ordinary
    )
    assert bootstrap(fragments, range(3), live=True)
    with pytest.raises(UnsupportedMedia, match=str(2**32)):
        bootstrap(fragments, range(4), live=True)


def test_pictures_that_are_presented_before_they_are_decoded(tmp_path: Path) -> None:
    """As of encoders with signed composition offsets: a pyramid of three B-pictures."""
    track = avc_track(seconds=1)
    order = np.array([0, 4, 2, 1, 3, 8, 6, 5, 7])
    count = len(order)
    pyramid = Samples(
        decode_time=np.arange(count + 1) * 512,
        composition_offset=((order - np.arange(count)) * 512).astype(np.int32),
        size=np.full(count, 10, np.uint32),
        offset=np.arange(count) * 10,
        sync=np.arange(count) == 0,
        fragment_start=np.zeros(1, np.int64),
    )
    times = decode_times(Span(track=replace(track, samples=pyramid), first=0, last=count), 0)
    assert times.tolist() == sorted(times.tolist())
    assert (times <= order * 40).all()
