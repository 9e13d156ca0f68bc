"""Hand things over to a thread that may hang, without ever waiting for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from lmroute.forks import Locked
from lmroute.telemetry.sinks.worker import PATIENCE_S, Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmroute.telemetry.sinks.losses import Losses

LIMIT = 1000
"""How many things wait at most."""

T = TypeVar("T")


class Backlog(Locked, Generic[T]):
    """Things that wait for a daemon thread, which handles one after the other.

    The thread is begun by the first thing, and in a forked child anew: what waited then is the parent's. What cannot be
    handled is lost and in nobody's way: dropped when ``limit`` others wait, failed when handling raises. At the
    interpreter's exit the threads of all backlogs together have ``PATIENCE_S`` to handle what waits.

    Args:
        handle: what the thread does with a thing. It may raise, be slow or hang; it must not know this object, which
            ends its thread when nobody knows it any more.
        losses: where lost records are counted.
        count: how many records a thing is; asked only when it is lost.
        limit: how many things may wait.
    """

    def __init__(
        self, handle: Callable[[T], object], losses: Losses, *, count: Callable[[T], int], limit: int = LIMIT
    ) -> None:
        super().__init__()
        self.losses = losses
        self._handle = handle
        self._count = count
        self._limit = limit
        self._worker: Worker[T] | None = None

    def put(self, item: T) -> bool:
        """Leave a thing to the thread; false if it is dropped. Never waits: finalizers and event loops may call it."""
        worker = self._worker
        if worker is None:
            worker = self._hired()
        return worker.put(item, self._limit)

    def flush(self, timeout_s: float = PATIENCE_S) -> bool:
        """Wait until all that was put before is handled, or lost by failing; whether it is."""
        worker = self._worker
        return worker is None or worker.flush(timeout_s)

    def close(self, timeout_s: float = PATIENCE_S) -> bool:
        """``flush``, and end the thread: what it has not handled by then is dropped. A later thing begins another."""
        with self._lock:
            worker, self._worker = self._worker, None
        return worker is None or worker.close(timeout_s)

    def __del__(self) -> None:
        if self._worker is not None:
            self._worker.end()

    def _hired(self) -> Worker[T]:
        new = Worker(self._handle, self.losses, self._count)  # made first: a finalizer may come here meanwhile
        with self._lock:
            if self._worker is None:
                self._worker = new
            return self._worker

    def _begin_in_child(self) -> None:
        super()._begin_in_child()
        self._worker = None
