"""What was committed, seen from outside, and whether all of it is there and served at the end."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

from tests.kill.sent import Sent
from tests.support.isobmff import boxes, find, read_init, read_segment
from tests.support.live_players import dash

# Stream, track_ID, time.
Key = tuple[str, int, int]


class Committed:
    """The rows of a point's index as they are committed. ``rows``: id -> where it belongs;
    ``pushed``: what goes into each stream."""

    def __init__(self, index: Path, pushed: dict[str, Sent]) -> None:
        self.rows: dict[int, Key] = {}
        self._index = index
        self._pushed = pushed
        self._last = 0

    def look(self) -> None:
        """Takes note of what has been committed."""
        if not self._is_made():
            return
        for row in self._all(
            "SELECT fragment.id, track.stream, track_ID, time FROM fragment "
            "JOIN track ON track.id = track WHERE fragment.id > ? ORDER BY 1",
            self._last,
        ):
            self.rows[row[0]] = row[1:]
            self._last = row[0]

    def faults(self) -> Iterable[str]:
        """What is wrong with the index and its files."""
        there = {
            row[0]: row[1:]
            for row in self._all(
                "SELECT fragment.id, track.stream, track_ID, time, time + duration, name, offset, "
                "length FROM fragment JOIN track ON track.id = track JOIN file ON file.id = file "
                "ORDER BY track, time"
            )
        }
        for number, key in self.rows.items():
            if there.get(number, ())[:3] != key:
                yield f"{self._index.name}: {key} was committed and has gone"
        reached: dict[tuple[str, int], int] = {}
        sent = {
            (stream, track, min(samples)): piece.data
            for stream, pushed in self._pushed.items()
            for piece in pushed.pieces
            for track, samples in piece.samples.items()
        }
        for stream, track, begin, end, name, offset, length in there.values():
            if begin < reached.get((stream, track), begin):
                yield f"{self._index.name}: {stream} {track} {begin} is there twice"
            reached[stream, track] = end
            with self._index.with_name(name).open("rb") as file:
                file.seek(offset)
                if file.read(length) != sent.get((stream, track, begin)):
                    yield f"{name}: {begin} of {stream} {track} is not what was sent"

    @property
    def missing(self) -> int:
        """Fragments between the first and the last of each track that never came."""
        count = 0
        for stream, pushed in self._pushed.items():
            for track in pushed.samples:
                times = {key[2] for key in self.rows.values() if key[:2] == (stream, track)}
                every = [
                    min(piece.samples[track]) for piece in pushed.pieces if track in piece.samples
                ]
                count += sum(
                    one not in times for one in every if times and min(times) <= one <= max(times)
                )
        return count

    def unserved(self, get: Callable[[str], bytes]) -> Iterable[str]:
        """What of the rows is not among the segments of the whole archive, and what is there that
        was not sent. ``get``: the body of a URL below the point."""
        wanted = self._wanted()
        for one in dash(get, "vbegin=0"):
            init = read_init(get(one.init))
            served: dict[int, bytes] = {}
            last = -1
            for url in one.urls:
                for time, sample in _samples(get(url), init):
                    if time <= last:
                        yield f"{self._index.name} {one.name}: {time} is served twice"
                    served[time] = sample
                    last = time
            track = min(wanted, key=lambda it: len(wanted[it].items() - served.items()))
            lost = wanted.pop(track)
            strange = served.items() - self._pushed[track[0]].samples[track[1]].items()
            if strange:
                yield f"{self._index.name} {one.name}: {len(strange)} samples are not as sent"
            left = sorted(lost.keys() - served.keys())
            # What ends together with the newest pictures is complete with the next ones.
            behind = [time for time in left if time < last]
            if behind or len(left) > _OPEN * max(1, len(lost) // max(1, len(one.urls))):
                yield (
                    f"{self._index.name} {one.name}: {len(left)} samples of {len(lost)} are not "
                    f"served, from {left[0]} on; the last one is {last}"
                )
        if wanted:
            yield f"{self._index.name}: {list(wanted)} are not listed"

    def _wanted(self) -> dict[tuple[str, int], dict[int, bytes]]:
        """The samples of all rows: (stream, track_ID) -> decode time -> bytes."""
        pieces = {
            (stream, track, min(samples)): samples
            for stream, pushed in self._pushed.items()
            for piece in pushed.pieces
            for track, samples in piece.samples.items()
        }
        found: dict[tuple[str, int], dict[int, bytes]] = {}
        for stream, track, time in self.rows.values():
            found.setdefault((stream, track), {}).update(pieces[stream, track, time])
        return found

    def _is_made(self) -> bool:
        """Whether there is an index; whoever was making it may have been killed."""
        return self._index.exists() and bool(
            self._all("SELECT 1 FROM sqlite_master WHERE name = 'fragment'")
        )

    def _all(self, statement: str, *given: object) -> list[tuple]:
        with closing(sqlite3.connect(f"file:{self._index}?mode=ro", uri=True)) as database:
            return database.execute(statement, given).fetchall()


# Fragments that may be newer than the last complete segment.
_OPEN = 2


def _samples(data: bytes, init) -> Iterable[tuple[int, bytes]]:
    """Decode times and bytes of the samples of a media segment."""
    segment = read_segment(data, init)
    (at,) = [body for name, body, _ in boxes(data) if name == "mdat"]
    assert find(data, "moof") is not None
    time = segment.decode_time
    for duration, size in zip(segment.durations, segment.sizes, strict=True):
        yield time, data[at : at + size]
        at += size
        time += duration
