"""CMAF headers and segments, read back by readers that share no code with the writer."""

from __future__ import annotations

import struct
from time import thread_time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.media.track import Samples, Track
from sidecar.mux.cmaf import init_segment, key_frame_segment, media_segment
from sidecar.mux.movie import display_size
from sidecar.mux.plan import FileRanges, Inline, Part
from sidecar.mux.runs import NON_SYNC_SAMPLE, SYNC_SAMPLE
from tests.support.isobmff import boxes, find
from tests.support.tracks import (
    audio_track,
    rendition,
    text_track,
    video_facts,
    video_track,
)

Row = tuple[int, int, int, int]  # duration, size, flags, composition offset


def fragment(parts: tuple[Part, ...]) -> tuple[int, int, list[Row]]:
    """(sequence number, base decode time, rows) of a segment, with every size checked."""
    head = parts[0]
    assert isinstance(head, Inline)
    payload = sum(part.length for part in parts[1:])
    whole = head.data + bytes(min(payload, 1 << 20))
    if payload > 1 << 20:
        whole = head.data
    at, seen, moof_start = 0, [], 0
    while at < len(head.data):
        size, name = struct.unpack_from(">I4s", head.data, at)
        seen.append(name)
        if name == b"moof":
            moof_start, moof_size = at, size
        if name == b"mdat":
            if size == 1:
                size = struct.unpack_from(">Q", head.data, at + 8)[0]
                header = 16
            else:
                header = 8
            assert size == header + payload
            assert at + header == len(head.data)
            break
        at += size
    assert seen == [b"styp", b"moof", b"mdat"]
    moof = (moof_start + 8, moof_start + moof_size)
    assert [name for name, _, _ in boxes(whole, *moof)] == ["mfhd", "traf"]
    traf = find(whole, "traf", *moof)
    assert traf is not None
    assert [name for name, _, _ in boxes(whole, *traf)] == ["tfhd", "tfdt", "trun"]
    sequence = struct.unpack_from(">I", whole, moof[0] + 12)[0]

    body = find(whole, "tfhd", *traf)[0]  # type: ignore[index]
    flags, track_id = struct.unpack_from(">II", whole, body)
    assert flags & 0x020000, "default-base-is-moof"
    assert track_id == 1
    at, defaults = body + 8, {}
    for bit in (0x8, 0x10, 0x20):
        if flags & bit:
            defaults[bit] = struct.unpack_from(">I", whole, at)[0]
            at += 4
    assert flags & ~0x020038 == 0

    body = find(whole, "tfdt", *traf)[0]  # type: ignore[index]
    version, base = struct.unpack_from(">B3xQ", whole, body)
    assert version == 1

    body, end = find(whole, "trun", *traf)  # type: ignore[misc]
    word, count, data_offset = struct.unpack_from(">IIi", whole, body)
    assert word >> 24 == 1, "signed composition offsets"
    assert moof_start + data_offset == len(head.data), "the samples begin after the mdat header"
    at = body + 12
    first_flags = None
    if word & 0x4:
        first_flags = struct.unpack_from(">I", whole, at)[0]
        at += 4
        assert not word & 0x400, "first_sample_flags and sample_flags exclude each other"
    rows = []
    for index in range(count):
        values = {}
        for bit, form in ((0x100, ">I"), (0x200, ">I"), (0x400, ">I"), (0x800, ">i")):
            if word & bit:
                values[bit] = struct.unpack_from(form, whole, at)[0]
                at += 4
        rows.append(
            (
                values.get(0x100, defaults.get(0x8, -1)),
                values.get(0x200, defaults.get(0x10, -1)),
                first_flags
                if index == 0 and first_flags is not None
                else values.get(0x400, defaults.get(0x20, -1)),
                values.get(0x800, 0),
            )
        )
    assert at == end
    return sequence, base, rows


def expected(track: Track, first: int, last: int) -> list[Row]:
    samples = track.samples
    return [
        (
            int(samples.decode_time[at + 1] - samples.decode_time[at]),
            int(samples.size[at]),
            SYNC_SAMPLE if samples.sync is None or samples.sync[at] else NON_SYNC_SAMPLE,
            0
            if samples.composition_offset is None
            else int(samples.composition_offset[at]) + samples.composition_delay,
        )
        for at in range(first, last)
    ]


@pytest.mark.parametrize(
    "track",
    [
        pytest.param(video_track(seconds=8), id="I and P"),
        pytest.param(video_track(seconds=8, b_frames=True), id="B-frames"),
        pytest.param(video_track(seconds=8, b_frames=True, open_gop=True), id="open GOP"),
        pytest.param(video_track(seconds=8, gop=10), id="several GOPs in a segment"),
        pytest.param(video_track(seconds=8, all_sync=True), id="all sync"),
        pytest.param(video_track(seconds=8, fps=30, timescale=1000), id="varying durations"),
        pytest.param(audio_track(seconds=8), id="audio"),
        pytest.param(audio_track(seconds=8, edit_media_time=2112), id="audio with priming"),
    ],
)
@pytest.mark.parametrize(("first", "last"), [(0, 100), (50, 150), (100, 101), (150, 200)])
def test_a_segment_says_what_the_index_says(track: Track, first: int, last: int) -> None:
    parts = media_segment(track, first, last, 7)
    sequence, base, rows = fragment(parts)
    assert sequence == 7
    assert base == track.samples.decode_time[first]
    assert rows == expected(track, first, last)
    ranges = parts[1]
    assert isinstance(ranges, FileRanges)
    assert ranges.source == track.source
    assert ranges.length == track.samples.size[first:last].sum()


def columns(count: int) -> st.SearchStrategy[Samples]:
    def made(
        durations: list[int], sizes: list[int], offsets: list[int], sync: list[bool], start: int
    ) -> Samples:
        return Samples(
            decode_time=np.concatenate(([start], start + np.cumsum(durations))).astype(np.int64),
            composition_offset=np.array(offsets, dtype=np.int32),
            size=np.array(sizes, dtype=np.uint32),
            offset=1000 + np.cumsum([0, *sizes[:-1]]).astype(np.int64),
            sync=np.array(sync, dtype=np.bool_),
            fragment_start=None,
        )

    def lists(values: st.SearchStrategy[int]) -> st.SearchStrategy[list[int]]:
        several = st.lists(values, min_size=count, max_size=count)
        return several | values.map(lambda value: [value] * count)

    return st.builds(
        made,
        lists(st.integers(0, 0xFFFFFFFF)),
        lists(st.integers(0, 100_000)),
        lists(st.integers(-(1 << 30), (1 << 30) - 1)),
        st.lists(st.booleans(), min_size=count, max_size=count),
        st.integers(0, 1 << 60),
    )


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 12).flatmap(columns), st.data())
def test_any_columns_survive(samples: Samples, data: st.DataObject) -> None:
    track = video_track(seconds=1)
    fields = {name: getattr(track, name) for name in track.__slots__}
    track = Track(**{**fields, "samples": samples})
    first = data.draw(st.integers(0, len(samples) - 1))
    last = data.draw(st.integers(first + 1, len(samples)))
    _, base, rows = fragment(media_segment(track, first, last, 1))
    assert base == samples.decode_time[first]
    assert rows == expected(track, first, last)


def test_what_does_not_vary_is_said_once() -> None:
    parts = media_segment(audio_track(seconds=8), 0, 100, 1)
    # 4 bytes a frame: its size. styp, moof and its boxes take the rest.
    assert parts[0].length < 4 * 100 + 160


def test_a_segment_beyond_4_gb_has_a_64_bit_mdat() -> None:
    track = video_track(seconds=1)
    track.samples.size[:] = 0xFFFFFFF0
    parts = media_segment(track, 0, 3, 1)
    _, _, rows = fragment(parts)
    assert len(rows) == 3
    assert sum(part.length for part in parts[1:]) == 3 * 0xFFFFFFF0


def test_samples_without_bytes_leave_the_inline_part_alone() -> None:
    track = video_track(seconds=1)
    track.samples.size[:] = 0
    assert len(media_segment(track, 0, 5, 1)) == 1


def test_a_key_frame_is_presented_alone() -> None:
    track = video_track(seconds=8, b_frames=True, open_gop=True)
    parts = key_frame_segment(track, 50, 26624, 25600, 2)
    sequence, base, rows = fragment(parts)
    assert (sequence, base) == (2, 26624)
    # The offset is what the edit list of the init segment takes back.
    delay = track.samples.composition_delay
    assert delay == 512
    assert rows == [(25600, int(track.samples.size[50]), SYNC_SAMPLE, delay)]
    assert isinstance(parts[1], FileRanges)
    assert parts[1].offset.tolist() == [int(track.samples.offset[50])]


def test_planning_costs_the_same_in_a_long_asset() -> None:
    # The least CPU time of many alternating runs is what the work takes; the rest is the machine's
    # noise. A look at each sample of the long one would take several times as long.
    tracks = [video_track(seconds=seconds) for seconds in (120, 14_400)]
    least = [float("inf")] * 2
    for _ in range(1000):
        for which, track in enumerate(tracks):
            begin = thread_time()
            media_segment(track, len(track.samples) - 100, len(track.samples), 3)
            least[which] = min(least[which], thread_time() - begin)
    assert least[1] < 1.5 * least[0]


def body(data: bytes, path: str) -> bytes:
    found = find(data, path)
    assert found is not None, path
    return data[slice(*found)]


def test_the_init_segment_of_video() -> None:
    facts = video_facts(width=720, height=576, pixel_aspect=(64, 45))
    data = init_segment(rendition(video_track(seconds=1, facts=facts), language="eng"))
    assert [name for name, _, _ in boxes(data)] == ["ftyp", "moov"]
    assert body(data, "ftyp") == b"iso6\0\0\0\0iso6cmfccmf2"
    assert [name for name, _, _ in boxes(data, *find(data, "moov"))] == ["mvhd", "trak", "mvex"]  # type: ignore[misc]
    trak = find(data, "moov/trak")
    assert [name for name, _, _ in boxes(data, *trak)] == ["tkhd", "mdia"]  # type: ignore[misc]
    tkhd = body(data, "moov/trak/tkhd")
    assert struct.unpack(">II", tkhd[-8:]) == (1024 << 16, 576 << 16)
    assert struct.unpack_from(">I", tkhd, 12)[0] == 1
    assert body(data, "moov/trak/mdia/hdlr")[8:12] == b"vide"
    mdhd = body(data, "moov/trak/mdia/mdhd")
    assert struct.unpack_from(">I", mdhd, 12)[0] == 12800
    packed = struct.unpack_from(">H", mdhd, 20)[0]
    assert "".join(chr((packed >> shift & 31) + 0x60) for shift in (10, 5, 0)) == "eng"


@pytest.mark.parametrize("track", [video_track(seconds=1), audio_track(seconds=1)])
def test_the_sample_entry_is_copied(track: Track) -> None:
    stsd = body(init_segment(rendition(track)), "moov/trak/mdia/minf/stbl/stsd")
    assert stsd == struct.pack(">II", 0, 1) + track.sample_entry_box


def test_priming_is_skipped_by_an_edit_list() -> None:
    data = init_segment(rendition(audio_track(seconds=1, edit_media_time=2112)))
    elst = body(data, "moov/trak/edts/elst")
    assert struct.unpack(">IIQqI", elst) == (1 << 24, 1, 0, 2112, 0x10000)
    assert b"cmf2" not in body(data, "ftyp"), "which forbids edit lists"
    assert find(init_segment(rendition(audio_track(seconds=1))), "moov/trak/edts") is None


def test_reordered_pictures_are_written_with_offsets_that_are_not_negative() -> None:
    track = video_track(seconds=4, b_frames=True, open_gop=True)
    assert track.samples.composition_offset is not None
    assert track.samples.composition_offset.min() == -512
    _, _, rows = fragment(media_segment(track, 0, 100, 1))
    assert min(offset for _, _, _, offset in rows) == 0
    elst = body(init_segment(rendition(track)), "moov/trak/edts/elst")
    assert struct.unpack(">IIQqI", elst) == (1 << 24, 1, 0, 512, 0x10000)


def test_languages_beyond_three_letters_have_their_own_box() -> None:
    data = init_segment(rendition(audio_track(seconds=1), language="zh-Hans"))
    assert body(data, "moov/trak/mdia/elng") == b"\0\0\0\0zh-Hans\0"
    data = init_segment(rendition(audio_track(seconds=1)))
    assert find(data, "moov/trak/mdia/elng") is None


def test_text_has_the_handler_of_subtitles() -> None:
    data = init_segment(rendition(text_track(cues=[(0, 1000)])))
    assert body(data, "moov/trak/mdia/hdlr")[8:12] == b"subt"
    assert find(data, "moov/trak/mdia/minf/sthd") is not None


def test_display_size_follows_the_pixel_aspect() -> None:
    assert display_size(video_facts(width=1440, height=1080, pixel_aspect=(4, 3))) == (1920, 1080)
    assert display_size(video_facts()) == (1280, 720)


def test_pymp4_reads_the_moof_as_we_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import collections
    import collections.abc

    # construct 2.8 was written for Python before 3.10; reading needs this name in one place.
    monkeypatch.setattr(collections, "Sequence", collections.abc.Sequence, raising=False)
    from pymp4.parser import Box

    track = video_track(seconds=8, gop=10, b_frames=True)
    head = media_segment(track, 0, 40, 9)[0]
    assert isinstance(head, Inline)
    start = struct.unpack_from(">I", head.data)[0]
    moof = Box.parse(head.data[start:])
    assert moof.type == b"moof"
    header, traf = moof.children
    assert header.sequence_number == 9
    tfhd, tfdt, trun = traf.children
    assert tfhd.track_ID == 1
    assert tfdt.baseMediaDecodeTime == 0
    rows = expected(track, 0, 40)
    assert [row.sample_size for row in trun.sample_info] == [size for _, size, _, _ in rows]
    assert [row.sample_composition_time_offsets for row in trun.sample_info] == [
        offset for _, _, _, offset in rows
    ]
    assert [bool(row.sample_flags.sample_is_non_sync_sample) for row in trun.sample_info] == [
        flags == NON_SYNC_SAMPLE for _, _, flags, _ in rows
    ]
