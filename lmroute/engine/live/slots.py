"""How many calls may be under way at once, and who is next: one queue for threads and event loops.

A waiter is a ``concurrent.futures.Future``, which a ``Pause`` waits for in a thread or a task. Giving up is
cancelling it; a future that can no longer be cancelled has been granted, so its slot goes on to the next.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable


class NoSlotError(TimeoutError):
    """No slot became free before the deadline."""


class _Gate:
    """The calls of one key: how many are in, and who waits, in order."""

    __slots__ = ("in_flight", "limit", "waiting")

    def __init__(self) -> None:
        self.in_flight = 0
        self.limit: int | None = None
        self.waiting: OrderedDict[Future[None], None] = OrderedDict()

    def has_room(self) -> bool:
        return self.limit is None or self.in_flight < self.limit

    def let_in(self) -> list[Future[None]]:
        """Admit from the head of the queue as long as there is room. The caller completes the futures."""
        admitted = []
        while self.waiting and self.has_room():
            future, _ = self.waiting.popitem(last=False)
            if future.set_running_or_notify_cancel():  # from here on it cannot be cancelled
                self.in_flight += 1
                admitted.append(future)
        return admitted


class Slots:
    """Slots by key, first come, first served. Safe to use from threads and event loops together.

    A call that holds a slot may take one of another key, if all calls that need both take them in the same order.
    """

    def __init__(self) -> None:
        self._gates: dict[Hashable, _Gate] = {}
        self._lock = threading.RLock()  # a garbage-collected stream may release while its thread is in here

    def load(self, key: Hashable) -> int:
        """How many calls are in at the moment. Takes no lock."""
        gate = self._gates.get(key)
        return 0 if gate is None else gate.in_flight

    def take(self, key: Hashable, limit: int | None) -> Future[None]:
        """Ask for a slot. The future is done when it is granted; whoever has it must ``leave``, granted or not.

        Args:
            limit: so many at once; ``None`` bounds nothing and only counts. The latest one holds for the key.
        """
        with self._lock:
            gate = self._gates.get(key) or self._gates.setdefault(key, _Gate())
            gate.limit = limit
            if not gate.waiting and gate.has_room():
                gate.in_flight += 1
                return _GRANTED
            future: Future[None] = Future()
            gate.waiting[future] = None
            admitted = gate.let_in()
        _complete(admitted)
        return future

    def leave(self, key: Hashable, future: Future[None]) -> None:
        """Give a slot back, or give up waiting for it. Once for each ``take``."""
        with self._lock:
            gate = self._gates[key]
            if future.cancel():
                gate.waiting.pop(future, None)
            else:
                gate.in_flight -= 1
            admitted = gate.let_in()
        _complete(admitted)


def _granted() -> Future[None]:
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()
    future.set_result(None)
    return future


_GRANTED = _granted()
"""Shared by all who need not wait, which is nearly everybody: making a future costs more than the rest."""


def _complete(admitted: list[Future[None]]) -> None:
    """Outside the lock: completing a future runs what others have hung on it."""
    for future in admitted:
        future.set_result(None)
