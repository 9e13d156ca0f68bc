"""How many calls may be under way at once, and who is next: one queue for threads and event loops.

A waiter is a ``concurrent.futures.Future``, which a ``Pause`` waits for in a thread or a task. Giving up is
cancelling it; a future that can no longer be cancelled has been granted, so its slot goes on to the next.

Calls may weigh something, too, and share a capacity: the tokens of one context window, or a host that some want for
themselves. All wait for who is at the head of the queue, so the heavy are not starved by the light.
"""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeAlias

from lmroute.forks import Locked

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

Weight: TypeAlias = "int | Callable[[], int]"
"""What a call takes of a capacity. A function is asked under the lock: when there may be room, so last when the call is
let in; and when it leaves, for what it takes by then."""


class NoSlotError(TimeoutError):
    """No slot became free before the deadline."""


class _Gate:
    """The calls of one key: how many are in, what they weigh, and who waits with what weight, in order."""

    __slots__ = ("capacity", "in_flight", "limit", "streams", "waiting", "weight")

    def __init__(self) -> None:
        self.in_flight = self.weight = 0
        self.limit: int | None = None
        self.capacity: int | None = None
        self.waiting: OrderedDict[Future[None], Weight] = OrderedDict()
        self.streams: set[object] = set()

    def has_room(self, weight: int) -> bool:
        if self.limit is not None and self.in_flight >= self.limit:
            return False
        return self.capacity is None or not self.in_flight or self.weight + weight <= self.capacity

    def enter(self, weight: int) -> None:
        self.in_flight += 1
        self.weight += weight

    def let_in(self) -> list[Future[None]]:
        """Admit from the head of the queue as long as there is room. The caller completes the futures."""
        admitted = []
        while self.waiting:
            future, weight = next(iter(self.waiting.items()))
            now = _now(weight)
            if not (self.has_room(now) or future.cancelled()):
                break
            del self.waiting[future]
            if future.set_running_or_notify_cancel():  # from here on it cannot be cancelled
                self.enter(now)
                admitted.append(future)
        return admitted


class Slots(Locked):
    """Slots by key, first come, first served. Safe to use from threads and event loops together.

    A call that holds a slot may take one of another key, if all calls that need both take them in the same order.

    A forked child needs other ones, for those who are in never leave there; these are for what it may still give back.
    """

    def __init__(self) -> None:
        super().__init__()
        self._gates: dict[Hashable, _Gate] = {}
        # A garbage-collected stream may leave while its thread is in here, and waits then until that is done counting.
        self._late: list[tuple[Hashable, Future[None] | None, Weight]] | None = None

    def load(self, key: Hashable) -> int:
        """How many calls are in at the moment. Takes no lock."""
        gate = self._gates.get(key)
        return 0 if gate is None else gate.in_flight

    def streams(self, key: Hashable) -> set[object]:
        """Those who are in and hand on a stream, as they say themselves; for messages only."""
        return self._gates[key].streams

    def take(self, key: Hashable, limit: int | None, weight: Weight = 0, capacity: int | None = None) -> Future[None]:
        """Ask for a slot. The future is done when it is granted; whoever has it must ``leave``, granted or not.

        Args:
            limit: so many at once; ``None`` bounds nothing and only counts. The latest one holds for the key.
            weight: what this call takes of the capacity.
            capacity: what those who are in may weigh together; one that weighs more is let in alone. ``None`` bounds
                nothing. The latest one holds for the key.
        """
        with self._lock:
            gate = self._gates.get(key) or self._gates.setdefault(key, _Gate())
            gate.limit, gate.capacity = limit, capacity
            if not gate.waiting and gate.has_room(now := _now(weight)):
                gate.enter(now)
                return _GRANTED
            future: Future[None] = Future()
            gate.waiting[future] = weight
            admitted = self._changed(key, None, 0)
        _complete(admitted)
        return future

    def leave(self, key: Hashable, future: Future[None], weight: Weight = 0) -> None:
        """Give a slot back, or give up waiting for it. Once for each ``take``, with the weight that is still held."""
        with self._lock:
            admitted = self._changed(key, future, weight)
        _complete(admitted)

    def lighten(self, key: Hashable, by: Weight) -> None:
        """Give back so much of the weight of a slot that was granted, and keep the slot."""
        with self._lock:
            admitted = self._changed(key, None, by)
        _complete(admitted)

    def _begin_in_child(self) -> None:
        super()._begin_in_child()
        self._late = None
        for gate in self._gates.values():
            gate.waiting.clear()

    def _changed(self, key: Hashable, leaving: Future[None] | None, weight: Weight) -> list[Future[None]]:
        """Take off a weight, and who leaves with it; let in whom there is room for then. The caller completes these.

        What happens in the same thread meanwhile is done afterwards, so that nobody counts with half of a change.
        """
        if self._late is not None:
            self._late.append((key, leaving, weight))
            return []
        late: list[tuple[Hashable, Future[None] | None, Weight]] = []
        self._late = late
        try:
            gate = self._gates[key]
            if leaving is not None and leaving.cancel():
                gate.waiting.pop(leaving, None)
            else:
                gate.in_flight -= 0 if leaving is None else 1
                gate.weight -= _now(weight)
            admitted = gate.let_in()
        finally:
            self._late = None
        for change in late:
            admitted += self._changed(*change)
        return admitted


def _now(weight: Weight) -> int:
    return weight if isinstance(weight, int) else weight()


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
