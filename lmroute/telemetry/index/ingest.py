"""Take the new lines of some files into the index: each transaction brings rows, roll-ups and how far files are read.

So a crash leaves an index that is behind, and never one that is wrong.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lmroute.telemetry.index import files, rollup, rows

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Iterable, Mapping

    from lmroute.telemetry.index.files import Known, Piece

_ENOUGH = 100_000  # lines for one transaction

_CALL = """INSERT INTO calls VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (call) DO UPDATE SET file = excluded.file, at = excluded.at"""
_ATTEMPT = """INSERT INTO attempts VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (call, attempt) DO UPDATE SET file = excluded.file, at = excluded.at"""
_LOST = "INSERT OR IGNORE INTO lost VALUES (?, ?, ?, ?, ?)"
_LEFT_OUT = """INSERT INTO left_out VALUES (?, ?, ?)
    ON CONFLICT (file, what) DO UPDATE SET lines = lines + excluded.lines"""
_READ = "UPDATE files SET read = ?, tail = ?, size = ?, mtime_ns = ? WHERE id = ?"
_DIM = "INSERT INTO dims VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


@dataclass(slots=True)
class Taken:
    """What an ingestion took: files that had something new, and their lines; paths of files that cannot be read."""

    files: int = 0
    lines: int = 0
    unreadable: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Batch:
    """What is not written yet."""

    calls: list[tuple[object, ...]] = field(default_factory=list)
    attempts: list[tuple[object, ...]] = field(default_factory=list)
    lost: list[tuple[object, ...]] = field(default_factory=list)
    left_out: Counter[tuple[int, str]] = field(default_factory=Counter)
    minutes: set[int] = field(default_factory=set)
    lines: int = 0


class Ingester:
    """Fills an index, once. There is no other at the same time: whoever has one, holds the lock.

    Args:
        latest: records of a later time (ms since the epoch) are misshapen. One of the year 9999 would be the end of all
            that is told, for good.
    """

    def __init__(self, connection: sqlite3.Connection, latest: int) -> None:
        self._connection = connection
        self._latest = latest
        self._dims: dict[rows.Words, int] = {}
        self._seen: dict[rows.Words, int] = {}  # words as they stand in records, which saves looking at each of them
        self._batch = _Batch()
        self._taken = Taken()

    def take(self, paths: Iterable[Path], *, before: int | None) -> Taken:
        """Bring the index up to date with the files that paths name.

        Args:
            before: drop what is older than that (ms since the epoch) and stands in no file any more.
        """
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._dims = {tuple(words): number for number, *words in self._connection.execute("SELECT * FROM dims")}
            self._take(dict(files.found(paths)), self._known(), before)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return self._taken

    def _known(self) -> dict[str, Known]:
        columns = self._connection.execute("SELECT path, id, read, tail, size, mtime_ns FROM files")
        return {path: files.Known(*rest) for path, *rest in columns}

    def _take(self, there: Mapping[str, os.stat_result], known: Mapping[str, Known], before: int | None) -> None:
        for path, stat in there.items():
            try:
                self._take_file(path, stat, known.get(path))
            except (OSError, UnicodeError):  # the latter: a name that is no text, which SQLite does not take
                self._taken.unreadable.append(path)
        self._write()
        if before is not None:
            gone = [file.id for path, file in known.items() if path not in there and not Path(path).exists()]
            rollup.refresh(self._connection, rollup.prune(self._connection, before, gone))

    def _take_file(self, path: str, stat: os.stat_result, known: Known | None) -> None:
        if known is not None and known.is_unchanged(stat):
            return
        if known is None:
            known = self._new(path)
        elif not files.is_continued(path, known):
            known = self._again(known)
        self._taken.files += 1
        read, tail = known.read, known.tail
        for piece in files.pieces(path, known.read):
            self._take_lines(known.id, piece)
            read, tail = piece.end, piece.tail
            self._connection.execute(_READ, (read, tail, read, 0, known.id))
            if self._batch.lines >= _ENOUGH:
                self._write()
                self._connection.execute("COMMIT")
                self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute(_READ, (read, tail, stat.st_size, stat.st_mtime_ns, known.id))

    def _new(self, path: str) -> Known:
        added = self._connection.execute("INSERT INTO files VALUES (NULL, ?, 0, x'', 0, 0)", (path,))
        return files.Known(added.lastrowid or 0, 0, b"", 0, 0)

    def _again(self, known: Known) -> Known:
        """A file that is another one now. What was read of the old one happened, and stays."""
        self._connection.execute("DELETE FROM left_out WHERE file = ?", (known.id,))
        return files.Known(known.id, 0, b"", 0, 0)

    def _take_lines(self, file: int, piece: Piece) -> None:
        at = piece.at
        lines = piece.lines.split(b"\n")
        for line in lines:
            if line and not line.isspace():
                try:
                    self._take_line(line, file, at)
                except rows.NoRecord as why:
                    self._batch.left_out[file, str(why)] += 1
            at += len(line) + 1
        self._batch.lines += len(lines) - 1
        self._taken.lines += len(lines) - 1

    def _take_line(self, line: bytes, file: int, at: int) -> None:
        record = rows.record_in(line)
        batch, kind = self._batch, record.get("kind")
        if kind == "attempt":
            call, number, ts, words, *rest = rows.attempt_row(record)
            self._check(ts)
            batch.attempts.append((call, number, ts, self._dim(words), *rest, file, at))
        elif kind == "call":
            call, ts, words, *values = rows.call_row(record)
            self._check(ts)
            batch.calls.append((call, ts, self._dim(words), *values, file, at))
        elif kind == "lost":
            run, ts, *lost = rows.lost_row(record)
            self._check(ts)
            batch.lost.append((run, ts, *lost, file))
            return
        else:
            raise rows.NoRecord(rows.MISSHAPEN)
        batch.minutes.add(ts // rollup.MINUTE_MS)

    def _check(self, ts: int) -> None:
        if ts > self._latest:
            raise rows.NoRecord(rows.MISSHAPEN)

    def _dim(self, words: rows.Words) -> int:
        try:
            number = self._seen.get(words)
        except TypeError:  # a list or an object
            raise rows.NoRecord(rows.MISSHAPEN) from None
        if number is None:
            dim = rows.dim_of(words)
            number = self._dims.get(dim)
            if number is None:
                number = self._dims[dim] = self._connection.execute(_DIM, dim).lastrowid or 0
            self._seen[words] = number
        return number

    def _write(self) -> None:
        batch, self._batch = self._batch, _Batch()
        self._connection.executemany(_CALL, batch.calls)
        self._connection.executemany(_ATTEMPT, batch.attempts)
        self._connection.executemany(_LOST, batch.lost)
        self._connection.executemany(_LEFT_OUT, ((*key, lines) for key, lines in batch.left_out.items()))
        rollup.refresh(self._connection, batch.minutes)
