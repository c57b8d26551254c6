"""Closed captions (CEA-608, CEA-708) that travel inside of pictures, where no box tells of them."""

from __future__ import annotations

from sidecar.media.track import Samples
from sidecar.storage.source import Source

# User data registered by ITU-T T.35 (United States, ATSC) of the type cc_data: ATSC A/53-4 6.2.3.
# It is the same in SEI messages of H.264 and H.265 and in metadata of AV1, and holds nothing that
# would be escaped there.
_CC_DATA = b"\xb5\x00\x31GA94\x03"
# Pictures that have any say so before their slices, and nearly all have: what is read of each.
_LOOK = (4096, 2048, 2048, 2048)


def has_captions(source: Source, samples: Samples) -> bool:
    """Whether the first pictures of ``samples``, of a video in ``source``, hold closed captions."""
    count = len(_LOOK)
    first = zip(_LOOK, samples.offset[:count].tolist(), samples.size[:count].tolist(), strict=False)
    pieces = [(offset, min(most, size)) for most, offset, size in first]
    source.expect([(offset, offset + length) for offset, length in pieces])
    return any(_CC_DATA in source.read(offset, length) for offset, length in pieces)
