"""Streams as ffmpeg sends them: what is parsed is what it meant."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.live.headers import read_header
from sidecar.live.model import EndOfStream, Fragment, Header, Incoming, TrackFragment
from sidecar.live.parser import StreamParser
from sidecar.live.rows import pack_samples
from sidecar.media.index import index_media
from sidecar.media.track import Kind
from tests.support.encoder import NAMES, packets, stream
from tests.support.memory_source import MemorySource


def parse(data: bytes, header: Header | None = None) -> list[Incoming]:
    parser = StreamParser(header)
    found = list(parser.feed(data))
    assert parser.offset == len(data)
    return found + parser.finish()


def header_of(incoming: Iterable[Incoming]) -> Header:
    (header,) = (one for one in incoming if isinstance(one, Header))
    return header


def fragments(incoming: Iterable[Incoming]) -> list[Fragment]:
    return [one for one in incoming if isinstance(one, Fragment)]


def of_track(incoming: Iterable[Incoming], track_id: int) -> list[tuple[Fragment, TrackFragment]]:
    return [
        (fragment, track)
        for fragment in fragments(incoming)
        for track in fragment.tracks
        if track.track_ID == track_id
    ]


def sample_bytes(parts: Iterable[tuple[Fragment, TrackFragment]]) -> list[bytes]:
    return [
        fragment.data[offset : offset + size]
        for fragment, track in parts
        for offset, size in zip(
            track.samples.offset.tolist(), track.samples.size.tolist(), strict=True
        )
    ]


def described(one: Incoming) -> object:
    """All that ``one`` says, to be compared."""
    match one:
        case Header():
            return one.data, one.digest, [described_track(track) for track in one.tracks]
        case Fragment():
            return (
                one.data,
                one.moof,
                one.events,
                [
                    (t.track_ID, t.time, t.duration, t.begins, pack_samples(t.samples))
                    for t in one.tracks
                ],
            )
        case EndOfStream():
            return "end"


def described_track(track: object) -> list[object]:
    return [getattr(track, name) for name in track.__slots__]  # type: ignore[attr-defined]


def all_described(incoming: Iterable[Incoming]) -> list[object]:
    return [described(one) for one in incoming]


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_those_that_other_readers_find(name: str) -> None:
    incoming = parse(stream(name))
    tracks = header_of(incoming).tracks
    assert [track.track_ID for track in tracks] == sorted(packets(name))
    for track in tracks:
        parts = of_track(incoming, track.track_ID)
        expected = packets(name)[track.track_ID]
        tables = [part.samples for _, part in parts]
        assert np.concatenate([t.size for t in tables]).tolist() == [p.size for p in expected]
        sync = [t.sync if t.sync is not None else np.ones(len(t.size), bool) for t in tables]
        assert np.concatenate(sync).tolist() == [p.sync for p in expected]
        # Decode times, and where each fragment begins, counted from the first.
        begin = parts[0][1].time
        dts = []
        for _, part in parts:
            ends = np.cumsum(part.samples.duration, dtype=np.int64)
            dts += (part.time - begin + ends - part.samples.duration).tolist()
            assert part.duration == ends[-1]
        assert dts == [p.dts - expected[0].dts for p in expected]
        offsets = np.concatenate([
            np.zeros(len(t.size), int) if t.composition_offset is None else t.composition_offset
            for t in tables
        ])  # fmt: skip
        delay = [p.pts - p.dts for p in expected]
        # ffmpeg adds the least offset to all of a track, where some are negative.
        assert (offsets - offsets[0]).tolist() == [one - delay[0] for one in delay]


@pytest.mark.parametrize("name", NAMES)
def test_fragments_hold_the_bytes_of_their_samples_and_join(name: str) -> None:
    data = stream(name)
    incoming = parse(data)
    for track in index_media(MemorySource(data)).tracks:
        parts = of_track(incoming, track.track_id)
        columns = track.samples
        assert sample_bytes(parts) == [
            data[offset : offset + size]
            for offset, size in zip(columns.offset.tolist(), columns.size.tolist(), strict=True)
        ]
        for (_, one), (_, following) in pairwise(parts):
            assert one.time + one.duration == following.time
        assert parts[0][1].begins


@pytest.mark.parametrize("name", NAMES)
def test_the_end_of_a_stream(name: str) -> None:
    incoming = parse(stream(name))
    assert isinstance(incoming[-1], EndOfStream)
    assert sum(isinstance(one, EndOfStream) for one in incoming) == 1


def test_what_a_smooth_encoder_says_of_its_tracks() -> None:
    video, audio = header_of(parse(stream("smooth"))).tracks
    assert (video.kind, video.name, video.language, video.timescale) == (
        Kind.VIDEO, "video", None, 10_000_000,
    )  # fmt: skip
    assert video.bitrate == 150_000
    assert (audio.kind, audio.name, audio.language) == (Kind.AUDIO, "audio_ger", "ger")
    assert audio.bitrate == 64_000


def test_what_other_encoders_say_of_their_tracks() -> None:
    video, audio = header_of(parse(stream("cmaf"))).tracks
    assert (video.name, video.bitrate, audio.name, audio.bitrate) == (None, None, None, None)
    assert audio.language == "ger"
    assert (video.timescale, audio.timescale) == (12800, 48000)


def test_the_first_sound_of_a_smooth_stream_is_before_zero() -> None:
    (_, first), (_, second), *_ = of_track(parse(stream("smooth")), 2)
    assert first.time == -213333
    assert second.time == first.time + first.duration


def test_priming_and_delay_of_edit_lists_are_known() -> None:
    video, audio = header_of(parse(stream("edit lists"))).tracks
    assert (video.edit_media_time, audio.edit_media_time) == (1024, 1024)
    assert (video.delay, audio.delay) == (0, 0)


@pytest.mark.parametrize("name", NAMES)
def test_headers_are_read_again_from_what_is_kept_of_them(name: str) -> None:
    header = header_of(parse(stream(name)))
    again = read_header(header.data)
    assert described(again) == described(header)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_is_a_file_on_its_own(name: str) -> None:
    """The header and the fragments one after the other, as archives have them; from the second
    fragment on too, where file offsets no longer hold."""
    incoming = parse(stream(name))
    header, parts = header_of(incoming), fragments(incoming)
    for kept in (parts, parts[1:]):
        file = header.data + b"".join(one.data for one in kept)
        again = parse(file)
        assert all_described(again) == [described(header), *all_described(kept)]
        indexed = index_media(MemorySource(file))
        for track in indexed.tracks:
            columns = track.samples
            assert [
                file[offset : offset + size]
                for offset, size in zip(columns.offset.tolist(), columns.size.tolist(), strict=True)
            ] == sample_bytes(of_track(kept, track.track_id))


def test_chunks_that_go_on_in_a_fragment_do_not_begin_one() -> None:
    video = [part.begins for _, part in of_track(parse(stream("chunks")), 1)]
    assert video == [True, False, False, False, True, False, False, False, True, False, False]
    assert all(part.begins for _, part in of_track(parse(stream("chunks")), 2))


def test_producer_reference_times_belong_to_the_fragment_behind_them() -> None:
    data = stream("producer times")
    found = fragments(parse(data))
    assert len(found) == 3
    for one in found:
        assert one.data[4:8] == b"prft"
        assert one.data[one.moof + 4 : one.moof + 8] == b"moof"
        assert one.data in data


def test_a_fragment_is_complete_with_its_last_byte() -> None:
    data = stream("cmaf")
    ends = []
    parser = StreamParser()
    for at in range(len(data)):
        found = fragments(parser.feed(data[at : at + 1]))
        ends += [(at + 1, len(one.data)) for one in found]
    assert [data[end - length + 4 : end - length + 8] for end, length in ends] == [b"moof"] * 3
    assert [data[end + 4 : end + 8] for end, _ in ends] == [b"moof", b"moof", b"mfra"]


@pytest.mark.parametrize("name", ["smooth", "samples in moov", "file offsets", "producer times"])
@settings(deadline=None, max_examples=40)
@given(cuts=st.lists(st.integers(0, 50_000), max_size=60))
def test_chunks_of_any_size_say_the_same(name: str, cuts: list[int]) -> None:
    data = stream(name)
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parser = StreamParser()
    found: list[Incoming] = []
    for first, last in pairwise(bounds):
        found += parser.feed(data[first:last])
    assert parser.finish() == []
    assert all_described(found) == all_described(parse(data))


def test_single_bytes_say_the_same() -> None:
    data = stream("samples in moov")
    parser = StreamParser()
    found = [one for octet in data for one in parser.feed(bytes((octet,)))]
    assert all_described(found) == all_described(parse(data))


def test_an_encoder_that_resends_its_header() -> None:
    data = stream("smooth")
    incoming = parse(data)
    header, parts = header_of(incoming), fragments(incoming)
    twice = parse(header.data + parts[0].data + header.data + parts[0].data + parts[1].data)
    assert all_described(twice) == all_described([header, parts[0], header, parts[0], parts[1]])


def test_a_stream_that_begins_anew_on_the_same_connection() -> None:
    data = stream("cmaf")
    assert all_described(parse(data + data)) == 2 * all_described(parse(data))


def test_a_connection_for_each_segment() -> None:
    incoming = parse(stream("cmaf"))
    header = header_of(incoming)
    for fragment in fragments(incoming):
        assert all_described(parse(fragment.data, header)) == [described(fragment)]
    assert all_described(parse(header.data)) == [described(header)]


def test_headers_of_equal_media_have_one_digest() -> None:
    def digest(name: str) -> bytes:
        return header_of(parse(stream(name))).digest

    data = stream("cmaf")
    at = data.index(b"mvhd") + 8
    later = data[:at] + b"\xd0\0\0\0" + data[at + 4 :]
    assert header_of(parse(later)).digest == digest("cmaf")
    # A name does not matter, an edit list and another timescale do.
    assert digest("smooth") == digest("smooth without manifest")
    assert len({digest(name) for name in ("smooth", "cmaf", "edit lists")}) == 3


def test_no_bytes_are_no_stream() -> None:
    assert parse(b"") == []
    parser = StreamParser()
    assert list(parser.feed(b"")) == []
    assert list(parser.feed(stream("cmaf"))) != []
    assert list(parser.feed(b"")) == []
    assert parser.finish() == []
