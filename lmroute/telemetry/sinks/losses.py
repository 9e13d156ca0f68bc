"""What somebody could not take: counted, said in the log once when it begins and in total at the end, and told on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmroute import redact
from lmroute.forks import Locked
from lmroute.logs import logger

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logger("lmroute.telemetry")


class Losses(Locked):
    """The records that a sink has lost.

    Args:
        name: the sink's.
        told: is given a number of lost records and the name: at once for the first, then whenever as many more are lost
            as were told before, since a sink that hangs for hours must not cost each call a line; and when asked to.

    Attributes:
        dropped: records that it was not given, because it was too slow.
        failures: times that it raised.
    """

    def __init__(self, name: str, told: Callable[[int, str], None] | None = None) -> None:
        super().__init__()
        self.name = name
        self.dropped = self.failures = 0
        self._told_to = told
        self._lost = self._told = self._said = 0

    def drop(self, count: int, why: str) -> None:
        """Some records will not be handed over."""
        with self._lock:
            is_first = not self.dropped
            self.dropped += count
        if is_first and count:
            _log.warning("the sink %s %s, so records are dropped; the calls themselves go on", self.name, why)
        self._lose(count)

    def fail(self, count: int, error: BaseException) -> None:
        """Some records were handed over, and that raised."""
        with self._lock:
            self.failures += 1
            is_first = self.failures == 1
        if is_first:
            what = redact.one_line(f"{type(error).__name__}: {error}")
            _log.warning("the sink %s failed: %s; the calls themselves go on", self.name, what)
        self._lose(count)

    def tell(self) -> None:
        """Tell what was not told yet."""
        with self._lock:
            untold, self._told = self._lost - self._told, self._lost
        if untold and self._told_to is not None:
            self._told_to(untold, self.name)

    def sum_up(self) -> None:
        """Tell the rest, and say in the log how many were lost, if that is news."""
        self.tell()
        with self._lock:
            is_news, self._said = self._lost > self._said, self._lost
        if is_news:
            words = "the sink %s has lost %d records: %d were dropped, and %d times it failed to write"
            _log.warning(words, self.name, self._lost, self.dropped, self.failures)

    def _lose(self, count: int) -> None:
        with self._lock:
            self._lost += count
            is_due = self._lost >= 2 * self._told
        if is_due:
            self.tell()

    def _begin_in_child(self) -> None:
        super()._begin_in_child()
        self.dropped = self.failures = self._lost = self._told = self._said = 0  # the parent's
