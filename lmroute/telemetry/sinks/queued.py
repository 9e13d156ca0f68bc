"""A sink that may do as it likes: hang, raise, be slow. No call notices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmroute.telemetry.sinks.backlog import LIMIT, Backlog
from lmroute.telemetry.sinks.losses import Losses
from lmroute.telemetry.sinks.worker import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lmroute.telemetry.sinks.sink import Sink


class QueuedSink:
    """Another sink, written to by a thread of its own. A call's records are made on that thread, too.

    Args:
        sink: what it raises is said once in the log, and counted.
        name: what the log and the records of kind ``lost`` call it; its class's name by default.
        lost: told how many records it has lost, and its name: ``DailySink.lost``, so that the file knows.
        limit: how many calls may wait for it.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        name: str | None = None,
        lost: Callable[[int, str], None] | None = None,
        limit: int = LIMIT,
    ) -> None:
        self.losses = Losses(name or type(sink).__name__, lost)
        self._backlog = Backlog[_Call](lambda call: sink.write(call.records()), self.losses, count=_size, limit=limit)

    @property
    def dropped(self) -> int:
        """Records that the sink was never given, because it was too slow."""
        return self.losses.dropped

    @property
    def failures(self) -> int:
        """Times that it raised."""
        return self.losses.failures

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Leave records to the thread. Never waits, never raises."""
        self._backlog.put(_Call(lines))

    def flush(self, timeout_s: float = PATIENCE_S) -> bool:
        """Wait until the sink was given all that was written before; whether it was."""
        return self._backlog.flush(timeout_s)

    def close(self, timeout_s: float = PATIENCE_S) -> bool:
        """``flush``, and end the thread; a later record begins another. The sink is its owner's to close."""
        return self._backlog.close(timeout_s)


class _Call:
    """The records of a call, made when first asked for."""

    __slots__ = ("_lines",)

    def __init__(self, lines: Iterable[dict[str, Any]]) -> None:
        self._lines = lines

    def records(self) -> tuple[dict[str, Any], ...]:
        lines, self._lines = self._lines, ()
        self._lines = records = tuple(lines)
        return records


def _size(call: _Call) -> int:
    return len(call.records())
