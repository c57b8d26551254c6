"""Whether groups of pictures are closed, for as long as the index has the track.

Players are told so once. It counts from the first fragment on and until an open group comes: what
was written down then stays, whatever has left the window or the archive.
"""

from __future__ import annotations

import numpy as np

from sidecar.live.database import Database
from sidecar.live.model import TrackFragment


def note(index: Database, track: int, fragment: TrackFragment) -> None:
    """``fragment`` of ``track`` was added; in a transaction."""
    if not are_closed(index, track):
        return
    offsets = fragment.samples.composition_offset
    if not fragment.begins or offsets is None:
        return
    decoded = np.cumsum(fragment.samples.duration, dtype=np.int64) - fragment.samples.duration
    # Pictures that are shown before the one that the group begins with need the group before.
    if int((decoded + offsets).min()) < int(offsets[0]):
        index.set(_name(track), "1")


def are_closed(index: Database, track: int) -> bool:
    """Whether no open group of ``track`` has come."""
    return index.setting(_name(track)) is None


def _name(track: int) -> str:
    # Goes with all else that is known of the track.
    return f"track {track} open"
