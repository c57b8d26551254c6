"""A packager of HDS: fragments in, ``nameSeg1.f4f`` and its index ``nameSeg1.f4x`` out.

The packager that wrote such content (f4fpackager) is not available, so this rests on what is
written about it. Of the Adobe Flash Video File Format Specification 10.1: the fields of ``afra``
(long ids, long offsets, local and global access entries), and that a global entry gives the
segment, the fragment, the offset of the fragment's ``afra`` in the segment's file, and the offset
of the sample from there. Of readers of such files (OSMF): that a fragment is ``afra``, ``abst``,
``moof``, ``mdat`` in this order. Of the documentation of nginx's f4f module: the names of the files
and of the URLs. Real files may hold more, such as boxes before the first fragment.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecar.boxes.write import box, full_box

TIMESCALE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalEntry:
    """A random access point; ``time`` in ms."""

    time: int
    segment: int
    fragment: int
    afra_offset: int
    offset_from_afra: int = 0


def afra(
    local: Sequence[tuple[int, int]] = (),
    entries: Sequence[GlobalEntry] | None = None,
    *,
    long_ids: bool = True,
    long_offsets: bool = True,
) -> bytes:
    """An ``afra`` box; ``local``: (time, offset); ``entries``: None for no global ones."""
    flags = 0x80 * long_ids | 0x40 * long_offsets | 0x20 * (entries is not None)
    offset, number = "Q" if long_offsets else "I", "I" if long_ids else "H"
    body = struct.pack(">BII", flags, TIMESCALE, len(local))
    body += b"".join(struct.pack(f">Q{offset}", time, at) for time, at in local)
    if entries is not None:
        body += struct.pack(">I", len(entries))
        body += b"".join(
            struct.pack(
                f">Q{number}{number}{offset}{offset}",
                entry.time,
                entry.segment,
                entry.fragment,
                entry.afra_offset,
                entry.offset_from_afra,
            )
            for entry in entries
        )
    return full_box(b"afra", 0, 0, body)


def package(
    folder: Path,
    name: str,
    fragments: Mapping[int, tuple[int, bytes]],
    bootstrap: bytes,
    *,
    segment: int = 1,
    long_ids: bool = True,
    long_offsets: bool = True,
    before: bytes = b"",
) -> dict[int, bytes]:
    """Writes ``fragments`` (number -> start in ms, ``mdat`` box) as one segment.

    ``before``: bytes of the file before the first fragment. Returns each fragment as it lies there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data, entries, written = before, [], {}
    for number, (start, mdat) in fragments.items():
        written[number] = (
            afra([(start, 0)], long_ids=long_ids, long_offsets=long_offsets)
            + bootstrap
            + box(b"moof")
            + mdat
        )
        entries.append(
            GlobalEntry(time=start, segment=segment, fragment=number, afra_offset=len(data))
        )
        data += written[number]
    stem = folder / f"{name}Seg{segment}"
    stem.with_name(f"{stem.name}.f4f").write_bytes(data)
    stem.with_name(f"{stem.name}.f4x").write_bytes(
        afra(entries=entries, long_ids=long_ids, long_offsets=long_offsets)
    )
    return written
