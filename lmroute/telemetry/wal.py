"""SQLite's write-ahead log, which lets others read while one writes."""

from __future__ import annotations

import sqlite3
import time


def use_wal(connection: sqlite3.Connection, patience_s: float) -> None:
    """Change the journal mode of a file. SQLite waits its turn for anything but this.

    Raises:
        sqlite3.OperationalError: others use the file all that time, or it cannot be changed.
    """
    ends = time.monotonic() + patience_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= ends:
                raise
            time.sleep(0.005)
        else:
            return
