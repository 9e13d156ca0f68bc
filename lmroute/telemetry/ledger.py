"""What budgets have spent, in one SQLite file, so that an hour's or a day's limit holds across processes.

It never fails a call: what cannot be written is counted in memory, said once, and written when that works again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakSet

from lmroute.logs import logger
from lmroute.routing.budget import Spent, is_shared
from lmroute.telemetry.wal import use_wal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_log = logger("lmroute.telemetry")

STALE_S = 1.0
"""How old a sum may be, as far as other processes' spendings go. One's own count at once."""
_BUSY_S = 0.25  # an event loop may be waiting, so not for long
_RETRY_S = 5.0
_KEPT_S = 7 * 86_400
_NANO = 1_000_000_000  # whole numbers add up to the same sum in any order
_MOST = 2**63 - 1  # SQLite's largest integer
_UNUSABLE = (sqlite3.Error, OSError, TypeError, ValueError, OverflowError)  # the last three: of values of a wrong type

_CREATE = """CREATE TABLE IF NOT EXISTS spent (
    budget TEXT, window TEXT, tokens INTEGER NOT NULL, nano_usd INTEGER NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (budget, window)) WITHOUT ROWID"""
_ADD = """INSERT INTO spent VALUES (?, ?, ?, ?, CAST(strftime('%s', 'now') AS INTEGER))
    ON CONFLICT (budget, window) DO UPDATE SET
    tokens = tokens + excluded.tokens, nano_usd = nano_usd + excluded.nano_usd, at = excluded.at"""
_SUM = "SELECT tokens, nano_usd FROM spent WHERE budget = ? AND window = ?"
_PRUNE = "DELETE FROM spent WHERE at < CAST(strftime('%s', 'now') AS INTEGER) - ?"

_Key: TypeAlias = tuple[str, str]
_NOTHING = Spent()


@dataclass(frozen=True, slots=True)
class _Known:
    """A sum as it stood in the file at a moment of the monotonic clock."""

    window: str
    spent: Spent
    at: float


class Ledger:
    """Spendings by budget and window (``lmroute.routing.budget.window``). Safe to use from threads and over forks.

    Args:
        path: the file, made when first needed, mode 0600. A run's window stays in memory.
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.RLock()  # a garbage-collected stream may add while its thread is in here
        self._connection: sqlite3.Connection | None = None
        self._known: dict[str, _Known] = {}
        self._own: dict[_Key, Spent] = {}  # not in the file: yet, or by design
        self._retry_at = float("-inf")
        self._has_complained = False
        _LEDGERS.add(self)

    def add(self, budget: str, window: str, tokens: int, usd: float) -> None:
        """Count a call's tokens and US dollars."""
        with self._lock:
            key = (budget, window)
            self._own[key] = self._own.get(key, _NOTHING) + Spent(tokens, usd)
            if is_shared(window):
                self._try(self._write)

    def spent(self, budget: str, window: str) -> Spent:
        """What was spent: by this process until now, by others until at most ``STALE_S`` ago."""
        with self._lock:
            if is_shared(window) and not self._is_fresh(budget, window):
                self._try(lambda: self._read(budget, window))
            known = self._known.get(budget)
            in_file = known.spent if known is not None and known.window == window else _NOTHING
            return in_file + self._own.get((budget, window), _NOTHING)

    def close(self) -> None:
        """Write what is not written yet and close the file; a later call opens it again."""
        with self._lock:
            if self._unwritten():
                self._retry_at = float("-inf")
                self._try(self._write)
            self._disconnect()

    def _is_fresh(self, budget: str, window: str) -> bool:
        known = self._known.get(budget)
        return known is not None and known.window == window and self._clock() - known.at < STALE_S

    def _try(self, access: Callable[[], None]) -> None:
        if self._clock() < self._retry_at:
            return
        try:
            access()
        except _UNUSABLE as error:
            self._retry_at = self._clock() + _RETRY_S
            self._disconnect()
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        if not self._has_complained:
            self._has_complained = True
            message = "budgets cannot be kept in %s: %s; until they can, each process counts only what it spends itself"
            _log.warning(message + " (a damaged file may be deleted)", self.path, error)

    def _write(self) -> None:
        connection = self._connected()
        if connection.in_transaction:
            return  # from a finalizer inside this very method; the next call takes it along
        due = self._unwritten()
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            sums = {key: _add(connection, key, spent) for key, spent in due.items()}
        for (budget, window), written in due.items():
            self._settle((budget, window), written)
            self._known[budget] = _Known(window, sums[budget, window], self._clock())

    def _settle(self, key: _Key, written: Spent) -> None:
        own = self._own.pop(key)
        if own != written:  # a finalizer has added to it
            self._own[key] = Spent(own.tokens - written.tokens, own.usd - written.usd)

    def _read(self, budget: str, window: str) -> None:
        self._known[budget] = _Known(window, _sum(self._connected(), (budget, window)), self._clock())

    def _unwritten(self) -> dict[_Key, Spent]:
        return {key: spent for key, spent in self._own.items() if is_shared(key[1])}

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = _open(self.path)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _before_fork(self) -> None:
        # SQLite's connections must not cross a fork, nor a lock that somebody else holds.
        self._lock.acquire()
        self._disconnect()

    def _after_fork(self, *, in_child: bool) -> None:
        if in_child:
            for key in self._unwritten():  # the parent writes them
                del self._own[key]
        self._lock.release()


def _add(connection: sqlite3.Connection, key: _Key, spent: Spent) -> Spent:
    added = (_whole(spent.tokens), _whole(spent.usd * _NANO))
    connection.execute(_ADD, (*key, *added))
    row = connection.execute(_SUM, key).fetchone()
    if row == added:  # a window has begun, so others have ended
        connection.execute(_PRUNE, (_KEPT_S,))
    return _spent(row)


def _sum(connection: sqlite3.Connection, key: _Key) -> Spent:
    row = connection.execute(_SUM, key).fetchone()
    return _spent(row) if row else _NOTHING


def _whole(amount: float) -> int:
    """An amount as SQLite takes it: an absurd one uses up any budget all the same."""
    return _MOST if amount >= _MOST else max(-_MOST, round(amount))


def _spent(row: tuple[Any, ...]) -> Spent:
    """A row's sum. SQLite keeps whatever it was given, so a file of somebody else's making may hold anything."""
    return Spent(int(row[0]), int(row[1]) / _NANO)


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Only a file that is new: closing any other would take away the locks of this process's other connections to it.
    with _creating, suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        use_wal(connection, _BUSY_S)
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(_CREATE)
    except BaseException:
        connection.close()
        raise
    return connection


_creating = threading.Lock()
_LEDGERS: WeakSet[Ledger] = WeakSet()
_forking: list[Ledger] = []


def _before_fork() -> None:
    _forking.extend(_LEDGERS)
    for ledger in _forking:
        ledger._before_fork()  # noqa: SLF001 - the other half of the class


def _after_fork(*, in_child: bool) -> None:
    while _forking:
        _forking.pop()._after_fork(in_child=in_child)  # noqa: SLF001


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(in_child=False),
        after_in_child=lambda: _after_fork(in_child=True),
    )
