"""Program specific information: PAT and PMT (ISO/IEC 13818-1 2.4.4)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from sidecar.codecs.crc import crc32_mpeg

PACKET = 188
PMT_PID = 0x1000
_PROGRAM = 1
_TRANSPORT_STREAM_ID = 1
_CURRENT = 0xC1  # version 0, current_next_indicator


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """A row of the PMT. ``descriptors``: encoded, may be empty. ``stream_id``: of its PES packets.

    ``extension``: of files of packed audio, empty for video.
    """

    stream_type: int
    stream_id: int
    descriptors: bytes = b""
    extension: str = ""


def registration(format_identifier: bytes) -> bytes:
    """registration_descriptor (2.6.8) of four characters."""
    return b"\x05\x04" + format_identifier


def language(code: str) -> bytes:
    """ISO_639_language_descriptor (2.6.18) of a three-letter code."""
    return b"\x0a\x04" + code.encode("ascii") + b"\0"


# In tables of programs that have a stream of type METADATA (2.6.58, 2.6.60): ID3 in PES packets, as
# "Timed Metadata for HTTP Live Streaming" has it.
METADATA = 0x15
_ID3 = b"\xff\xffID3 \xffID3 \0"
METADATA_DESCRIPTOR = b"\x26\x0d" + _ID3 + b"\x0f"
_METADATA_POINTER = b"\x25\x0f" + _ID3 + b"\x1f" + struct.pack(">H", _PROGRAM)


@lru_cache(maxsize=1024)
def tables(streams: tuple[tuple[int, StreamInfo], ...], pcr_pid: int, continuity: int) -> bytes:
    """Two packets: the program association section, and the program map section of ``streams``
    (PID, row). ``continuity``: of both, 0 to 15."""
    return _pat_packet(continuity) + _pmt_packet(streams, pcr_pid, continuity)


def _pat_packet(continuity: int) -> bytes:
    body = struct.pack(">HBBBHH", _TRANSPORT_STREAM_ID, _CURRENT, 0, 0, _PROGRAM, 0xE000 | PMT_PID)
    return _packet(0, continuity, _section(0x00, body))


def _pmt_packet(streams: Sequence[tuple[int, StreamInfo]], pcr_pid: int, continuity: int) -> bytes:
    said = any(info.stream_type == METADATA for _, info in streams)
    about = _METADATA_POINTER if said else b""
    head = (_PROGRAM, _CURRENT, 0, 0, 0xE000 | pcr_pid, 0xF000 | len(about))
    body = struct.pack(">HBBBHH", *head) + about
    for pid, info in streams:
        body += struct.pack(">BHH", info.stream_type, 0xE000 | pid, 0xF000 | len(info.descriptors))
        body += info.descriptors
    return _packet(PMT_PID, continuity, _section(0x02, body))


def _section(table_id: int, body: bytes) -> bytes:
    head = struct.pack(">BH", table_id, 0xB000 | len(body) + 4)
    return head + body + struct.pack(">I", crc32_mpeg(head + body))


def _packet(pid: int, continuity: int, section: bytes) -> bytes:
    head = struct.pack(">BHB", 0x47, 0x4000 | pid, 0x10 | continuity & 15)
    return (head + b"\0" + section).ljust(PACKET, b"\xff")  # pointer_field 0
