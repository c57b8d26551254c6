"""An independent reader of transport streams that checks their structure (ISO/IEC 13818-1).

Written from the standard, byte by byte: framemd5 alone does not prove a stream, decoders pass over
damaged PES packets without a word.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

PACKET = 188
WRAP = 1 << 33
NEVER = -1


@dataclass(slots=True, kw_only=True)
class Pes:
    """One PES packet. ``pts``, ``dts``: 33 bits. ``packets``: transport packets of it."""

    stream_id: int
    pts: int
    dts: int
    payload: bytes
    random_access: bool
    packets: int


@dataclass(slots=True, kw_only=True)
class Stream:
    """An elementary stream. ``clock``: (position of the packet, PCR in 27 MHz) of each PCR."""

    stream_type: int
    descriptors: bytes
    pes: list[Pes] = field(default_factory=list)
    clock: list[tuple[int, int]] = field(default_factory=list)

    @property
    def payload(self) -> bytes:
        return b"".join(pes.payload for pes in self.pes)


@dataclass(slots=True, kw_only=True)
class Program:
    """What a stream of one program holds, by PID. ``counters``: of each PID, the last one."""

    pcr_pid: int
    streams: dict[int, Stream]
    counters: dict[int, int]

    def of_type(self, *types: int) -> Stream:
        (found,) = [stream for stream in self.streams.values() if stream.stream_type in types]
        return found


def crc(data: bytes) -> int:
    """CRC_32 of annex A, bit by bit; 0 over a whole section with its CRC."""
    register = 0xFFFFFFFF
    for byte in data:
        for bit in range(7, -1, -1):
            top = register >> 31
            register = (register << 1 & 0xFFFFFFFF) | 0
            if top ^ (byte >> bit & 1):
                register ^= 0x04C11DB7
    return register


def section(payload: bytes, table_id: int) -> bytes:
    pointer = payload[0]
    data = payload[1 + pointer :]
    assert data[0] == table_id, f"table {data[0]}"
    assert data[1] & 0xB0 == 0xB0, "section_syntax_indicator, '0', reserved"
    length = 3 + ((data[1] & 0x0F) << 8 | data[2])
    assert crc(data[:length]) == 0, "CRC_32"
    assert set(data[length:]) <= {0xFF}, "stuffing behind the section"
    assert data[5] & 1, "current_next_indicator"
    assert data[6] == data[7] == 0, "one section"
    return data[8 : length - 4]


def stamp(data: bytes, prefix: int) -> int:
    assert data[0] >> 4 == prefix, f"prefix {data[0] >> 4}"
    assert data[0] & data[2] & data[4] & 1, "marker bits"
    return (
        (data[0] >> 1 & 7) << 30 | data[1] << 22 | data[2] >> 1 << 15 | data[3] << 7 | data[4] >> 1
    )


class _Reader:
    """``counters``: those that the packets must go on from."""

    def __init__(self, counters: dict[int, int] | None) -> None:
        self.counters = dict(counters or {})
        self.pmt_pid = NEVER
        self.program: Program | None = None
        self.parts: dict[int, list[bytes]] = {}
        self.starts: dict[int, bool] = {}

    def read(self, data: bytes) -> Program:
        assert data and len(data) % PACKET == 0, f"{len(data)} bytes are no whole packets"
        for position in range(0, len(data), PACKET):
            try:
                self.packet(position, data[position : position + PACKET])
            except AssertionError as error:
                raise AssertionError(f"packet {position // PACKET}: {error}") from None
        assert self.program is not None, "no PMT"
        for pid in list(self.parts):
            self.finish(pid)
        self.program.counters = self.counters
        return self.program

    def packet(self, position: int, packet: bytes) -> None:
        assert packet[0] == 0x47, "sync byte"
        assert not packet[1] & 0x80, "transport_error_indicator"
        start = bool(packet[1] & 0x40)
        pid = (packet[1] & 0x1F) << 8 | packet[2]
        control = packet[3] >> 4
        assert control in {1, 2, 3}, f"adaptation_field_control, scrambling {control}"
        at, random_access, clock = self.adaptation(packet, control)
        self.count(pid, packet[3] & 15, control)
        if clock is not None:
            assert self.program is not None and pid == self.program.pcr_pid, "PCR on another PID"
            self.program.streams[pid].clock.append((position, clock))
        if control == 2:
            assert not start, "payload_unit_start_indicator without a payload"
            return
        payload = packet[at:]
        assert payload, "no payload"
        if pid == 0:
            body = section(payload, 0)
            assert len(body) == 4 and start, "one program"
            self.pmt_pid = (body[2] & 0x1F) << 8 | body[3]
        elif pid == self.pmt_pid:
            self.read_pmt(section(payload, 2))
        else:
            assert self.program is not None and pid in self.program.streams, f"PID {pid} unknown"
            if start:
                self.finish(pid)
                self.parts[pid] = []
                self.starts[pid] = random_access
            assert pid in self.parts, "the stream begins in the middle of a PES packet"
            self.parts[pid].append(payload)

    def count(self, pid: int, counter: int, control: int) -> None:
        before = self.counters.get(pid)
        if before is not None:
            expected = before if control == 2 else before + 1 & 15
            assert counter == expected, f"PID {pid}: counter {counter} after {before}"
        self.counters[pid] = counter

    def adaptation(self, packet: bytes, control: int) -> tuple[int, bool, int | None]:
        """(where the payload begins, random_access_indicator, PCR)."""
        if control == 1:
            return 4, False, None
        length = packet[4]
        assert length == 183 if control == 2 else length <= 182, f"adaptation field of {length}"
        if not length:
            return 5, False, None
        flags = packet[5]
        assert not flags & 0xAF, f"flags {flags:02x}"
        at, clock = 6, None
        if flags & 0x10:
            field = packet[6:12]
            assert field[4] & 0x7E == 0x7E, "reserved bits of the PCR"
            base = int.from_bytes(field[:4]) << 1 | field[4] >> 7
            clock = base * 300 + ((field[4] & 1) << 8 | field[5])
            at = 12
        stuffing = packet[at : 5 + length]
        assert at <= 5 + length and set(stuffing) <= {0xFF}, "stuffing"
        return 5 + length, bool(flags & 0x40), clock

    def read_pmt(self, body: bytes) -> None:
        pcr_pid = (body[0] & 0x1F) << 8 | body[1]
        at = 4 + ((body[2] & 0x0F) << 8 | body[3])
        streams: dict[int, Stream] = {}
        while at < len(body):
            pid = (body[at + 1] & 0x1F) << 8 | body[at + 2]
            end = at + 5 + ((body[at + 3] & 0x0F) << 8 | body[at + 4])
            streams[pid] = Stream(stream_type=body[at], descriptors=body[at + 5 : end])
            at = end
        assert at == len(body) and pcr_pid in streams, "PMT"
        if self.program is None:
            self.program = Program(pcr_pid=pcr_pid, streams=streams, counters={})
        else:
            kept = self.program
            assert kept.pcr_pid == pcr_pid and kept.streams.keys() == streams.keys(), "PMT changes"

    def finish(self, pid: int) -> None:
        parts = self.parts.pop(pid, None)
        if parts is None:
            return
        assert self.program is not None
        data = b"".join(parts)
        assert data[:3] == b"\0\0\1", "packet_start_code_prefix"
        stream_id, length = data[3], int.from_bytes(data[4:6])
        assert length == len(data) - 6 or (length == 0 and stream_id >> 4 == 0xE), (
            f"PES_packet_length {length} of {len(data) - 6}"
        )
        assert data[6] == 0x84, "'10', no scrambling, data_alignment_indicator"
        flags, header = data[7], data[8]
        assert flags in {0x80, 0xC0}, "PTS and maybe DTS, nothing else"
        both = flags == 0xC0
        fixed = 10 if both else 5
        assert fixed <= header <= fixed + 32, f"{header - fixed} stuffing bytes"
        assert set(data[9 + fixed : 9 + header]) <= {0xFF}, "stuffing of the PES header"
        pts = stamp(data[9:14], 3 if both else 2)
        dts = stamp(data[14:19], 1) if both else pts
        assert not both or 0 < (pts - dts) % WRAP < 90_000 * 10, "PTS before DTS, or equal"
        self.program.streams[pid].pes.append(
            Pes(
                stream_id=stream_id,
                pts=pts,
                dts=dts,
                payload=data[9 + header :],
                random_access=self.starts[pid],
                packets=len(parts),
            )
        )


def read_ts(data: bytes, counters: dict[int, int] | None = None) -> Program:
    """The program that ``data`` holds; ``counters``: of an earlier stretch that it goes on from.

    Raises ``AssertionError`` (which packet, what) where it is not as the standard says.
    """
    return _Reader(counters).read(data)


def check_clock(program: Program, *, most: float = 0.1) -> None:
    """The clock goes on, at least every ``most`` seconds, and nothing is decoded before it."""
    references = program.streams[program.pcr_pid].clock
    assert references, "no PCR"
    for (_, before), (position, after) in itertools.pairwise(references):
        gap = (after - before) % (WRAP * 300)
        assert 0 < gap <= most * 27_000_000, f"packet {position // PACKET}: PCR gap {gap / 27e6}"


def nal_units(payload: bytes) -> list[bytes]:
    """The NAL units of a byte stream, without the zeros behind them (annex B)."""
    units = []
    at = payload.find(b"\0\0\1")
    assert at >= 0, "no start code"
    while at >= 0:
        following = payload.find(b"\0\0\1", at + 3)
        end = len(payload) if following < 0 else following
        unit = payload[at + 3 : end].rstrip(b"\0")
        if unit:
            units.append(unit)
        at = following
    return units


def adts_frames(payload: bytes) -> list[tuple[bytes, bytes]]:
    """(header, frame) of AAC in ADTS, which must fill ``payload``."""
    frames = []
    at = 0
    while at < len(payload):
        header = payload[at : at + 7]
        assert header[0] == 0xFF and header[1] & 0xF6 == 0xF0, "syncword, layer"
        length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
        assert at + length <= len(payload) and length > 7, "aac_frame_length"
        frames.append((header, payload[at + 7 : at + length]))
        at += length
    return frames
