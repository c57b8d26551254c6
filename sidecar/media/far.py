"""Fragmented files that are far away: what indexing them will read is asked for at once.

Their moofs are found by going from one to the next, which costs a round trip each. Where the file
says elsewhere where they are, they are all on their way before that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sidecar.boxes.header import walk
from sidecar.boxes.leaf import Leaf
from sidecar.boxes.random_access import MFRO_BYTES, mfra_size, moof_offsets, subsegment_offsets
from sidecar.errors import InvalidMedia
from sidecar.storage.source import Source

# styp, sidx and the like stand before a moof; the moof of some seconds and the header of its mdat
# are within what follows.
_BEFORE, _BEHIND = 1024, 8192
_MOST_MFRA = 16 << 20


def expect_fragments(source: Source, head: int) -> None:
    """Tells ``source`` what will be read of it: around each moof, as mfra or the sidx boxes say
    that lie within its first ``head`` bytes. Hints that are wrong cost time only."""
    size = source.identity.size
    try:
        offsets = _by_mfra(source)
        if not offsets.size:
            offsets = _by_sidx(source, head)
    except InvalidMedia:
        return
    offsets = offsets[(offsets >= head) & (offsets < size)]
    source.expect(
        [(max(0, at - _BEFORE), min(at + _BEHIND, size)) for at in np.unique(offsets).tolist()]
    )


def _by_mfra(source: Source) -> NDArray[np.int64]:
    size = source.identity.size
    none = np.zeros(0, np.int64)
    if size < MFRO_BYTES:
        return none
    length = mfra_size(source.read(size - MFRO_BYTES, MFRO_BYTES))
    if length is None or not 8 <= length <= min(size, _MOST_MFRA):
        return none
    data = source.read(size - length, length)
    if data[4:8] != b"mfra":
        return none
    return moof_offsets(Leaf(b"mfra", memoryview(data)[8:], "mfra", size - length + 8))


def _by_sidx(source: Source, head: int) -> NDArray[np.int64]:
    data = memoryview(source.read(0, head))
    found = [
        subsegment_offsets(Leaf(b"sidx", data[box.body : box.end], "sidx", box.body))
        for box in walk(data, 0, head)
        if box.type == b"sidx"
    ]
    return np.concatenate([np.zeros(0, np.int64), *found])
