"""By how much pictures must be decoded before their composition times, for as long as an encoder
sends them with one configuration.

Encoders that send negative composition offsets present the first picture when it is decoded; what
is reordered later must have been decoded earlier by then. How much that takes is not seen before
the content makes the encoder reorder as many pictures as it may, so it is taken from what the
parameter sets allow: what has been served of the first fragment is then right for all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sidecar.codecs.facts import VideoFacts
from sidecar.live.model import IncomingTrack, TrackFragment

# Pictures. Hardware that states the most that its level allows sends far less; pyramids of 16
# pictures reorder four.
_MOST = 4


def delay_of(track: IncomingTrack, fragment: TrackFragment) -> int:
    """Ticks by which what is sent as ``fragment`` is must be decoded earlier than it says, so that
    no picture of ``track`` is presented before it is decoded; 0 where composition offsets have room
    enough. ``fragment`` can be decoded by itself, whatever precedes it; ``track`` says by what.
    """
    if not isinstance(track.facts, VideoFacts):
        return 0
    table = fragment.samples
    offsets = table.composition_offset
    least = 0 if offsets is None else min(0, int(offsets.min()))
    reordered = track.facts.reordered
    if reordered is None:
        # Nothing says that pictures are reordered; if these are, then as many as ever.
        reordered = _MOST if least < 0 else 0
    return max(-least, min(reordered, _MOST) * _usual(table.duration) - _room(fragment))


def _usual(duration: NDArray[np.uint32]) -> int:
    """Ticks of a picture; where they are uneven, as many as it takes. Pauses do not count."""
    longest = 3 * int(np.median(duration)) // 2
    return int(duration[duration <= longest].max(initial=0))


def _room(fragment: TrackFragment) -> int:
    """Ticks from when the first picture is decoded to when the first one is presented: the same of
    whatever fragment of an encoder, also where pictures that lead in are decoded behind it."""
    table = fragment.samples
    if table.composition_offset is None:
        return 0
    decoded = np.cumsum(table.duration, dtype=np.int64) - table.duration
    return int((decoded + table.composition_offset).min())
