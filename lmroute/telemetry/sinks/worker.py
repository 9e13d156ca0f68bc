"""The thread behind a backlog, and how all of them end with the process."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmroute.telemetry.sinks.losses import Losses

PATIENCE_S = 2.0
"""How long an end waits for a thread; that of the process, for all threads together."""

T = TypeVar("T")


class Worker(Generic[T]):
    """A daemon thread and the things that wait for it; ``Backlog`` tells of the arguments."""

    def __init__(self, handle: Callable[[T], object], losses: Losses, count: Callable[[T], int]) -> None:
        self.pid = os.getpid()
        self._handle = handle
        self._losses = losses
        self._count = count
        self._waiting: SimpleQueue[T | threading.Event] = SimpleQueue()  # whose put may be called inside its put
        self._in_hand: list[T] = []
        self._end, self._ended = threading.Event(), threading.Event()
        self._is_over = False
        self._thread = threading.Thread(target=self._work, name=f"lmroute {losses.name}", daemon=True)
        self._unbegun = [self._thread]

    def put(self, item: T, limit: int) -> bool:
        """Take a thing, unless too many wait already; whether it was taken."""
        if self._waiting.qsize() >= limit:
            self._losses.drop(self._size(item), f"is too slow (or hangs; {limit} calls wait for it)")
            return False
        self._waiting.put(item)
        if self._unbegun:
            self._begin()
        if self._is_over:  # somebody has closed it meanwhile
            self._give_up()
        return True

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that waits now is handled; whether it is."""
        if self._is_over or threading.current_thread() is self._thread:
            return self._waiting.empty()
        mark = threading.Event()
        self._waiting.put(mark)
        return mark.wait(timeout_s)

    def end(self) -> None:
        """Have the thread end after what waits now."""
        self._waiting.put(self._end)

    def close(self, timeout_s: float) -> bool:
        """``end``, and wait for that; whether all was handled. The rest is dropped."""
        self.end()
        if threading.current_thread() is self._thread:
            return False
        if self._unbegun:
            self._begin()
        if not self._unbegun and self._ended.wait(timeout_s):
            self._thread.join()
            return True
        self._is_over = True
        self._give_up(*self._in_hand)
        self.end()  # should it ever come back
        self._losses.sum_up()
        return False

    def _begin(self) -> None:
        try:
            thread = self._unbegun.pop()
        except IndexError:  # somebody else is at it
            return
        _WORKERS.add(self)
        _end_with_a_child()
        try:
            thread.start()
        except RuntimeError:  # too many threads, or the interpreter is about to end; the next thing tries again
            self._unbegun.append(thread)

    def _work(self) -> None:
        while (item := self._waiting.get()) is not self._end:
            if isinstance(item, threading.Event):
                self._losses.tell()
                item.set()
            else:
                self._take(item)
        self._is_over = True
        self._give_up()  # what came after the end
        self._losses.sum_up()
        _WORKERS.discard(self)
        self._ended.set()

    def _take(self, item: T) -> None:
        self._in_hand.append(item)
        try:
            self._handle(item)
        except BaseException as error:  # noqa: BLE001 - a thread has nobody above it who could do anything about it
            if not self._is_over:
                self._losses.fail(self._size(item), error)
        else:
            if self._waiting.empty():  # it has caught up: a gap is over, if there was one
                self._losses.tell()
        finally:
            self._in_hand.clear()

    def _give_up(self, *items: T) -> None:
        """Drop these things and all that wait."""
        lost = list(items)
        try:
            while True:
                item = self._waiting.get_nowait()
                if not isinstance(item, threading.Event):
                    lost.append(item)
        except Empty:
            pass
        if lost:
            self._losses.drop(sum(map(self._size, lost)), "did not end in time")

    def _size(self, item: T) -> int:
        try:
            return self._count(item)
        except Exception:  # noqa: BLE001 - then it is one thing
            return 1


_WORKERS: set[Worker[Any]] = set()
"""Whose thread has begun and not ended."""
_children: set[int] = set()


def _end_all() -> None:
    ends = time.monotonic() + PATIENCE_S
    workers = [worker for worker in list(_WORKERS) if worker.pid == os.getpid()]
    for worker in workers:
        worker.end()
    for worker in workers:
        worker.close(max(0.0, ends - time.monotonic()))
        _WORKERS.discard(worker)


def _end_with_a_child() -> None:
    """Children of ``multiprocessing`` end without the interpreter's exit, but by a list of their own."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None and os.getpid() not in _children:
        _children.add(os.getpid())
        util.Finalize(None, _end_all, exitpriority=1)


atexit.register(_end_all)
