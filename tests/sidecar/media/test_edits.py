"""Edit lists on columns: what is presented, when, and what is dropped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.errors import InvalidMedia, UnsupportedMedia
from sidecar.media.columns import Columns
from sidecar.media.edits import Window, begin_with_picture, edit_window, present, video_lead
from sidecar.media.track import Kind, Samples
from tests.support import boxes

WHERE = ("moov/trak[0]", 8)


def columns(
    n: int,
    *,
    delta: int = 10,
    offsets: list[int] | None = None,
    sync: list[int] | None = None,
    first: int = 0,
    fragments: list[int] | None = None,
) -> Columns:
    """``sync``: positions of sync samples; offsets and sizes number the samples."""
    flags = None
    if sync is not None:
        flags = np.zeros(n, np.bool_)
        flags[sync] = True
    return Columns(
        decode_time=first + delta * np.arange(n + 1, dtype=np.int64),
        composition_offset=None if offsets is None else np.array(offsets, np.int32),
        size=np.arange(n, dtype=np.uint32),
        offset=1000 + np.arange(n, dtype=np.int64),
        sync=flags,
        fragment_start=None if fragments is None else np.array(fragments, np.int64),
    )


def shown(
    own: Columns, window: Window, kind: Kind, *, timescale: int = 1000, shift: int = 0
) -> tuple[Samples, int]:
    found = present(own, window, kind=kind, timescale=timescale, shift=shift, where=WHERE)
    assert found is not None
    return found


def times(samples: Samples, edit_media_time: int) -> list[int]:
    """Presentation times, decode order."""
    start = samples.decode_time[:-1]
    if samples.composition_offset is not None:
        start = start + samples.composition_offset
    return (start - edit_media_time).tolist()


def window(*edits: tuple[int, int], movie: int = 1000, media: int = 1000, rate: int = 0x10000,
           fragmented: bool = False) -> Window:  # fmt: skip
    elst = boxes.leaf(boxes.elst(*edits, rate=rate, version=1))
    return edit_window(elst, movie_timescale=movie, timescale=media, fragmented=fragmented)


def test_no_edit_list_presents_all() -> None:
    found = edit_window(None, movie_timescale=1000, timescale=90000, fragmented=False)
    assert found == Window(media_time=0, delay=0, end=None)


def test_one_edit() -> None:
    assert window((2000, 1024), media=48000) == Window(media_time=1024, end=1024 + 96000 + 48)


def test_empty_edits_delay() -> None:
    found = window((500, -1), (250, -1), (1000, 20), media=2000)
    assert (found.delay, found.media_time) == (1500, 20)


def test_only_empty_edits() -> None:
    assert window((500, -1)) == Window(delay=500)


def test_a_duration_of_zero_is_up_to_the_end() -> None:
    assert window((0, 5)).end is None


def test_the_end_of_a_fragmented_file_is_not_that_of_its_moov() -> None:
    assert window((100, 5), fragmented=True) == Window(media_time=5)


def test_an_endless_duration() -> None:
    assert window(((1 << 64) - 1, 5)).end is None


def test_edits_that_join_are_one() -> None:
    assert window((100, 50), (100, 150), (50, 251)) == Window(media_time=50, end=302)


def test_an_empty_edit_at_the_end_shows_nothing() -> None:
    assert window((100, 50), (100, -1)) == Window(media_time=50, end=151)


def test_a_media_edit_without_duration_before_another() -> None:
    assert window((0, 0), (100, 50)) == Window(media_time=50, end=151)


@pytest.mark.parametrize(
    "edits",
    [
        [(100, 50), (100, 300)],
        [(100, 50), (100, 50)],
        [(100, 50), (100, -1), (100, 150)],
    ],
    ids=["jump", "repetition", "gap"],
)
def test_parts_that_do_not_join_are_unsupported(edits: list[tuple[int, int]]) -> None:
    with pytest.raises(UnsupportedMedia, match="do not join") as info:
        window(*edits)
    assert info.value.box_path == "elst"


@pytest.mark.parametrize("rate", [0, 0x8000, 0x20000, -0x10000])
def test_another_rate_is_unsupported(rate: int) -> None:
    with pytest.raises(UnsupportedMedia, match="speed"):
        window((100, 50), rate=rate)


@pytest.mark.parametrize("media_time", [-2, -(1 << 62), 1 << 62])
def test_times_out_of_range(media_time: int) -> None:
    with pytest.raises(InvalidMedia):
        window((100, media_time))


def test_an_empty_edit_out_of_range() -> None:
    with pytest.raises(InvalidMedia):
        window(((1 << 64) - 1, -1), (100, 0), media=1 << 31)


def test_video_without_edits_is_as_it_was() -> None:
    samples, edit = shown(columns(4, sync=[0, 2]), Window(), Kind.VIDEO)
    assert edit == 0
    assert samples.decode_time.tolist() == [0, 10, 20, 30, 40]
    assert samples.composition_offset is None
    assert samples.sync is not None and samples.sync.tolist() == [True, False, True, False]


def test_reordered_video_begins_with_offset_zero_at_its_presentation_time() -> None:
    own = columns(4, offsets=[20, 40, 20, 20])
    samples, edit = shown(own, Window(media_time=20), Kind.VIDEO)
    assert edit == 0 and samples.decode_time[0] == 0
    assert samples.composition_offset is not None
    assert samples.composition_offset.tolist() == [0, 20, 0, 0]
    samples, edit = shown(columns(4, offsets=[20, 40, 20, 20]), Window(), Kind.VIDEO)
    assert samples.decode_time.tolist() == [20, 30, 40, 50, 60]


def test_all_sync_is_none() -> None:
    samples, _ = shown(columns(3, sync=[0, 1, 2]), Window(), Kind.VIDEO)
    assert samples.sync is None


def test_an_empty_edit_moves_video_later() -> None:
    samples, edit = shown(columns(2), Window(delay=70), Kind.VIDEO)
    assert samples.decode_time.tolist() == [70, 80, 90] and edit == 0


def test_a_start_between_sync_samples_goes_back_to_the_one_before() -> None:
    own = columns(12, sync=[0, 4, 8])
    trimmed = Window(media_time=60)
    lead = video_lead(own, trimmed)
    assert lead == 20
    samples, edit = shown(own, trimmed, Kind.VIDEO, shift=lead)
    assert samples.offset.tolist() == list(range(1004, 1012))
    assert samples.decode_time.tolist() == [10 * k for k in range(9)]
    assert samples.sync is not None and np.flatnonzero(samples.sync).tolist() == [0, 4]
    assert edit == 0


def test_a_start_at_a_sync_sample_has_no_lead() -> None:
    own = columns(12, sync=[0, 4, 8])
    assert video_lead(own, Window(media_time=40)) == 0
    samples, _ = shown(own, Window(media_time=40), Kind.VIDEO)
    assert samples.offset[0] == 1004 and samples.decode_time[0] == 0


def test_leading_pictures_of_an_open_gop_count_in_the_lead() -> None:
    # Decoded I B B: the B pictures of the second group are shown before its I picture.
    own = columns(6, offsets=[20, 0, 0, 20, 0, 0], sync=[0, 3])
    assert own.composition_time.tolist() == [20, 10, 20, 50, 40, 50]
    trimmed = Window(media_time=50)
    assert video_lead(own, trimmed) == 10
    samples, _ = shown(own, trimmed, Kind.VIDEO, shift=10)
    assert times(samples, 0) == [10, 0, 10]


def test_every_track_moves_by_the_lead() -> None:
    audio = columns(20)
    samples, edit = shown(audio, Window(media_time=60), Kind.AUDIO, timescale=100, shift=20)
    assert times(samples, edit)[:3] == [-10, 0, 10]


def test_audio_priming_stays_before_zero() -> None:
    samples, edit = shown(columns(5, delta=1024), Window(media_time=1024), Kind.AUDIO,
                          timescale=48000)  # fmt: skip
    assert edit == 1024
    assert samples.decode_time[0] == 0
    assert times(samples, edit) == [-1024, 0, 1024, 2048, 3072]


def test_audio_that_ends_long_before_zero_is_dropped() -> None:
    samples, edit = shown(columns(100), Window(media_time=500), Kind.AUDIO)
    # 100 ms at 1000 ticks per second: the sample that ends 100 before goes, that 90 before stays.
    assert samples.offset[0] == 1000 + 40
    assert edit == 100
    assert times(samples, edit)[0] == -100


def test_text_before_zero_is_dropped_and_begins_there_if_it_lasts() -> None:
    samples, edit = shown(columns(10), Window(media_time=25), Kind.TEXT)
    assert (samples.offset[0], edit) == (1002, 0)
    assert samples.decode_time[:3].tolist() == [0, 5, 15]


def test_the_tail_after_the_edit_is_dropped() -> None:
    for kind in (Kind.VIDEO, Kind.AUDIO):
        samples, _ = shown(columns(10), Window(end=55), kind)
        assert len(samples) == 6
        assert samples.decode_time[-1] == 60
        assert samples.size.base is None


def test_video_keeps_what_later_pictures_of_the_edit_need() -> None:
    own = columns(4, offsets=[0, 20, 0, 0])
    assert own.composition_time.tolist() == [0, 30, 20, 30]
    samples, _ = shown(own, Window(end=30), Kind.VIDEO)
    assert samples.offset.tolist() == [1000, 1001, 1002]


@pytest.mark.parametrize("kind", list(Kind))
def test_an_edit_beside_the_media_presents_nothing(kind: Kind) -> None:
    def presented(own: Columns, beside: Window) -> object:
        return present(own, beside, kind=kind, timescale=1000, shift=0, where=WHERE)

    assert presented(columns(5), Window(media_time=500)) is None
    assert presented(columns(5, first=300), Window(end=200)) is None
    assert presented(columns(0), Window()) is None
    assert video_lead(columns(5), Window(media_time=500)) == 0


def test_fragment_starts_follow_a_trim() -> None:
    own = columns(10, fragments=[0, 3, 6, 9], sync=[0, 3, 6, 9])
    samples, _ = shown(own, Window(media_time=40, end=85), Kind.VIDEO, shift=10)
    assert samples.offset[0] == 1003 and len(samples) == 6
    assert samples.fragment_start is not None
    assert samples.fragment_start.tolist() == [0, 3]


def test_a_last_sample_without_duration_gets_that_of_its_neighbour() -> None:
    own = columns(4)
    own.decode_time[-1] = own.decode_time[-2]
    samples, _ = shown(own, Window(), Kind.VIDEO)
    assert samples.decode_time.tolist() == [0, 10, 20, 30, 40]
    samples, _ = shown(columns(1, delta=0), Window(), Kind.VIDEO)
    assert samples.decode_time.tolist() == [0, 1]


def test_offsets_too_far_apart() -> None:
    own = columns(2, offsets=[-(1 << 31), (1 << 31) - 1])
    with pytest.raises(InvalidMedia, match="32 bits") as info:
        shown(own, Window(), Kind.VIDEO, shift=1 << 31)
    assert info.value.box_path == WHERE[0]


def test_a_shift_out_of_range() -> None:
    with pytest.raises(InvalidMedia, match="out of range"):
        shown(columns(2), Window(), Kind.AUDIO, shift=1 << 61)


@pytest.mark.parametrize(
    ("media_time", "expected"), [(0, 20), (20, 20), (21, 30), (35, 40), (500, 500)]
)
def test_an_edited_video_begins_with_a_whole_picture(media_time: int, expected: int) -> None:
    own = columns(4, offsets=[20] * 4)
    assert begin_with_picture(own, Window(media_time=media_time)).media_time == expected


@given(
    n=st.integers(1, 30),
    offsets=st.lists(st.integers(-50, 50), min_size=30, max_size=30),
    sync=st.sets(st.integers(0, 29)),
    media_time=st.integers(0, 400),
    delay=st.integers(0, 100),
    end=st.none() | st.integers(1, 400),
)
@example(
    n=11,
    offsets=[-40 if k == 7 else -38 if k == 10 else 0 for k in range(30)],
    sync={0, 1, 2, 3, 10},
    media_time=62,
    delay=0,
    end=31,
)
def test_no_presented_video_is_before_zero(
    n: int, offsets: list[int], sync: set[int], media_time: int, delay: int, end: int | None
) -> None:
    own = columns(n, offsets=offsets[:n], sync=[k for k in sync if k < n])
    composed = own.composition_time.copy()
    cut = Window(media_time=media_time, delay=delay, end=end)
    lead = video_lead(own, cut)
    found = present(own, cut, kind=Kind.VIDEO, timescale=1000, shift=lead, where=WHERE)
    if found is None:
        return
    samples, edit = found
    assert edit == 0 and samples.decode_time[0] >= 0
    assert min(times(samples, 0)) >= 0
    first = int(samples.offset[0]) - 1000
    assert times(samples, 0) == [
        composed[first + k] - media_time + delay + lead for k in range(len(samples))
    ]
