"""The samples that a moov describes."""

from __future__ import annotations

import numpy as np

from sidecar.boxes.movie import TrackBoxes
from sidecar.boxes.tables import (
    read_co64,
    read_ctts,
    read_stco,
    read_stsc,
    read_stss,
    read_stsz,
    read_stts,
    read_stz2,
)
from sidecar.media.columns import Columns


def moov_columns(track: TrackBoxes, file_size: int) -> Columns:
    """The samples of the track's sample tables; none for a track that has only fragments.

    Raises ``InvalidMedia`` when a table is missing, damaged or disagrees with another;
    ``UnsupportedMedia`` when there are more samples than are served.
    """
    if b"stsz" not in track.leaves and b"stz2" in track.leaves:
        sizes_leaf = track.leaves[b"stz2"]
        size = read_stz2(sizes_leaf)
    else:
        sizes_leaf = track.leaf(b"stsz")
        size = read_stsz(sizes_leaf, limit=file_size)
    samples = int(size.shape[0])
    decode_time = np.zeros(samples + 1, np.int64)
    if not samples:
        return Columns(
            decode_time=decode_time,
            composition_offset=None,
            size=size,
            offset=np.zeros(0, np.int64),
            sync=None,
            fragment_start=None,
        )

    if b"stco" in track.leaves:
        chunk_offset = read_stco(track.leaves[b"stco"])
    elif b"co64" in track.leaves:
        chunk_offset = read_co64(track.leaves[b"co64"])
    else:
        chunk_offset = read_stco(track.leaf(b"stco"))
    stsc = track.leaf(b"stsc")
    in_chunk = read_stsc(stsc, int(chunk_offset.shape[0]))
    first_sample = np.cumsum(in_chunk)
    held = int(first_sample[-1]) if first_sample.size else 0
    if held < samples:
        raise stsc.damaged(f"the chunks hold {held} of {samples} samples")
    if held > samples:
        np.minimum(first_sample, samples, out=first_sample)
        in_chunk = np.diff(first_sample, prepend=0)
    first_sample -= in_chunk

    # Within a chunk samples lie one after the other: their offset is the running sum of sizes,
    # moved by a constant for each chunk. In place, as fresh memory costs more than the sums.
    offset = size.astype(np.int64)
    np.cumsum(offset, out=offset)
    offset -= size
    if held > samples:
        np.minimum(first_sample, samples - 1, out=first_sample)
    move = offset[first_sample]
    np.subtract(chunk_offset, move, out=move)
    offset += np.repeat(move, in_chunk)

    np.cumsum(read_stts(track.leaf(b"stts")).expand(samples), out=decode_time[1:])
    ctts = track.leaves.get(b"ctts")
    stss = track.leaves.get(b"stss")
    return Columns(
        decode_time=decode_time,
        composition_offset=read_ctts(ctts).expand(samples) if ctts else None,
        size=size,
        offset=offset,
        sync=read_stss(stss, samples) if stss else None,
        fragment_start=None,
    )
