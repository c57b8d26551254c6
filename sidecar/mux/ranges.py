"""Where the bytes of consecutive samples lie in their file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sidecar.media.track import Samples


def byte_ranges(
    samples: Samples, first: int, last: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(offset int64[k], length int64[k]) of samples ``first`` .. ``last``-1, in decode order.

    Neighbours in the file are merged, lengths are positive; k is 0 when no sample has a byte.
    """
    offset = samples.offset[first:last]
    size = samples.size[first:last]
    if np.count_nonzero(size) != len(size):
        held = size > 0
        offset, size = offset[held], size[held]
    if len(size) < 2:
        return offset, size.astype(np.int64)
    begins = np.empty(len(size), dtype=np.bool_)
    begins[0] = True
    np.not_equal(offset[:-1] + size[:-1], offset[1:], out=begins[1:])
    at = begins.nonzero()[0]
    return offset[at], np.add.reduceat(size, at, dtype=np.int64)
