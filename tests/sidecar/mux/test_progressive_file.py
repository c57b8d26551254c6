"""Progressive files: every sample where the tables say, as few ranges as can be, 64 bits."""

from __future__ import annotations

import struct
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import UnsupportedMedia
from sidecar.media.track import Samples, Track
from sidecar.mux.plan import CacheClass, Inline, Plan
from sidecar.mux.progressive import VIDEO_FILE, progressive_file
from sidecar.storage.source import SourceIdentity
from sidecar.timeline.clips import WHOLE, Clip
from sidecar.timeline.cuts import Cut, cut
from tests.support.download import Body, TrackTables, read_tracks
from tests.support.isobmff import boxes
from tests.support.tracks import audio_track, rendition, text_track, video_track

OTHER = SourceIdentity("/media/sound.mp4", 1 << 40, 1_700_000_000_000_000_000, 8)


def laid_out(
    tracks: list[Track], *, clip: Clip = WHOLE, file_type: bytes = VIDEO_FILE
) -> tuple[Body, list[TrackTables], tuple[Cut, ...]]:
    cuts = cut([rendition(track) for track in tracks], clip)
    parts = progressive_file(cuts, file_type=file_type)
    plan = Plan(parts=parts, content_type="video/mp4", cache_class=CacheClass.MEDIA)
    body = Body(plan)
    return body, read_tracks(body.head), cuts


def check(body: Body, written: list[TrackTables], cuts: tuple[Cut, ...]) -> None:
    """Tables, positions, times and edits against the columns."""
    assert len(written) == len(cuts)
    for found, one in zip(written, cuts, strict=True):
        track, samples = one.track, one.track.samples
        assert len(found.samples) == one.last - one.first
        offset = samples.composition_offset
        shown = [edit for edit in found.edits if edit[1] != -1]
        late = sum(duration for duration, media_time in found.edits if media_time == -1)
        media_time = shown[0][1] if shown else 0
        for at, sample in enumerate(found.samples, start=one.first):
            assert sample.size == samples.size[at]
            source = body.source_of(sample.position, sample.size)
            assert source == (track.source.path, int(samples.offset[at]))
            assert sample.sync == (samples.sync is None or bool(samples.sync[at]))
            presented = Fraction(
                int(samples.decode_time[at])
                + (0 if offset is None else int(offset[at]))
                - track.edit_media_time
                - one.origin,
                track.timescale,
            )
            told = Fraction(late, found.movie_timescale) + Fraction(
                sample.composition_time - media_time, found.timescale
            )
            assert abs(told - presented) <= Fraction(1, found.movie_timescale)


@settings(max_examples=60, deadline=None)
@given(
    b_frames=st.booleans(),
    open_gop=st.booleans(),
    video_start=st.sampled_from([0, 6656, 51200]),
    priming=st.sampled_from([0, 1024, 2112]),
    rate=st.sampled_from([44_100, 48_000]),
    apart=st.booleans(),
    begin=st.none() | st.fractions(0, 9),
    length=st.none() | st.fractions(Fraction(1, 10), 9),
)
def test_every_sample_is_where_and_when_it_was(
    b_frames: bool,
    open_gop: bool,
    video_start: int,
    priming: int,
    rate: int,
    apart: bool,
    begin: Fraction | None,
    length: Fraction | None,
) -> None:
    video = video_track(
        seconds=10, gop=[25, 40, 13], b_frames=b_frames, open_gop=open_gop, start=video_start
    )
    audio = audio_track(seconds=10, rate=rate, edit_media_time=priming)
    if apart:
        audio = replace(audio, source=OTHER)
    end = None if length is None else (begin or Fraction(0)) + length
    body, written, cuts = laid_out([video, audio], clip=Clip(begin, end))
    check(body, written, cuts)


def contiguous(track: Track, start: int) -> Track:
    samples = track.samples
    offset = start + np.cumsum(samples.size, dtype=np.int64) - samples.size
    return replace(track, samples=replace(samples, offset=offset))


def test_a_track_that_lies_in_one_piece_is_one_range() -> None:
    body, written, cuts = laid_out([contiguous(video_track(seconds=600), 48)])
    assert body.ranges == 1
    assert len(written[0].chunks) == 300, "and chunks of two seconds"
    check(body, written, cuts)


def interleaved(*tracks: Track) -> list[Track]:
    """The tracks as a muxer would interleave them sample by sample in one file."""
    times = np.concatenate([t.samples.decode_time[:-1] / t.timescale for t in tracks])
    sizes = np.concatenate([t.samples.size for t in tracks]).astype(np.int64)
    order = np.argsort(times, kind="stable")
    offset = np.empty_like(sizes)
    offset[order] = 48 + np.cumsum(sizes[order]) - sizes[order]
    ends = np.cumsum([len(t.samples) for t in tracks])[:-1]
    return [
        replace(t, samples=replace(t.samples, offset=own))
        for t, own in zip(tracks, np.split(offset, ends), strict=True)
    ]


def test_a_whole_interleaved_file_is_one_range() -> None:
    body, written, cuts = laid_out(
        interleaved(video_track(seconds=60, b_frames=True), audio_track(seconds=60))
    )
    assert body.ranges == 1
    check(body, written, cuts)


def test_sources_take_turns_of_two_seconds() -> None:
    video = contiguous(video_track(seconds=600), 48)
    audio = replace(contiguous(audio_track(seconds=600), 48), source=OTHER)
    body, written, cuts = laid_out([video, audio])
    assert body.ranges == 600
    check(body, written, cuts)
    # A player that has read up to a picture has the sound of that time, two seconds more or less.
    sound = {at // 48_000 // 2: s.position for s in written[1].samples for at in [s.decode_time]}
    for sample in written[0].samples[::100]:
        turn = sample.decode_time // 12_800 // 2
        assert turn == 0 or sound[turn - 1] < sample.position < sound[turn] + 1


def test_a_file_that_is_not_interleaved_is_put_in_order() -> None:
    video = contiguous(video_track(seconds=60), 48)
    end = int(video.samples.offset[-1] + video.samples.size[-1])
    body, written, cuts = laid_out([video, contiguous(audio_track(seconds=60), end)])
    assert body.ranges == 60, "thirty turns of each"
    check(body, written, cuts)


def test_files_over_four_gigabytes_have_64_bit_offsets_and_sizes() -> None:
    video = video_track(seconds=40, size=20_000_000)
    audio = replace(contiguous(audio_track(seconds=40), 1 << 36), source=OTHER)
    body, written, cuts = laid_out([contiguous(video, 1 << 37), audio])
    assert all(track.wide for track in written)
    assert max(sample.position for sample in written[0].samples) > 1 << 33
    check(body, written, cuts)
    size, name, large = struct.unpack_from(">I4sQ", body.head, len(body.head) - 16)
    assert (size, name) == (1, b"mdat")
    assert large == body.stretches[-1].start + body.stretches[-1].length - len(body.head) + 16


def test_just_below_four_gigabytes_32_bits_do() -> None:
    """And just above them the offsets have 64: sizes are chosen so that the head decides."""
    track = contiguous(video_track(seconds=4), 48)
    samples = track.samples
    for missing, wide in ((5000, False), (100, True)):
        size = np.full(len(samples), 0xFFFF0000 // len(samples), dtype=np.uint32)
        size[-1] += 0xFFFFFFFF - int(size.sum(dtype=np.int64)) - missing
        one = contiguous(replace(track, samples=replace(samples, size=size)), 48)
        body, written, cuts = laid_out([one])
        assert written[0].wide is wide
        assert (body.stretches[-1].start + body.stretches[-1].length > 0xFFFFFFFF) is wide
        check(body, written, cuts)


def test_long_presentations_have_64_bit_durations() -> None:
    track = video_track(seconds=4)
    stretched = track.samples.decode_time * 20_000
    _, written, _ = laid_out(
        [replace(track, samples=replace(track.samples, decode_time=stretched))]
    )
    assert written[0].samples[-1].decode_time == stretched[-2]


def test_samples_without_bytes_are_kept() -> None:
    track = text_track(cues=[(0, 2000), (2000, 3000), (5000, 1000)])
    size = np.array([500, 0, 500], dtype=np.uint32)
    offset = np.array([1000, 7, 1500], dtype=np.int64)
    body, (written,), _ = laid_out(
        [replace(track, samples=replace(track.samples, size=size, offset=offset))]
    )
    assert [sample.size for sample in written.samples] == [500, 0, 500]
    assert body.ranges == 1
    assert not written.enabled


def test_the_boxes_stand_in_the_order_of_a_stream() -> None:
    parts = progressive_file(cut([rendition(video_track())], WHOLE), file_type=VIDEO_FILE)
    assert isinstance(parts[0], Inline)
    head = bytes(parts[0].data) + bytes(sum(part.length for part in parts[1:]))
    assert [name for name, _, _ in boxes(head)] == ["ftyp", "moov", "mdat"]


def test_alternatives_are_one_group_and_the_first_is_enabled() -> None:
    audio = [audio_track(language=language) for language in ("eng", "ger")]
    _, written, _ = laid_out([video_track(), *audio])
    assert [track.enabled for track in written] == [True, True, False]
    assert [track.alternate_group for track in written] == [0, 1, 1]


def test_a_gap_of_years_costs_nothing() -> None:
    track = video_track(seconds=4, timescale=1)
    decode_time = np.arange(len(track.samples) + 1, dtype=np.int64)
    decode_time[50:] += 0xFFFFFF00
    body, written, cuts = laid_out(
        [replace(track, samples=replace(track.samples, decode_time=decode_time))]
    )
    check(body, written, cuts)


def test_sound_in_ticks_of_smooth_streaming_is_written_in_samples() -> None:
    audio = audio_track(seconds=10, edit_media_time=1024)
    samples = audio.samples
    fine = (samples.decode_time * 10_000_000) // 48_000
    smooth = replace(
        audio,
        timescale=10_000_000,
        edit_media_time=213_333,
        samples=replace(samples, decode_time=fine),
    )
    _, (written,), _ = laid_out([smooth])
    assert written.timescale == 48_000
    times = [sample.decode_time for sample in written.samples]
    assert times == samples.decode_time[:-1].tolist()
    assert written.edits[0][1] == 1024


def test_a_sample_that_lasts_longer_than_tables_say_is_refused() -> None:
    track = video_track(seconds=1)
    decode_time = track.samples.decode_time.copy()
    decode_time[5:] += 1 << 33
    samples: Samples = replace(track.samples, decode_time=decode_time)
    with pytest.raises(UnsupportedMedia):
        laid_out([replace(track, samples=samples)])
