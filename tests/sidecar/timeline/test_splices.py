"""Boundaries that move to splices: the same ones whatever part is at hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.timeline.splices import Pictures, Splice, moved, pictures_of
from tests.support.tracks import audio_track, video_track

SINCE_1970 = 1_700_000_000.0


def pictures(begin: float, end: float, *, every: float = 1.0, delay: float = 0.08) -> Pictures:
    decoded = np.arange(np.ceil(begin / every), np.ceil(end / every)) * every
    return Pictures(
        shown=decoded + delay,
        decoded=decoded,
        begin=begin,
        end=end,
        delay=np.full(len(decoded), delay),
        half=np.full(len(decoded), 0.02),
    )


def cut(
    begin: float,
    end: float,
    splices: list[Splice],
    *,
    length: float = 4.0,
    begins: bool = False,
    ended: bool = False,
) -> tuple[list[float], int]:
    """Boundaries, and the number of the first cell, of what lies from ``begin`` to ``end``."""
    first = int(np.ceil(begin / length))
    time = np.arange(first, int(end // length) + 1) * length
    fixed = np.zeros(len(time), bool)
    found, lead = moved(
        time, splices, pictures(begin, end), fixed=fixed, length=length, begins=begins, ended=ended
    )
    return found.tolist(), first + lead


def at(when: float, known: float = -100) -> Splice:
    return Splice(when + 0.08, known)


def test_the_nearest_boundary_moves() -> None:
    assert cut(0, 20, [at(5)], begins=True)[0] == [0, 5, 8, 12, 16, 20]
    assert cut(0, 20, [at(7)], begins=True)[0] == [0, 4, 7, 12, 16, 20]
    # Of two that are as near, the first; each only once.
    assert cut(0, 20, [at(10)], begins=True)[0] == [0, 4, 10, 12, 16, 20]
    assert cut(0, 20, [at(9), at(10)], begins=True)[0] == [0, 4, 9, 12, 16, 20]
    assert cut(0, 20, [at(9), at(11)], begins=True)[0] == [0, 4, 9, 11, 16, 20]


def test_what_cannot_be_cut_is_not() -> None:
    whole = [0, 4, 8, 12, 16, 20]
    # No sync sample; announced too late; before anything; what begins an era.
    assert cut(0, 20, [at(9.5)], begins=True)[0] == whole
    assert cut(0, 20, [at(9, known=8)], begins=True)[0] == whole
    assert cut(0, 20, [at(7, known=7)], begins=True)[0] == whole
    assert cut(0, 20, [at(1)], begins=True)[0] == whole
    time = np.array(whole, np.float64)
    fixed = time == 8
    found, _ = moved(
        time, [at(9)], pictures(0, 20), fixed=fixed, length=4.0, begins=True, ended=False
    )
    assert found.tolist() == whole


def test_what_is_not_known_yet_is_not_listed() -> None:
    # It may be cut at 13 rather than at 12; and at 14 it is not known which boundary is nearest.
    assert cut(0, 12, [at(13)], begins=True)[0] == [0, 4, 8]
    assert cut(0, 13.5, [at(13)], begins=True)[0] == [0, 4, 8]
    assert cut(0, 14.5, [at(13)], begins=True)[0] == [0, 4, 8, 13]
    assert cut(0, 12, [at(13)], begins=True, ended=True)[0] == [0, 4, 8, 12]
    # What begins before what is at hand is left out.
    assert cut(8, 20, [at(7)]) == ([12, 16, 20], 3)
    assert cut(6, 20, [at(7)]) == ([7, 12, 16, 20], 2)
    assert cut(8, 20, [at(9)]) == ([9, 12, 16, 20], 2)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), max_size=8),
    st.integers(0, 60),
    st.integers(1, 30),
    st.sampled_from([0.0, SINCE_1970]),
    st.sampled_from([2.0, 4.0, 6.0]),
)
def test_any_window_lists_what_all_of_it_does(
    said: list[tuple[int, int]], begin: int, length: int, origin: float, step: float
) -> None:
    origin -= origin % step
    splices = [at(origin + when, origin + when - lead) for when, lead in said]
    everything, first = cut(origin, origin + 120, splices, length=step, begins=True)
    whole = dict(enumerate(everything, first))
    end = begin + length
    # Nobody knows of what has not been announced.
    told = [one for one in splices if one.known < origin + end]
    window, number = cut(origin + begin, origin + end, told, length=step, begins=begin == 0)
    for which, time in enumerate(window, number):
        assert whole[which] == pytest.approx(time, abs=1e-4)
    assert np.all(np.diff(window) > 0)


def test_common_sync_samples() -> None:
    one, other = video_track(), video_track()
    found = pictures_of([one, other])
    assert len(found.shown) == np.count_nonzero(one.samples.sync)
    sound = pictures_of([audio_track()])
    assert not sound.delay.any()
    assert len(sound.shown) == len(audio_track().samples)


def test_groups_that_begin_with_pictures_that_lead_in_are_cut_where_they_begin() -> None:
    """The first group of an encoder has none of them: its first picture is shown earlier."""
    whole = video_track(seconds=24, gop=50, b_frames=True, open_gop=True)
    samples = whole.samples
    assert samples.composition_offset is not None
    offsets = samples.composition_offset[samples.sync]
    assert offsets[0] != offsets[1]
    shown = whole.presentation_time()[samples.sync] / whole.timescale
    decoded = samples.decode_time[:-1][samples.sync] / whole.timescale
    at = int(np.flatnonzero(samples.sync)[4])
    late = samples.decode_time[at:]
    part = replace(
        whole,
        samples=replace(
            samples,
            decode_time=late,
            composition_offset=samples.composition_offset[at:],
            size=samples.size[at:],
            offset=samples.offset[at:],
            sync=samples.sync[at:],
        ),
    )
    # Half of a segment behind a boundary, where it is a matter of ticks which one is nearer.
    splice = Splice(float(shown[7]), -100)
    for track, first in ((whole, 0), (part, 4)):
        pictures = pictures_of([track])
        assert pictures.decoded_for(splice.at) == pytest.approx(decoded[7], abs=1e-9)
        time = np.arange(8.0 if first else 0.0, 25.0, 4.0)
        found, lead = moved(
            time,
            [splice],
            pictures,
            fixed=np.zeros(len(time), bool),
            length=4.0,
            begins=not first,
            ended=False,
        )
        assert found[found >= 12].tolist() == [14.0, 16.0, 20.0, 24.0]
        assert not lead
