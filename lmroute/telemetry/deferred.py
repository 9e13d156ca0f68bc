"""Write records on a thread of their own, so that no call ever waits for a disk.

A call hands its records over in about a microsecond; while it waits for its server, or its caller thinks, they are
written. What is handed over is written by ``close``, and at the interpreter's end.
"""

from __future__ import annotations

import os
import threading
import weakref
from queue import Full, Queue
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lmroute.telemetry.sink import JsonlSink

_MOST_WAITING = 10_000
"""Calls whose records may wait. A disk that is that far behind is stuck, and memory is not for it to fill."""

_JOIN_S = 5.0

Waiting: TypeAlias = "Queue[Iterable[dict[str, Any]] | None]"


class Deferred:
    """A sink in front of another, which it writes to from a thread that lives from the first record to ``close``.

    Attributes:
        dropped: records that never got to the other sink, or that it could not write. A call's records count as one
            when they were dropped unread.
    """

    def __init__(self, sink: JsonlSink) -> None:
        self._sink = sink
        self._lock = threading.Lock()
        self._overflowed = 0
        self._waiting: Waiting = Queue()
        self._finish: weakref.finalize[..., Deferred] | None = None
        self._pid = 0

    @property
    def dropped(self) -> int:
        return self._overflowed + self._sink.dropped

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Hand over some records; an iterator is run on the writing thread."""
        if self._finish is None or self._pid != os.getpid():
            self._start()
        try:
            self._waiting.put_nowait(lines)
        except Full:
            self._overflowed += 1

    def close(self) -> None:
        """Write what was handed over, then close the other sink. A later record starts anew."""
        with self._lock:
            if self._finish is not None and self._pid == os.getpid():
                self._overflowed += self._finish() or 0
            self._finish = None
        self._sink.close()

    def _start(self) -> None:
        with self._lock:
            if self._finish is not None and self._pid == os.getpid():
                return  # another thread was quicker
            # A forked child has its parent's queue without the thread; what waits there is the parent's to write.
            self._waiting, self._pid = Queue(_MOST_WAITING), os.getpid()
            writer = threading.Thread(
                target=_write_all, args=(self._waiting, self._sink), name="lmroute-records", daemon=True
            )
            writer.start()
            # Runs once: at close, when nobody holds this sink any more, or at the interpreter's end.
            self._finish = weakref.finalize(self, _end, self._waiting, writer)


def _write_all(waiting: Waiting, sink: JsonlSink) -> None:
    while (lines := waiting.get()) is not None:
        sink.write(lines)


def _end(waiting: Waiting, writer: threading.Thread) -> int:
    """Have the writer finish what waits. How many calls' records it could not take, because the disk hangs."""
    try:
        waiting.put(None, timeout=_JOIN_S)
    except Full:
        return waiting.qsize()
    writer.join(_JOIN_S)
    return max(0, waiting.qsize() - 1) if writer.is_alive() else 0
