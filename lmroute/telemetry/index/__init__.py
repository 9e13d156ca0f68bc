"""An index of call records for questions about many of them: SQLite, beside the JSONL files that it is made from.

The files are the record and the index is a convenience: it may be deleted at any time and is made again. One process
at a time brings it up to date, the others ask what is there. A call that stands in several files counts once.
What it holds goes after ``keep_days``, but not before the file that it was read from.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from filelock import FileLock, Timeout

from lmroute.config import paths
from lmroute.errors import LmrouteError
from lmroute.telemetry.index import schema
from lmroute.telemetry.index.ingest import Ingester
from lmroute.telemetry.index.schema import Damaged
from lmroute.telemetry.sinks.daily import events_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = ["KEEP_DAYS", "Damaged", "Index", "Ingested", "events_folder", "index_file"]

KEEP_DAYS = 30
_DAY_MS = 86_400_000


def index_file() -> Path:
    """Where the index of ``events_folder`` is."""
    return paths.user_state_dir() / "usage.sqlite"


@dataclass(frozen=True, slots=True)
class Ingested:
    """What bringing an index up to date did.

    Attributes:
        files, lines: that were new.
        seconds: it took.
        is_busy: another process is at it and did not end in time, so nothing was done here: the newest may be missing.
        unreadable: paths of files that could not be read.
        rebuilt: why the index had to be made anew, in a line; empty when it had not.
    """

    files: int = 0
    lines: int = 0
    seconds: float = 0.0
    is_busy: bool = False
    unreadable: tuple[str, ...] = ()
    rebuilt: str = ""


class Index:
    """An index in a file, made when there is none; without a path a private one that goes when it is closed.

    Not for several threads at once: each opens its own.

    Raises:
        LmrouteError: the file can be neither opened nor made.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._rebuilt = ""
        try:
            self._connected()
        except Damaged as error:
            self.rebuild(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the next question opens it again, or begins a new private index."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def ingest(
        self,
        folders: Iterable[Path] | None = None,
        *,
        keep_days: int | None = KEEP_DAYS,
        now: float | None = None,
        wait_s: float = 0,
    ) -> Ingested:
        """Take what is new in some folders and files, ``events_folder()`` by default.

        Args:
            keep_days: drop what is older and stands in no file any more; ``None`` keeps all.
            now: seconds since the epoch. Records of more than a day later are none: their clock was wrong.
            wait_s: for another process that is at it.

        Raises:
            LmrouteError: the index cannot be written.
        """
        folders = [events_folder()] if folders is None else list(folders)
        at = time.time() if now is None else now
        before = None if keep_days is None else round(at * 1000) - keep_days * _DAY_MS
        latest = round(at * 1000) + _DAY_MS
        try:
            return self._ingest(folders, before, latest, wait_s)
        except Damaged as error:
            self.rebuild(error)
            return self._ingest(folders, before, latest, wait_s)

    def rebuild(self, why: Damaged) -> None:
        """Throw the file away and begin a new one, which is to be filled.

        Raises:
            LmrouteError: another process does, or the file cannot be deleted.
        """
        self.close()
        if self.path is None:
            raise why
        try:
            with self._lock():
                schema.throw_away(self.path)
                self._connected()
        except Timeout:
            raise LmrouteError(f"{why}; another process makes it anew, so try again") from None
        except OSError as error:
            raise LmrouteError(f"{why}; delete it: {error.strerror}") from error
        self._rebuilt = f"{why}; it was made anew from the call records"

    def rows(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """The answer to a question.

        Raises:
            Damaged: the file is broken; ``rebuild`` helps.
            LmrouteError: it cannot be read.
        """
        with self._telling():
            return self._connected().execute(sql, values).fetchall()

    def want(self, ids: Iterable[int]) -> None:
        """Fill the table ``wanted``, which is this connection's own, for the next questions."""
        with self._telling():
            self._connected().execute("DELETE FROM wanted")
            self._connected().executemany("INSERT INTO wanted VALUES (?)", ((number,) for number in ids))

    @contextmanager
    def moment(self) -> Iterator[None]:
        """Have all questions inside see the index as it is at the first one."""
        connection = self._connected()
        if connection.in_transaction:
            yield
            return
        with self._telling():
            connection.execute("BEGIN")
        try:
            yield
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")  # nothing was written

    def _ingest(self, folders: list[Path], before: int | None, latest: int, wait_s: float) -> Ingested:
        begin = time.perf_counter()
        try:
            with self._lock(wait_s), self._telling():
                taken = Ingester(self._connected(), latest).take(folders, before=before)
        except Timeout:
            return Ingested(is_busy=True, rebuilt=self._told())
        except OSError as error:
            raise LmrouteError(f"{self.path}: the usage index cannot be locked: {error}") from error
        seconds = time.perf_counter() - begin
        return Ingested(taken.files, taken.lines, seconds, unreadable=tuple(taken.unreadable), rebuilt=self._told())

    def _told(self) -> str:
        rebuilt, self._rebuilt = self._rebuilt, ""
        return rebuilt

    def _lock(self, wait_s: float = 0) -> AbstractContextManager[object]:
        return nullcontext() if self.path is None else FileLock(f"{self.path}.lock", timeout=wait_s, mode=0o600)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            with schema.telling(self.path):
                yield
        except sqlite3.Error as error:
            raise LmrouteError(f"{self.path}: the usage index cannot be used: {error}") from error

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._connection = schema.opened(self.path)
            except (sqlite3.Error, OSError) as error:
                raise LmrouteError(f"{self.path}: the usage index cannot be opened: {error}") from error
        return self._connection
