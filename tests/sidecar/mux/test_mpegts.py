"""Transport packets of any PES packets: what a checker written from the standard makes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sidecar.codecs.crc import crc32_mpeg
from sidecar.errors import InvalidMedia
from sidecar.mux.annexb import START_CODE
from sidecar.mux.mpegts import AUDIO_PID, VIDEO_PID, transport_streams
from sidecar.mux.pes import PesStream, Stored
from sidecar.mux.psi import StreamInfo, language, registration
from sidecar.mux.timestamps import timestamp, unwrapped
from tests.support.mpegts import WRAP, check_clock, crc, read_ts

VIDEO = StreamInfo(stream_type=0x1B, stream_id=0xE0)
AUDIO = StreamInfo(stream_type=0x0F, stream_id=0xC0, descriptors=language("eng"))
PROGRAM = [(VIDEO_PID, VIDEO), (AUDIO_PID, AUDIO)]
# Around each number of whole blocks, where stuffing and header just fit or just do not.
SIZES = st.one_of(
    st.integers(1, 400),
    st.builds(
        lambda blocks, off: max(1, 184 * blocks + off), st.integers(1, 4), st.integers(-60, 8)
    ),
)


def transport_stream(streams: list[PesStream], *, index: int, end: int) -> bytes:
    """One segment."""
    (made,) = transport_streams(PROGRAM, streams, index=index, ends=[end])
    assert made.length == len(made.data)
    return bytes(made.data)


def payload(size: int, seed: int) -> bytes:
    """With start codes, for video that is stored."""
    return bytes(0 if at % 89 in (50, 51, 52) else 1 if at % 89 == 53 else 2 + (seed + at) % 249
                 for at in range(size))  # fmt: skip


def pictures(
    sizes: list[int], *, first: int = 900_000, step: int = 3600, delay: int = 0
) -> PesStream:
    count = len(sizes)
    dts = first + step * np.arange(count, dtype=np.int64)
    pts = dts + delay * (np.arange(count, dtype=np.int64) % 3)
    return PesStream(
        pid=VIDEO_PID,
        info=VIDEO,
        first=(0, count),
        pts=pts,
        dts=dts,
        order=dts,
        size=np.array(sizes, dtype=np.int64),
        pieces=[[payload(size, at)] for at, size in enumerate(sizes)],
        random_access=np.arange(count) == 0,
        has_pcr=True,
    )


def stored(stream: PesStream, keep: int) -> PesStream:
    """The same with all but ``keep`` bytes of each payload in one string, in which what becomes a
    start code is something else."""
    data, codes = bytearray(b"junk"), []
    begin, end, pieces = [], [], []
    for at, (piece,) in enumerate(stream.pieces):
        pieces.append((bytes(piece[:keep]),))
        begin.append(len(data))
        data += piece[keep:]
        end.append(len(data))
        found = bytes(piece).find(START_CODE, keep)
        while found >= 0:
            code = begin[-1] + found - keep
            codes.append((at, code))
            data[code : code + 4] = b"size"
            found = bytes(piece).find(START_CODE, found + 4)
        data += b"gap"
    coded = np.array(codes, dtype=np.int64).reshape(-1, 2)
    columns = np.array(begin), np.array(end), coded[:, 0], coded[:, 1]
    return replace(stream, pieces=pieces, stored=Stored(bytes(data), *columns))


def sound(sizes: list[int], *, first: int = 900_000, step: int = 4000) -> PesStream:
    pts = first + step * np.arange(len(sizes), dtype=np.int64)
    return PesStream(
        pid=AUDIO_PID,
        info=AUDIO,
        first=(0, len(sizes)),
        pts=pts,
        dts=pts,
        order=pts - 9000,
        size=np.array(sizes, dtype=np.int64),
        pieces=[[payload(size, 100 + at)] for at, size in enumerate(sizes)],
    )


@settings(max_examples=150, deadline=None)
@given(
    st.lists(SIZES, min_size=1, max_size=20),
    st.lists(SIZES, max_size=20),
    st.booleans(),
    st.sampled_from([None, 0, 10, 70]),
)
def test_every_payload_comes_out_and_packets_are_a_multiple_of_16(
    seen: list[int], heard: list[int], reordered: bool, keep: int | None
) -> None:
    streams = [pictures(seen, delay=7200 if reordered else 0)]
    streams += [sound(heard)] if heard else []
    whole = streams[0].pieces
    streams[0] = streams[0] if keep is None else stored(streams[0], keep)
    end = 900_000 + 3600 * len(seen)
    data = transport_stream(streams, index=5, end=end)
    program = read_ts(data)
    check_clock(program)
    found = program.streams[VIDEO_PID].pes
    assert [pes.payload for pes in found] == [piece for (piece,) in whole]
    assert [pes.pts for pes in found] == streams[0].pts.tolist()
    assert [pes.dts for pes in found] == streams[0].dts.tolist()
    assert [pes.random_access for pes in found] == [at == 0 for at in range(len(seen))]
    assert sum(pes.packets for pes in found) % 16 == 0
    if heard:
        other = program.streams[AUDIO_PID].pes
        assert [pes.payload for pes in other] == [piece for (piece,) in streams[1].pieces]
        assert sum(pes.packets for pes in other) % 16 == 0
    # No more than the packets that the payload needs, a header each, and the rest to 16.
    needed = sum(-(-(8 + 19 + 27 + size) // 184) for size in seen)
    needed += sum(-(-(14 + 27 + size) // 184) for size in heard)
    assert len(data) // 188 <= 2 + needed + 2 * 16
    # A second segment goes on from the first, and from itself.
    tables = {pid: counter for pid, counter in program.counters.items() if pid >= VIDEO_PID}
    tables.pop(0x1000, None)
    read_ts(transport_stream(streams, index=9, end=end), tables)
    read_ts(transport_stream(streams, index=6, end=end), program.counters)


def cut(stream: PesStream, begin: int, end: int) -> PesStream:
    """Its PES packets ``begin`` .. ``end``-1."""
    columns = {name: getattr(stream, name)[begin:end] for name in ("pts", "dts", "order", "size")}
    entries = stream.random_access
    part = stream.stored
    if part is not None:
        of = (part.coded >= begin) & (part.coded < end)
        spans = part.begin[begin:end], part.end[begin:end]
        part = Stored(part.data, *spans, part.coded[of] - begin, part.code[of])
    return replace(
        stream,
        first=(0, end - begin),
        pieces=stream.pieces[begin:end],
        stored=part,
        random_access=None if entries is None else entries[begin:end],
        **columns,
    )


@settings(max_examples=150, deadline=None)
@given(
    st.lists(SIZES, min_size=1, max_size=12),
    st.lists(SIZES, max_size=12),
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=3),
    st.sampled_from([3600, 3600, 20_000]),
    st.sampled_from([None, 0, 70]),
)
def test_a_segment_is_the_same_whichever_others_are_made_with_it(
    seen: list[int], heard: list[int], cuts: list[tuple[int, int]], step: int, keep: int | None
) -> None:
    video = pictures(seen, step=step)
    video = video if keep is None else stored(video, keep)
    streams = [video] + ([sound(heard)] if heard else [])
    bounds = [
        [0, *sorted(min(at[which], len(sizes)) for at in cuts), len(sizes)]
        for which, sizes in enumerate((seen, heard))
    ]
    ends = [900_000 + step * last for last in bounds[0][1:]]
    together = transport_streams(
        PROGRAM,
        [replace(stream, first=first) for stream, first in zip(streams, bounds, strict=False)],
        index=7,
        ends=ends,
    )
    for at, (made, end) in enumerate(zip(together, ends, strict=True)):
        alone = [
            cut(stream, *first[at : at + 2])
            for stream, first in zip(streams, bounds, strict=False)
            if first[at + 1] > first[at]
        ]
        assert bytes(made.data) == transport_stream(alone, index=7 + at, end=end)


@given(st.integers(1, 60), st.integers(1, 90_000), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_the_clock_comes_often_enough_whatever_the_pictures_do(
    size: int, step: int, count: int
) -> None:
    video = pictures([size] * count, step=step)
    segments = [
        transport_stream([video], index=0, end=900_000 + step * count),
        transport_stream(
            [pictures([size], first=900_000 + step * count)],
            index=1,
            end=900_000 + step * (count + 1),
        ),
    ]
    check_clock(read_ts(b"".join(segments)))


def test_sound_alone_carries_the_clock_in_packets_of_its_own() -> None:
    heard = sound([300] * 30)
    data = transport_stream([heard], index=0, end=900_000 + 4000 * 30)
    program = read_ts(data)
    check_clock(program)
    assert program.pcr_pid == VIDEO_PID and not program.streams[VIDEO_PID].pes
    assert data[2 * 188 + 3] >> 4 == 2, "the clock first"


def test_no_packets_at_all_are_still_the_tables() -> None:
    data = transport_stream([], index=20, end=0)
    program = read_ts(data)
    assert len(data) == 2 * 188
    assert program.counters == {0: 4, 0x1000: 4}
    assert program.streams[AUDIO_PID].descriptors == b"\x0a\x04eng\0"


def test_the_checker_notices_what_decoders_pass_over() -> None:
    data = bytearray(transport_stream([pictures([900] * 5)], index=0, end=918_000))
    read_ts(bytes(data))
    third = 2 * 188
    for at, value, what in (
        (third, 0x48, "sync"),
        (third + 188 + 3, data[third + 188 + 3] ^ 1, "counter"),
        (third + 4, 184, "adaptation field"),
        (third + 4, data[third + 4] + 1, "stuffing|packet_start_code_prefix"),
        (20, data[20] ^ 1, "CRC|stuffing"),
        (188 + 12, data[188 + 12] ^ 1, "CRC"),
    ):
        damaged = bytearray(data)
        damaged[at] = value
        with pytest.raises(AssertionError, match=what):
            read_ts(bytes(damaged))


def test_long_pictures_do_not_say_their_length_and_long_sound_is_refused() -> None:
    data = transport_stream([pictures([70_000])], index=0, end=903_600)
    assert len(read_ts(data).streams[VIDEO_PID].payload) == 70_000
    with pytest.raises(InvalidMedia, match="too long"):
        transport_stream([sound([70_000])], index=0, end=0)


@given(st.binary(max_size=200))
def test_crc(data: bytes) -> None:
    assert crc32_mpeg(data) == crc(data)
    assert crc(data + crc32_mpeg(data).to_bytes(4)) == 0


@given(
    st.integers(-(10**6), 1 << 50),
    st.sampled_from([1, 1000, 12_800, 30_000, 44_100, 48_000, 90_000, 10_000_000]),
)
def test_timestamps(ticks: int, timescale: int) -> None:
    assume(ticks / timescale < 1 << 40)  # 35 000 years
    found = int(unwrapped(np.array([ticks]), timescale)[0])
    exact = ticks * 90_000 / timescale + 900_000
    assert abs(found - exact) <= 0.5 + abs(exact) * 1e-12
    assert timestamp(ticks, timescale) == found % WRAP


def test_registration() -> None:
    assert registration(b"AC-3") == b"\x05\x04AC-3"
