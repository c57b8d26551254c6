"""How long fragments of a track get, for as long as the index has the track.

Players are told once how long segments are, and nothing shorter may be said later, whatever has
left the window or the archive (RFC 8216 6.2.1). So the longest one is written down with what is
added, in its transaction; it depends on the times of fragments alone, not on the order in which
they came.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from sidecar.live.database import Database

# A fragment that may go on in another chunk says nothing of the hole behind it.
_WHOLE = (9, 10)


def note(index: Database, track: int, nominal: int, sequence: int) -> None:
    """A part of the fragment of ``track`` at ``sequence`` of its grid was added; in a transaction.
    ``nominal``: usual duration, ticks, 0 = not known."""
    beside = "sequence FROM fragment WHERE track = ?1 AND sequence"
    rows = index.all(
        "SELECT min(time), max(time + duration), sequence FROM fragment "
        "WHERE track = ?1 AND sequence IN (?2, "
        f"(SELECT {beside} < ?2 ORDER BY sequence DESC LIMIT 1), "
        f"(SELECT {beside} > ?2 ORDER BY sequence LIMIT 1)) GROUP BY sequence ORDER BY sequence",
        *(track, sequence),
    )
    longest = max(_lengths(rows, nominal))
    if longest > longest_of(index, track):
        index.set(_name(track), str(longest))


def longest_of(index: Database, track: int) -> int:
    """Ticks that no fragment of ``track`` is longer than, nor what stands for one that is missing;
    0 when nothing was written down."""
    return int(index.setting(_name(track)) or 0)


def _name(track: int) -> str:
    # Goes with all else that is known of the track.
    return f"track {track} longest"


def _lengths(rows: list[tuple[int, int, int]], nominal: int) -> Iterable[int]:
    """Ticks of the fragments ``rows`` (begin, end, sequence), up to the next one, and of each that
    is missing between them."""
    for (begin, end, number), (following, _, after) in pairwise(rows):
        missing = after - number - 1
        if not missing:
            yield following - begin
        elif (end - begin) * _WHOLE[1] >= nominal * _WHOLE[0]:
            yield -(-(following - end) // missing)
    for begin, end, _ in rows:
        yield end - begin
