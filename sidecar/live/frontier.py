"""Up to where players have been told of a publishing point.

Whoever writes says so with each fragment, in its transaction: all readers tell of the same,
whatever they have in memory, and nothing that was told is ever taken back. A track that comes later
than that is told of on its own; segments that hold several tracks stay as they were (``Lateness``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from itertools import pairwise

from sidecar.live.index import PointIndex
from sidecar.media.track import Kind
from sidecar.timeline.growing_frames import NEARLY, USUAL_FRAME

# A track that lies further behind than this, seconds, has ended, or its encoder has: the others go
# on. So long they wait in the beginning for one that has been described and has not come.
LEFT_BEHIND = 10
# By which times of fragments differ that are meant to be equal, seconds.
TOLERANCE = Fraction(1, 120)
# Of sound behind pictures, seconds: four or five pictures that are reordered.
_LAG = Fraction(1, 5)
# Fragments of usual length.
_BEHIND_A_HOLE = Fraction(3, 2)
_SETTING = "told"


class Lateness(IntEnum):
    """Whether players had been told of the time of a fragment when it came."""

    IN_TIME = 0
    LATE = 1  # the track had ended before it
    FILLED = 2  # there was more of the track behind it: they were told of a gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """Presentation times, seconds. ``until``: segments that end there or before have been told of;
    ``end``: up to where all tracks that go on have been received."""

    until: Fraction
    end: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reach:
    """What there is of a track, presentation times in seconds: from ``begin`` to ``end``, and
    ``reached``: up to where players may be told of it. ``usual``: length of its fragments."""

    kind: Kind
    begin: Fraction
    end: Fraction
    reached: Fraction
    usual: Fraction
    slack: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class _Described:
    """What the index remembers of a track. ``lead``: its edit list, ticks; ``frame``: length of a
    frame of sound, seconds, None for others."""

    kind: Kind
    timescale: int
    lead: int
    frame: Fraction | None

    def presented(self, ticks: int) -> Fraction:
        return Fraction(ticks - self.lead, self.timescale)


def told(index: PointIndex) -> Frontier | None:
    """What has been told of the point; None when that is nothing yet."""
    said = index.setting(_SETTING)
    # Where it was never written down, what there is: of an index that nothing is added to.
    return _now(index, begun=False) if said is None else _read(said)


def advance(index: PointIndex) -> None:
    """Tells of what has been added; in its transaction."""
    said = index.setting(_SETTING)
    now = _now(index, begun=said is not None)
    if now is None:
        return
    before = now if said is None else _read(said)
    value = f"{max(before.until, now.until)} {max(before.end, now.end)}"
    if value != said:
        index.set(_SETTING, value)


def forget(index: PointIndex) -> None:
    """Fragments that had been told of were lost: when they come again they are not late. In a
    transaction."""
    index.run("DELETE FROM setting WHERE name = ?", _SETTING)


def lateness(index: PointIndex, track: int, time: int) -> Lateness:
    """Of a fragment of ``track`` that begins at ``time`` (ticks), before it is added."""
    said = index.setting(_SETTING)
    if said is None:
        return Lateness.IN_TIME
    described = _described(index)[track]
    begin = described.presented(time) + TOLERANCE
    until = _read(said).until
    if begin >= until:
        return Lateness.IN_TIME
    row = index.one(
        "SELECT nominal, EXISTS (SELECT 1 FROM fragment WHERE track = ?1 AND time > ?2) "
        "FROM track WHERE id = ?1",
        *(track, time),
    )
    nominal, goes_on = row or (0, 0)
    if begin + slack(Fraction(nominal, described.timescale), described.frame) >= until:
        return Lateness.IN_TIME
    return Lateness.FILLED if goes_on else Lateness.LATE


def leading(
    kinds: Mapping[int, Kind], ends: Mapping[int, Fraction], lengths: Mapping[int, Fraction]
) -> int:
    """The track of ``ends`` (track -> presentation time of its end, seconds; at least one) that
    segments follow: of the pictures, else the sound, else the text, the first that goes on. One
    that ends more than ``lengths`` (seconds) before another one has lost its encoder, and its
    numbers are those of all.

    When all pictures have, it goes on with none: what is left could not be numbered."""
    of_kind = {
        kind: {track: end for track, end in ends.items() if kinds[track] is kind} for kind in Kind
    }
    like = of_kind[Kind.VIDEO] or of_kind[Kind.AUDIO] or of_kind[Kind.TEXT]
    newest = max(like.values())
    return min(track for track, end in like.items() if newest - end <= lengths[track])


def going(reference: int, *, ends: Mapping[int, Fraction], of: Iterable[int]) -> Iterator[int]:
    """Those ``of`` tracks that are waited for: ``reference``, which segments follow, and all that
    have not been left behind by the others. ``ends``: track -> presentation time of its end,
    seconds."""
    tracks = tuple(of)
    newest = max(ends[track] for track in tracks)
    return (track for track in tracks if track == reference or newest - ends[track] <= LEFT_BEHIND)


def slack(usual: Fraction, frame: Fraction | None) -> Fraction:
    """Seconds by which the fragments of a track (``usual``: their length) end before those of the
    pictures that they come with: encoders cut sound where the pictures have got in the order of
    decoding, which is some of them earlier. ``frame``: length of a frame of sound, None for others.
    """
    if frame is None:
        return TOLERANCE
    return max(NEARLY * frame, min(_LAG, usual / 4))


def _read(said: str) -> Frontier:
    until, end = map(Fraction, said.split())
    return Frontier(until=until, end=end)


def _now(index: PointIndex, *, begun: bool) -> Frontier | None:
    """What may be told of now. ``begun``: whether anything has been told before."""
    described = _described(index)
    found = dict(_reaches(index, described))
    if not found:
        return None
    kinds = {track: one.kind for track, one in described.items()}
    ends = {track: one.end for track, one in found.items()}
    behind = {track: max(Fraction(LEFT_BEHIND), one.usual) for track, one in found.items()}
    reference = leading(kinds, ends, behind)
    timed = {track: one for track, one in found.items() if one.kind is not Kind.TEXT}
    timed = timed or {reference: found[reference]}
    newest = max(one.end for one in timed.values())
    first = min(one.begin for one in timed.values())
    missing = [one for one, kind in kinds.items() if kind is not Kind.TEXT and one not in timed]
    if missing and not begun and newest - first <= LEFT_BEHIND:
        return None
    waited_for = [timed[track] for track in going(reference, ends=ends, of=timed)]
    return Frontier(
        until=min(one.reached + one.slack for one in waited_for),
        end=min(one.reached for one in waited_for),
    )


def _described(index: PointIndex) -> dict[int, _Described]:
    """All tracks, by their numbers."""
    rows = index.all("SELECT name, value FROM setting WHERE name > 'track ' AND name < 'track!'")
    said = {str(name).removeprefix("track "): str(value) for name, value in rows}
    found = {}
    for name, value in said.items():
        if not name.isdigit():
            continue
        kind, _, timescale = value.partition(" ")
        frame = said.get(f"{name} frame")
        found[int(name)] = _Described(
            kind=Kind(kind),
            timescale=int(timescale),
            lead=int(said.get(f"{name} lead", 0)),
            frame=None
            if kind != Kind.AUDIO.value
            else USUAL_FRAME
            if frame is None
            else Fraction(frame),
        )
    return found


def _reaches(
    index: PointIndex, described: Mapping[int, _Described]
) -> Iterator[tuple[int, _Reach]]:
    """Of each track that has any fragment."""
    of_track = "FROM fragment WHERE track = track.id ORDER BY time"
    rows = index.all(
        f"SELECT id, nominal, (SELECT time {of_track} LIMIT 1), "
        f"(SELECT time + duration {of_track} DESC LIMIT 1) FROM track"
    )
    for track, nominal, begin, end in rows:
        if begin is None:
            continue
        one = described[track]
        # Where sound is cut depends on how long its fragments are.
        known = nominal or one.kind is not Kind.AUDIO
        usual = Fraction(nominal, one.timescale)
        yield (
            track,
            _Reach(
                kind=one.kind,
                begin=one.presented(begin),
                end=one.presented(end),
                reached=one.presented(_reached(index, track, nominal, end) if known else begin),
                usual=usual,
                slack=slack(usual, one.frame),
            ),
        )


def _reached(index: PointIndex, track: int, nominal: int, end: int) -> int:
    """Decode time up to which players may be told of ``track``, which ends at ``end``, ticks. Of
    two encoders one may be ahead of the other by a fragment, and what players are told is missing
    they skip: a hole is one when another fragment has begun behind the first that came after it."""
    recent = end - nominal * _BEHIND_A_HOLE
    rows = index.all(
        "SELECT time, time + duration, sequence FROM fragment WHERE track = ?1 AND time >= "
        "coalesce((SELECT max(time) FROM fragment WHERE track = ?1 AND time < ?2), ?2) "
        "ORDER BY time DESC",
        *(track, int(recent)),
    )
    reached = end
    for (behind, _, following), (_, ends, sequence) in pairwise(rows):
        if following - sequence > 1 and behind >= recent:
            reached = int(ends)
    return reached
