"""Clips of downloads begin and end at sync samples."""

from __future__ import annotations

from fractions import Fraction

import pytest

from sidecar.media.track import Track
from sidecar.timeline.clips import WHOLE, Clip
from sidecar.timeline.cuts import cut
from tests.support.tracks import audio_facts, audio_track, rendition, video_track

VIDEO = video_track(seconds=10, gop=50)  # sync samples at 0, 2, 4, 6, 8 s
AUDIO = audio_track(seconds=10)


def bounds(
    begin: Fraction | float | None, end: Fraction | float | None
) -> list[tuple[int, int, int]]:
    clip = Clip(None if begin is None else Fraction(begin), None if end is None else Fraction(end))
    cuts = cut([rendition(VIDEO), rendition(AUDIO)], clip)
    return [(one.first, one.last, one.origin) for one in cuts]


def test_the_whole_is_everything() -> None:
    cuts = cut([rendition(VIDEO), rendition(AUDIO)], WHOLE)
    assert [(one.first, one.last, one.origin) for one in cuts] == [
        (0, 250, 0),
        (0, len(AUDIO.samples), 0),
    ]


@pytest.mark.parametrize(
    ("begin", "end", "first", "last"),
    [
        (0, 4, 0, 100),
        (2, 4, 50, 100),
        (2.5, 3.5, 50, 100),
        (3.999, 6.001, 100, 150),
        (1.97, 4, 0, 100),
        (2, 2.02, 50, 100),
        (8.5, None, 200, 250),
        (None, 0.001, 0, 50),
        (None, 9.5, 0, 250),
        (9.99, 20, 200, 250),
    ],
)
def test_pictures_from_sync_sample_to_sync_sample(
    begin: float | None, end: float | None, first: int, last: int
) -> None:
    assert bounds(begin, end)[0][:2] == (first, last)


def test_sound_begins_with_what_its_decoder_needs_and_ends_with_the_pictures() -> None:
    (_, _, video_origin), (first, last, origin) = bounds(2.5, 3.5)
    assert (video_origin, origin) == (2 * 12_800, 2 * 48_000)
    heard = 2 * 48_000 // 1024
    assert first == heard - 2
    assert last == -(-4 * 48_000 // 1024)


def test_opus_begins_eighty_milliseconds_earlier() -> None:
    facts = audio_facts(codec="opus", fourcc="OPUS")
    track = audio_track(seconds=10, frame=960, facts=type(facts)(
        codec="opus", sample_entry="Opus", fourcc="OPUS", sampling_rate=48_000, channels=2,
        samples_per_frame=960, channel_configuration=facts.channel_configuration,
        hls_channels="2"))  # fmt: skip
    (only,) = cut([rendition(track)], Clip(Fraction(4), Fraction(6)))
    assert (only.first, only.last) == (196, 300)


def test_sound_alone_is_cut_at_its_frames() -> None:
    (only,) = cut([rendition(AUDIO)], Clip(Fraction(1), Fraction(2)))
    assert (only.first, only.last, only.origin) == (46 - 2, 94, 48_000)


def test_videos_of_other_gops_follow_the_best_one() -> None:
    other = video_track(seconds=10, gop=75)  # 0, 3, 6, 9 s
    clip = Clip(Fraction(4), Fraction(6))
    best, lesser = cut([rendition(VIDEO, bitrate=2), rendition(other, bitrate=1)], clip)
    assert (best.first, best.last) == (100, 150)
    assert (lesser.first, lesser.last) == (75, 150)
    assert lesser.origin == best.origin, "what comes before is hidden"


def test_tracks_that_are_over_or_have_not_begun_are_left_out() -> None:
    def kinds(*tracks: Track, begin: int, end: int) -> list[str]:
        clip = Clip(Fraction(begin), Fraction(end))
        return [one.rendition.kind for one in cut([rendition(track) for track in tracks], clip)]

    assert kinds(VIDEO, audio_track(seconds=1), begin=4, end=6) == ["video"]
    assert kinds(VIDEO, audio_track(seconds=9, start=6 * 48_000), begin=2, end=4) == ["video"]
    assert kinds(video_track(seconds=2), AUDIO, begin=4, end=6) == ["audio"]
    assert kinds(video_track(seconds=8, start=5 * 12_800), AUDIO, begin=2, end=4) == ["audio"]
    assert kinds(VIDEO, AUDIO, begin=11, end=12) == []
