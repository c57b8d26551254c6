"""Transport packets of any PES packets: what a checker written from the standard makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sidecar.errors import InvalidMedia
from sidecar.mux.mpegts import AUDIO_PID, VIDEO_PID, transport_stream
from sidecar.mux.pes import PesStream
from sidecar.mux.psi import StreamInfo, crc32_mpeg, language, registration
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


def payload(size: int, seed: int) -> bytes:
    return bytes((seed + at) % 251 for at in range(size))


def pictures(
    sizes: list[int], *, first: int = 900_000, step: int = 3600, delay: int = 0
) -> PesStream:
    count = len(sizes)
    dts = first + step * np.arange(count, dtype=np.int64)
    pts = dts + delay * (np.arange(count, dtype=np.int64) % 3)
    return PesStream(
        pid=VIDEO_PID,
        info=VIDEO,
        pts=pts,
        dts=dts,
        order=dts,
        size=np.array(sizes, dtype=np.int64),
        pieces=[[payload(size, at)] for at, size in enumerate(sizes)],
        random_access=np.arange(count) == 0,
        has_pcr=True,
    )


def sound(sizes: list[int], *, first: int = 900_000, step: int = 4000) -> PesStream:
    pts = first + step * np.arange(len(sizes), dtype=np.int64)
    return PesStream(
        pid=AUDIO_PID,
        info=AUDIO,
        pts=pts,
        dts=pts,
        order=pts - 9000,
        size=np.array(sizes, dtype=np.int64),
        pieces=[[payload(size, 100 + at)] for at, size in enumerate(sizes)],
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(SIZES, min_size=1, max_size=20), st.lists(SIZES, max_size=20), st.booleans())
def test_every_payload_comes_out_and_packets_are_a_multiple_of_16(
    seen: list[int], heard: list[int], reordered: bool
) -> None:
    streams = [pictures(seen, delay=7200 if reordered else 0)]
    streams += [sound(heard)] if heard else []
    end = 900_000 + 3600 * len(seen)
    data = bytes(transport_stream(PROGRAM, streams, index=5, end=end))
    program = read_ts(data)
    check_clock(program)
    found = program.streams[VIDEO_PID].pes
    assert [pes.payload for pes in found] == [piece for (piece,) in streams[0].pieces]
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
    read_ts(bytes(transport_stream(PROGRAM, streams, index=9, end=end)), tables)
    read_ts(bytes(transport_stream(PROGRAM, streams, index=6, end=end)), program.counters)


@given(st.integers(1, 60), st.integers(1, 90_000), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_the_clock_comes_often_enough_whatever_the_pictures_do(
    size: int, step: int, count: int
) -> None:
    video = pictures([size] * count, step=step)
    segments = [
        bytes(transport_stream(PROGRAM, [video], index=0, end=900_000 + step * count)),
        bytes(
            transport_stream(
                PROGRAM,
                [pictures([size], first=900_000 + step * count)],
                index=1,
                end=900_000 + step * (count + 1),
            )
        ),
    ]
    check_clock(read_ts(b"".join(segments)))


def test_sound_alone_carries_the_clock_in_packets_of_its_own() -> None:
    heard = sound([300] * 30)
    data = bytes(transport_stream(PROGRAM, [heard], index=0, end=900_000 + 4000 * 30))
    program = read_ts(data)
    check_clock(program)
    assert program.pcr_pid == VIDEO_PID and not program.streams[VIDEO_PID].pes
    assert data[2 * 188 + 3] >> 4 == 2, "the clock first"


def test_no_packets_at_all_are_still_the_tables() -> None:
    data = bytes(transport_stream(PROGRAM, [], index=20, end=0))
    program = read_ts(data)
    assert len(data) == 2 * 188
    assert program.counters == {0: 4, 0x1000: 4}
    assert program.streams[AUDIO_PID].descriptors == b"\x0a\x04eng\0"


def test_the_checker_notices_what_decoders_pass_over() -> None:
    data = bytearray(transport_stream(PROGRAM, [pictures([900] * 5)], index=0, end=918_000))
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
    data = bytes(transport_stream(PROGRAM, [pictures([70_000])], index=0, end=903_600))
    assert len(read_ts(data).streams[VIDEO_PID].payload) == 70_000
    with pytest.raises(InvalidMedia, match="too long"):
        transport_stream(PROGRAM, [sound([70_000])], index=0, end=0)


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
