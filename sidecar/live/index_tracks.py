"""The part of a publishing point's index that knows its streams: their headers and tracks."""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.codecs.facts import AudioFacts
from sidecar.errors import Conflict, NotFound
from sidecar.live.database import Database
from sidecar.live.model import Header, IncomingTrack
from sidecar.live.rows import unpack_samples
from sidecar.timeline.growing_frames import frame_length


@dataclass(frozen=True, slots=True)
class TrackRow:
    """A track as the index knows it. ``bitrate``: bit/s that names it in URLs, measured when the
    encoder does not say. ``nominal``: usual duration of a fragment, ticks, 0 = not known yet."""

    id: int
    stream: str
    track_ID: int  # noqa: N815 - the specification's spelling
    header: int
    nominal: int
    bitrate: int


_TRACK = "id, stream, track_ID, header, nominal, bitrate"


class TrackIndex(Database):
    """Headers and tracks. Methods raise ``StorageError`` as those of ``Database``."""

    def put_header(self, stream: str, header: Header, now_ms: int) -> int:
        """The number of ``header``; the same for one that is sent again. Its tracks become known.

        To be called in a transaction. Raises ``Conflict`` when a track of the stream changes its
        kind.
        """
        row = self.one(
            "SELECT id FROM header WHERE stream = ? AND digest = ?", stream, header.digest
        )
        number = (
            int(row[0])
            if row is not None
            else self.run(
                "INSERT INTO header (stream, digest, data, received_ms) VALUES (?, ?, ?, ?)",
                *(stream, header.digest, header.data, now_ms),
            )
        )
        for track in header.tracks:
            self._put_track(stream, track, number)
        return number

    def _put_track(self, stream: str, track: IncomingTrack, header: int) -> None:
        known = self.one(
            "SELECT id FROM track WHERE stream = ? AND track_ID = ?", stream, track.track_ID
        )
        described = f"{track.kind.value} {track.timescale}"
        if known is None:
            number = self.run(
                "INSERT INTO track (stream, track_ID, header, bitrate) VALUES (?, ?, ?, ?)",
                *(stream, track.track_ID, header, track.bitrate or 0),
            )
            self.set(f"track {number}", described)
            self._describe(number, track)
            return
        if self.setting(f"track {known[0]} frame") is None:
            self._describe(int(known[0]), track)
        before = str(self.setting(f"track {known[0]}"))
        if before.partition(" ")[0] != track.kind.value:
            raise Conflict(
                f"track {track.track_ID} of stream {stream} was {before}, "
                f"it cannot become {described}"
            )

    def _describe(self, number: int, track: IncomingTrack) -> None:
        """Notes what the times of ``track`` begin with, and seconds of its frames (0: of none)."""
        if self.setting(f"track {number} lead") is None:
            self.set(f"track {number} lead", str(track.edit_media_time))
        frame = frame_length(track.facts) if isinstance(track.facts, AudioFacts) else 0
        self.set(f"track {number} frame", str(frame))

    def counted(self, track: int) -> tuple[int, int]:
        """(timescale, edit_media_time) of all times of ``track``: those of its first header."""
        described = str(self.setting(f"track {track}"))
        return int(described.rpartition(" ")[2]), int(self.setting(f"track {track} lead") or 0)

    def set_bitrate(self, track: int, bitrate: int) -> None:
        """Names ``track`` in URLs from now on."""
        self.run("UPDATE track SET bitrate = ? WHERE id = ?", bitrate, track)

    def tracks(self) -> tuple[TrackRow, ...]:
        """All tracks, in the order in which they came."""
        rows = self.all(f"SELECT {_TRACK} FROM track ORDER BY id")
        return tuple(TrackRow(*row) for row in rows)

    def track(self, stream: str, track_id: int) -> TrackRow | None:
        """The track ``track_id`` of ``stream``, or None before its header has come."""
        row = self.one(
            f"SELECT {_TRACK} FROM track WHERE stream = ? AND track_ID = ?", stream, track_id
        )
        return None if row is None else TrackRow(*row)

    def measured(self, track: int, sequence: int, timescale: int) -> int:
        """Bit/s of the fragment of ``track`` at ``sequence``, all its chunks, in whole kbit/s."""
        rows = self.all(
            "SELECT time, duration, samples FROM fragment WHERE track = ? AND sequence = ?",
            *(track, sequence),
        )
        bits = 8 * sum(int(unpack_samples(row[2]).size.sum(dtype="i8")) for row in rows)
        span = max((row[0] + row[1] for row in rows), default=0) - min(
            (row[0] for row in rows), default=0
        )
        return max(1000, 1000 * round(bits * timescale / (1000 * span))) if span > 0 else 0

    def header(self, number: int) -> bytes:
        """``Header.data`` of header ``number``."""
        row = self.one("SELECT data FROM header WHERE id = ?", number)
        if row is None:
            raise NotFound("the stream's header is not there")
        return bytes(row[0])
