"""The tables of the index, and its file: opened, or thrown away when it is damaged or of another version."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lmroute.errors import LmrouteError
from lmroute.telemetry.index.latency import cell
from lmroute.telemetry.wal import use_wal

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 3
_APPLICATION = 0x6C6D7274  # "lmrt"
_BUSY_S = 5.0

_TABLES = """
-- Files that were read: up to the offset `read`, before which the bytes `tail` stand.
CREATE TABLE files (id INTEGER PRIMARY KEY, path TEXT UNIQUE NOT NULL, read INTEGER NOT NULL, tail BLOB NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL);
-- Lines that are no record of ours, by what is wrong with them.
CREATE TABLE left_out (file INTEGER NOT NULL, what TEXT NOT NULL, lines INTEGER NOT NULL, PRIMARY KEY (file, what));
-- Each combination of words that occurred. What is counted is counted by these.
CREATE TABLE dims (id INTEGER PRIMARY KEY, provider TEXT, model TEXT, type TEXT, locality TEXT, rule TEXT, task TEXT,
    status TEXT NOT NULL, error_code TEXT, cost_from TEXT);
-- Times are milliseconds since the epoch, durations milliseconds.
CREATE TABLE calls (id INTEGER PRIMARY KEY, call TEXT UNIQUE NOT NULL, ts INTEGER NOT NULL, dim INTEGER NOT NULL,
    duration REAL, first_token REAL, attempts INTEGER NOT NULL, input_tokens INTEGER, output_tokens INTEGER,
    nano_usd INTEGER, file INTEGER NOT NULL, at INTEGER NOT NULL);
CREATE INDEX calls_ts ON calls (ts, dim, duration, first_token);
CREATE TABLE attempts (id INTEGER PRIMARY KEY, call TEXT NOT NULL, attempt INTEGER NOT NULL, ts INTEGER NOT NULL,
    dim INTEGER NOT NULL, asked TEXT NOT NULL, duration REAL, file INTEGER NOT NULL, at INTEGER NOT NULL,
    UNIQUE (call, attempt));
CREATE INDEX attempts_ts ON attempts (ts);
CREATE TABLE lost (run TEXT NOT NULL, ts INTEGER NOT NULL, sink TEXT NOT NULL, records INTEGER NOT NULL,
    file INTEGER NOT NULL, PRIMARY KEY (run, ts, sink, records));
-- Roll-ups, by minutes since the epoch.
CREATE TABLE minutes (minute INTEGER NOT NULL, dim INTEGER NOT NULL, calls INTEGER NOT NULL, fallbacks INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, untold INTEGER NOT NULL, nano_usd INTEGER NOT NULL,
    priced INTEGER NOT NULL, PRIMARY KEY (minute, dim)) WITHOUT ROWID;
CREATE TABLE tries (minute INTEGER NOT NULL, dim INTEGER NOT NULL, call_dim INTEGER NOT NULL, is_last INTEGER NOT NULL,
    attempts INTEGER NOT NULL, PRIMARY KEY (minute, dim, call_dim, is_last)) WITHOUT ROWID;
-- A cell is a dim, what was measured and a bucket, all in one number: to group by one is twice as fast as by three.
CREATE TABLE latencies (minute INTEGER NOT NULL, cell INTEGER NOT NULL, calls INTEGER NOT NULL,
    PRIMARY KEY (minute, cell)) WITHOUT ROWID;
"""
_TEMPORARY = """
CREATE TEMP TABLE touched (minute INTEGER PRIMARY KEY);
CREATE TEMP TABLE wanted (id INTEGER PRIMARY KEY);
"""


class Damaged(LmrouteError):
    """The index's file is no index of this version, or broken. It can be thrown away: the records are elsewhere."""


def opened(path: Path | None) -> sqlite3.Connection:
    """The index in a file, made when there is none; without a path a private one that goes when it is closed.

    Raises:
        Damaged: the file holds something else.
        sqlite3.Error, OSError: it cannot be opened or made.
    """
    if path is not None:
        _make(path)
    connection = sqlite3.connect(path or "", timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        with telling(path):
            _prepare(connection, is_file=path is not None)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def telling(path: Path | None) -> Iterator[None]:
    """Turn SQLite's errors about a broken file into ``Damaged``."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        raise Damaged(f"{path}: the usage index is damaged ({error})") from error


def throw_away(path: Path) -> None:
    """Delete an index's files."""
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").unlink()


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _prepare(connection: sqlite3.Connection, *, is_file: bool) -> None:
    if is_file:
        use_wal(connection, _BUSY_S)
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA cache_size=-65536")
    connection.create_function("cell", 3, cell, deterministic=True)
    if not _is_ours(connection):
        connection.execute("BEGIN IMMEDIATE")  # another process may be making it
        if not _is_ours(connection):
            _create(connection)
        connection.execute("COMMIT")
    connection.executescript(_TEMPORARY)


def _is_ours(connection: sqlite3.Connection) -> bool:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return bool((application, version) == (_APPLICATION, VERSION))


class _Foreign(sqlite3.DatabaseError):
    """A file of another version."""


def _create(connection: sqlite3.Connection) -> None:
    """Make the tables, in a transaction. Raises _Foreign if there are others."""
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
        raise _Foreign(f"it is not of version {VERSION}")
    for statement in _TABLES.split(";"):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id={_APPLICATION}")
    connection.execute(f"PRAGMA user_version={VERSION}")


_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_MISSING = ("no such table", "no such column", "has no column")


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    is_broken = getattr(error, "sqlite_errorcode", 0) & 0xFF in _BROKEN
    return is_broken or isinstance(error, _Foreign) or any(what in str(error) for what in _MISSING)
