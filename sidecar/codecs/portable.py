"""Sample entries as other files may hold them: in ISO terms, with the one data reference there."""

from __future__ import annotations

import struct

from sidecar.boxes.header import read_header, walk
from sidecar.boxes.write import box
from sidecar.codecs.entry import sound_entry

_CONFIGURATIONS = {b"mp4a": b"esds", b"ac-3": b"dac3", b"ec-3": b"dec3", b"Opus": b"dOps"}
_FIRST_DATA_REFERENCE = bytes(6) + b"\0\1"  # reserved, data_reference_index
_FIELDS_END = 8  # bytes of these two
_VISUAL = (b"avc1", b"avc3", b"hvc1", b"hev1", b"av01")
_VISUAL_FIELDS = 70  # bytes of ISO/IEC 14496-12 12.1.3 behind them


def portable_entry(sample_entry: bytes) -> bytes:
    """``sample_entry`` (whole, header included) for an initialization segment.

    It refers to data reference 1. Audio entries of QuickTime (versions 1 and 2, configuration
    inside ``wave``), which browsers do not read, become version 0 of ISO/IEC 14496-12 12.2.3 with
    the configuration box only, and the terminator of its visual entries goes; every other entry
    keeps its fields and boxes.

    Raises ``InvalidMedia`` for an entry that ``describe`` refuses as damaged.
    """
    header = read_header(sample_entry, 0, len(sample_entry))
    fields = sample_entry[header.body + _FIELDS_END : header.end]
    configuration = _CONFIGURATIONS.get(header.type)
    if configuration is not None:
        entry = sound_entry(sample_entry, box_path="stsd", offset=0)
        version = int.from_bytes(fields[:2])
        if version or b"wave" in entry.children:
            # 16.16 fixed point: higher rates do not fit, and the configuration says them.
            rate = entry.samplerate if entry.samplerate <= 0xFFFF else 0
            fields = struct.pack(">8xHHHHI", entry.channelcount, 16, 0, 0, rate << 16)
            fields += box(configuration, entry.require(configuration).body)
    elif header.type in _VISUAL:
        fields = _without_terminator(fields)
    return box(header.type, _FIRST_DATA_REFERENCE, fields)


def _without_terminator(fields: bytes) -> bytes:
    """Without the four zero bytes that QuickTime may put behind the last box of a visual entry."""
    end = _VISUAL_FIELDS
    for child in walk(fields, _VISUAL_FIELDS, len(fields)):
        end = child.end
    return fields[:end]
