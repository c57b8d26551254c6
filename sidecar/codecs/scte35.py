"""Splice information sections (ANSI/SCTE 35 9): where programmes are left and come back."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.codecs.bits import BitReader
from sidecar.codecs.crc import crc32_mpeg
from sidecar.errors import InvalidMedia

TIMESCALE = 90_000
SPLICE_NULL, SPLICE_INSERT, TIME_SIGNAL, BANDWIDTH_RESERVATION = 0x00, 0x05, 0x06, 0x07
_TABLE_ID = 0xFC
_HEAD = 3  # table_id and section_length
_CRC = 4
_UNKNOWN_LENGTH = 0xFFF
_CUEI = 0x43554549
_SEGMENTATION_DESCRIPTOR = 0x02
_PTS_BITS = 33


@dataclass(frozen=True, slots=True, kw_only=True)
class SpliceInsert:
    """``event_id``: splice_event_id; ``cancels``: it takes back what was said of that event.
    ``out``: the programme is left there, else it comes back. ``duration``: of the break, ticks of
    90 kHz, None = not said; ``auto_return``: it ends by itself then. ``pts``: as of the section,
    None = at once, or where other splices are."""

    event_id: int
    cancels: bool
    out: bool = False
    duration: int | None = None
    auto_return: bool = False
    pts: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """A segmentation descriptor. ``type_id``: segmentation_type_id (10.3.3.1); ``duration``: ticks
    of 90 kHz, None = not said."""

    event_id: int
    cancels: bool
    type_id: int = 0
    duration: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpliceInfo:
    """A section. ``command``: splice_command_type; ``encrypted``: nothing else can be told.
    ``pts``: of a time_signal, with pts_adjustment, 33 bits of 90 kHz, None = not said."""

    command: int
    encrypted: bool = False
    pts: int | None = None
    insert: SpliceInsert | None = None
    segmentations: tuple[Segmentation, ...] = ()


def read_section(data: bytes) -> SpliceInfo:
    """The section that ``data`` begins with; bytes behind it (stuffing of a packet) are passed
    over. Raises ``InvalidMedia`` when it is damaged."""
    if len(data) < _HEAD or data[0] != _TABLE_ID:
        raise InvalidMedia("this is no splice information section")
    length = _HEAD + (int.from_bytes(data[1:3]) & 0xFFF)
    if length > len(data):
        raise InvalidMedia(f"the section claims {length} bytes, {len(data)} are there")
    if crc32_mpeg(data[:length]):
        raise InvalidMedia("the checksum of the section is wrong")
    try:
        return _section(BitReader(data[: length - _CRC]))
    except InvalidMedia as error:
        raise InvalidMedia(f"the section contradicts itself: {error.sentence}") from None


def _section(bits: BitReader) -> SpliceInfo:
    bits.skip(8 * _HEAD)
    if bits.bits(8):
        raise bits.invalid("its protocol_version is not 0")
    encrypted = bits.flag()
    bits.skip(6)
    adjustment = bits.bits(_PTS_BITS)
    bits.skip(8 + 12)  # cw_index, tier
    length, command = bits.bits(12), bits.bits(8)
    if encrypted:
        return SpliceInfo(command=command, encrypted=True)
    begin = bits.position
    pts, insert = None, None
    if command == SPLICE_INSERT:
        insert = _splice_insert(bits, adjustment)
    elif command == TIME_SIGNAL:
        pts = _splice_time(bits, adjustment)
    if length != _UNKNOWN_LENGTH:
        left = 8 * length - (bits.position - begin)
        if left < 0:
            raise bits.invalid("its command is longer than it says")
        bits.skip(left)
    elif command not in (SPLICE_NULL, SPLICE_INSERT, TIME_SIGNAL, BANDWIDTH_RESERVATION):
        return SpliceInfo(command=command)  # where its descriptors are is not said
    return SpliceInfo(command=command, pts=pts, insert=insert, segmentations=_descriptors(bits))


def _splice_insert(bits: BitReader, adjustment: int) -> SpliceInsert:
    event_id, cancels = bits.bits(32), bits.flag()
    bits.skip(7)
    if cancels:
        return SpliceInsert(event_id=event_id, cancels=True)
    out, whole_program, has_duration, immediate = (bits.flag() for _ in range(4))
    bits.skip(4)
    pts = None
    if whole_program:
        if not immediate:
            pts = _splice_time(bits, adjustment)
    else:
        for _ in range(bits.bits(8)):
            bits.skip(8)
            if not immediate:
                time = _splice_time(bits, adjustment)
                pts = time if pts is None else pts
    duration, auto_return = None, False
    if has_duration:
        auto_return = bits.flag()
        bits.skip(6)
        duration = bits.bits(_PTS_BITS)
    bits.skip(16 + 8 + 8)  # unique_program_id, avail_num, avails_expected
    return SpliceInsert(
        event_id=event_id,
        cancels=False,
        out=out,
        duration=duration,
        auto_return=auto_return,
        pts=pts,
    )


def _splice_time(bits: BitReader, adjustment: int) -> int | None:
    if not bits.flag():
        bits.skip(7)
        return None
    bits.skip(6)
    return (bits.bits(_PTS_BITS) + adjustment) % (1 << _PTS_BITS)


def _descriptors(bits: BitReader) -> tuple[Segmentation, ...]:
    end = 8 * bits.bits(16) + bits.position
    found = []
    while bits.position < end:
        tag, length = bits.bits(8), bits.bits(8)
        behind = bits.position + 8 * length
        if behind > end:
            raise bits.invalid("a descriptor is longer than its loop")
        if tag == _SEGMENTATION_DESCRIPTOR and length >= 4 and bits.bits(32) == _CUEI:
            found.append(_segmentation(bits))
        if bits.position > behind:
            raise bits.invalid("a descriptor is longer than it says")
        bits.skip(behind - bits.position)
    return tuple(found)


def _segmentation(bits: BitReader) -> Segmentation:
    event_id, cancels = bits.bits(32), bits.flag()
    bits.skip(7)
    if cancels:
        return Segmentation(event_id=event_id, cancels=True)
    whole_program, has_duration = bits.flag(), bits.flag()
    bits.skip(6)
    if not whole_program:
        bits.skip(48 * bits.bits(8))
    duration = bits.bits(40) if has_duration else None
    bits.skip(8)  # segmentation_upid_type
    bits.skip(8 * bits.bits(8))
    type_id = bits.bits(8)
    bits.skip(16)  # segment_num, segments_expected
    return Segmentation(event_id=event_id, cancels=False, type_id=type_id, duration=duration)
