"""A publishing point without an encoder: rows go into its index, rows of formats answer from it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from unittest import mock

import numpy as np

from sidecar.boxes.movie import SampleDefaults
from sidecar.boxes.write import box
from sidecar.codecs.facts import AudioFacts, Facts, TextFacts, VideoFacts
from sidecar.formats.registry import find
from sidecar.formats.spec import Answer
from sidecar.live.index import PointIndex
from sidecar.live.model import Header, IncomingTrack, SampleTable, TrackFragment
from sidecar.media.server_manifest import ServerManifest, write_server_manifest
from sidecar.media.track import Kind
from sidecar.mux.plan import Inline
from sidecar.service import live
from sidecar.service.content import Content
from sidecar.service.live import PublishingPoint, Question, answer_live
from sidecar.service.reader import MediaReader
from tests.support.tracks import audio_facts, video_facts

# Of all fragments, seconds.
LENGTH = 2
# A Tuesday in November 2023, as encoders that count from 1970 begin.
SINCE_1970 = 1_700_000_000
# From the end of a fragment to its arrival, ms.
LATENCY = 150


def video(track_id: int, bitrate: int, timescale: int = 12_800) -> IncomingTrack:
    """Pictures, 25 a second, presented 80 ms later than decoded."""
    facts = video_facts(width=640, height=360) if bitrate < 1_000_000 else video_facts()
    return _track(track_id, Kind.VIDEO, timescale, facts, box(b"avc1", b"configuration"), bitrate)


def audio(track_id: int, bitrate: int, rate: int = 48_000) -> IncomingTrack:
    """Sound, in frames of 1024, with priming of one."""
    facts = audio_facts(sampling_rate=rate)
    return _track(track_id, Kind.AUDIO, rate, facts, box(b"mp4a", b"configuration"), bitrate, 1024)


def text(track_id: int, kind: str = "stpp") -> IncomingTrack:
    """Text, one sample a fragment."""
    codec = {"stpp": "stpp.ttml.im1t", "wvtt": "wvtt"}[kind]
    facts = TextFacts(codec=codec, sample_entry=kind, fourcc="TTML")
    entry = box(kind.encode(), b"configuration")
    return _track(track_id, Kind.TEXT, 1000, facts, entry, 2000)


def _track(
    track_id: int,
    kind: Kind,
    timescale: int,
    facts: Facts,
    entry: bytes,
    bitrate: int,
    lead: int = 0,
) -> IncomingTrack:
    return IncomingTrack(
        track_ID=track_id,
        kind=kind,
        timescale=timescale,
        language=None if kind is Kind.VIDEO else "eng",
        handler_name="",
        sample_entry_box=entry,
        facts=facts,
        defaults=SampleDefaults(),
        edit_media_time=lead,
        bitrate=bitrate,
    )


LADDER = (video(1, 400_000), video(2, 2_500_000), audio(3, 128_000))


class Feed:
    """The point ``ch.isml`` in ``folder``, fed with ``tracks``; ``options``: of its manifest.

    ``begin``: the time of its first fragment, seconds. ``epoch_ms``: when time 0 was.
    """

    def __init__(
        self,
        folder: Path,
        tracks: Sequence[IncomingTrack] = LADDER,
        *,
        begin: int = 0,
        epoch_ms: int = SINCE_1970 * 1000,
        **options: object,
    ) -> None:
        self.tracks = {one.track_ID: one for one in tracks}
        self.begin, self.epoch_ms = begin, epoch_ms
        self._header = Header(data=b"", digest=b"1", tracks=tuple(tracks))
        metas = tuple((name, str(value)) for name, value in options.items())
        path = folder / "ch.isml"
        path.write_bytes(write_server_manifest(ServerManifest(metas=metas)))
        os.utime(path, (SINCE_1970, SINCE_1970))
        self.index = PointIndex.open(folder / "ch.db3", create=True)
        with self.index.transaction():
            self.index.put_header("main", self._header, 0)
            self.index.add_file("main", 1, "ch-main-1.mp4", 0)
            self.index.set("epoch_ms", str(epoch_ms))
            self.index.set("begun", str(begin))
        content = Content(
            root=str(folder), path=str(path), asked=str(path), name="ch", is_manifest=True
        )
        self.point = PublishingPoint(content, MediaReader())
        self._stamps = 0

    def push(self, *numbers: int, only: Sequence[int] = (), leading: bool = False) -> None:
        """Fragments ``numbers`` of all tracks, or of ``only`` some (track_IDs). ``leading``: the
        second picture of each is shown before the first."""
        for number in numbers:
            for track_id in only or self.tracks:
                self._add(self.tracks[track_id], number, leading=leading)
        self._changed()

    def lose(self, number: int) -> None:
        """Fragments before ``number`` leave the archive."""
        with self.index.transaction():
            for row in self.index.tracks():
                until = (self.begin + number * LENGTH) * self.tracks[row.track_ID].timescale
                self.index.run(
                    "DELETE FROM fragment WHERE track = ? AND time + duration <= ?",
                    *(row.id, until + self.tracks[row.track_ID].edit_media_time),
                )
            self.index.count_removal()
        self._changed()

    def stop(self) -> None:
        """The end of the stream."""
        with self.index.transaction():
            self.index.set("state", "stopped")
        self._changed()

    def ask(self, path: str, query: str = "", *, read_ahead: int = 0, **directives: str) -> Answer:
        """The answer to ``path`` (percent-decoded)."""
        found = find(path)
        assert found is not None, path
        kind, match = found
        question = Question(
            kind=kind,
            match=match,
            virtual_path=path,
            args=query,
            directives={name: (value,) for name, value in directives.items()},
            read_ahead=read_ahead,
        )
        with mock.patch.object(live, "read_header", lambda data: self._header):
            return answer_live(self.point, question)[1]

    def body(self, path: str, query: str = "", **directives: str) -> bytes:
        """The body of a manifest."""
        (part,) = self.ask(path, query, **directives).plan.parts
        assert isinstance(part, Inline)
        return bytes(part.data)

    def _add(self, track: IncomingTrack, number: int, *, leading: bool) -> None:
        begin = self.begin + number * LENGTH
        first, count, duration = _frames(track, begin)
        reordered = np.full(count, track.timescale * 2 // 25, np.int32)
        if leading:
            reordered[1] = 0
        table = SampleTable(
            duration=np.full(count, duration, np.uint32),
            size=np.full(count, 10, np.uint32),
            composition_offset=reordered if track.kind is Kind.VIDEO else None,
            sync=np.arange(count) == 0 if track.kind is Kind.VIDEO else None,
            offset=np.arange(count, dtype=np.int64) * 10,
        )
        fragment = TrackFragment(
            track_ID=track.track_ID,
            time=first * duration,
            duration=count * duration,
            begins=True,
            samples=table,
        )
        row = self.index.track("main", track.track_ID)
        assert row is not None
        came = self.epoch_ms + 1000 * (begin + LENGTH) + LATENCY
        with self.index.transaction():
            assert self.index.judge(row, fragment, 10**12) == "added"
            self.index.add(
                row, fragment, header=1, file=1, offset=1000 * number, length=1, now_ms=came
            )

    def _changed(self) -> None:
        self._stamps += 1
        at = SINCE_1970 * 10**9 + self._stamps
        os.utime(self.index.stamp, ns=(at, at))


def _frames(track: IncomingTrack, begin: int) -> tuple[int, int, int]:
    """First frame of a fragment from ``begin`` (seconds) on, frames in it, ticks of each."""
    if isinstance(track.facts, TextFacts):
        return begin // LENGTH, 1, LENGTH * track.timescale
    if isinstance(track.facts, VideoFacts):
        return begin * 25, LENGTH * 25, track.timescale // 25
    assert isinstance(track.facts, AudioFacts)
    rate = Fraction(track.timescale, 1024)
    first, last = (-(-at * rate.numerator // rate.denominator) for at in (begin, begin + LENGTH))
    return first, last - first, 1024
