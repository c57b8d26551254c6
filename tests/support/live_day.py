"""A day of live channels, simulated: what they keep, what they list, and what manifests cost.

Encoders push fragments of four seconds of two pictures and one sound; the clock is an argument. One
channel keeps a window, the other one everything, and lists a shorter one.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sidecar.live.connection import Outcome
from sidecar.live.model import Fragment, Header, SampleTable, TrackFragment
from sidecar.live.parser import StreamParser
from sidecar.media.track import Kind
from tests.support.encoder import stream
from tests.support.live_origin import NOW, SECOND, Origin, opened
from tests.support.live_players import FORMATS, Listing

# Seconds of a fragment, which is a segment too, and of pictures.
LENGTH = 4
_RATE = 25
_FRAME = 1024
_SAMPLE = 12
_KINDS = {"hls": "hls_fmp4", "dash": "", "smooth": ""}
# Smooth Streaming lists a segment when two more have come.
_LOOKAHEAD = {"smooth": 2}
_STREAMS = {"main": "fragmented", "low": "video"}
_PAGE = os.sysconf("SC_PAGESIZE")
# Of two streams: eight files and a part are what a window needs; one is written, and others wait to
# be deleted for a minute.
MOST_FILES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Seconds: ``length`` of all, ``window`` of the channel that keeps no more, ``short`` of the
    one that keeps everything; ``early``: of the archive that the whole one is compared with;
    ``each``: between two looks."""

    length: int = 86_400
    window: int = 7200
    short: int = 600
    early: int = 3600
    each: int = 120


@dataclass(slots=True, kw_only=True)
class Figures:
    """``wrong``: what was listed and should not have been, or the other way round. ``files``,
    ``rows``: the most that the channel with a window had. ``costs``: (seconds of media, CPU seconds
    of manifests after a fragment); ``memory``: (seconds of media, resident bytes)."""

    wrong: list[str] = field(default_factory=list)
    files: int = 0
    rows: int = 0
    looks: int = 0
    costs: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    memory: list[tuple[int, int]] = field(default_factory=list)


class Channel:
    """A point, and who feeds it."""

    def __init__(self, origin: Origin, window: int) -> None:
        self.origin = origin
        self.window = window
        self._connections = {name: origin.point.connect(name, "1") for name in _STREAMS}
        self._headers = {name: _header(kind) for name, kind in _STREAMS.items()}
        for name, connection in self._connections.items():
            connection.take(self._headers[name], NOW)

    def push(self, second: int) -> None:
        """The next fragments, which begin at ``second``."""
        now = NOW + (second + LENGTH) * SECOND
        for name, connection in self._connections.items():
            taken = connection.take(_fragment(self._headers[name], second), now)
            assert taken.outcome is Outcome.ADDED
        if second % 60 == 0:
            self.origin.point.maintain(now)
            self.origin.point.settle()

    def get(self, url: str) -> bytes:
        return self.origin.get(url).body

    def look(self, second: int, figures: Figures) -> float:
        """Reads all manifests after a fragment that began at ``second``, and what they begin and
        end with; returns the CPU time of the manifests."""
        spent = 0.0
        for kind, query in _KINDS.items():
            began = time.process_time()
            listings = FORMATS[kind](self.get, query)
            spent += time.process_time() - began
            figures.looks += 1
            for one in listings:
                figures.wrong += self._faults(kind, one, second)
        return spent

    def _faults(self, kind: str, one: Listing, second: int) -> Iterator[str]:
        where = f"{kind} {one.name} at {second}"
        newest = second // LENGTH - _LOOKAHEAD.get(kind, 0)
        most = min(self.window // LENGTH, newest + 1)
        # The segment in which the window begins may be listed whole.
        if not most - 1 <= len(one.segments) <= most + 1:
            yield f"{where}: {len(one.segments)} segments, not {most}"
            return
        if one.sequence is not None and one.sequence + len(one.segments) - 1 != newest + 1:
            yield f"{where}: number {one.sequence} and {len(one.segments)} segments"
        last = one.segments[-1]
        if last.time is not None and round(last.time / LENGTH) != newest:
            yield f"{where}: the last one is at {float(last.time)}"
        for url in (one.segments[0].url, last.url):
            path, _, query = url.partition("?")
            reply = self.origin.ask(path, query)
            if reply.result != "FMP4_OK":
                yield f"{where}: {url} is {reply.result}"


def run(scale: Scale) -> Figures:
    """A day, or as much of one as ``scale`` says."""
    figures = Figures(costs={"window": [], "archive": [], "first minute": []})
    with tempfile.TemporaryDirectory(prefix="origin-day-") as scratch:
        folder = Path(scratch)
        with (
            opened(folder / "window", dvr_window_length=scale.window) as windowed,
            opened(folder / "archive", dvr_window_length=scale.short, archiving=1) as archived,
        ):
            channels = {
                "window": Channel(windowed, scale.window),
                "archive": Channel(archived, scale.short),
            }
            for second in range(0, scale.length, LENGTH):
                for channel in channels.values():
                    channel.push(second)
                if second % scale.each == 0 and second >= 4 * LENGTH:
                    _look(channels, second, figures)
    return figures


def _look(channels: dict[str, Channel], second: int, figures: Figures) -> None:
    for name, channel in channels.items():
        figures.costs[name].append((second, channel.look(second, figures)))
    began = time.process_time()
    channels["archive"].get(".mpd?vbegin=0&vend=60")
    figures.costs["first minute"].append((second, time.process_time() - began))
    root = channels["window"].origin.root
    with closing(sqlite3.connect(root / "ch.db3")) as database:
        (rows,) = database.execute("SELECT count(*) FROM fragment").fetchone()
    figures.rows = max(figures.rows, rows)
    figures.files = max(figures.files, len(list(root.glob("*.mp4"))))
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    figures.memory.append((second, resident))


def _header(kind: str) -> Header:
    found = next(StreamParser().feed(stream(kind)))
    assert isinstance(found, Header)
    return found


def _fragment(header: Header, second: int) -> Fragment:
    """All tracks of ``header`` from ``second`` on."""
    parts: list[TrackFragment] = []
    at = 8
    for track in header.tracks:
        if track.kind is Kind.VIDEO:
            ticks, first, count = track.timescale // _RATE, second * _RATE, LENGTH * _RATE
        else:
            ticks = _FRAME
            first, end = (-(-it * track.timescale // ticks) for it in (second, second + LENGTH))
            count = end - first
        table = SampleTable(
            duration=np.full(count, ticks, np.uint32),
            size=np.full(count, _SAMPLE, np.uint32),
            composition_offset=None,
            sync=np.arange(count) == 0 if track.kind is Kind.VIDEO else None,
            offset=at + np.arange(count, dtype=np.int64) * _SAMPLE,
        )
        at += count * _SAMPLE
        parts.append(
            TrackFragment(
                track_ID=track.track_ID,
                time=first * ticks,
                duration=count * ticks,
                begins=True,
                samples=table,
            )
        )
    return Fragment(data=bytes(at), moof=0, tracks=tuple(parts))


def most_rows(window: int) -> float:
    """Fragments of three tracks that there may be of a window: it has another minute, and leaves by
    files of an eighth of that."""
    kept = window + 60
    return 3 * (kept + 3 * max(10, kept / 8)) / LENGTH


def grown(costs: list[tuple[int, float]], early: int) -> float:
    """How much more the last ones are than those around ``early`` seconds: a ratio of medians."""
    last = costs[-1][0]
    span = max(costs[1][0] - costs[0][0], early // 4) * 2
    before = [one for at, one in costs if early - span <= at <= early + span]
    after = [one for at, one in costs if at >= last - 2 * span]
    return statistics.median(after) / statistics.median(before)
