"""What leaves a publishing point: archive files whose media is older than what is kept.

Rows go first; the files a while later, as answers that were made before may still be on their way:
they name files, and nginx opens these when it sends. Each call does little, so that ingest never
waits: there is at most one file to remove for each that is written.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

from sidecar.live import frontier
from sidecar.live.index import PointIndex
from sidecar.live.said import expire_events
from sidecar.units import rescale

# How long a file outlives its rows, ms: longer than an answer takes to be sent.
FAREWELL_MS = 60_000
_DELETED_AT_ONCE = 8
# A fragment without others for so long before it, seconds, is alone; of so many of them.
_ALONE = 60
_LOOKED_AT = 8


def newest_ms(index: PointIndex) -> int | None:
    """End of the newest media, ms of media time, or None when there is none."""
    row = index.one("SELECT max(end_ms) FROM file")
    return None if row is None or row[0] is None else int(row[0])


def confirmed_ms(index: PointIndex) -> int | None:
    """Up to where the newest media is certain: where the last fragment begins that does not lie
    alone behind a hole. The time of one may be wrong, or how long it lasts, and what leaves the
    archive by it is lost."""
    found = None
    for track in index.tracks():
        timescale, lead = index.counted(track.id)
        rows = index.all(
            "SELECT time, time + duration, sequence FROM fragment WHERE track = ? AND begins "
            "ORDER BY time DESC LIMIT ?",
            *(track.id, _LOOKED_AT),
        )
        for (time, _, sequence), (_, before, preceding) in pairwise(rows):
            if sequence - preceding > 1 and time - before > _ALONE * timescale:
                continue
            time_ms = rescale(time - lead, timescale, 1000)
            found = time_ms if found is None else max(found, time_ms)
            break
    return found


def is_due(index: PointIndex, horizon_ms: int) -> bool:
    """Whether there is a file whose media ends at ``horizon_ms`` (media time) or before."""
    return index.one("SELECT 1 FROM file WHERE end_ms <= ? LIMIT 1", horizon_ms) is not None


def expire(index: PointIndex, horizon_ms: int, now_ms: int, *, most: int = 1) -> int:
    """Removes the rows of up to ``most`` finished files whose media ends at ``horizon_ms`` (media
    time) or before; returns how many. In a transaction."""
    rows = index.all(
        "SELECT id FROM file WHERE closed AND end_ms <= ? ORDER BY end_ms LIMIT ?",
        *(horizon_ms, most),
    )
    for (file,) in rows:
        doom(index, file, now_ms)
    if rows:
        _drop_headers(index)
        expire_events(index, horizon_ms)
    return len(rows)


def expire_all(index: PointIndex, now_ms: int) -> int:
    """Removes all there is of media, tracks and their times; returns how many files. In a
    transaction."""
    files = index.files()
    for file in files:
        doom(index, file.id, now_ms)
    index.run("DELETE FROM setting WHERE name IN ('epoch_ms', 'begun') OR name LIKE 'track %'")
    frontier.forget(index)
    for table in ("track", "header", "era", "stream", "delivery", "connection"):
        index.run(f"DELETE FROM {table}")
    expire_events(index, None)
    index.count_removal()
    return len(files)


def doom(index: PointIndex, file: int, now_ms: int) -> None:
    """Removes the rows of ``file``, which is deleted later. In a transaction."""
    name = index.remove_file(file)
    index.run("INSERT OR REPLACE INTO doomed VALUES (?, ?)", name, now_ms)


def due(index: PointIndex, now_ms: int) -> list[Path]:
    """Some of the files that can be deleted now."""
    # Those of a clock that was ahead and has been put right would wait for long.
    rows = index.all(
        "SELECT name FROM doomed WHERE removed_ms <= ? OR removed_ms > ? LIMIT ?",
        *(now_ms - FAREWELL_MS, now_ms + FAREWELL_MS, _DELETED_AT_ONCE),
    )
    return [index.path.with_name(name) for (name,) in rows]


def make_room(index: PointIndex, horizon_ms: int | None) -> int | None:
    """Deletes files whose rows cannot be removed because the disk is full, which then can: those
    that no row refers to, else the oldest one whose media ends at ``horizon_ms`` (media time) or
    before, or at any time. Returns how many that were referred to; None when there is nothing to
    delete. Raises ``OSError``."""
    doomed = index.all("SELECT name FROM doomed ORDER BY removed_ms")
    if any(_emptied(index.path.with_name(name)) for (name,) in doomed):
        return 0
    rows = index.all(
        "SELECT name FROM file WHERE ?1 IS NULL OR (closed AND end_ms <= ?1) ORDER BY end_ms, id",
        horizon_ms,
    )
    return 1 if any(_emptied(index.path.with_name(name)) for (name,) in rows) else None


def _emptied(path: Path) -> bool:
    """Deletes ``path`` and gives its room back at once, even if somebody has it open; whether there
    was any."""
    try:
        size = path.stat().st_size
        os.truncate(path, 0)
        path.unlink()
    except FileNotFoundError:
        return False
    return size > 0


def forget(index: PointIndex, paths: list[Path]) -> None:
    """``paths`` have been deleted. In a transaction."""
    for path in paths:
        index.run("DELETE FROM doomed WHERE name = ?", path.name)


def delete(paths: list[Path]) -> bool:
    """Deletes files, whether they are there or not; false when that fails."""
    try:
        for path in paths:
            path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _drop_headers(index: PointIndex) -> None:
    """Forgets headers that nothing begins with any more, but for the newest of each stream and
    those of eras, which may go on."""
    index.run(
        "DELETE FROM header WHERE id NOT IN (SELECT header FROM file) "
        "AND id NOT IN (SELECT header FROM track) AND id NOT IN (SELECT header FROM era) "
        "AND id NOT IN (SELECT max(id) FROM header GROUP BY stream)"
    )
