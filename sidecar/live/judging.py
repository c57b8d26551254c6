"""What a fragment holds of each of its tracks, judged by what is there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from sidecar.errors import Conflict, InvalidMedia
from sidecar.live.index import PointIndex, Verdict
from sidecar.live.index_tracks import TrackRow
from sidecar.live.jumps import UTC_FROM, objection
from sidecar.live.model import IncomingTrack, TrackFragment
from sidecar.live.overlaps import fitted
from sidecar.media.moments import LATEST
from sidecar.media.naming import default_name
from sidecar.media.track import Kind
from sidecar.units import rescale

# All times lie between this and its negative, ticks: 64 bits hold them with room to calculate.
_MOST_TICKS = 1 << 60
# A connection that begins this much before the newest, seconds, is of an encoder that began anew:
# those that merely come again send their last two fragments once more.
_RESTARTED = 60


@dataclass(slots=True)
class Part:
    """What a fragment holds of one track, and what becomes of it. ``reached``: where what there was
    of the track ended before, ticks."""

    track: IncomingTrack
    row: TrackRow
    fragment: TrackFragment
    verdict: Verdict
    reached: int = -_MOST_TICKS

    @property
    def end(self) -> int:
        """Decode time at which it ends, ticks."""
        return self.fragment.time + self.fragment.duration

    @property
    def begin(self) -> Fraction:
        """When its first sample is decoded, seconds of the presentation."""
        return Fraction(self.fragment.time - self.track.edit_media_time, self.track.timescale)

    def media_ms(self, ticks: int) -> int:
        """Presentation time of decode time ``ticks``, ms."""
        return self.track.media_ms(ticks)


def check_times(fragment: TrackFragment, track: IncomingTrack, counted: IncomingTrack) -> None:
    """Raises ``InvalidMedia`` when no date tells when ``fragment`` of ``track`` is, or its times
    cannot be those of ``counted``.
    """
    begin, end = fragment.time, fragment.time + fragment.duration
    old, new = track.timescale, counted.timescale
    longest = int(fragment.samples.duration.max())
    if (
        not -UTC_FROM * old <= begin <= end <= LATEST * old
        or max(abs(begin), abs(end)) * max(1, -(-new // old)) >= _MOST_TICKS
        or longest * new >> 32 >= old
    ):
        raise InvalidMedia(
            f"a fragment cannot last from {begin} to {end} of {old} ticks per second"
        )


def judged(
    index: PointIndex,
    stream: str,
    track: IncomingTrack,
    fragment: TrackFragment,
    *,
    grace: Fraction,
    begun: bool,
    connection: int,
    now_ms: int,
) -> Part:
    """What becomes of ``fragment`` of ``track`` of ``stream``, which the index knows; both with the
    times that it counts the track in.

    ``grace``: seconds behind the end of the track within which a hole may still be filled;
    ``begun``: whether its ``connection`` has brought fragments before; ``now_ms``: Unix time.
    Raises ``Conflict`` when the stream cannot go on with it.
    """
    row = index.track(stream, fragment.track_ID)
    assert row is not None
    part = Part(track, row, fragment, Verdict.ADDED)
    if fragment.time > UTC_FROM * track.timescale and index.setting("epoch_ms") not in (
        None,
        "0",
    ):
        raise conflict(index, "Times of the stream do not count from 1970", part)
    extent = index.extent(row.id)
    if extent is not None:
        part.reached = extent.end
    if not begun and extent is not None and part.end < extent.end - _RESTARTED * track.timescale:
        raise conflict(index, "Stream goes on", part)
    ticks = max(int(grace * track.timescale), 2 * row.nominal)
    part.verdict = index.judge(row, fragment, ticks)
    if part.verdict is Verdict.ADDED:
        why = objection(
            index,
            row.id,
            track,
            (part.media_ms(fragment.time), part.media_ms(part.end)),
            connection=connection,
            slack_ms=rescale(ticks, track.timescale, 1000),
            now_ms=now_ms,
        )
        if why:
            raise conflict(index, why, part)
        fitting = fitted(index, row, fragment, sparse=track.kind is Kind.TEXT)
        if fitting is None:
            part.verdict = Verdict.DUPLICATE
        else:
            part.fragment = fitting
    return part


def may_follow(index: PointIndex, parts: Sequence[Part]) -> bool:
    """Whether ``parts`` lie behind what there is, or are there already."""
    for part in parts:
        extent = index.extent(part.row.id)
        news = part.verdict is Verdict.ADDED
        middle = part.fragment.time + part.fragment.duration // 2
        if part.verdict is Verdict.LATE or (news and extent and middle < extent.end):
            return False
    return True


def media_ms(parts: Sequence[Part]) -> tuple[int, int]:
    """Presentation times, ms, from which to which ``parts`` last."""
    begin = min(part.media_ms(part.fragment.time) for part in parts)
    return begin, max(part.media_ms(part.end) for part in parts)


def conflict(index: PointIndex, why: str, part: Part) -> Conflict:
    """That ``part`` cannot be taken, and ``why``, to be raised."""
    return Conflict(f"{why}, cannot restart {evidence(index, part)}")


def evidence(index: PointIndex, part: Part) -> str:
    """What tells whoever reads a log where ``part`` lies, and what there is of its track."""
    extent = index.extent(part.row.id)
    name = part.track.name or default_name(part.track.kind, part.track.language)
    reached = "none" if extent is None else extent.end
    return (
        f"(track_name={name} stream.time={reached} fragment.time={part.fragment.time} "
        f"timescale={part.track.timescale})"
    )
