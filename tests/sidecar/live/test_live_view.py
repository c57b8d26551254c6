"""From the index to segments: the same numbers and bytes whatever part is at hand."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from sidecar.boxes.movie import SampleDefaults
from sidecar.codecs.facts import AudioFacts, VideoFacts
from sidecar.errors import NotFound
from sidecar.live import eras
from sidecar.live.index import FragmentRow, PointIndex
from sidecar.live.model import Header, IncomingTrack, SampleTable, TrackFragment
from sidecar.live.view import PointView
from sidecar.media.server_manifest import ServerManifest
from sidecar.media.track import Kind
from sidecar.timeline.segmenter import SegmentPolicy

MANIFEST = ServerManifest()
EACH = SegmentPolicy(video=Fraction(0), audio=Fraction(0), text=Fraction(0))
FOUR = SegmentPolicy(video=Fraction(4), audio=Fraction(4), text=Fraction(4))
HEADER = Header(
    data=b"",
    digest=b"1",
    tracks=(
        IncomingTrack(
            track_ID=1,
            kind=Kind.VIDEO,
            timescale=1000,
            language=None,
            handler_name="",
            sample_entry_box=b"",
            facts=VideoFacts(
                codec="avc1", sample_entry="avc1", fourcc="AVC1", width=640, height=360
            ),
            defaults=SampleDefaults(),
            bitrate=500_000,
        ),
        IncomingTrack(
            track_ID=2,
            kind=Kind.AUDIO,
            timescale=48000,
            language="eng",
            handler_name="",
            sample_entry_box=b"",
            facts=AudioFacts(
                codec="mp4a.40.2",
                sample_entry="mp4a",
                fourcc="AACL",
                sampling_rate=48000,
                channels=2,
                samples_per_frame=1024,
                channel_configuration=("", "2"),
                hls_channels="2",
            ),
            defaults=SampleDefaults(),
            bitrate=64_000,
        ),
    ),
)


def samples(count: int, duration: int, *, video: bool) -> SampleTable:
    return SampleTable(
        duration=np.full(count, duration, np.uint32),
        size=np.full(count, 10, np.uint32),
        composition_offset=np.full(count, 80, np.int32) if video else None,
        sync=np.arange(count) == 0 if video else None,
        offset=np.arange(count, dtype=np.int64) * 10,
    )


class Feed:
    """Two-second fragments of a picture every 40 ms, and of sound as it falls."""

    def __init__(self, folder: Path) -> None:
        self.index = PointIndex.open(folder / "ch.db3", create=True)
        with self.index.transaction():
            self.index.put_header("main", HEADER, 0)
            self.index.add_file("main", 1, "ch-main-1.mp4", 0)

    def video(self, number: int, count: int = 50) -> None:
        self._add(1, number * 2000, samples(count, 40, video=True))

    def audio(self, number: int) -> None:
        first, last = (-(-n * 96000 // 1024) for n in (number, number + 1))
        self._add(2, first * 1024, samples(last - first, 1024, video=False))

    def both(self, *numbers: int) -> None:
        for number in numbers:
            self.video(number)
            self.audio(number)

    def _add(self, track_id: int, time: int, table: SampleTable) -> None:
        track = self.index.tracks()[track_id - 1]
        duration = int(table.duration.sum())
        fragment = TrackFragment(
            track_ID=track_id, time=time, duration=duration, begins=True, samples=table
        )
        with self.index.transaction():
            assert self.index.judge(track, fragment, 10**9) == "added"
            self.index.add(track, fragment, header=1, file=1, offset=0, length=1, now_ms=time)

    def view(self, keep: int = 600) -> PointView:
        view = PointView(
            self.index, name="ch", keep=Fraction(keep), read_header=lambda data: HEADER
        )
        view.refresh()
        return view


def listed(view: PointView, policy: SegmentPolicy, *, ended: bool = False) -> dict[str, list]:
    playable = view.recent(MANIFEST, ended=ended)
    found = {}
    for rendition in playable.presentation.renditions:
        segments = playable.timeline.segments(rendition, policy)
        found[rendition.name] = [
            (
                segments.number(at),
                round(int(segments.start[at]) / segments.timescale, 2),
                segments.is_gap(at),
            )
            for at in range(len(segments))
        ]
    return found


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    return Feed(tmp_path)


def test_complete_segments_are_listed(feed: Feed) -> None:
    feed.both(0, 1, 2)
    found = listed(feed.view(), EACH)
    assert [one[:2] for one in found["video"]] == [(1, 0.08), (2, 2.08), (3, 4.08)]
    assert [one[0] for one in found["audio_eng"]] == [1, 2, 3]
    feed.video(3)
    feed.audio(3)
    feed.video(4, count=20)
    assert len(listed(feed.view(), EACH)["video"]) == 4
    assert len(listed(feed.view(), EACH, ended=True)["video"]) == 5


def test_numbers_are_those_of_time_whatever_is_at_hand(feed: Feed) -> None:
    feed.both(*range(40))
    whole = listed(feed.view(), FOUR)
    view = feed.view()
    for begin in (0, 3, 10, 21, 55):
        part = view.stretch(MANIFEST, Fraction(begin), Fraction(begin + 20), ended=False)
        for rendition in part.presentation.renditions:
            segments = part.timeline.segments(rendition, FOUR)
            assert len(segments) >= 2
            for at in range(len(segments)):
                number = segments.number(at)
                (same,) = [one for one in whole[rendition.name] if one[0] == number]
                assert same[1] == round(int(segments.start[at]) / segments.timescale, 2)


def test_what_comes_is_taken_in(feed: Feed) -> None:
    feed.both(0, 1)
    view = feed.view()
    assert not view.refresh()
    feed.both(2)
    assert view.refresh()
    assert [one[0] for one in listed(view, EACH)["video"]] == [1, 2, 3]


def test_a_segment_waits_for_all_tracks(feed: Feed) -> None:
    feed.both(0, 1)
    feed.video(2)
    found = listed(feed.view(), EACH)
    assert len(found["video"]) == 2


def test_a_track_that_has_ended_is_not_waited_for(feed: Feed) -> None:
    feed.both(0, 1)
    for number in range(2, 12):
        feed.video(number)
    found = listed(feed.view(), EACH)
    assert len(found["video"]) == 12


def test_holes_keep_numbers_and_are_said(feed: Feed) -> None:
    feed.both(0, 1, 2)
    view = feed.view()
    feed.both(5, 6)
    view.refresh()
    found = listed(view, EACH)
    assert [(one[0], one[2]) for one in found["video"]] == [
        (1, False), (2, False), (3, False), (4, True), (5, True), (6, False), (7, False)
    ]  # fmt: skip
    feed.both(3, 4)
    view.refresh()
    assert [(one[0], one[2]) for one in listed(view, EACH)["video"]] == [
        (number, False) for number in range(1, 8)
    ]


def test_what_lies_behind_a_hole_waits_for_another_fragment(feed: Feed) -> None:
    feed.both(0, 1, 2)
    feed.both(4)
    view = feed.view()
    assert [one[0] for one in listed(view, EACH)["video"]] == [1, 2, 3]
    assert view.recent(MANIFEST, ended=False).end == 6
    feed.both(5)
    view.refresh()
    assert [(one[0], one[2]) for one in listed(view, EACH)["video"]][3:] == [
        (4, True), (5, False), (6, False)
    ]  # fmt: skip


def test_behind_a_hole_at_the_end_nothing_more_is_waited_for(feed: Feed) -> None:
    feed.both(0, 1, 2)
    feed.both(4)
    assert [one[0] for one in listed(feed.view(), EACH, ended=True)["video"]] == [1, 2, 3, 4, 5]


def test_muxed_segments_have_the_sound_of_their_pictures(feed: Feed) -> None:
    feed.both(*range(8))
    playable = feed.view().recent(MANIFEST, ended=False)
    audio, video = playable.presentation.renditions
    muxed = playable.timeline.muxed(video, audio, FOUR)
    alone = playable.timeline.segments(audio, FOUR)
    assert muxed.video.first_number == 1
    assert muxed.audio_first.tolist()[: len(alone) + 1] == alone.first_sample.tolist()


def test_nothing_yet(feed: Feed) -> None:
    view = feed.view()
    assert view.extent is None
    with pytest.raises(NotFound):
        view.recent(MANIFEST, ended=False)


def test_the_grid_can_be_searched(feed: Feed) -> None:
    feed.both(*range(3, 9))
    view = feed.view()
    assert view.time_of(5) == 10
    assert view.time_of(0) == 6
    assert view.time_of(9) is None
    assert view.extent is not None
    assert view.extent[0] == 6


def test_what_is_left_of_sound_at_the_end_is_a_segment_of_its_own(feed: Feed) -> None:
    feed.both(0, 1)
    feed.audio(2)
    assert len(listed(feed.view(), EACH)["audio_eng"]) == 2
    found = listed(feed.view(), EACH, ended=True)
    assert [one[0] for one in found["video"]] == [1, 2]
    assert [one[0] for one in found["audio_eng"]] == [1, 2, 3]


@pytest.mark.parametrize("early", [(0,), (1,), (8,), (0, 9, 4)])
def test_sound_is_cut_where_the_encoder_cut_it(feed: Feed, early: tuple[int, ...]) -> None:
    # Sound that ends some frames before the pictures is all there is of their segment.
    cut = [0]
    for number in range(6):
        feed.video(number)
        last = -(-(number + 1) * 96000 // 1024) - early[number % len(early)]
        feed._add(2, cut[-1] * 1024, samples(last - cut[-1], 1024, video=False))
        cut.append(last)
        found = listed(feed.view(), EACH)
        # What the first one lasts is known when the second has come.
        assert len(found["video"]) == (number + 1 if number else 0)
        if not number:
            continue
        playable = feed.view().recent(MANIFEST, ended=False)
        (sound,) = playable.presentation.of_kind(Kind.AUDIO)
        assert playable.timeline.segments(sound, EACH).first_sample.tolist() == cut


def removed(feed: Feed, where: str) -> None:
    with feed.index.transaction():
        assert feed.index.run_many(f"DELETE FROM fragment WHERE {where}")
        feed.index.count_removal()


def test_what_leaves_before_the_window_is_not_the_reason_to_read_all_anew(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.both(*range(100))
    view = feed.view(60)
    removed(feed, "time < (CASE track WHEN 1 THEN 80000 ELSE 3840000 END)")
    feed.both(100)
    with monkeypatch.context() as patched:
        patched.delattr(PointIndex, "fragments")
        assert view.refresh()
        found = listed(view, EACH)
    assert found == listed(feed.view(60), EACH)
    assert found["video"][-1][0] == 101
    assert not view.refresh()


def test_nothing_is_read_anew_for_a_window_that_moves_on(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a channel that keeps no more than its window, by a player that seldom asks."""
    feed.both(*range(100))
    view = feed.view(60)
    with monkeypatch.context() as patched:
        patched.delattr(PointIndex, "fragments")
        for number in range(100, 400, 25):
            feed.both(*range(number, number + 25))
            begin = 2 * (number + 25) - 60 - 64
            removed(feed, f"time < (CASE track WHEN 1 THEN 1000 ELSE 48000 END) * {begin}")
            assert view.refresh()
            view.recent(MANIFEST, ended=False)
    found, anew = (one.recent(MANIFEST, ended=False) for one in (view, feed.view(60)))
    assert found.begin == anew.begin
    for left, right in zip(
        found.presentation.renditions, anew.presentation.renditions, strict=True
    ):
        for policy in (EACH, FOUR):
            lists = found.timeline.segments(left, policy), anew.timeline.segments(right, policy)
            assert len({(one.first_number, tuple(one.start)) for one in lists}) == 1
        held = (one.track.samples for one in (left, right))
        assert len({(tuple(one.decode_time), tuple(one.size)) for one in held}) == 1


def test_what_was_removed_is_read_anew_once(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    feed.both(*range(100))
    view = feed.view(60)
    removed(feed, "time = 160000")
    feed.both(100, 101)
    read = []
    fragments = PointIndex.fragments

    def counted(index: PointIndex, track: int, begin: int, end: int) -> tuple[FragmentRow, ...]:
        read.append(track)
        return fragments(index, track, begin, end)

    monkeypatch.setattr(PointIndex, "fragments", counted)
    view.refresh()
    assert read == [1]
    assert listed(view, EACH) == listed(feed.view(60), EACH)


@pytest.mark.parametrize(
    "where",
    [
        "track = 1 AND time = 160000",
        "track = 2 AND time > 9300000",
        "time < (CASE track WHEN 1 THEN 120000 ELSE 5760000 END)",
        "time < 8000000",
        "1",
    ],
    ids=["between", "behind", "just before", "one track and what is before", "everything"],
)
def test_what_is_removed_of_the_window_is_not_listed_any_more(feed: Feed, where: str) -> None:
    feed.both(*range(100))
    view = feed.view(60)
    removed(feed, where)
    feed.both(100, 101)
    view.refresh()
    assert listed(view, EACH) == listed(feed.view(60), EACH)


def test_what_is_sent_again_after_it_was_dropped_lies_elsewhere(feed: Feed) -> None:
    feed.both(*range(10))
    view = feed.view(60)
    removed(feed, "track = 1 AND time = 18000")
    track = feed.index.tracks()[0]
    again = TrackFragment(
        track_ID=1, time=18000, duration=2000, begins=True, samples=samples(50, 40, video=True)
    )
    with feed.index.transaction():
        feed.index.add(track, again, header=1, file=1, offset=5000, length=1, now_ms=0)
    view.refresh()
    for one in (view, feed.view(60)):
        (pictures,) = one.recent(MANIFEST, ended=False).presentation.of_kind(Kind.VIDEO)
        assert int(pictures.track.samples.offset[-50]) == (1 << 40) + 5000


@pytest.mark.parametrize("keep", [600, 60, 4])
def test_pictures_that_come_slowly_cost_no_others_their_segments(feed: Feed, keep: int) -> None:
    # A screen that stands still for minutes, and then moves.
    for number in range(200):
        slow = number < 150
        table = samples(4 if slow else 50, 500 if slow else 40, video=True)
        feed._add(1, number * 2000, table)
    playable = feed.view(keep).recent(MANIFEST, ended=False)
    (pictures,) = playable.presentation.of_kind(Kind.VIDEO)
    segments = playable.timeline.segments(pictures, EACH)
    begun = pictures.track.samples.decode_time[segments.first_sample]
    numbers = [segments.number(at) for at in range(len(segments))]
    assert begun[:-1].tolist() == [2000 * (number - 1) for number in numbers]
    assert pictures.track.samples.sync[segments.first_sample[:-1]].all()


def changed(feed: Feed, track: int, time: int, configured: bytes) -> None:
    """Header 1 describes ``track`` otherwise from the fragment at ``time`` on."""
    described = HEADER.tracks[track - 1]
    with feed.index.transaction():
        for row in feed.index.fragments(track, time, 1 << 40):
            fragment = TrackFragment(
                track_ID=track,
                time=row.time,
                duration=row.duration,
                begins=True,
                samples=row.samples,
            )
            eras.note(feed.index, track, fragment, 1, configured, described)


def found_of(view: PointView, kind: Kind, policy: SegmentPolicy) -> list[tuple[int, int, float]]:
    """(number, era, decode time at which it begins) of each segment."""
    playable = view.recent(MANIFEST, ended=False)
    (rendition,) = playable.presentation.of_kind(kind)
    segments = playable.timeline.segments(rendition, policy)
    times = rendition.track.samples.decode_time[segments.first_sample] / rendition.track.timescale
    return [
        (segments.number(at), segments.era_of(at), round(float(times[at]), 2))
        for at in range(len(segments))
    ]


def test_sound_alone_that_changes_is_cut_there(feed: Feed) -> None:
    for number in range(5):
        feed.video(number)
    for second in range(10):
        first, last = (-(-at * 48000 // 1024) for at in (second, second + 1))
        feed._add(2, first * 1024, samples(last - first, 1024, video=False))
    changed(feed, 1, 0, b"pictures")
    changed(feed, 2, 0, b"sound")
    before = found_of(feed.view(), Kind.AUDIO, EACH)
    changed(feed, 2, -(-5 * 48000 // 1024) * 1024, b"other sound")
    # Pictures that lie across the change have been listed as they are.
    assert found_of(feed.view(), Kind.VIDEO, EACH) == [
        (1, 0, 0), (2, 0, 2), (3, 0, 4), (4, 1, 6), (5, 1, 8)
    ]  # fmt: skip
    sound = found_of(feed.view(), Kind.AUDIO, EACH)
    assert sound == [(1, 0, 0), (2, 0, 2.01), (3, 0, 4.01), (4, 1, 5.01), (5, 1, 8)]
    assert [one[2] for one in before] == [0, 2.01, 4.01, 6.02, 8]


@pytest.mark.parametrize("at", [4, 5, 6, 7])
def test_no_segment_lies_on_both_sides(feed: Feed, at: int) -> None:
    """Numbers remain those of time, whatever is at hand."""
    feed.both(*range(16))
    for track, ticks in ((1, 2000), (2, 96000)):
        changed(feed, track, 0, b"one")
        changed(feed, track, at * ticks if track == 1 else -(-at * ticks // 1024) * 1024, b"other")
    six = SegmentPolicy(video=Fraction(6), audio=Fraction(6), text=Fraction(0))
    whole = found_of(feed.view(), Kind.VIDEO, six)
    assert (2 * at) in [time for _, _, time in whole]
    assert [(number, era) for number, era, _ in whole] == [
        (number, int(time >= 2 * at)) for number, (_, _, time) in enumerate(whole, 1)
    ]
    view = feed.view()
    for begin in (0, 4, 8, 10, 14):
        part = view.stretch(MANIFEST, Fraction(begin), Fraction(begin + 12), ended=False)
        for rendition in part.presentation.of_kind(Kind.VIDEO):
            segments = part.timeline.segments(rendition, six)
            times = rendition.track.samples.decode_time[segments.first_sample] / 1000
            assert {
                (segments.number(one), segments.era_of(one), float(times[one]))
                for one in range(len(segments))
            } <= set(whole)
