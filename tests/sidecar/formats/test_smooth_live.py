"""Client manifests of presentations that grow, and the fragments that they name."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from sidecar.errors import (
    FragmentMissing,
    FragmentNotAvailable,
    FragmentNotFound,
    NotFound,
    OriginError,
)
from sidecar.mux.plan import Inline, Plan
from tests.support.golden import Golden, golden  # noqa: F401
from tests.support.live_feed import LADDER, LATENCY, SINCE_1970, Feed, audio, text, video
from tests.support.smooth import ClientManifest, Fragment, read_fragment, read_manifest

SECOND = 10_000_000
# How many fragments must follow one that can be had.
AHEAD = 2


def manifest(feed: Feed, query: str = "", **directives: str) -> ClientManifest:
    return read_manifest(feed.body("Manifest", query, **directives))


def read(plan: Plan, *, metadata_only: bool = False) -> Fragment:
    """The fragment of ``plan``, its samples all zeros."""
    data = b"".join(p.data if isinstance(p, Inline) else bytes(p.length) for p in plan.parts)
    return read_fragment(data, metadata_only=metadata_only)


def fragment(feed: Feed, name: str, time: int, *, bitrate: int = 400_000) -> Fragment:
    return read(feed.ask(f"QualityLevels({bitrate})/Fragments({name}={time})").plan)


def all_paths(listed: ClientManifest) -> list[tuple[str, int, int]]:
    return [
        (stream.path(level, time), time, duration)
        for stream in listed.streams
        for level in stream.levels
        for time, duration in stream.chunks
    ]


def test_golden(feed: Feed, golden: Golden) -> None:  # noqa: F811
    feed.push(*range(20))
    golden.check("smooth/Manifest-live", feed.body("Manifest").decode())
    golden.check("smooth/Manifest-start-over", feed.body("Manifest", "vbegin=00:00:27").decode())
    feed.stop()
    golden.check("smooth/Manifest-ended", feed.body("Manifest").decode())


def test_golden_with_a_hole(dated: Feed, golden: Golden) -> None:  # noqa: F811
    golden.check("smooth/Manifest-hole", dated.body("Manifest").decode())
    newer = dated.body("Manifest", "iss_client_manifest_version=22")
    golden.check("smooth/Manifest-hole-2.2", newer.decode())


def test_the_window(feed: Feed) -> None:
    feed.push(*range(40))
    listed = manifest(feed, "dvr_window_length=20")
    given = listed.attributes
    assert (given["Duration"], given["IsLive"]) == ("0", "TRUE")
    assert (given["LookaheadCount"], given["DVRWindowLength"]) == ("2", str(20 * SECOND))
    assert (given["CanSeek"], given["CanPause"]) == ("TRUE", "TRUE")
    for stream in listed.streams:
        # Two are there to be announced by the last one.
        begin, end = stream.chunks[0][0], sum(stream.chunks[-1])
        assert abs(end - (80 - 2 * AHEAD) * SECOND) < SECOND // 40
        assert abs(end - begin - 20 * SECOND) <= 2 * SECOND
        for (time, duration), (following, _) in pairwise(stream.chunks):
            assert time + duration == following
    plan = feed.ask("Manifest").plan
    assert plan.last_modified == SINCE_1970 + 80 + LATENCY // 1000
    for window, said in (("12.5", 12.5), ("2.5", 6), ("600", 30), ("default", 30)):
        given = manifest(feed, f"dvr_window_length={window}").attributes
        # Three segments at least, and no more than the point has.
        assert int(given["DVRWindowLength"]) == said * SECOND


def test_a_window_that_fills(feed: Feed) -> None:
    dynamic = {"usp_dynamic_time_shift_buffer_depth": "on"}
    feed.push(*range(4))
    assert manifest(feed).attributes["DVRWindowLength"] == str(30 * SECOND)
    window = int(manifest(feed, **dynamic).attributes["DVRWindowLength"])
    assert 7 * SECOND < window <= 8 * SECOND
    feed.push(*range(4, 30))
    assert manifest(feed, **dynamic).attributes["DVRWindowLength"] == str(30 * SECOND)


def test_the_root_element_begins_early(dated: Feed) -> None:
    data = dated.body("Manifest")
    assert data.index(b">", data.index(b"<SmoothStreamingMedia")) < 512


def test_nothing_is_listed_before_it_can_be_had(feed: Feed) -> None:
    feed.push(0, 1)
    with pytest.raises(NotFound, match="follow"):
        feed.body("Manifest")
    with pytest.raises(FragmentNotAvailable):
        fragment(feed, "video", 0)
    feed.push(2)
    assert [len(stream.chunks) for stream in manifest(feed).streams] == [1, 1]
    assert fragment(feed, "video", 0).time == 0


@pytest.mark.parametrize(
    "query", ["", "vbegin=00:00:07", "vbegin=00:00:09&vend=00:00:21", "time_shift=10"]
)
@pytest.mark.parametrize("option", ["", "iss_minimum_fragment_length=4"])
def test_what_is_listed_is_there(feed: Feed, query: str, option: str) -> None:
    feed.push(*range(83))
    listed = manifest(feed, f"{query}&{option}")
    assert len(listed.of("video")) == 1
    for path, time, duration in all_paths(listed):
        found = read(feed.ask(path, option).plan)
        assert (found.time, found.duration) == (time, duration)
        assert sum(found.durations) == duration


def test_times_are_those_that_the_encoder_sent(tmp_path: Path) -> None:
    feed = Feed(tmp_path, [video(1, 400_000, SECOND)], begin=SINCE_1970, epoch_ms=0)
    feed.push(*range(5))
    (stream,) = manifest(feed).streams
    assert stream.chunks == tuple(((SINCE_1970 + 2 * at) * SECOND, 2 * SECOND) for at in range(3))
    found = fragment(feed, "video", stream.chunks[0][0])
    # Pictures are presented 80 ms later than decoded, here as in the other formats.
    assert found.offsets == [SECOND * 2 // 25] * 50
    assert found.durations == [SECOND // 25] * 50
    assert found.trun_version == 0
    assert found.sequence == SINCE_1970 // 2 + 1


def test_sound_is_heard_when_its_pictures_are_seen(feed: Feed) -> None:
    feed.push(*range(9))
    sound, pictures = (manifest(feed).of(kind)[0] for kind in ("audio", "video"))
    for (heard, _), (decoded, _) in zip(sound.chunks, pictures.chunks, strict=True):
        # Not more than a frame from the pictures, where the encoder cut; one primes the decoder.
        assert abs(heard - decoded) <= SECOND * 1024 / 48_000 + 1
        frames = (heard * 48_000 / SECOND + 1024) / 1024
        assert abs(frames - round(frames)) < 1e-3
    # Nothing is decoded before time 0.
    assert sound.chunks[0][0] == 0
    assert all(fragment(feed, "audio_eng", 0, bitrate=128_000).durations)


def test_fragments_say_what_comes_next_and_never_anything_else(feed: Feed) -> None:
    feed.push(*range(10))
    listed = manifest(feed)
    before = {path: feed.ask(path).plan.parts[0] for path, _, _ in all_paths(listed)}
    for stream in listed.streams:
        for at, (time, _) in enumerate(stream.chunks[:-AHEAD]):
            found = read(feed.ask(stream.path(stream.levels[0], time)).plan)
            assert found.following == list(stream.chunks[at + 1 : at + 1 + AHEAD])
    feed.push(*range(10, 90))
    feed.stop()
    for path, part in before.items():
        after = feed.ask(path).plan.parts[0]
        assert isinstance(part, Inline) and isinstance(after, Inline)
        assert after.data == part.data


def test_the_end_is_there_when_it_has_come(feed: Feed) -> None:
    feed.push(*range(10))
    with pytest.raises(FragmentNotAvailable):
        fragment(feed, "video", 16 * SECOND)
    feed.stop()
    listed = manifest(feed)
    assert not {"IsLive", "DVRWindowLength", "LookaheadCount"} & set(listed.attributes)
    (stream,) = listed.of("video")
    assert stream.chunks[-1] == (18 * SECOND, 2 * SECOND)
    assert abs(int(listed.attributes["Duration"]) - 20 * SECOND) < SECOND // 10
    assert fragment(feed, "video", 16 * SECOND).following == [(18 * SECOND, 2 * SECOND)]
    assert fragment(feed, "video", 18 * SECOND).following == []
    with pytest.raises(FragmentNotAvailable):
        fragment(feed, "video", 20 * SECOND)


def test_statuses(dated: Feed) -> None:
    begin = SINCE_1970 * SECOND

    def asked(at: int) -> type[OriginError] | None:
        try:
            fragment(dated, "video", begin + at * SECOND)
        except OriginError as error:
            return type(error)
        return None

    assert asked(-2) is FragmentNotFound
    assert asked(0) is None
    assert asked(1) is FragmentMissing
    assert asked(18) is None
    # 20 and 22 were never received.
    assert asked(20) is FragmentMissing
    assert asked(22) is FragmentMissing
    assert asked(34) is None
    # 36 and 38 are there, but not what follows them.
    assert asked(36) is FragmentNotAvailable
    assert asked(38) is FragmentNotAvailable
    assert asked(40) is FragmentNotAvailable
    with pytest.raises(NotFound):
        fragment(dated, "video", begin, bitrate=1)


def test_holes_are_skipped(dated: Feed) -> None:
    begin = SINCE_1970 * SECOND
    (stream,) = manifest(dated).of("video")
    times = [(time - begin) // SECOND for time, _ in stream.chunks]
    assert times[-8:] == [16, 18, *range(24, 36, 2)]
    assert {duration for _, duration in stream.chunks} == {2 * SECOND}
    found = fragment(dated, "video", begin + 18 * SECOND)
    assert found.duration == 2 * SECOND
    assert found.following == [(begin + at * SECOND, 2 * SECOND) for at in (24, 26)]
    plan = dated.ask(f"QualityLevels(400000)/Fragments(video={begin + 18 * SECOND})").plan
    assert dict(plan.headers)["Link"] == f'<Fragments(video={begin + 24 * SECOND})>; rel="next"'
    dated.push(10, 11)
    filled = manifest(dated).of("video")[0].chunks
    assert len(filled) == len(stream.chunks) + 2
    assert {time for time, _ in filled} > {time for time, _ in stream.chunks}


def test_what_one_quality_lacks_is_listed_for_none(feed: Feed) -> None:
    feed.push(*range(20), only=(1, 3))
    feed.push(*range(9), *range(10, 20), only=(2,))
    (stream,) = manifest(feed).of("video")
    assert len(stream.levels) == 2
    assert 18 * SECOND not in [time for time, _ in stream.chunks]
    assert all(read(feed.ask(path).plan) for path, _, _ in all_paths(manifest(feed)))
    # The others have it all the same.
    assert fragment(feed, "video", 18 * SECOND).time == 18 * SECOND
    with pytest.raises(FragmentMissing):
        fragment(feed, "video", 18 * SECOND, bitrate=2_500_000)


def test_a_quality_that_fails_does_not_stop_the_others(feed: Feed) -> None:
    feed.push(*range(20))
    feed.push(*range(20, 40), only=(1, 3))
    (stream,) = manifest(feed).of("video")
    assert [level["Bitrate"] for level in stream.levels] == ["400000"]
    assert stream.chunks[-1][0] == 74 * SECOND
    # It can still be asked for, under its own name.
    assert fragment(feed, "video", 34 * SECOND, bitrate=2_500_000).time == 34 * SECOND


def test_one_that_was_sent_late_is_listed_when_it_has_caught_up(feed: Feed) -> None:
    feed.push(*range(12), only=(1, 3))
    feed.push(*range(8, 12), only=(2,))
    assert len(manifest(feed).of("video")[0].levels) == 1
    feed.push(*range(12, 90))
    (stream,) = manifest(feed).of("video")
    assert len(stream.levels) == 2
    (whole,) = manifest(feed, "vbegin=0").of("video")
    assert whole.chunks[0][0] == 16 * SECOND
    assert (len(whole.levels), whole.chunks[-1]) == (2, stream.chunks[-1])


def test_all_nouns(feed: Feed) -> None:
    feed.push(*range(6))
    level = "QualityLevels(400000)"
    whole = fragment(feed, "video", 4 * SECOND)
    alone = read(feed.ask(f"{level}/FragmentInfo(video={4 * SECOND})").plan, metadata_only=True)
    assert (alone.time, alone.following) == (whole.time, whole.following)
    assert whole.following == [(6 * SECOND, 2 * SECOND), (8 * SECOND, 2 * SECOND)]
    key = read(feed.ask(f"{level}/KeyFrames(video={4 * SECOND})").plan)
    assert (key.sizes, key.following) == ([10], whole.following)
    raw = feed.ask(f"{level}/RawFragments(video={4 * SECOND})").plan
    assert raw.length == 500


def test_times_that_clients_round_to_what_doubles_hold(dated: Feed) -> None:
    sound = manifest(dated).of("audio")[0]
    odd = [time for time, _ in sound.chunks if time % 2]
    assert odd
    for time in odd:
        assert int(float(time)) != time
        found = fragment(dated, "audio_eng", int(float(time)), bitrate=128_000)
        assert found.time == time


def test_reading_ahead_ends_where_it_must(dated: Feed) -> None:
    begin = SINCE_1970 * SECOND
    level = "QualityLevels(400000)/Fragments(video="
    before_hole = dated.ask(f"{level}{begin + 14 * SECOND})", read_ahead=8)
    assert [path for path, _ in before_hole.ahead] == [
        f"{level}{begin + at * SECOND})" for at in (16, 18)
    ]
    at_edge = dated.ask(f"{level}{begin + 28 * SECOND})", read_ahead=8)
    for (path, plan), at in zip(at_edge.ahead, (30, 32, 34), strict=True):
        assert path == f"{level}{begin + at * SECOND})"
        assert read(plan).time == begin + at * SECOND
        assert plan.last_modified == SINCE_1970 + at + 2 + LATENCY // 1000
    assert not at_edge.ahead[-1][1].headers


def test_parts_of_the_archive_that_are_not_in_memory(tmp_path: Path) -> None:
    feed = Feed(tmp_path, archiving="true")
    feed.push(*range(200))
    for at in (0, 1, 14, 28, 29, 30, 31, 59, 100, 196):
        for level in (400_000, 2_500_000):
            found = fragment(feed, "video", 2 * at * SECOND, bitrate=level)
            assert (found.sequence, found.time) == (at + 1, 2 * at * SECOND)
            assert found.following == [(2 * (at + more) * SECOND, 2 * SECOND) for more in (1, 2)]
    listed = manifest(feed, "vbegin=00:00:50&vend=00:01:10")
    assert "IsLive" not in listed.attributes
    assert [time // SECOND for time, _ in listed.of("video")[0].chunks] == [*range(50, 70, 2)]


def test_stored_fragments_are_not_handed_out(feed: Feed) -> None:
    feed.push(*range(6))
    passed = feed.body("Manifest", usp_iss_pass_through="on")
    assert passed == feed.body("Manifest")


def test_text(tmp_path: Path) -> None:
    feed = Feed(tmp_path, [*LADDER, text(4)])
    feed.push(*range(20))
    (stream,) = manifest(feed).of("text")
    assert stream.levels[0]["FourCC"] == "TTML"
    pictures = manifest(feed).of("video")[0]
    assert stream.chunks == pictures.chunks


def test_sound_alone(tmp_path: Path) -> None:
    feed = Feed(tmp_path, [audio(1, 64_000), audio(2, 128_000, 44_100)])
    feed.push(*range(9))
    listed = manifest(feed)
    assert len(listed.streams) == 2
    for path, time, _ in all_paths(listed):
        assert read(feed.ask(path).plan).time == time
