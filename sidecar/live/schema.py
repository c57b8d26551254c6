"""The tables of a publishing point's index."""

from __future__ import annotations

import sqlite3

SCHEMA_VERSION = 3
# Of the WAL, whatever readers hold open for a while.
_MAX_WAL = 16 << 20

# fragment: ``moof`` counts from ``offset``, ``delay`` is the composition offset of the first
# sample, ``checksum`` the CRC-32 of all its bytes, ``late`` a ``live.frontier.Lateness``. file:
# ``begin_ms`` and ``end_ms`` are media times, of what it holds. doomed: files that no row refers
# to, to be deleted. event: ``at_us`` and ``known_us`` are presentation times, ``carried_us``
# that at which it stands in segments, ``time`` and ``duration`` ticks of ``timescale``. era: see
# ``live.eras``.
_SCHEMA = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE header (
    id INTEGER PRIMARY KEY, stream TEXT NOT NULL, digest BLOB NOT NULL, data BLOB NOT NULL,
    received_ms INTEGER NOT NULL, UNIQUE (stream, digest));
CREATE TABLE track (
    id INTEGER PRIMARY KEY, stream TEXT NOT NULL, track_ID INTEGER NOT NULL,
    header INTEGER NOT NULL REFERENCES header, nominal INTEGER NOT NULL DEFAULT 0,
    bitrate INTEGER NOT NULL DEFAULT 0, UNIQUE (stream, track_ID));
CREATE TABLE file (
    id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, header INTEGER NOT NULL,
    name TEXT NOT NULL UNIQUE, opened_ms INTEGER NOT NULL, size INTEGER NOT NULL,
    closed INTEGER NOT NULL DEFAULT 0, begin_ms INTEGER, end_ms INTEGER);
CREATE TABLE fragment (
    id INTEGER PRIMARY KEY AUTOINCREMENT, track INTEGER NOT NULL REFERENCES track,
    time INTEGER NOT NULL, duration INTEGER NOT NULL, sequence INTEGER NOT NULL,
    begins INTEGER NOT NULL, header INTEGER NOT NULL, file INTEGER NOT NULL,
    offset INTEGER NOT NULL, length INTEGER NOT NULL, received_ms INTEGER NOT NULL,
    moof INTEGER NOT NULL, delay INTEGER NOT NULL, checksum INTEGER NOT NULL,
    samples BLOB NOT NULL, UNIQUE (track, time));
CREATE INDEX fragment_of_file ON fragment (file);
CREATE INDEX fragment_by_sequence ON fragment (track, sequence);
CREATE INDEX file_by_end ON file (end_ms);
CREATE TABLE doomed (name TEXT PRIMARY KEY, removed_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE stream (name TEXT PRIMARY KEY, ended INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE connection (
    id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, identifier TEXT NOT NULL,
    owner INTEGER NOT NULL, opened_ms INTEGER NOT NULL, state TEXT NOT NULL,
    UNIQUE (stream, identifier));
CREATE TABLE delivery (
    connection INTEGER NOT NULL, track INTEGER NOT NULL, added INTEGER NOT NULL,
    duplicate INTEGER NOT NULL, late INTEGER NOT NULL, bytes INTEGER NOT NULL,
    time INTEGER NOT NULL, received_ms INTEGER NOT NULL,
    PRIMARY KEY (connection, track)) WITHOUT ROWID;
"""
_EVENTS = """
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at_us INTEGER NOT NULL, scheme TEXT NOT NULL,
    value TEXT NOT NULL, event_id INTEGER NOT NULL, cancels INTEGER NOT NULL,
    time INTEGER NOT NULL, duration INTEGER, timescale INTEGER NOT NULL, data BLOB NOT NULL,
    inband INTEGER NOT NULL, known_us INTEGER NOT NULL, carried_us INTEGER NOT NULL);
CREATE INDEX event_by_time ON event (at_us);
CREATE INDEX event_in_segments ON event (carried_us, scheme, value, inband);
CREATE TABLE era (
    track INTEGER NOT NULL, time INTEGER NOT NULL, shown INTEGER NOT NULL,
    header INTEGER NOT NULL, configuration BLOB NOT NULL, PRIMARY KEY (track, time)) WITHOUT ROWID;
"""
_LATE = "ALTER TABLE fragment ADD COLUMN late INTEGER NOT NULL DEFAULT 0;"
# What each version added to the one before.
_STEPS = (_SCHEMA, _EVENTS, _LATE)


def prepare(connection: sqlite3.Connection, synchronous: str) -> int:
    """Makes the tables where there are none; returns the version of those that are there, 0 where
    they are somebody else's, which are left alone.

    ``synchronous``: OFF, NORMAL or FULL. Raises ``sqlite3.Error``.
    """
    # In one statement: another process may just be making them.
    version, tables = connection.execute(
        "SELECT user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version"
    ).fetchone()
    if version > SCHEMA_VERSION or (tables and not version):
        return int(version)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute(f"PRAGMA journal_size_limit = {_MAX_WAL}")
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version >= SCHEMA_VERSION:
        return version
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have been faster.
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version < SCHEMA_VERSION:
        wanted = "".join(_STEPS[version:])
        for statement in filter(None, map(str.strip, wanted.split(";"))):
            connection.execute(statement)
        version = SCHEMA_VERSION
        connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("COMMIT")
    return version
