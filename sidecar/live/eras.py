"""Eras: stretches of a presentation in which no track changes what its samples are decoded by.

An encoder that is set up anew sends another header, and one that goes on after a stop begins a new
encoding: players must be told where. The index has a row wherever that happens to a track, for as
long as it has the track, so that eras are counted from the first one whatever has left the archive.
Rows depend on the times of fragments alone, not on the order in which they came.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sidecar.codecs.aac import decoder_config
from sidecar.codecs.entry import sound_entry, visual_entry
from sidecar.errors import InvalidMedia
from sidecar.live.database import Database
from sidecar.live.model import IncomingTrack, SampleTable, TrackFragment
from sidecar.live.reordering import delay_of
from sidecar.media.track import Kind

# Changes of several tracks that are this close to each other, seconds, are one: encoders cut sound
# somewhat before the pictures that it belongs to.
TOGETHER = Fraction(1, 4)
# Of the rows that say when an encoder began anew; their times are ms of the presentation.
_RESTARTS = 0

_FACTS = struct.Struct(">4sII")


@dataclass(frozen=True, slots=True)
class EraRow:
    """From ``time`` on (decode time, ticks) ``track`` is as header number ``header`` describes it.
    ``shown``: when its first sample is presented, ticks, before the edit list. ``delay``: as
    ``live.reordering.delay_of`` has it, the same for as long as there is the row, whatever comes;
    None where it was not known yet when the row was made."""

    track: int
    time: int
    shown: int
    header: int
    delay: int | None = None


def configuration(track: IncomingTrack, restarts: int) -> bytes:
    """SHA-256 of what samples of ``track`` are decoded by, and of how often encoders had begun anew
    when they were sent.

    Bitrates do not count: each encoder that connects measures them anew.
    """
    digest = hashlib.sha256(_FACTS.pack(track.kind.value[:4].encode(), track.timescale, restarts))
    try:
        parts = _parts(track)
    except InvalidMedia:
        parts = [track.sample_entry_box]
    for part in parts:
        digest.update(struct.pack(">I", len(part)) + part)
    return digest.digest()


def _parts(track: IncomingTrack) -> list[bytes]:
    box = track.sample_entry_box
    if track.kind is Kind.VIDEO:
        picture = visual_entry(box, box_path="stsd", offset=0)
        children, fields = picture.children, (picture.width, picture.height, 0)
    elif track.kind is Kind.AUDIO:
        sound = sound_entry(box, box_path="stsd", offset=0)
        children, fields = sound.children, (sound.channelcount, sound.samplesize, sound.samplerate)
    else:
        return [box]
    parts = [box[4:8], struct.pack(">III", *fields)]
    for name, child in sorted(children.items()):
        if name == b"esds":
            indication, configured = decoder_config(child)
            parts += [name, bytes([indication]), configured]
        elif name != b"btrt":
            parts += [name, child.body]
    return parts


def counted_as(track: IncomingTrack, timescale: int, edit_media_time: int) -> IncomingTrack:
    """``track`` with the times that the index counts it in, those of its first header."""
    if (track.timescale, track.edit_media_time) == (timescale, edit_media_time):
        return track
    return replace(track, timescale=timescale, edit_media_time=edit_media_time)


def recounted(
    fragment: TrackFragment, track: IncomingTrack, counted: IncomingTrack
) -> TrackFragment:
    """``fragment`` of ``track`` with the times of ``counted``: all are presented when they were, to
    the nearest tick."""
    if track is counted:
        return fragment
    old, new = track.timescale, counted.timescale
    moved = counted.edit_media_time
    table = fragment.samples
    times = fragment.time + np.append(0, np.cumsum(table.duration, dtype=np.int64))
    decoded = _scaled(times - track.edit_media_time, old, new) + moved
    offsets = table.composition_offset
    if offsets is not None:
        shown = times[:-1] + offsets.astype(np.int64) - track.edit_media_time
        shown = _scaled(shown, old, new) + moved
        offsets = (shown - decoded[:-1]).astype(np.int32)
    samples = SampleTable(
        duration=np.diff(decoded).astype(np.uint32),
        size=table.size,
        composition_offset=offsets,
        sync=table.sync,
        offset=table.offset,
    )
    return replace(
        fragment,
        time=int(decoded[0]),
        duration=int(decoded[-1] - decoded[0]),
        samples=samples,
    )


def _scaled(ticks: NDArray[np.int64], old: int, new: int) -> NDArray[np.int64]:
    whole, rest = np.divmod(ticks, old)
    scaled: NDArray[np.int64] = whole * new + (2 * rest * new + old) // (2 * old)
    return scaled


# Rows


def restarted(index: Database, time_ms: int) -> None:
    """An encoder begins anew at ``time_ms`` of the presentation; in a transaction."""
    index.run(
        "INSERT OR IGNORE INTO era (track, time, shown, header, configuration) "
        "VALUES (?, ?, ?, 0, x'')",
        *(_RESTARTS, time_ms, time_ms),
    )


def restarts(index: Database, time_ms: int) -> int:
    """How often encoders had begun anew when what is presented at ``time_ms`` was sent."""
    row = index.one(
        "SELECT count(*) FROM era WHERE track = ? AND time <= ?",
        *(_RESTARTS, time_ms + int(1000 * TOGETHER)),
    )
    return int(row[0]) if row is not None else 0


def note(
    index: Database,
    track: int,
    fragment: TrackFragment,
    header: int,
    configured: bytes,
    described: IncomingTrack,
) -> None:
    """``fragment`` of ``track``, which was added and can be decoded by itself, is ``configured`` so
    by ``header``, as which it is ``described``; in a transaction."""
    time = fragment.time
    select = "SELECT time, configuration, header, composition_delay FROM era WHERE track = ? "
    select += "AND time"
    before = index.one(f"{select} <= ? ORDER BY time DESC LIMIT 1", track, time)
    if before is not None and bytes(before[1]) == configured:
        if before[3] is None:
            index.run(
                "UPDATE era SET composition_delay = ? WHERE track = ? AND time = ?",
                *(delay_of(described, fragment), track, before[0]),
            )
        return
    after = index.one(f"{select} > ? ORDER BY time LIMIT 1", track, time)
    following = index.one(
        "SELECT time, delay FROM fragment WHERE track = ? AND time > ? AND begins "
        "ORDER BY time LIMIT 1",
        *(track, time),
    )
    if before is not None and following is not None:
        goes_on = int(following[0])
        if after is None or goes_on < after[0]:
            # What lies behind is still as what lies before.
            shown = goes_on + int(following[1])
            row = EraRow(track, goes_on, shown, int(before[2]), before[3])
            _put(index, row, bytes(before[1]))
            after = None
    delay = None
    if after is not None and bytes(after[1]) == configured:
        delay = after[3]
        index.run("DELETE FROM era WHERE track = ? AND time = ?", track, after[0])
    earlier = index.one(f"{select} < ? ORDER BY time DESC LIMIT 1", track, time)
    if earlier is not None and bytes(earlier[1]) == configured:
        # Another one has been there before.
        index.run("DELETE FROM era WHERE track = ? AND time = ?", track, time)
        return
    delays = fragment.samples.composition_offset
    shown = time + (0 if delays is None else int(delays[0]))
    if delay is None:
        delay = delay_of(described, fragment)
    _put(index, EraRow(track, time, shown, header, delay), configured)


def _put(index: Database, row: EraRow, configured: bytes) -> None:
    index.run(
        "INSERT OR REPLACE INTO era "
        "(track, time, shown, header, configuration, composition_delay) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        *(row.track, row.time, row.shown, row.header, configured, row.delay),
    )


def rows(index: Database) -> tuple[EraRow, ...]:
    """Those of all tracks, by track and time."""
    found = index.all(
        "SELECT track, time, shown, header, composition_delay FROM era "
        "WHERE track != ? ORDER BY track, time",
        _RESTARTS,
    )
    return tuple(EraRow(*row) for row in found)


# Counting


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Era ``number`` begins where some tracks change: ``tracks`` says when (decode time and time
    when shown, ticks), ``first`` and ``last`` are the outermost of these decode times, seconds of
    the presentation."""

    number: int
    first: Fraction
    last: Fraction
    tracks: Mapping[int, tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Eras:
    """``changes``: in their order; era 0 is what lies before all of them. ``rows``: of each track,
    (era from which on, what describes it)."""

    changes: tuple[Change, ...] = ()
    rows: Mapping[int, tuple[tuple[int, EraRow], ...]] = field(default_factory=dict)

    def header(self, track: int, era: int) -> int | None:
        """The number of the header that describes ``track`` in ``era``; what began later, as its
        first one does. None when the track has none."""
        row = self._row(track, era)
        return None if row is None else row.header

    def delay(self, track: int, era: int) -> int | None:
        """``EraRow.delay`` of ``track`` in ``era``; None also when the track has no row."""
        row = self._row(track, era)
        return None if row is None else row.delay

    def _row(self, track: int, era: int) -> EraRow | None:
        known = self.rows.get(track)
        if not known:
            return None
        return [row for number, row in known if number <= era or row is known[0][1]][-1]


def eras_of(found: Iterable[EraRow], tracks: Mapping[int, IncomingTrack]) -> Eras:
    """The eras that ``found`` (as ``rows`` has them) make. ``tracks``: as the index counts them."""
    described: dict[int, list[tuple[int, EraRow]]] = {}
    changes: list[tuple[Fraction, EraRow]] = []
    for row in found:
        one = tracks.get(row.track)
        if one is None:
            continue
        if row.track not in described:
            described[row.track] = [(0, row)]
        else:
            time = Fraction(row.time - one.edit_media_time, one.timescale)
            changes.append((time, row))
    changes.sort(key=lambda one: (one[0], one[1].track))
    made = []
    for number, group in enumerate(_grouped(changes), 1):
        for _, row in group:
            described[row.track].append((number, row))
        made.append(
            Change(
                number=number,
                first=group[0][0],
                last=group[-1][0],
                tracks={row.track: (row.time, row.shown) for _, row in group},
            )
        )
    return Eras(changes=tuple(made), rows={key: tuple(one) for key, one in described.items()})


def _grouped(
    changes: Iterable[tuple[Fraction, EraRow]],
) -> Iterator[list[tuple[Fraction, EraRow]]]:
    group: list[tuple[Fraction, EraRow]] = []
    for time, row in changes:
        if group and (
            time - group[0][0] > TOGETHER or any(row.track == other.track for _, other in group)
        ):
            yield group
            group = []
        group.append((time, row))
    if group:
        yield group
