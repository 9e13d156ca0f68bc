"""The roll-ups by minute: made again for each minute that records came to or went from, out of the rows themselves.

So they cannot drift. An attempt counts in its own minute, which is its call's: the records of a call share their time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute.telemetry.index.latency import MEASURED

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

MINUTE_MS = 60_000

# The call was answered by another candidate than the first that was asked.
_FELL_BACK = """c.attempts > 1 AND d.status = 'ok' AND coalesce(
    (SELECT asked FROM attempts WHERE call = c.call ORDER BY attempt LIMIT 1) <>
    (SELECT asked FROM attempts WHERE call = c.call ORDER BY attempt DESC LIMIT 1), 0)"""

_CALLS = f"""INSERT INTO minutes
    SELECT t.minute, c.dim, count(*), sum({_FELL_BACK}),
        coalesce(sum(c.input_tokens), 0), coalesce(sum(c.output_tokens), 0),
        sum(c.input_tokens IS NULL OR c.output_tokens IS NULL), coalesce(sum(c.nano_usd), 0), count(c.nano_usd)
    FROM touched t CROSS JOIN calls c ON c.ts >= t.minute * {MINUTE_MS} AND c.ts < (t.minute + 1) * {MINUTE_MS}
    JOIN dims d ON d.id = c.dim
    GROUP BY t.minute, c.dim"""  # noqa: S608 - our own words

_TRIES = f"""INSERT INTO tries
    SELECT t.minute, a.dim, coalesce(c.dim, 0), coalesce(a.attempt = c.attempts, 0) AS is_last, count(*)
    FROM touched t CROSS JOIN attempts a ON a.ts >= t.minute * {MINUTE_MS} AND a.ts < (t.minute + 1) * {MINUTE_MS}
    LEFT JOIN calls c ON c.call = a.call
    GROUP BY t.minute, a.dim, coalesce(c.dim, 0), is_last"""  # noqa: S608

_LATENCIES = """INSERT INTO latencies
    SELECT t.minute, cell(c.dim, {what}, c.{column}) AS cell, count(*)
    FROM touched t CROSS JOIN calls c ON c.ts >= t.minute * {ms} AND c.ts < (t.minute + 1) * {ms}
    WHERE c.{column} IS NOT NULL
    GROUP BY t.minute, cell"""


def refresh(connection: sqlite3.Connection, minutes: Iterable[int]) -> None:
    """Roll some minutes up, in the transaction that is open."""
    execute = connection.execute
    execute("DELETE FROM touched")
    connection.executemany("INSERT OR IGNORE INTO touched VALUES (?)", ((minute,) for minute in minutes))
    for table in ("minutes", "tries", "latencies"):
        execute(f"DELETE FROM {table} WHERE minute IN (SELECT minute FROM touched)")  # noqa: S608
    execute(_CALLS)
    execute(_TRIES)
    for what, column in enumerate(MEASURED):
        execute(_LATENCIES.format(what=what, column=column, ms=MINUTE_MS))


def prune(connection: sqlite3.Connection, before: int, gone: Iterable[int]) -> set[int]:
    """Drop what is older than a time (ms) and stood in files that are gone. Returns the minutes it touched."""
    touched: set[int] = set()
    for file in gone:
        for table in ("calls", "attempts", "lost"):
            old = f"FROM {table} WHERE file = ? AND ts < ?"
            touched.update(m for (m,) in connection.execute(f"SELECT DISTINCT ts / {MINUTE_MS} {old}", (file, before)))
            connection.execute(f"DELETE {old}", (file, before))
        connection.execute(_FORGET, {"file": file})
        connection.execute("DELETE FROM left_out WHERE file NOT IN (SELECT id FROM files)")
    return touched


_FORGET = """DELETE FROM files WHERE id = :file
    AND NOT EXISTS (SELECT * FROM calls WHERE file = :file) AND NOT EXISTS (SELECT * FROM attempts WHERE file = :file)
    AND NOT EXISTS (SELECT * FROM lost WHERE file = :file)"""
