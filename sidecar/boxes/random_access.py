"""Where fragments are, as boxes outside of them say: hints, for files that are far away."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from sidecar.boxes.leaf import Leaf

# Of mfra, where the file ends: an mfro box, whose last word is the size of all of it.
MFRO_BYTES = 16
_MFRO = struct.Struct(">I4sII")
_WORD = struct.Struct(">I")
_REFERENCES = struct.Struct(">HH")


def mfra_size(tail: bytes) -> int | None:
    """How many bytes at the end of a file are its mfra, by the ``MFRO_BYTES`` last ones; None when
    there is none (ISO/IEC 14496-12 8.8.11)."""
    if len(tail) != MFRO_BYTES:
        return None
    size, box_type, _, whole = _MFRO.unpack(tail)
    return whole if size == MFRO_BYTES and box_type == b"mfro" and whole > MFRO_BYTES else None


def moof_offsets(mfra: Leaf) -> NDArray[np.int64]:
    """Byte offsets in the file of the moofs that an mfra box lists, in order (8.8.10).

    Raises ``InvalidMedia`` when a table is damaged.
    """
    found = [np.zeros(0, np.int64)]
    for leaf in mfra.children():
        if leaf.type != b"tfra":
            continue
        version, _ = leaf.version_and_flags()
        (lengths,) = leaf.unpack(_WORD, 8)
        (count,) = leaf.unpack(_WORD, 12)
        numbers = sum((lengths >> shift & 3) + 1 for shift in (4, 2, 0))
        word = ">u8" if version else ">u4"
        entry = np.dtype([("time", word), ("moof_offset", word), ("numbers", f"V{numbers}")])
        if count * entry.itemsize > len(leaf.body) - 16:
            raise leaf.damaged(f"there is no room for {count} entries", 12)
        rows = np.frombuffer(leaf.body, entry, count, 16)
        found.append(rows["moof_offset"].astype(np.int64))
    return np.unique(np.concatenate(found))


def subsegment_offsets(sidx: Leaf) -> NDArray[np.int64]:
    """Byte offsets in the file of the subsegments that a sidx box lists (8.16.3).

    Raises ``InvalidMedia`` when it is damaged.
    """
    version, _ = sidx.version_and_flags()
    at = 12
    layout = struct.Struct(">QQ" if version else ">II")
    _, first_offset = sidx.unpack(layout, at)
    at += layout.size
    _, count = sidx.unpack(_REFERENCES, at)
    at += _REFERENCES.size
    if count * 12 > len(sidx.body) - at:
        raise sidx.damaged(f"there is no room for {count} references", at)
    rows = np.frombuffer(sidx.body, np.dtype(">u4"), count * 3, at).reshape(count, 3)
    sizes = (rows[:, 0] & 0x7FFFFFFF).astype(np.int64)
    begin: NDArray[np.int64] = np.cumsum(sizes) - sizes
    return begin + np.int64(sidx.offset + len(sidx.body) + first_offset)
