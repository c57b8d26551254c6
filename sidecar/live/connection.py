"""What one encoder sends of one stream: judged, archived and indexed, a transaction a fragment."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction

from sidecar.errors import Conflict, StorageError
from sidecar.live import eras, frontier, ledger
from sidecar.live.archive import ArchiveFile
from sidecar.live.index import Verdict
from sidecar.live.judging import (
    Part,
    check_times,
    conflict,
    evidence,
    judged,
    may_follow,
    media_ms,
)
from sidecar.live.jumps import UTC_FROM
from sidecar.live.ledger import ConnectionState
from sidecar.live.model import (
    EndOfStream,
    Fragment,
    Header,
    Incoming,
    IncomingTrack,
    TrackFragment,
)
from sidecar.live.said import SAID_MS, add_event
from sidecar.live.writer import PointState, PointWriter
from sidecar.media.track import Kind

# A stream without a connection whose media ends this much before the newest, ms, has been given up
# by its encoder: the end of the others is not kept waiting for it.
_LEFT_BEHIND_MS = 30_000


class Outcome(StrEnum):
    """What became of something that an encoder sent."""

    ACCEPTED = "accepted"  # a header, an end of stream, what no track needs
    ADDED = "added"
    DUPLICATE = "duplicate"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Taken:
    """``note``: what the log is to say of it, empty as a rule."""

    outcome: Outcome
    note: str = ""


class Connection:
    """What one encoder sends of one stream, in its order."""

    def __init__(
        self,
        writer: PointWriter,
        stream: str,
        identifier: str,
        forget: Callable[[Connection], None],
    ) -> None:
        self.stream = stream
        self.identifier = identifier
        self._writer = writer
        self._forget = forget
        self._number = 0  # before it has brought anything
        self._header: Header | None = None
        self._header_number = 0
        self._tracks: dict[int, IncomingTrack] = {}
        self._counted: dict[int, IncomingTrack] = {}
        self._configured: dict[tuple[int, int], bytes] = {}
        self._reference = 0
        self._begun = False
        self._noted_late = False
        self._noted_damage = False
        self._said = False
        self._written: ArchiveFile | None = None
        self._stops = writer.stops

    def take(self, incoming: Incoming, now_ns: int) -> Taken:
        """Takes in the next thing that was sent, at ``now_ns`` of the Unix clock.

        Raises ``Conflict`` when the point is stopped or the stream cannot go on with it,
        ``InvalidMedia`` for times that are none; ``StorageError`` when it could not be kept: the
        next thing may be tried then.
        """
        with self._writer.lock:
            before = (self._number, self._header_number)
            try:
                if isinstance(incoming, Header):
                    return self._take_header(incoming, now_ns)
                if isinstance(incoming, EndOfStream):
                    return self._take_end(now_ns)
                return self._take_fragment(incoming, now_ns)
            except BaseException:
                if not isinstance(incoming, Header):
                    # What was made in the transaction is gone with it.
                    self._number, self._header_number = before
                if self._written is not None:
                    # Nobody knows whether its row was committed: what comes goes elsewhere.
                    self._writer.archive.abandon(self._written)
                raise
            finally:
                self._written = None

    def end(self, state: ConnectionState, now_ns: int) -> None:
        """The connection is over: ``CLOSED`` or ``BROKEN``. That ends no stream. Never fails."""
        with self._writer.lock:
            self._forget(self)
            if self._number:
                self._writer.depart(self._number, state)
                self._number = 0

    @property
    def _is_closed(self) -> bool:
        """Whether an operator has stopped the point since it was made."""
        return self._stops != self._writer.stops

    # Headers and ends

    def _take_header(self, header: Header, now_ns: int) -> Taken:
        writer = self._writer
        self._header, self._header_number = header, 0
        self._tracks = {track.track_ID: track for track in header.tracks}
        self._configured.clear()
        video = [track.track_ID for track in header.tracks if track.kind is Kind.VIDEO]
        self._reference = next(iter(video or self._tracks), 0)
        # Whether a stopped point may go on is known when times come.
        if writer.state is not PointState.STOPPED:
            with writer.index.transaction():
                number, header_number = self._registered(now_ns)
                if header.tracks and writer.state is PointState.IDLE:
                    writer.set_state(PointState.STARTING, now_ns)
            self._number, self._header_number = number, header_number
            writer.touch(now_ns)
        return Taken(Outcome.ACCEPTED)

    def _registered(self, now_ns: int) -> tuple[int, int]:
        """The numbers of the connection and its header; in a transaction."""
        assert self._header is not None
        index, now_ms = self._writer.index, now_ns // 1_000_000
        header = index.put_header(self.stream, self._header, now_ms)
        owner = self._writer.owner.number
        number = ledger.open_connection(index, self.stream, self.identifier, owner, now_ms)
        self._writer.returned(number)
        if self._tracks:
            # One of events alone keeps nobody waiting for its end.
            ledger.know_stream(index, self.stream)
        for track in self._header.tracks:
            row = index.track(self.stream, track.track_ID)
            assert row is not None
            self._counted[track.track_ID] = eras.counted_as(track, *index.counted(row.id))
        return number, header

    def _take_end(self, now_ns: int) -> Taken:
        writer, index = self._writer, self._writer.index
        if not self._number:
            return Taken(Outcome.ACCEPTED)
        with index.transaction():
            ledger.set_connection_state(index, self._number, ConnectionState.ENDED)
            if writer.state is PointState.STOPPED or self._is_closed or not self._tracks:
                return Taken(Outcome.ACCEPTED)
            fed = {one.stream for one in ledger.connections(index) if writer.is_open(one)}
            if self.stream not in fed:
                ledger.end_stream(index, self.stream)
            ends = ledger.ends_of_streams(index)
            recent = max(ends.values(), default=0) - _LEFT_BEHIND_MS
            ended = ledger.streams(index)
            stopped = not any(
                one in fed or ends.get(one, recent) > recent
                for one, has_ended in ended.items()
                if not has_ended
            )
            if stopped:
                ledger.end_streams(index)
                writer.name_tracks()
                writer.set_state(PointState.STOPPED, now_ns)
            elif ended[self.stream]:
                writer.set_state(PointState.STOPPING, now_ns)
        self._number = 0
        writer.touch(now_ns)
        if stopped:
            writer.archive.finish()
        elif ended[self.stream]:
            writer.archive.finish(self.stream)
        note = "all streams have ended: the publishing point is stopped" if stopped else ""
        return Taken(Outcome.ACCEPTED, note)

    # Fragments

    def _take_fragment(self, fragment: Fragment, now_ns: int) -> Taken:
        if self._header is None:
            raise Conflict("the stream's header has not come")
        known = [part for part in fragment.tracks if part.track_ID in self._tracks]
        if not known:
            return self._take_events(fragment, now_ns)
        writer = self._writer
        while True:
            with writer.index.transaction():
                taken = self._judge_and_add(fragment, known, now_ns)
            if taken is not None:
                break
            period = self._period(known[0])
            writer.archive.open(self.stream, self._header_number, period, now_ns // 1_000_000)
            try:
                writer.chores.settle()
                writer.retain(now_ns)
            except StorageError:
                pass  # tried again in maintain; it is not what keeps the fragment from being kept
        self._begun = True
        if self._written is not None:
            self._written.end += len(fragment.data)
            self._written = None
            try:
                writer.committed(now_ns)
            except StorageError as error:
                return Taken(taken.outcome, f"players hear of a fragment with the next: {error}")
        elif self._said:
            writer.touch(now_ns)
        return taken

    def _judge_and_add(
        self, fragment: Fragment, known: list[TrackFragment], now_ns: int
    ) -> Taken | None:
        """What becomes of ``fragment``, in a transaction; None when a file must be opened first."""
        writer, index = self._writer, self._writer.index
        if not self._number or not self._header_number:
            self._number, self._header_number = self._registered(now_ns)
        parts = [self._judged(part, now_ns) for part in known]
        state = writer.state
        if self._is_closed or (
            state is PointState.STOPPED
            and not (writer.settings.restart and may_follow(index, parts))
        ):
            raise conflict(index, "Stream is closed", parts[0])
        received_ms = writer.received_ms(now_ns)
        news = [part for part in parts if part.verdict is Verdict.ADDED]
        if news:
            periods = [
                self._period(part)
                for part in known
                if part.track_ID == self._reference and part.begins
            ]
            file = writer.archive.current(
                self.stream, self._header_number, periods[0] if periods else None
            )
            if file is None:
                return None
            if not index.files(file.number):
                writer.archive.abandon(file)  # everything was purged
                return None
            if state is PointState.STOPPED or index.setting("begins anew"):
                index.set("begins anew", "")
                eras.restarted(index, media_ms(news)[0])
            self._add(fragment, file, news, received_ms)
            news = [part for part in news if part.verdict is Verdict.ADDED]
            if news:
                self._go_on(state, news, received_ms, now_ns)
                writer.archive.append(file, fragment.data)
                self._written = file
        for part in parts:
            ledger.count_delivery(
                index,
                self._number,
                part.row.id,
                part.verdict,
                size=int(part.fragment.samples.size.sum(dtype="i8")),
                time=part.end,
                now_ms=received_ms,
            )
        reached = max(
            Fraction(part.reached - part.track.edit_media_time, part.track.timescale)
            for part in parts
        )
        self._said = self._add_events(fragment, reached, received_ms)
        return self._outcome(parts, fragment.notes)

    def _take_events(self, fragment: Fragment, now_ns: int) -> Taken:
        """Takes a fragment that holds nothing else."""
        writer, index = self._writer, self._writer.index
        if not fragment.events:
            return Taken(Outcome.ACCEPTED, self._damage(fragment.notes))
        with index.transaction():
            if not self._number or not self._header_number:
                self._number, self._header_number = self._registered(now_ns)
            stopped = writer.state is PointState.STOPPED
            if self._is_closed or (stopped and not writer.settings.restart):
                raise Conflict("Stream is closed, cannot restart")
            edge = Fraction(max(ledger.ends_of_streams(index).values(), default=0), 1000)
            added = self._add_events(fragment, edge, writer.received_ms(now_ns))
        if added:
            writer.touch(now_ns)
        outcome = Outcome.ADDED if added else Outcome.DUPLICATE
        return Taken(outcome, self._damage(fragment.notes))

    def _add_events(self, fragment: Fragment, reached: Fraction, now_ms: int) -> bool:
        """Whether any of them is new, at ``now_ms``. ``reached``: up to where there was media
        before, presentation time, seconds: what has been listed is not made another one."""
        index = self._writer.index
        events = [replace(one, known=max(one.known, reached)) for one in fragment.events]
        added = sum(add_event(index, one) for one in events) > 0
        if added:
            index.set(SAID_MS, str(now_ms))
        return added

    def _damage(self, notes: tuple[str, ...]) -> str:
        """The first of ``notes``, once."""
        if not notes or self._noted_damage:
            return ""
        self._noted_damage = True
        return notes[0]

    def _judged(self, fragment: TrackFragment, now_ns: int) -> Part:
        sent, track = self._tracks[fragment.track_ID], self._counted[fragment.track_ID]
        check_times(fragment, sent, track)
        return judged(
            self._writer.index,
            self.stream,
            track,
            eras.recounted(fragment, sent, track),
            grace=self._writer.settings.grace,
            begun=self._begun,
            connection=self._number,
            now_ms=now_ns // 1_000_000,
        )

    def _go_on(self, state: PointState, news: list[Part], received_ms: int, now_ns: int) -> None:
        """What the first fragment of a point, or of a stream that had ended, changes."""
        writer, index = self._writer, self._writer.index
        if index.setting("epoch_ms") is None:
            begin, end = media_ms(news)
            # What has been recorded last was sent at once.
            epoch = 0 if begin > UTC_FROM * 1000 else received_ms - end
            index.set("epoch_ms", str(epoch))
            like = [part for part in news if part.track.kind is Kind.VIDEO] or news
            index.set("begun", str(max(Fraction(0), min(part.begin for part in like))))
        if state is PointState.STARTED:
            return
        ledger.know_stream(index, self.stream)
        if state is not PointState.STOPPING or not any(ledger.streams(index).values()):
            writer.set_state(PointState.STARTED, now_ns)

    def _add(
        self, fragment: Fragment, file: ArchiveFile, news: list[Part], received_ms: int
    ) -> None:
        index = self._writer.index
        checksum = zlib.crc32(fragment.data)
        for part in news:
            added = index.add(
                part.row,
                part.fragment,
                header=self._header_number,
                file=file.number,
                offset=file.end,
                length=len(fragment.data),
                now_ms=received_ms,
                moof=fragment.moof,
                checksum=checksum,
                late=frontier.lateness(index, part.row.id, part.fragment.time),
            )
            if added is None:
                part.verdict = Verdict.LATE
                continue
            if part.fragment.begins:
                self._note_era(part)
            if not part.row.bitrate and part.fragment.begins:
                self._name_track(part)
        added_parts = [part for part in news if part.verdict is Verdict.ADDED]
        if added_parts:
            begin, end = media_ms(added_parts)
            index.grow_file(file.number, file.end + len(fragment.data), begin, end)
            frontier.advance(index)

    def _note_era(self, part: Part) -> None:
        index, track = self._writer.index, self._tracks[part.track.track_ID]
        restarts = eras.restarts(index, part.media_ms(part.fragment.time))
        key = (track.track_ID, restarts)
        configured = self._configured.get(key)
        if configured is None:
            configured = self._configured[key] = eras.configuration(track, restarts)
        eras.note(index, part.row.id, part.fragment, self._header_number, configured, part.track)

    def _name_track(self, part: Part) -> None:
        """Measures the track when a fragment has begun behind its first one."""
        index, row = self._writer.index, part.row
        extent = index.extent(row.id)
        # Text comes whole, and the next one may be long in coming.
        complete = part.track.kind is Kind.TEXT
        if extent is not None and (complete or extent.first_sequence < extent.last_sequence):
            bitrate = index.measured(row.id, extent.first_sequence, part.track.timescale)
            index.set_bitrate(row.id, bitrate)

    def _period(self, part: TrackFragment) -> int:
        """Which stretch of time, as long as an archive file, ``part`` begins in."""
        length = self._writer.settings.file_length
        if not length:
            return 0
        return int(Fraction(part.time, self._tracks[part.track_ID].timescale) // length)

    def _outcome(self, parts: list[Part], damage: tuple[str, ...]) -> Taken:
        verdicts = {part.verdict for part in parts}
        if Verdict.ADDED in verdicts:
            return Taken(Outcome.ADDED, self._damage(damage))
        if Verdict.LATE not in verdicts:
            return Taken(Outcome.DUPLICATE, self._damage(damage))
        note = ""
        if not self._noted_late:
            self._noted_late = True
            late = next(part for part in parts if part.verdict is Verdict.LATE)
            note = f"fragments come too late and are dropped {evidence(self._writer.index, late)}"
        return Taken(Outcome.LATE, note)
